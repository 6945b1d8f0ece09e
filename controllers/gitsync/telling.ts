/** What a GitSync says to others: its status, written when it says anything new, and its events. */
import type { ClusterCache, Joined } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import type { GitSync, GitSyncStatus } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import type { Clock } from '../../runtime/clock.js';
import type { Fence, Store } from '../../runtime/store/store.js';
import type { EventRecorder } from '../events.js';
import type { Applied } from './apply.js';
import { parseId } from './documents.js';
import { conditionsFor, saysTheSame, type Verdict } from './status.js';

/** A GitSync as it lies in the cache. */
export type JoinedGitSync = GitSync & { readonly metadata: Joined['metadata'] };

/** Objects whose own events tell of a sync; the GitSync's event counts them all. */
const maxObjectEvents = 50;

export interface TellerOptions {
  readonly store: Pick<Store, 'commit'>;
  readonly cache: ClusterCache;
  readonly fence: Fence;
  readonly clock: Clock;
  readonly events: EventRecorder;
}

export class Teller {
  constructor(private readonly options: TellerOptions) {}

  statusFor(sync: JoinedGitSync, status: GitSyncStatus, verdict: Verdict): GitSyncStatus {
    const { generation = 0 } = sync.metadata;
    const now = this.options.clock
      .now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z');
    return { ...status, observedGeneration: generation, conditions: conditionsFor(verdict, sync.status?.conditions, now, generation) };
  }

  current(name: string): GitSyncStatus | undefined {
    return this.options.cache.fragment('gitsyncs', name)?.value as GitSyncStatus | undefined;
  }

  /** Writes the status if it says anything new. The object's own life is compared: what is deleted meanwhile leaves no status behind. */
  async tell(sync: JoinedGitSync, status: GitSyncStatus): Promise<void> {
    const { store, cache, fence } = this.options;
    const { keys } = cache;
    const { name } = sync.metadata;
    const before = this.current(name);
    if (before !== undefined && saysTheSame(before, status)) return;
    const own = cache.object('gitsyncs', name);
    if (own === undefined || own.value.metadata.uid !== sync.metadata.uid) return;
    const key = keys.condition('gitsyncs', name);
    const modRevision = cache.fragment('gitsyncs', name)?.modRevision ?? cache.broken.get(key)?.modRevision ?? 0;
    const outcome = await store.commit(
      {
        compares: [
          { key, modRevision },
          { key: keys.object('gitsyncs', name), createRevision: own.createRevision },
        ],
        operations: [{ do: 'put', key, value: JSON.stringify(status) }],
      },
      { fence },
    );
    await cache.untilRevision(outcome.revision);
    if (!outcome.ok) throw new Error(`the status of GitSync ${name} was changed by somebody else`);
  }

  tellOfObjects(sync: JoinedGitSync, text: string, { created, changed, pruned, failures }: Applied): void {
    const from = `GitSync ${sync.metadata.name} at ${shortRevision(text)}`;
    const said = [
      ...created.map((id) => [id, 'Normal', 'Applied', `Created by ${from}.`] as const),
      ...changed.map((id) => [id, 'Normal', 'Applied', `Changed by ${from}.`] as const),
      ...pruned.map((id) => [id, 'Normal', 'Pruned', `Deleted by ${from}: its manifest is gone.`] as const),
      ...failures.map(({ id, why }) => [id, 'Warning', 'ApplyFailed', `${from} could not apply it: ${why}`] as const),
    ];
    for (const [id, type, reason, message] of said.slice(0, maxObjectEvents)) this.recordAbout(id, type, reason, message);
  }

  recordAbout(id: string, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const parsed = parseId(id);
    if (parsed) this.options.events.record({ kind: parsed.kind.kind, name: parsed.name }, type, reason, message);
  }

  record({ metadata }: JoinedGitSync, type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.options.events.record({ kind: 'GitSync', name: metadata.name, uid: metadata.uid }, type, reason, message);
  }

  /** An event for whatever a human should hear of. */
  announce(sync: JoinedGitSync, verdict: Verdict): void {
    if (verdict.is === 'failing' || verdict.is === 'stalled') this.record(sync, 'Warning', verdict.reason, verdict.message);
    else if (verdict.is === 'ready' && conditionOf(sync, 'Ready')?.status !== 'True')
      this.record(sync, 'Normal', verdict.reason, verdict.message);
  }
}
