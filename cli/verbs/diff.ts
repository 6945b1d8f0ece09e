/** `flotilla diff`: what apply would change, as a unified diff. Exit 0 nothing, 1 something, 2 an error. */
import { createTwoFilesPatch } from 'diff';
import { manifestErrorText } from '../../api/resources/manifests.js';
import { printYaml } from '../../api/resources/yaml.js';
import { type Context, objectPath } from '../context.js';
import { CliError, usageError } from '../exit.js';
import type { KindInfo } from '../kinds.js';
import { loadManifests, sourceText } from '../manifest-files.js';
import type { WireObject } from '../objects.js';
import { colors, complain, print } from '../output.js';
import { type ApplyOptions, applyType, describeRefusal, prunable } from './apply.js';

export type DiffOptions = Pick<ApplyOptions, 'filename' | 'recursive' | 'prune' | 'selector' | 'fieldManager' | 'forceConflicts'>;

const exit = { same: 0, differs: 1, error: 2 } as const;

export async function diff(context: Context, options: DiffOptions): Promise<number> {
  if (options.prune && !options.selector) throw usageError('--prune needs -l SELECTOR');
  const { documents, errors } = await loadManifests(options.filename, options.recursive ? { recursive: true } : {});
  for (const error of errors) complain(manifestErrorText(error));
  let hasErrors = errors.length > 0;
  let differs = false;

  const show = async (kind: KindInfo, name: string, before: WireObject | undefined, after: WireObject | undefined) => {
    const text = await patchText(`${kind.singular}/${name}`, before, after);
    if (text === '') return;
    differs = true;
    print(text);
  };
  for (const document of documents) {
    const { object } = document;
    try {
      const kind = await context.kind(object.kind);
      const path = objectPath(kind, object.metadata.name);
      const live = await context.client.fetch(path);
      if (live.status >= 400 && live.status !== 404) throw context.client.refusal(live);
      const merged = await context.client.json<WireObject>(path, {
        method: 'PATCH',
        contentType: applyType,
        body: object,
        query: { fieldManager: options.fieldManager, fieldValidation: 'Strict', dryRun: 'All', force: true },
      });
      await show(kind, object.metadata.name, live.status === 404 ? undefined : (JSON.parse(live.text) as WireObject), merged);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      hasErrors = true;
      complain(`${sourceText(document)}: ${describeRefusal(error)}`);
    }
  }
  if (options.prune && !hasErrors) {
    for (const { kind, object } of await prunable(context, documents, options)) await show(kind, object.metadata.name, object, undefined);
  }
  return hasErrors ? exit.error : differs ? exit.differs : exit.same;
}

/** The difference as a unified diff; '' when a person would see none. */
export async function patchText(title: string, before: WireObject | undefined, after: WireObject | undefined): Promise<string> {
  const [old, fresh] = [before, after].map((object) => (object === undefined ? '' : printYaml(comparable(object))));
  if (old === fresh) return '';
  const absent = '/dev/null';
  const patch = createTwoFilesPatch(
    before ? `live/${title}` : absent,
    after ? `merged/${title}` : absent,
    old!,
    fresh!,
    undefined,
    undefined,
    { context: 3 },
  );
  const color = await colors();
  const lines = patch.split('\n').slice(1);
  return lines
    .map((line) => {
      if (line.startsWith('---') || line.startsWith('+++')) return color.bold(line);
      if (line.startsWith('@@')) return color.cyan(line);
      if (line.startsWith('+')) return color.green(line);
      return line.startsWith('-') ? color.red(line) : line;
    })
    .join('\n');
}

/** What a person means by "the object": without what the system keeps about it, and in one order of its fields. */
function comparable(object: WireObject): unknown {
  const { managedFields, resourceVersion, generation, uid, creationTimestamp, ...metadata } = object.metadata;
  const { status, ...rest } = object;
  return inOrder({ ...rest, metadata });
}

/** The server keeps fields in the order in which they were written, which is no difference. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([key, child]) => [key, inOrder(child)]));
}
