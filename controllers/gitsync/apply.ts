/** Carries a plan out, through the one way to write an object, with the leader's fence. */
import type { ClusterCache, ObjectDoor, WriteContext } from '../../api/objects/ports.js';
import { objectVersion } from '../../api/objects/resource-version.js';
import { StatusError } from '../../api/resources/errors.js';
import { gitSyncLabel, gitSyncManager } from '../../api/resources/gitsync.js';
import { kinds } from '../../api/resources/registry.js';
import type { Fence } from '../../runtime/store/store.js';
import { type Conflict, claim, digestOf } from './claim.js';
import { documentId, objectId, parseId } from './documents.js';
import type { Written } from './memory.js';
import type { LiveObject, SyncPlan } from './plan.js';
import type { Outcome } from './status.js';

/** Writes at a time: the store groups them into few transactions. */
const parallel = 64;

export interface ApplyOptions {
  readonly door: ObjectDoor;
  readonly cache: ClusterCache;
  readonly fence?: Fence;
  /** Everything is checked, nothing is stored. */
  readonly dryRun?: boolean;
  /** As earlier syncs wrote them: where neither the manifest nor the object has changed since, there is nothing to do. */
  readonly known?: ReadonlyMap<string, Written>;
}

export interface Failure {
  readonly id: string;
  readonly why: string;
}

export interface Applied extends Outcome {
  readonly failures: readonly Failure[];
  /** Claimed by another GitSync since the plan was made, and left to it. */
  readonly conflicts: SyncPlan['conflicts'];
  /** By object: what was applied, as this run left it. Empty on a dry run. */
  readonly written: ReadonlyMap<string, Written>;
}

/** Ownership as the cache has it. */
export function liveIn(cache: ClusterCache): (id: string) => LiveObject | 'unreadable' | undefined {
  return (id) => {
    const parsed = parseId(id);
    if (parsed === undefined) return 'unreadable';
    const { kind, name } = parsed;
    if (cache.broken.has(cache.keys.object(kind.plural, name))) return 'unreadable';
    const row = cache.object(kind.plural, name);
    if (row === undefined) return undefined;
    const { labels, deletionTimestamp } = row.value.metadata;
    return { owner: labels?.[gitSyncLabel], isBeingDeleted: Boolean(deletionTimestamp) };
  };
}

/** Revision of an object's own key; 0 when it is not there. */
export function ownRevision(cache: Pick<ClusterCache, 'object'>, id: string): number {
  const parsed = parseId(id);
  return (parsed && cache.object(parsed.kind.plural, parsed.name)?.modRevision) ?? 0;
}

/** By the labels, for when the status was lost: what bears this GitSync's name and was applied by it. */
export function ownedBy(cache: Pick<ClusterCache, 'objects'>, name: string): readonly string[] {
  return kinds
    .filter(({ writable }) => writable)
    .flatMap((kind) =>
      [...cache.objects(kind.plural)]
        .filter(([, { value }]) => value.metadata.labels?.[gitSyncLabel] === name)
        .filter(([, { value }]) => value.metadata.managedFields?.some(({ manager }) => manager === gitSyncManager(name)))
        .map(([object]) => objectId(kind, object)),
    )
    .sort();
}

/**
 * Applies, then deletes, then lets go: group after group, many at a time. What the door refuses is a failure of that object alone; that
 * the store is away, or the leadership lost, ends the run.
 */
export async function carryOut(plan: SyncPlan, gitSync: string, options: ApplyOptions): Promise<Applied> {
  const { cache, fence, dryRun = false, known } = options;
  // What the repository says counts: whoever else set a field of it loses it, and is told so by the drift that was corrected.
  const context: WriteContext = { manager: gitSyncManager(gitSync), force: true, dryRun, ...(fence ? { fence } : {}) };
  const created: string[] = [];
  const changed: string[] = [];
  const pruned: string[] = [];
  let unchanged = 0;
  const failures: Failure[] = [];
  const conflicts: Conflict[] = [];
  const written = new Map<string, Written>();
  const attempt = async (id: string, run: () => Promise<void>) => {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof StatusError) || error.reason === 'ServiceUnavailable' || error.reason === 'Timeout') throw error;
      failures.push({ id, why: error.message });
    }
  };

  for (const group of plan.apply) {
    await each(group, async (document) => {
      const id = documentId(document);
      const digest = digestOf(document);
      const before = known?.get(id);
      if (before?.digest === digest && before.revision === ownRevision(cache, id)) {
        unchanged++;
        written.set(id, before);
        return;
      }
      await attempt(id, async () => {
        const outcome = await claim(document, gitSync, context, options);
        if ('owner' in outcome) {
          conflicts.push(outcome);
          return;
        }
        if (outcome.created) created.push(id);
        else if (outcome.changed) changed.push(id);
        else unchanged++;
        // Not what the cache has by now: whoever wrote it since has made drift.
        if (outcome.ownRevision !== undefined && !dryRun) written.set(id, { revision: outcome.ownRevision, digest });
      });
    });
  }
  // While an object of the revision could not be applied, what it was to replace stays.
  if (failures.length === 0) {
    const { force: _, ...gently } = context;
    for (const group of plan.prune) {
      await each(group, (id) =>
        attempt(id, async () => {
          if (await removeOwned(id, gitSync, gently, options)) pruned.push(id);
        }),
      );
    }
  }
  await each(plan.release, (id) => attempt(id, () => letGo(id, context, options)));
  return { created: created.sort(), changed: changed.sort(), pruned: pruned.sort(), unchanged, failures, conflicts, written };
}

/** False when it was gone already, or is no longer this GitSync's. What is deleted is what was looked at, and nothing newer. */
export async function removeOwned(
  id: string,
  gitSync: string,
  context: WriteContext,
  { door, cache }: Pick<ApplyOptions, 'door' | 'cache'>,
): Promise<boolean> {
  const parsed = parseId(id);
  const row = parsed && cache.object(parsed.kind.plural, parsed.name);
  if (!parsed || !row) return false;
  const { uid, labels } = row.value.metadata;
  if (labels?.[gitSyncLabel] !== gitSync) return false;
  const seen = { resourceVersion: objectVersion(row.modRevision), ...(uid === undefined ? {} : { uid }) };
  await door.remove(parsed.kind.plural, parsed.name, seen, context);
  return true;
}

/** The object stays as it is and belongs to nobody's repository any more. */
export async function letGo(id: string, context: WriteContext, { door }: Pick<ApplyOptions, 'door'>): Promise<void> {
  const parsed = parseId(id);
  if (!parsed) return;
  const body = { metadata: { labels: { [gitSyncLabel]: null } } };
  await door.patch(parsed.kind.plural, parsed.name, { type: 'merge', body }, context);
}

/** All of them, `parallel` at a time; rejects with the first failure once those under way have ended. */
async function each<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await run(items[next++]!);
  };
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(parallel, items.length) }, worker));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
}
