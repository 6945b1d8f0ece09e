/** `flotilla apply`: server-side apply of every document; a bad one is named and left out, the others are applied. */
import { type ManifestDocument, manifestErrorText } from '../../api/resources/manifests.js';
import { isTemplateName } from '../../api/resources/unit-name.js';
import { ServerError, type Status } from '../client.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { imperativeManager } from '../field-managers.js';
import type { KindInfo } from '../kinds.js';
import { listAll } from '../listing.js';
import { loadManifests, sourceText } from '../manifest-files.js';
import type { WireObject } from '../objects.js';
import { complain, printLine, say } from '../output.js';
import { slidingWindow } from '../sliding-window.js';

export interface ApplyOptions {
  readonly filename: readonly string[];
  readonly recursive?: boolean;
  readonly prune?: boolean;
  readonly selector?: string;
  readonly dryRun?: string;
  readonly forceConflicts?: boolean;
  readonly fieldManager: string;
}

/** One request's worth, and how many of them are under way: the server writes what arrives together in few transactions. */
const batchLimits = { documents: 200, bytes: 1_048_576, inFlight: 4 };

export const applyType = 'application/apply-patch+yaml';

export async function apply(context: Context, options: ApplyOptions): Promise<number> {
  if (options.prune && !options.selector) throw usageError('--prune needs -l SELECTOR: only objects that it matches are ever deleted');
  if (options.dryRun !== undefined && options.dryRun !== 'server') throw usageError(`--dry-run=${options.dryRun}: expected "server"`);
  const { documents, errors } = await loadManifests(options.filename, options.recursive ? { recursive: true } : {});
  for (const error of errors) complain(manifestErrorText(error));
  if (documents.length === 0 && errors.length === 0) say('nothing to apply: no documents there');

  let failures = errors.length;
  for (const batches of waves(documents)) {
    await slidingWindow(
      batches,
      batchLimits.inFlight,
      (batch) => applyBatch(context, batch, options),
      (batch, outcomes) => {
        for (const [index, document] of batch.entries()) {
          const outcome = outcomes[index]!;
          if ('effect' in outcome) {
            for (const warning of outcome.warnings ?? []) complain(`${sourceText(document)}: warning: ${warning}`);
            printLine(`${wordOf(document)} ${outcome.effect}${options.dryRun ? ' (server dry run)' : ''}`);
          } else {
            failures += 1;
            complain(`${sourceText(document)}: ${describeRefusal(new ServerError(outcome.status))}`);
          }
        }
      },
    );
  }

  // Whatever could not be read might be the manifest of what would be pruned: then nothing is.
  if (options.prune && failures > 0) complain('nothing was pruned, because not everything could be applied');
  else if (options.prune) failures += await prune(context, documents, options);
  return failures === 0 ? exitCode.ok : exitCode.failed;
}

/** A line of the server's answer. */
type Outcome = { readonly effect: string; readonly warnings?: readonly string[] } | { readonly status: Status };

const wordOf = ({ kind, object }: ManifestDocument): string => `${kind.singular}/${object.metadata.name}`;

/** One outcome for each document, in their order. What imperative verbs own is taken over by a second request. */
async function applyBatch(context: Context, batch: readonly ManifestDocument[], options: ApplyOptions): Promise<readonly Outcome[]> {
  const outcomes = await send(context, batch, options, options.forceConflicts ?? false);
  const again = [...outcomes.keys()].filter((index) => conflictsOnlyWith(imperativeManager, outcomes[index]!));
  if (again.length === 0) return outcomes;
  const forced = await send(
    context,
    again.map((index) => batch[index]!),
    options,
    true,
  );
  const byIndex = new Map(again.map((index, at) => [index, forced[at]!]));
  return outcomes.map((outcome, index) => byIndex.get(index) ?? outcome);
}

async function send(
  context: Context,
  batch: readonly ManifestDocument[],
  { fieldManager, dryRun }: ApplyOptions,
  force: boolean,
): Promise<readonly Outcome[]> {
  const reply = await context.client.fetch('/apis/flotilla.dev/v1/apply', {
    method: 'POST',
    contentType: 'application/x-ndjson',
    body: batch.map(({ object }) => `${JSON.stringify(object)}\n`).join(''),
    query: { fieldManager, fieldValidation: 'Strict', force, ...(dryRun ? { dryRun: 'All' } : {}) },
  });
  if (reply.status >= 400) throw context.client.refusal(reply);
  const outcomes = reply.text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Outcome);
  if (outcomes.length === batch.length) return outcomes;
  throw new CliError(`the server answered ${outcomes.length} of ${batch.length} objects: apply again to see what became of the others`);
}

function conflictsOnlyWith(manager: string, outcome: Outcome): boolean {
  const causes = ('status' in outcome && outcome.status.details?.causes) || [];
  return causes.length > 0 && causes.every(({ reason, message }) => reason === 'FieldManagerConflict' && message.includes(`"${manager}"`));
}

/** What the server said, with what to do about it where that is known. */
export function describeRefusal(error: Error): string {
  if (!(error instanceof ServerError)) return error.message;
  const { status } = error;
  if (status.details?.causes?.some(({ reason }) => reason === 'FieldManagerConflict')) {
    return `${status.message}\n  --force-conflicts takes these fields over`;
  }
  return status.message;
}

/** Objects that the selector matches, that this field manager applied, and that no document names. */
export async function prunable(
  context: Context,
  documents: readonly ManifestDocument[],
  options: Pick<ApplyOptions, 'selector' | 'fieldManager'>,
): Promise<{ kind: KindInfo; object: WireObject }[]> {
  const kept = new Set(documents.map(({ object }) => `${object.kind}/${object.metadata.name}`));
  const kinds = (await context.kinds()).filter(({ path, verbs }) => path.startsWith('/apis/flotilla.dev/') && verbs.includes('delete'));
  const found: { kind: KindInfo; object: WireObject }[] = [];
  for (const kind of kinds) {
    for (const object of await listAll(context, kind, options.selector === undefined ? {} : { selector: options.selector })) {
      const isApplied = (object.metadata.managedFields as readonly { manager?: string; operation?: string }[] | undefined)?.some(
        ({ manager, operation }) => manager === options.fieldManager && operation === 'Apply',
      );
      if (isApplied && !object.metadata.deletionTimestamp && !kept.has(`${kind.kind}/${object.metadata.name}`))
        found.push({ kind, object });
    }
  }
  return found;
}

async function prune(context: Context, documents: readonly ManifestDocument[], options: ApplyOptions): Promise<number> {
  if (documents.length === 0) {
    complain('nothing was pruned: an empty list never means "delete everything"');
    return 1;
  }
  let failures = 0;
  for (const { kind, object } of await prunable(context, documents, options)) {
    const reply = await context.client.fetch(objectPath(kind, object.metadata.name), {
      method: 'DELETE',
      ...(options.dryRun ? { query: { dryRun: 'All' } } : {}),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: object.metadata.uid } },
    });
    if (reply.status < 400 || reply.status === 404) {
      printLine(`${kind.singular}/${object.metadata.name} pruned${options.dryRun ? ' (server dry run)' : ''}`);
      continue;
    }
    failures += 1;
    complain(`${kind.singular}/${object.metadata.name}: ${context.client.refusal(reply).message}`);
  }
  return failures;
}

/**
 * The documents in their order, in batches that can be under way together. An instance may name a template of the same call, so templates
 * go first and are waited for.
 */
function waves(documents: readonly ManifestDocument[]): ManifestDocument[][][] {
  const isTemplate = ({ object }: ManifestDocument) => object.kind === 'Unit' && isTemplateName(object.metadata.name);
  return [documents.filter(isTemplate), documents.filter((document) => !isTemplate(document))].map(inBatches);
}

function inBatches(documents: readonly ManifestDocument[]): ManifestDocument[][] {
  const batches: ManifestDocument[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const document of documents) {
    const size = Buffer.byteLength(JSON.stringify(document.object));
    const batch = batches.at(-1);
    if (batch === undefined || batch.length === batchLimits.documents || bytes + size > batchLimits.bytes) {
      batches.push([document]);
      bytes = size;
    } else {
      batch.push(document);
      bytes += size;
    }
  }
  return batches;
}
