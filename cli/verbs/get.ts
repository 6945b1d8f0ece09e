/** `flotilla get`: what there is, as a table, as data, or as it changes. */
import { renderTable } from '../../api/resources/table.js';
import { type Context, objectPath, type Target } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import type { KindInfo } from '../kinds.js';
import { escapeSelector, listAll, pagesOf, watchEvents } from '../listing.js';
import type { WireList, WireObject } from '../objects.js';
import { complain, dataText, print, printLine, say } from '../output.js';

export interface GetOptions {
  readonly output?: string;
  readonly watch?: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly headers: boolean;
  readonly showManagedFields?: boolean;
  readonly raw?: string;
}

const outputs = ['wide', 'json', 'yaml', 'name'] as const;
type Output = (typeof outputs)[number];
const isOutput = (word: string): word is Output => (outputs as readonly string[]).includes(word);

const tableAccept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

type Cells = readonly (string | number | null)[];

interface Table {
  /** Absent in all events of a watch but its first. */
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[] | null;
  readonly rows: readonly { readonly cells: Cells; readonly object: { readonly metadata: WireObject['metadata'] } }[];
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
}

export async function get(context: Context, words: readonly string[], options: GetOptions): Promise<number> {
  if (options.raw !== undefined) return raw(context, options.raw);
  const { output = 'table' } = options;
  if (output !== 'table' && !isOutput(output)) throw usageError(`-o ${output}: expected one of ${outputs.join(', ')}`);
  const targets = await context.targets(words);
  if (options.watch) {
    const [target, ...more] = targets;
    if (!target || more.length > 0 || target.names.length > 1) throw usageError('-w watches one kind, or one object, at a time');
    return watch(context, target.kind, target.names[0], options, output);
  }
  return output === 'table' || output === 'wide' ? showTables(context, targets, options) : showObjects(context, targets, options, output);
}

async function showTables(context: Context, targets: readonly Target[], options: GetOptions): Promise<number> {
  let code: number = exitCode.ok;
  const prefix = (kind: KindInfo) => (targets.length > 1 ? `${kind.singular}/` : '');
  let isFirst = true;
  for (const { kind, names } of targets) {
    const tables: Table[] = [];
    if (names.length === 0) tables.push(...(await pagesOf<Table>(context, kind, options, tableAccept)));
    for (const name of names) {
      const table = await orComplaint(context.client.json<Table>(objectPath(kind, name), { accept: tableAccept }));
      if (table) tables.push(table);
      else code = exitCode.failed;
    }
    const rows = tables.flatMap((table) => table.rows);
    if (rows.length === 0) {
      if (names.length === 0 && targets.length === 1) say(`No ${kind.plural} found.`);
      continue;
    }
    if (!isFirst) printLine('');
    isFirst = false;
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

/** What is refused for one object is said, and the others are still shown; the exit code tells. */
async function orComplaint<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    complain(error);
    return undefined;
  }
}

const visibleColumns = (table: Table, options: GetOptions) =>
  (table.columnDefinitions ?? [])
    .map(({ name, priority }, at) => ({ name: name.toUpperCase(), priority, at }))
    .filter(({ priority }) => priority === 0 || options.output === 'wide');

async function showObjects(
  context: Context,
  targets: readonly Target[],
  options: GetOptions,
  output: Exclude<Output, 'wide'>,
): Promise<number> {
  let code: number = exitCode.ok;
  const found: { kind: KindInfo; object: WireObject }[] = [];
  for (const { kind, names } of targets) {
    if (names.length === 0) found.push(...(await listAll(context, kind, options)).map((object) => ({ kind, object })));
    for (const name of names) {
      const object = await orComplaint(context.client.json<WireObject>(objectPath(kind, name)));
      if (object) found.push({ kind, object });
      else code = exitCode.failed;
    }
  }
  if (output === 'name') {
    for (const { kind, object } of found) printLine(`${kind.singular}/${object.metadata.name}`);
    return code;
  }
  const objects = found.map(({ object }) => shown(object, options));
  const isOne = targets.length === 1 && targets[0]?.names.length === 1;
  if (isOne && objects.length === 0) return code;
  const value = isOne ? objects[0] : { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: '' }, items: objects };
  print(await dataText(value, output));
  return code;
}

/** Who owns which field is most of an object's lines and hardly ever what was asked for. */
function shown(object: WireObject, options: GetOptions): WireObject {
  if (options.showManagedFields) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

async function watch(
  context: Context,
  kind: KindInfo,
  name: string | undefined,
  options: GetOptions,
  output: 'table' | Output,
): Promise<number> {
  const fields = [name === undefined ? undefined : `metadata.name=${escapeSelector(name)}`, options.fieldSelector]
    .filter(Boolean)
    .join(',');
  const selection = {
    ...(options.selector === undefined ? {} : { selector: options.selector }),
    ...(fields === '' ? {} : { fieldSelector: fields }),
  };
  const query = { labelSelector: options.selector, ...(fields === '' ? {} : { fieldSelector: fields }) };
  if (output === 'table' || output === 'wide') {
    // Begun with a whole list, so that the columns fit what there is; the watch goes on where the list ends.
    const tables = await pagesOf<Table>(context, kind, selection, tableAccept);
    const rows = new ChangingTable(visibleColumns(tables[0]!, options));
    if (options.headers) rows.header();
    rows.add(tables.flatMap((table) => table.rows));
    const resourceVersion = tables[0]?.metadata.resourceVersion;
    for await (const event of watchEvents<Table>(context, kind.path, { ...query, resourceVersion }, { accept: tableAccept })) {
      rows.add(event.object.rows, event.type === 'DELETED' ? '(deleted)' : '');
    }
    return exitCode.ok;
  }
  const lists = await pagesOf<WireList>(context, kind, selection, 'application/json');
  const show = async (object: WireObject) => {
    if (output === 'name') printLine(`${kind.singular}/${object.metadata.name}`);
    else print(`${output === 'yaml' ? '---\n' : ''}${await dataText(shown(object, options), output)}`);
  };
  for (const object of lists.flatMap((list) => list.items)) await show(object);
  const resourceVersion = lists[0]?.metadata.resourceVersion;
  for await (const event of watchEvents<WireObject>(context, kind.path, { ...query, resourceVersion })) await show(event.object);
  return exitCode.ok;
}

type Columns = ReturnType<typeof visibleColumns>;

/** A table whose rows come over time: columns stay where they are until a wider cell arrives. */
class ChangingTable {
  #widths: number[];
  readonly #last = new Map<string, string>();

  constructor(private readonly columns: Columns) {
    this.#widths = columns.map(() => 0);
  }

  header(): void {
    this.#pending.push(this.columns.map(({ name }) => name));
  }

  readonly #pending: string[][] = [];

  /** Prints rows, but not one that says again what its object's last row said: only its age would be another. */
  add(rows: Table['rows'], note = ''): void {
    const ages = new Set(this.columns.flatMap(({ name }, at) => (['AGE', 'LAST SEEN'].includes(name) ? [at] : [])));
    for (const row of rows) {
      const cells = this.columns.map(({ at }) => String(row.cells[at] ?? ''));
      const { name } = row.object.metadata;
      const said = JSON.stringify([cells.filter((_, at) => !ages.has(at)), note]);
      if (this.#last.get(name) === said) continue;
      if (note === '') this.#last.set(name, said);
      else this.#last.delete(name);
      this.#pending.push(note === '' ? cells : [...cells, note]);
    }
    this.#flush();
  }

  #flush(): void {
    if (this.#pending.length === 0) return;
    const lines = this.#pending.splice(0);
    this.#widths = this.#widths.map((width, at) => Math.max(width, ...lines.map((line) => line[at]?.length ?? 0)));
    // A first line of spaces as wide as the columns keeps renderTable to these widths.
    const ruler = this.#widths.map((width) => ' '.repeat(width));
    print(renderTable(ruler, lines).replace(/^\n/, ''));
  }
}

async function raw(context: Context, path: string): Promise<number> {
  const reply = await context.client.fetch(path.startsWith('/') ? path : `/${path}`);
  if (reply.status >= 400) throw context.client.refusal(reply);
  print(reply.text);
  return exitCode.ok;
}
