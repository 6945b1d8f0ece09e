/** What the next sync of a GitSync would do, found out by any server by doing it without storing anything. */
import type { ClusterCache, Joined, ObjectDoor } from '../../api/objects/ports.js';
import { notFound } from '../../api/objects/status-errors.js';
import { StatusError } from '../../api/resources/errors.js';
import { type GitSync, gitSyncManager } from '../../api/resources/gitsync.js';
import { gitSyncKind } from '../../api/resources/gitsync-kind.js';
import { labelled } from './claim.js';
import { documentId, parseId, type SyncDocument } from './documents.js';
import type { GitSources } from './ports.js';
import { planRevision } from './revision-plan.js';
import { settingsOf } from './settings.js';
import { fetchRevision, openSource, readRevision, resolveRevision, SourceError } from './source.js';
import { heldMessage } from './status.js';

export interface PreviewOptions extends GitSources {
  readonly cache: ClusterCache;
  readonly door: Pick<ObjectDoor, 'apply'>;
}

export interface SyncPreview {
  readonly revision: string;
  readonly objects: readonly {
    readonly kind: string;
    readonly name: string;
    readonly action: 'create' | 'change' | 'prune';
    readonly before?: unknown;
    readonly after?: unknown;
  }[];
  readonly problems: readonly string[];
}

/** Kinds whose values leave the server in no way. */
const hidden: ReadonlySet<string> = new Set(['secrets']);

/** @throws StatusError NotFound, Invalid when the revision cannot be applied; the signal's reason, and git ends with it */
export async function previewSync(name: string, options: PreviewOptions, signal: AbortSignal): Promise<SyncPreview> {
  const { cache } = options;
  const sync = cache.joined('gitsyncs', name) as GitSync | undefined;
  if (sync === undefined) throw notFound(gitSyncKind, name);
  const { spec = {}, status = {} } = sync;
  const settings = settingsOf(spec);
  if ('problem' in settings) throw new StatusError('Invalid', settings.problem);
  try {
    const source = await openSource(spec, settings, options, signal);
    const revision = await resolveRevision(source, options);
    const read = await readRevision(await fetchRevision(source, revision, options), options);
    const { text } = read;
    // Whether machines are missing only the leader knows: what it would hold back for that is shown as it will be once they are back.
    const { plan, inventory } = planRevision(sync, status, read, settings, { cache, isCautious: () => false });
    const problems = [
      ...plan.conflicts.map(({ id, owner }) => `${id} belongs to GitSync ${owner} and would be left to it`),
      ...plan.blocked.map(({ id, why }) => `${id} would have to wait: ${why}`),
      ...(plan.held.length > 0 ? [heldMessage(name, text, plan, inventory.length, settings.maxDeletePercent)] : []),
    ];
    const objects: SyncPreview['objects'][number][] = [];
    // One after the other: somebody looks at it, and the cluster's own work comes first.
    for (const document of plan.apply.flat()) {
      signal.throwIfAborted();
      const previewed = await previewOne(document, name, options, plan.apply.flat(), problems);
      if (previewed) objects.push(previewed);
    }
    for (const id of [...plan.prune.flat(), ...plan.held]) {
      const parsed = parseId(id);
      if (!parsed) continue;
      const before = cache.joined(parsed.kind.plural, parsed.name);
      objects.push({ kind: parsed.kind.kind, name: parsed.name, action: 'prune', ...shown(parsed.kind.plural, { before }) });
    }
    return { revision: text, objects, problems };
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    throw new StatusError('Invalid', `GitSync ${name}: ${error.message}`);
  }
}

async function previewOne(
  document: SyncDocument,
  gitSync: string,
  { cache, door }: PreviewOptions,
  all: readonly SyncDocument[],
  problems: string[],
): Promise<SyncPreview['objects'][number] | undefined> {
  const { kind, object } = document;
  const { name } = object.metadata;
  const before = cache.joined(kind.plural, name);
  try {
    const written = await door.apply(kind.plural, name, labelled(document, gitSync), {
      manager: gitSyncManager(gitSync),
      force: true,
      dryRun: true,
    });
    if (!written.created && !written.changed) return undefined;
    return {
      kind: kind.kind,
      name,
      action: written.created ? 'create' : 'change',
      ...shown(kind.plural, { before, after: written.object }),
    };
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    // An instance whose template comes with the same revision cannot be tried before that is there.
    const isNew =
      before === undefined && all.some((other) => other.kind.plural === 'units' && name.includes('@') && isTemplateOf(other, name));
    if (!isNew) problems.push(`${documentId(document)} (${document.file}): ${error.message}`);
    return isNew ? { kind: kind.kind, name, action: 'create', after: object } : undefined;
  }
}

const isTemplateOf = ({ object }: SyncDocument, instance: string): boolean =>
  object.metadata.name === instance.replace(/@[^.]*(?=\.[a-z]+$)/, '@');

const shown = (plural: string, { before, after }: { before?: Joined | undefined; after?: Joined | undefined }) =>
  hidden.has(plural) ? {} : { ...(before ? { before } : {}), ...(after ? { after } : {}) };
