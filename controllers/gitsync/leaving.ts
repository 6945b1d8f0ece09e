/** The end of a GitSync, and what holds it until what it made is deleted or let go of. */
import type { ClusterCache, ObjectDoor } from '../../api/objects/ports.js';
import { gitSyncFinalizer, gitSyncManager } from '../../api/resources/gitsync.js';
import type { Fence } from '../../runtime/store/store.js';
import { type Outcome as QueueOutcome, settled } from '../../runtime/work-queue.js';
import { letGo, liveIn, ownedBy, removeOwned } from './apply.js';
import { planSync } from './plan.js';
import type { JoinedGitSync, Teller } from './telling.js';

/** While caution lasts. */
const againMs = 5_000;

export interface LeavingOptions {
  readonly door: ObjectDoor;
  readonly cache: ClusterCache;
  readonly fence: Fence;
  readonly isCautious: () => boolean;
}

export async function ensureFinalizer({ metadata }: JoinedGitSync, { door, fence }: LeavingOptions): Promise<void> {
  const { name, finalizers = [], resourceVersion } = metadata;
  if (finalizers.includes(gitSyncFinalizer)) return;
  const body = { metadata: { finalizers: [...finalizers, gitSyncFinalizer], resourceVersion } };
  await door.patch('gitsyncs', name, { type: 'merge', body }, { manager: 'gitsync-controller', fence });
}

/** Its objects go if spec.prune says so and it may change things: it is not suspended, and its mode is not detect; else they stay and belong to nobody. Then it goes. */
export async function finish(sync: JoinedGitSync, teller: Pick<Teller, 'recordAbout'>, options: LeavingOptions): Promise<QueueOutcome> {
  const { door, cache, fence, isCautious } = options;
  const { name, finalizers = [] } = sync.metadata;
  if (!finalizers.includes(gitSyncFinalizer)) return settled;
  const live = liveIn(cache);
  const inventory = sync.status?.inventory ?? ownedBy(cache, name);
  const isOwn = (id: string) => {
    const now = live(id);
    return now !== undefined && now !== 'unreadable' && now.owner === name;
  };
  const context = { manager: gitSyncManager(name), fence };
  const prunes = sync.spec?.prune === true && sync.spec.suspend !== true && sync.spec.mode !== 'detect';
  if (prunes && isCautious()) return { next: 'again', afterMs: againMs, why: 'nothing is deleted while machines are missing' };
  // A whole GitSync is deleted by a human's own word: no guard counts here. What templates instances follow goes after them.
  const plan = planSync({
    name,
    documents: [],
    inventory: inventory.filter(isOwn),
    live,
    isGitSync: () => true,
    prune: prunes,
    maxDeletePercent: 100,
    isConfirmed: true,
    isCautious: false,
  });
  for (const group of plan.prune) {
    for (const id of group)
      if (await removeOwned(id, name, context, { door, cache }))
        teller.recordAbout(id, 'Normal', 'Pruned', `GitSync ${name} was deleted, and this with it.`);
  }
  for (const id of plan.release) await letGo(id, context, { door });
  const body = {
    metadata: {
      finalizers: finalizers.filter((finalizer) => finalizer !== gitSyncFinalizer),
      resourceVersion: sync.metadata.resourceVersion,
    },
  };
  await door.patch('gitsyncs', name, { type: 'merge', body }, context);
  return settled;
}
