/** `flotilla get`: what there is, as a table, as data, or as it changes. */
import { renderTable } from '../../api/resources/table.js';
import { linesOf, type Status } from '../client.js';
import { type Context, type KindInfo, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import type { WireList, WireObject } from '../objects.js';
import { print, printLine, say } from '../output.js';

export interface GetOptions {
  readonly output?: string;
  readonly watch?: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly headers: boolean;
  readonly raw?: string;
}

export const outputs = ['wide', 'json', 'yaml', 'name'] as const;
/** Objects per page of a list. */
const pageSize = 500;
const tableAccept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

interface Table {
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[];
  readonly rows: readonly {
    readonly cells: readonly (string | number | null)[];
    readonly object: { readonly metadata: WireObject['metadata'] };
  }[];
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
}

export async function get(context: Context, words: readonly string[], options: GetOptions): Promise<number> {
  if (options.raw !== undefined) return raw(context, options.raw);
  const { output } = options;
  if (output !== undefined && !(outputs as readonly string[]).includes(output)) {
    throw usageError(`-o ${output}: expected one of ${outputs.join(', ')}`);
  }
  const targets = await context.targets(words);
  if (options.watch) {
    const [target, ...more] = targets;
    if (!target || more.length > 0 || target.names.length > 1) throw usageError('-w watches one kind, or one object, at a time');
    return watch(context, target.kind, target.names[0], options);
  }
  if (output === undefined || output === 'wide') return showTables(context, targets, options);
  return showObjects(context, targets, options, output);
}

async function showTables(
  context: Context,
  targets: readonly { kind: KindInfo; names: readonly string[] }[],
  options: GetOptions,
): Promise<number> {
  let code: number = exitCode.ok;
  const prefix = (kind: KindInfo) => (targets.length > 1 ? `${kind.singular}/` : '');
  for (const [index, { kind, names }] of targets.entries()) {
    const tables: Table[] = [];
    if (names.length === 0) tables.push(...(await pages<Table>(context, kind, options, tableAccept)));
    for (const name of names) {
      try {
        tables.push(await context.client.json<Table>(objectPath(kind, name), { accept: tableAccept }));
      } catch (error) {
        // The others are still shown; the exit code tells.
        if (!(error instanceof CliError)) throw error;
        say(error.message);
        code = exitCode.failed;
      }
    }
    const rows = tables.flatMap((table) => table.rows);
    if (rows.length === 0) {
      if (names.length === 0 && targets.length === 1) say(`No ${kind.plural} found.`);
      continue;
    }
    if (index > 0) printLine('');
    const shown = visibleColumns(tables[0]!, options);
    print(
      renderTable(
        options.headers ? shown.map((column) => column.name) : undefined,
        rows.map((row) => shown.map(({ at }, position) => (position === 0 ? `${prefix(kind)}${row.cells[at]}` : (row.cells[at] ?? null)))),
      ),
    );
  }
  return code;
}

const visibleColumns = (table: Table, options: GetOptions) =>
  table.columnDefinitions
    .map(({ name, priority }, at) => ({ name: name.toUpperCase(), priority, at }))
    .filter(({ priority }) => priority === 0 || options.output === 'wide');

/** All pages of a list; a list that grew too old half way (410) is begun again once. */
async function pages<T extends { readonly metadata: { readonly continue?: string } }>(
  context: Context,
  kind: KindInfo,
  options: Pick<GetOptions, 'selector' | 'fieldSelector'>,
  accept: string,
): Promise<T[]> {
  const all: T[] = [];
  let next: string | undefined;
  do {
    const query = { limit: pageSize, continue: next, labelSelector: options.selector, fieldSelector: options.fieldSelector };
    const page: T = await context.client.json<T>(kind.path, { accept, query });
    all.push(page);
    next = page.metadata.continue || undefined;
  } while (next !== undefined);
  return all;
}

/** Every object of a kind that the selectors match. */
export async function listAll(
  context: Context,
  kind: KindInfo,
  options: Pick<GetOptions, 'selector' | 'fieldSelector'> = {},
): Promise<WireObject[]> {
  const lists = await pages<WireList>(context, kind, options, 'application/json');
  return lists.flatMap((list) => list.items);
}

async function showObjects(
  context: Context,
  targets: readonly { kind: KindInfo; names: readonly string[] }[],
  options: GetOptions,
  output: string,
): Promise<number> {
  const found: { kind: KindInfo; object: WireObject }[] = [];
  for (const { kind, names } of targets) {
    const objects =
      names.length === 0
        ? await listAll(context, kind, options)
        : await Promise.all(names.map((name) => context.client.json<WireObject>(objectPath(kind, name))));
    found.push(...objects.map((object) => ({ kind, object })));
  }
  if (output === 'name') {
    for (const { kind, object } of found) printLine(`${kind.singular}/${object.metadata.name}`);
    return exitCode.ok;
  }
  const isOne = targets.length === 1 && targets[0]?.names.length === 1;
  const value = isOne
    ? found[0]?.object
    : { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: '' }, items: found.map(({ object }) => object) };
  print(await dataText(value, output));
  return exitCode.ok;
}

/** An object as JSON or YAML text. */
export async function dataText(value: unknown, output: string): Promise<string> {
  if (output === 'json') return `${JSON.stringify(value, undefined, 2)}\n`;
  const { printYaml } = await import('../../api/resources/yaml.js');
  return printYaml(value);
}

export interface WatchLine<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

/** Events of a watch, one by one; ends when the server ends it. An ERROR event throws. */
export async function* watchEvents<T>(
  context: Context,
  path: string,
  query: Readonly<Record<string, string | number | boolean | undefined>>,
  options: { accept?: string; signal?: AbortSignal } = {},
): AsyncGenerator<WatchLine<T>> {
  const response = await context.client.open(path, { query: { ...query, watch: true }, ...options });
  if ((response.statusCode ?? 0) >= 400) {
    let text = '';
    for await (const chunk of response) text += String(chunk);
    throw context.client.refusal({ status: response.statusCode ?? 0, text });
  }
  try {
    for await (const line of linesOf(response)) {
      if (line.trim() === '') continue;
      const event = JSON.parse(line) as WatchLine<T>;
      if (event.type === 'ERROR') throw new CliError(`the watch ended: ${(event.object as Status).message}`);
      if (event.type !== 'BOOKMARK') yield event;
    }
  } finally {
    response.destroy();
  }
}

async function watch(context: Context, kind: KindInfo, name: string | undefined, options: GetOptions): Promise<number> {
  const fieldSelector = [name === undefined ? undefined : `metadata.name=${escapeSelector(name)}`, options.fieldSelector]
    .filter(Boolean)
    .join(',');
  const query = { labelSelector: options.selector, ...(fieldSelector ? { fieldSelector } : {}), resourceVersion: 0 };
  const isTable = options.output === undefined || options.output === 'wide';
  // Rows come one at a time: widths are kept from row to row, so that columns stay put unless a wider cell arrives.
  let widths: number[] = [];
  let columns: ReturnType<typeof visibleColumns> | undefined;
  for await (const event of watchEvents<Table | WireObject>(context, kind.path, query, isTable ? { accept: tableAccept } : {})) {
    if (!isTable) {
      const object = event.object as WireObject;
      if (options.output === 'name') printLine(`${kind.singular}/${object.metadata.name}`);
      else print(options.output === 'yaml' ? `---\n${await dataText(object, 'yaml')}` : await dataText(object, 'json'));
      continue;
    }
    const table = event.object as Table;
    const lines: string[][] = [];
    if (!columns) {
      columns = visibleColumns(table, options);
      if (options.headers) lines.push(columns.map((column) => column.name));
    }
    for (const row of table.rows) {
      lines.push(
        columns.map(({ at }, position) => `${row.cells[at] ?? ''}${position === 0 && event.type === 'DELETED' ? ' (deleted)' : ''}`),
      );
    }
    widths = (columns ?? []).map((_, at) => Math.max(widths[at] ?? 0, ...lines.map((line) => line[at]?.length ?? 0)));
    for (const line of lines)
      printLine(
        line
          .map((cell, at) => cell.padEnd(widths[at]! + 3))
          .join('')
          .trimEnd(),
      );
  }
  return exitCode.ok;
}

export const escapeSelector = (value: string) => value.replace(/[\\,=]/g, (char) => `\\${char}`);

async function raw(context: Context, path: string): Promise<number> {
  const reply = await context.client.fetch(path);
  if (reply.status >= 400) throw context.client.refusal(reply);
  print(reply.text);
  return exitCode.ok;
}
