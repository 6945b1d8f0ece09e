/** What the leader remembers of a GitSync between two looks. All of it can be lost: then the next look goes the long way. */
import type { GitSyncStatus } from '../../api/resources/gitsync.js';
import type { Verdict } from './status.js';

export interface SyncMemory {
  /** Of the spec that the rest is about. */
  readonly generation: number;
  /** The commit whose objects are as the repository says, as far as writing them goes; undefined when the last sync did not get there. */
  readonly commit: string | undefined;
  /** Revision of each object's own key as the last sync left it: whoever touched one since made another. */
  readonly revisions: ReadonlyMap<string, number>;
  /** Monotonic time at which the repository is asked again. */
  readonly dueMs: number;
  /** Syncs in a row that did not come to an end. */
  readonly failures: number;
  /** It waits until these are healthy, until then at the latest. */
  readonly waiting?: { readonly revision: string; readonly ids: readonly string[]; readonly untilMs: number } | undefined;
}

/** What came of a sync, before it is told. */
export interface Ended {
  readonly verdict: Verdict;
  readonly status: GitSyncStatus;
  readonly memory: Partial<Pick<SyncMemory, 'commit' | 'revisions' | 'waiting'>>;
}
