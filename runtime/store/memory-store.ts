/** The store in memory: the same promises as etcd, decided by an injected clock, and faults that a test can switch on. */
import { type Clock, systemClock } from '../clock.js';
import { HeldLease, type LeaseWire } from './lease.js';
import {
  type Entry,
  Fenced,
  type Lease,
  LeaseGone,
  type LeaseOptions,
  type Member,
  OutcomeUnknown,
  type Store,
  StoreUnavailable,
  type Watch,
  type WatchEvent,
  type WatchHandler,
  type Write,
  type WriteOptions,
  type WriteOutcome,
} from './store.js';
import { checkWrite, holds } from './write-rules.js';

/** Faults of one client of the store. The planted ones break a promise on purpose, so that a test of the promise can be seen to fail. */
export class MemoryFaults {
  /** The next n commits are applied and their answers lost: the caller gets `OutcomeUnknown`. */
  loseAnswers = 0;
  /** Planted, breaks invariant 3: a write is applied although its fence does not hold. */
  ignoreFence = false;
  /** Planted, breaks invariant 2: the next n commits are acknowledged and not applied. */
  dropWrites = 0;
  /** Planted: the next n revisions are left out of every watch that is open, without a sign. */
  loseRevisions = 0;
  /** Planted, breaks invariant 13: every lease is said to have all of its time left. */
  leasesLookFull = false;
  #unavailable = false;
  #frozen = false;
  #watchesCut = false;

  constructor(private readonly changed: () => void) {}

  /** etcd cannot be reached: calls reject at once, watches are interrupted and catch up later. Leases expire as ever. */
  get unavailable(): boolean {
    return this.#unavailable;
  }
  set unavailable(on: boolean) {
    this.#unavailable = on;
    this.changed();
  }

  /** etcd does not answer: calls wait, and fail at their deadline; a write that was waiting is applied when etcd thaws, as a real one would. */
  get frozen(): boolean {
    return this.#frozen;
  }
  set frozen(on: boolean) {
    this.#frozen = on;
    this.changed();
  }

  /** Only the watches are cut; they catch up when it ends, or are told `compacted()`. */
  get watchesCut(): boolean {
    return this.#watchesCut;
  }
  set watchesCut(on: boolean) {
    this.#watchesCut = on;
    this.changed();
  }
}

export interface MemoryStoreOptions {
  readonly clock?: Clock;
  /** How long a call waits on a frozen store. */
  readonly callTimeoutMs?: number;
}

interface LeaseRecord {
  readonly ttlMs: number;
  expiresAtMs: number;
  readonly keys: Set<string>;
  cancel: () => void;
}

interface Revision {
  readonly revision: number;
  readonly events: readonly WatchEvent[];
}

/** What all clients share: etcd itself. */
class Keyspace {
  readonly entries = new Map<string, Entry>();
  readonly leases = new Map<string, LeaseRecord>();
  readonly watchers = new Set<MemoryWatch>();
  history: Revision[] = [];
  revision = 1;
  compactedAt = 0;
  #nextLease = 1;

  constructor(readonly clock: Clock) {}

  /** Applies the operations of one transaction at one new revision; nothing changes when they change nothing. */
  apply(operations: Write['operations']): number {
    const revision = this.revision + 1;
    const events: WatchEvent[] = [];
    for (const operation of operations) {
      const previous = this.entries.get(operation.key);
      if (previous?.lease) this.leases.get(previous.lease)?.keys.delete(operation.key);
      if (operation.do === 'delete') {
        if (!previous) continue;
        this.entries.delete(operation.key);
        events.push({ type: 'delete', key: operation.key, revision });
        continue;
      }
      if (operation.lease) this.leases.get(operation.lease)?.keys.add(operation.key);
      const entry: Entry = {
        key: operation.key,
        value: operation.value,
        createRevision: previous?.createRevision ?? revision,
        modRevision: revision,
        ...(operation.lease ? { lease: operation.lease } : {}),
      };
      this.entries.set(entry.key, entry);
      events.push({ type: 'put', entry });
    }
    if (events.length === 0) return this.revision;
    this.revision = revision;
    this.history.push({ revision, events });
    for (const watcher of this.watchers) watcher.wake();
    return revision;
  }

  grant(ttlMs: number): string {
    const id = String(this.#nextLease++);
    this.leases.set(id, { ttlMs, expiresAtMs: this.clock.monotonicMs() + ttlMs, keys: new Set(), cancel: () => {} });
    this.#expireLater(id);
    return id;
  }

  /** The TTL from now on; 0 when the lease is gone. */
  keepAlive(id: string): number {
    const lease = this.leases.get(id);
    if (!lease) return 0;
    lease.expiresAtMs = this.clock.monotonicMs() + lease.ttlMs;
    this.#expireLater(id);
    return lease.ttlMs;
  }

  /** Ends a lease; its keys are deleted at one revision. */
  revoke(id: string): void {
    const lease = this.leases.get(id);
    if (!lease) return;
    lease.cancel();
    this.leases.delete(id);
    this.apply([...lease.keys].sort().map((key) => ({ do: 'delete', key })));
  }

  compact(revision: number): void {
    for (const watcher of this.watchers) watcher.flush();
    this.compactedAt = Math.max(this.compactedAt, Math.min(revision, this.revision));
    this.history = this.history.filter((past) => past.revision > this.compactedAt);
  }

  #expireLater(id: string): void {
    const lease = this.leases.get(id);
    if (!lease) return;
    lease.cancel();
    lease.cancel = this.clock.after(lease.expiresAtMs - this.clock.monotonicMs(), () => {
      if (this.clock.monotonicMs() < lease.expiresAtMs) return this.#expireLater(id);
      this.revoke(id);
    });
  }
}

class MemoryWatch implements Watch {
  #woken = false;
  #interrupted = false;

  constructor(
    private readonly keyspace: Keyspace,
    private readonly client: MemoryStore,
    private readonly prefix: string,
    private cursor: number,
    private readonly handler: WatchHandler,
  ) {
    keyspace.watchers.add(this);
    this.wake();
  }

  close(): void {
    this.keyspace.watchers.delete(this);
  }

  requestProgress(): void {
    queueMicrotask(() => {
      this.flush();
      if (this.keyspace.watchers.has(this) && !this.#interrupted) this.handler.progress?.(this.cursor);
    });
  }

  /** Delivers later, in a microtask of its own, as an event from a socket would come: never inside the writer's call. */
  wake(): void {
    if (this.#woken) return;
    this.#woken = true;
    queueMicrotask(() => {
      this.#woken = false;
      this.flush();
    });
  }

  flush(): void {
    const { faults } = this.client;
    if (!this.keyspace.watchers.has(this)) return;
    if (faults.watchesCut || faults.unavailable || faults.frozen) {
      // A frozen server shows no sign at first; a cut does.
      if (!this.#interrupted && !faults.frozen) {
        this.#interrupted = true;
        this.handler.interrupted?.(new StoreUnavailable('the watch was cut'));
      }
      return;
    }
    this.#interrupted = false;
    if (this.cursor < this.keyspace.compactedAt) {
      this.close();
      this.handler.compacted();
      return;
    }
    const events: WatchEvent[] = [];
    let { cursor } = this;
    for (const past of this.keyspace.history) {
      if (past.revision <= cursor) continue;
      cursor = past.revision;
      if (faults.loseRevisions > 0) {
        faults.loseRevisions--;
        continue;
      }
      events.push(...past.events.filter((event) => keyOf(event).startsWith(this.prefix)));
    }
    this.cursor = cursor;
    const last = events.at(-1);
    if (last) this.handler.events(events, revisionOf(last));
  }
}

const keyOf = (event: WatchEvent): string => (event.type === 'put' ? event.entry.key : event.key);
const revisionOf = (event: WatchEvent): number => (event.type === 'put' ? event.entry.modRevision : event.revision);

export class MemoryStore implements Store {
  readonly faults: MemoryFaults;
  readonly #clock: Clock;
  readonly #callTimeoutMs: number;
  readonly #keyspace: Keyspace;
  readonly #leases = new Set<HeldLease>();
  readonly #watches = new Set<MemoryWatch>();
  #thawed: (() => void)[] = [];
  #closed = false;

  constructor(options: MemoryStoreOptions = {}, keyspace?: Keyspace) {
    this.#clock = options.clock ?? systemClock;
    this.#callTimeoutMs = options.callTimeoutMs ?? 10_000;
    this.#keyspace = keyspace ?? new Keyspace(this.#clock);
    this.faults = new MemoryFaults(() => {
      if (!this.faults.frozen) for (const thaw of this.#thawed.splice(0)) thaw();
      for (const watch of this.#watches) watch.wake();
    });
  }

  /** Another client of the same etcd, with faults of its own. */
  peer(): MemoryStore {
    return new MemoryStore({ clock: this.#clock, callTimeoutMs: this.#callTimeoutMs }, this.#keyspace);
  }

  /** Forgets the history up to and including `revision`, as etcd's compaction does. */
  compact(revision = this.#keyspace.revision): void {
    this.#keyspace.compact(revision);
  }

  async get(key: string, signal?: AbortSignal): Promise<{ entry: Entry | undefined; revision: number }> {
    await this.#reach(signal);
    return { entry: this.#keyspace.entries.get(key), revision: this.#keyspace.revision };
  }

  async list(prefix: string, signal?: AbortSignal): Promise<{ entries: Entry[]; revision: number }> {
    await this.#reach(signal);
    const entries = [...this.#keyspace.entries.values()].filter((entry) => entry.key.startsWith(prefix));
    return { entries: entries.sort((a, b) => (a.key < b.key ? -1 : 1)), revision: this.#keyspace.revision };
  }

  async commit(write: Write, options: WriteOptions = {}): Promise<WriteOutcome> {
    checkWrite(write);
    await this.#reach(options.signal, () => {
      // Nobody waits for the answer any more, but etcd has the request.
      this.#thawed.push(() => this.#apply(write, options));
      throw new OutcomeUnknown('etcd did not answer before the deadline');
    });
    const outcome = this.#apply(write, options);
    if (this.faults.loseAnswers > 0) {
      this.faults.loseAnswers--;
      throw new OutcomeUnknown('the answer was lost');
    }
    if (outcome instanceof Error) throw outcome;
    return outcome;
  }

  #apply(write: Write, { fence }: WriteOptions): WriteOutcome | Fenced | LeaseGone {
    const { entries, leases } = this.#keyspace;
    const fenceHolds = !fence || entries.get(fence.key)?.createRevision === fence.createRevision;
    if (!fenceHolds && !this.faults.ignoreFence) return new Fenced(`no longer the holder of ${fence.key}`);
    if (!write.compares.every((compare) => holds(compare, entries.get(compare.key)))) {
      const current = new Map(write.compares.map(({ key }) => [key, entries.get(key)]));
      return { ok: false, revision: this.#keyspace.revision, current };
    }
    for (const operation of write.operations) {
      if (operation.do === 'put' && operation.lease && !leases.has(operation.lease)) {
        return new LeaseGone(`lease ${operation.lease} of ${operation.key} is gone`);
      }
    }
    if (this.faults.dropWrites > 0) {
      this.faults.dropWrites--;
      return { ok: true, revision: this.#keyspace.revision + 1 };
    }
    return { ok: true, revision: this.#keyspace.apply(write.operations) };
  }

  watch(prefix: string, after: number, handler: WatchHandler): Watch {
    if (this.#closed) throw new StoreUnavailable('the store is closed');
    const watch = new MemoryWatch(this.#keyspace, this, prefix, after, handler);
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
      requestProgress: () => watch.requestProgress(),
    };
  }

  async lease(ttlMs: number, options: LeaseOptions): Promise<Lease> {
    const sentAtMs = this.#clock.monotonicMs();
    const wire: LeaseWire = {
      keepAlive: async (id) => {
        await this.#reach();
        return this.#keyspace.keepAlive(id);
      },
      revoke: async (id) => {
        await this.#reach();
        this.#keyspace.revoke(id);
      },
    };
    await this.#reach();
    const id = options.id ?? this.#keyspace.grant(ttlMs);
    const grantedMs = options.id === undefined ? ttlMs : this.#keyspace.keepAlive(id);
    if (grantedMs === 0) throw new LeaseGone(`lease ${id} is gone`);
    const lease = new HeldLease({
      wire,
      clock: this.#clock,
      id,
      ttlMs: grantedMs,
      sentAtMs,
      keepAlive: options.keepAlive,
      ended: (ended) => this.#leases.delete(ended),
    });
    this.#leases.add(lease);
    return lease;
  }

  async leaseTtlMs(id: string): Promise<number | undefined> {
    await this.#reach();
    const lease = this.#keyspace.leases.get(id);
    if (lease && this.faults.leasesLookFull) return lease.ttlMs;
    return lease && Math.max(0, lease.expiresAtMs - this.#clock.monotonicMs());
  }

  async revision(signal?: AbortSignal): Promise<number> {
    await this.#reach(signal);
    return this.#keyspace.revision;
  }

  async members(): Promise<Member[]> {
    const healthy = !this.faults.unavailable && !this.faults.frozen;
    const message = healthy ? 'ok' : 'does not answer';
    return [{ id: '1', name: 'memory', endpoints: ['memory'], healthy, isLeader: healthy, message }];
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    for (const lease of this.#leases) lease.end('the store was closed');
    for (const thaw of this.#thawed.splice(0)) thaw();
  }

  /** Resolves as soon as etcd would have the request; `late` is what happens at the deadline of a frozen one. */
  async #reach(signal?: AbortSignal, late?: () => never): Promise<void> {
    signal?.throwIfAborted();
    if (this.faults.frozen) {
      const answered = await new Promise<boolean>((resolve) => {
        const settle = (isAnswered: boolean) => {
          cancel();
          signal?.removeEventListener('abort', giveUp);
          resolve(isAnswered);
        };
        const giveUp = () => settle(false);
        const cancel = this.#clock.after(this.#callTimeoutMs, giveUp);
        this.#thawed.push(() => settle(true));
        signal?.addEventListener('abort', giveUp);
      });
      signal?.throwIfAborted();
      if (!answered) {
        late?.();
        throw new StoreUnavailable('etcd did not answer before the deadline');
      }
    }
    if (this.#closed) throw new StoreUnavailable('the store is closed');
    if (this.faults.unavailable) throw new StoreUnavailable('etcd cannot be reached');
  }
}
