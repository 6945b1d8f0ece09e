/** What the leader remembers of a GitSync between two looks. All of it can be lost: then the next look goes the long way. */
import type { GitSyncStatus } from '../../api/resources/gitsync.js';
import type { Verdict } from './status.js';

/** An object as a sync wrote it. */
export interface Written {
  /** Of its own key: whoever touched it since made another. */
  readonly revision: number;
  /** Of what was applied. */
  readonly digest: string;
}

/** A look at a revision that came to its end, and what has to be the same for the next one to come to the same. */
export interface Settled {
  readonly commit: string;
  /** The annotated tag that named it, if one did: another one may be signed by somebody else. */
  readonly tag: string | undefined;
  /** Object → revision of its own key; 0: it is not there. */
  readonly seen: ReadonlyMap<string, number>;
  /** Objects in the status's inventory; undefined where it has none. */
  readonly inventory: number | undefined;
  readonly verdict: Verdict;
}

/** A revision that was applied, whose objects have to become healthy: until then at the latest. */
export interface Waiting {
  readonly revision: string;
  readonly ids: readonly string[];
  readonly untilMs: number;
}

export interface SyncMemory {
  /** Of the spec that the rest is about. */
  readonly generation: number;
  /** Undefined when the last sync did not get there. */
  readonly settled: Settled | undefined;
  /** By object: what need not be applied again as long as neither side has changed. */
  readonly written: ReadonlyMap<string, Written>;
  readonly waiting: Waiting | undefined;
  /** Monotonic time at which the repository is asked again. */
  readonly dueMs: number;
  /** Syncs in a row that did not come to an end. */
  readonly failures: number;
  /** The repository took long to answer the last time, or did not. */
  readonly isSlow: boolean;
}

/** What came of a sync, before it is told. */
export interface Ended {
  readonly verdict: Verdict;
  readonly status: GitSyncStatus;
  readonly memory: Partial<Pick<SyncMemory, 'settled' | 'written' | 'waiting' | 'isSlow'>>;
}
