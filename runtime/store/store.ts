/**
 * The store as the rest of the program sees it: ordered keys, one revision for the whole keyspace, conditional writes, watches that
 * neither lose nor repeat, leases measured by our own clock. `etcd-store.ts` is the only door to etcd3; `memory-store.ts` is the fake;
 * `test/contract/store.contract.ts` speaks for both.
 */

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Revision of the transaction that created the key's current life. */
  readonly createRevision: number;
  /** Revision of the transaction that last wrote it. */
  readonly modRevision: number;
  /** Lease that the key hangs on, if any. */
  readonly lease?: string;
}

/** `modRevision: 0` means "the key does not exist". */
export type Compare =
  | { readonly key: string; readonly modRevision: number }
  | { readonly key: string; readonly maxModRevision: number }
  | { readonly key: string; readonly createRevision: number };

export type Operation =
  | { readonly do: 'put'; readonly key: string; readonly value: string; readonly lease?: string }
  | { readonly do: 'delete'; readonly key: string };

/**
 * One conditional write, all or nothing. At least one compare must be falsified by the write's own success (a compare on a key that it
 * puts or deletes): only then can a write whose answer was lost be repeated safely, which the store does by itself (SEMANTICS 4).
 * At most 60 operations and 256 KiB; the store groups writes of many callers into one transaction.
 */
export interface Write {
  readonly compares: readonly Compare[];
  readonly operations: readonly Operation[];
}

export type WriteOutcome =
  /** Applied, exactly once, at `revision`. */
  | { readonly ok: true; readonly revision: number }
  /** A compare failed: nothing was written. `current` holds what the compared keys were at `revision`. */
  | { readonly ok: false; readonly revision: number; readonly current: ReadonlyMap<string, Entry | undefined> };

/** Whoever holds a leadership proves it in each transaction: the key must still have this create revision (invariant 3). */
export interface Fence {
  readonly key: string;
  readonly createRevision: number;
}

export interface WriteOptions {
  readonly fence?: Fence;
  readonly signal?: AbortSignal;
}

/** One change of one key. All events of a revision arrive in one batch. */
export type WatchEvent =
  | { readonly type: 'put'; readonly entry: Entry }
  | { readonly type: 'delete'; readonly key: string; readonly revision: number };

export interface WatchHandler {
  /** Whole revisions in rising order, never one twice, none left out; `revision` is the last one in the batch. */
  events(events: readonly WatchEvent[], revision: number): void;
  /** Nothing up to and including `revision` is still to come (progress notification). */
  progress?(revision: number): void;
  /** The history after the last delivered revision is gone (compaction): the watch has ended, list again and watch from there. */
  compacted(): void;
  /** The watch could not be kept for now and is being re-established; for logs and metrics only. */
  interrupted?(error: Error): void;
}

export interface Watch {
  close(): void;
  /** Asks the store for a progress notification soon; best effort. */
  requestProgress?(): void;
}

export interface Lease {
  readonly id: string;
  readonly ttlMs: number;
  /** Monotonic milliseconds after which the holder must behave as if the lease were gone: send time of the last success + TTL − margin. */
  readonly deadlineMs: number;
  /** Sends one keepalive; resolves true once etcd has answered, false when the lease is gone. Rejects when the outcome is unknown. */
  keepAlive(): Promise<boolean>;
  /** Resolves once, when the lease is lost by our own clock, revoked, or known to be gone. */
  readonly lost: Promise<string>;
  revoke(): Promise<void>;
}

export interface LeaseOptions {
  /** 'auto': the store sends keepalives every TTL/3. 'manual': only `keepAlive()` does (agent heartbeats, SEMANTICS 17). */
  readonly keepAlive: 'auto' | 'manual';
  /** Take over a lease that another process granted instead of granting one; rejects with `LeaseGone` when there is none. */
  readonly id?: string;
}

export interface Member {
  readonly id: string;
  readonly name: string;
  readonly endpoints: readonly string[];
  readonly healthy: boolean;
  readonly isLeader: boolean;
  /** Why it is not healthy, in words. */
  readonly message: string;
  readonly version?: string;
  readonly dbSizeBytes?: number;
}

export interface Store {
  get(key: string, signal?: AbortSignal): Promise<{ entry: Entry | undefined; revision: number }>;
  /** Every key below `prefix`, read in pages at one revision, sorted by key. */
  list(prefix: string, signal?: AbortSignal): Promise<{ entries: Entry[]; revision: number }>;
  /**
   * Applies one conditional write, grouped with others that are waiting. Throws `Fenced`, `StoreUnavailable`, `OutcomeUnknown`, `LeaseGone`
   * when it hangs a key on a lease that is gone, and `InvalidWrite` for what no store could take.
   */
  commit(write: Write, options?: WriteOptions): Promise<WriteOutcome>;
  /** Events of all keys below `prefix` from revision `after` + 1 on. Handlers are called in order, and never inside `watch()` itself. */
  watch(prefix: string, after: number, handler: WatchHandler): Watch;
  lease(ttlMs: number, options: LeaseOptions): Promise<Lease>;
  /** Remaining TTL in milliseconds as etcd sees it; undefined when the lease is gone. */
  leaseTtlMs(id: string): Promise<number | undefined>;
  /** The current revision, by a linearizable read. */
  revision(signal?: AbortSignal): Promise<number>;
  members(): Promise<Member[]>;
  close(): Promise<void>;
}

/** The fence no longer holds: this process is not the leader any more. Nothing was written. */
export class Fenced extends Error {
  override readonly name = 'Fenced';
}

/** Nothing was written, or nothing could be read, because etcd cannot be reached right now. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** The answer was lost and could not be found out before the deadline: the write may or may not have happened, repeating it is safe. */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown';
}

/** The lease expired or was revoked: whatever hung on it is deleted. */
export class LeaseGone extends Error {
  override readonly name = 'LeaseGone';
}
