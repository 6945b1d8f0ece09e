/** `flotilla apply`: server-side apply of every document; a bad one is named and left out, the others are applied. */
import { type ManifestDocument, manifestErrorText } from '../../api/resources/manifests.js';
import { ServerError, warningsOf } from '../client.js';
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

/** Applies in flight; the server groups them into few transactions. */
const window = 64;

export const applyType = 'application/apply-patch+yaml';

export async function apply(context: Context, options: ApplyOptions): Promise<number> {
  if (options.prune && !options.selector) throw usageError('--prune needs -l SELECTOR: only objects that it matches are ever deleted');
  if (options.dryRun !== undefined && options.dryRun !== 'server') throw usageError(`--dry-run=${options.dryRun}: expected "server"`);
  const { documents, errors } = await loadManifests(options.filename, options.recursive ? { recursive: true } : {});
  for (const error of errors) complain(manifestErrorText(error));
  if (documents.length === 0 && errors.length === 0) say('nothing to apply: no documents there');

  let failures = errors.length;
  await inOrder(
    documents,
    (document) => applyOne(context, document, options),
    (document, outcome) => {
      if (outcome instanceof Error) {
        failures += 1;
        complain(`${sourceText(document)}: ${describeRefusal(outcome)}`);
        return;
      }
      for (const warning of outcome.warnings) complain(`${sourceText(document)}: warning: ${warning}`);
      printLine(outcome.line);
    },
  );

  // Whatever could not be read might be the manifest of what would be pruned: then nothing is.
  if (options.prune && failures > 0) complain('nothing was pruned, because not everything could be applied');
  else if (options.prune) failures += await prune(context, documents, options);
  return failures === 0 ? exitCode.ok : exitCode.failed;
}

interface Applied {
  /** `unit/web.service created` */
  readonly line: string;
  readonly warnings: readonly string[];
}

async function applyOne(context: Context, document: ManifestDocument, options: ApplyOptions): Promise<Applied> {
  const { object } = document;
  const kind = await context.kind(object.kind);
  const path = objectPath(kind, object.metadata.name);
  const send = (force: boolean) =>
    context.client.fetch(path, {
      method: 'PATCH',
      contentType: applyType,
      body: object,
      query: { fieldManager: options.fieldManager, fieldValidation: 'Strict', force, ...(options.dryRun ? { dryRun: 'All' } : {}) },
    });
  let reply = await send(options.forceConflicts ?? false);
  if (reply.status === 409 && conflictsOnlyWith(imperativeManager, reply.text)) reply = await send(true);
  if (reply.status >= 400) throw context.client.refusal(reply);
  const word = String(reply.headers['flotilla-write'] ?? (reply.status === 201 ? 'created' : 'configured'));
  return {
    line: `${kind.singular}/${object.metadata.name} ${word}${options.dryRun ? ' (server dry run)' : ''}`,
    warnings: warningsOf(reply),
  };
}

function conflictsOnlyWith(manager: string, body: string): boolean {
  const { details } = JSON.parse(body) as { details?: { causes?: readonly { reason?: string; message: string }[] } };
  const causes = details?.causes ?? [];
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
 * Applies the documents and tells `done` in their order. An instance may name a template of the same batch, so templates go first and are
 * waited for.
 */
async function inOrder(
  documents: readonly ManifestDocument[],
  work: (document: ManifestDocument) => Promise<Applied>,
  done: (document: ManifestDocument, outcome: Applied | Error) => void,
): Promise<void> {
  const isTemplate = ({ object }: ManifestDocument) => object.kind === 'Unit' && /@\.[a-z]+$/.test(object.metadata.name);
  const outcomeOf = (document: ManifestDocument): Promise<Applied | Error> =>
    work(document).catch((error: unknown) => {
      if (error instanceof CliError) return error;
      throw error;
    });
  for (const group of [documents.filter(isTemplate), documents.filter((document) => !isTemplate(document))]) {
    await slidingWindow(group, window, outcomeOf, done);
  }
}
