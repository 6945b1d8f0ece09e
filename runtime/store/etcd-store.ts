/** The store on etcd: the only door to etcd3, together with the files named `etcd-*` beside it. `docs/decisions/0002-store.md` says why. */
import type { IKeyValue, IRangeRequest } from 'etcd3';
import { type Clock, type Random, sleep, systemClock } from '../clock.js';
import type { Logger } from '../log.js';
import { type Endpoint, Endpoints, EtcdCallError, type EtcdCredentials, prefixEnd, revisionOf } from './etcd-client.js';
import { HistoryGone, readHistory } from './etcd-history.js';
import { KeepAlives } from './etcd-keepalive.js';
import { readMembers } from './etcd-members.js';
import { breadthOf, decodeBatch, decodeSealing, encodeBatch, encodeSealing } from './etcd-txn.js';
import { EtcdWatch, entryOf } from './etcd-watch.js';
import { type BatchWire, type Failure, GroupCommit } from './group-commit.js';
import { HeldLease } from './lease.js';
import { isReserved, SEAL } from './reserved-keys.js';
import {
  type Entry,
  type Lease,
  LeaseGone,
  type LeaseOptions,
  type Member,
  type Store,
  StoreUnavailable,
  type Watch,
  type WatchHandler,
  type Write,
  type WriteOptions,
  type WriteOutcome,
} from './store.js';
import { writeIdOf, writeIds } from './write-id.js';
import { InvalidWrite } from './write-rules.js';

export interface EtcdStoreOptions {
  /** Client URLs of the members, such as `http://127.0.0.1:2379`. */
  readonly endpoints: readonly string[];
  /** For `https` endpoints. Without them the system's CAs decide, and we show no certificate. */
  readonly credentials?: EtcdCredentials;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
  /** A read or a lease call, with its attempts on all endpoints. Default 6 s. */
  readonly readTimeoutMs?: number;
  /** A commit, with its attempts and with finding out what became of a lost one. Default 10 s. */
  readonly commitTimeoutMs?: number;
  /** One attempt on one endpoint. Default 2 s. */
  readonly attemptTimeoutMs?: number;
}

/** A page of a list aims at this many bytes: small pages make etcd walk its index again and again, large ones fill our memory. */
const PAGE_BYTES = 3 * 1024 * 1024;
const FIRST_PAGE_KEYS = 500;
const LARGEST_PAGE_KEYS = 20_000;
/** A list reads history at its first page's revision; etcd may compact that under it. */
const MAX_LIST_RESTARTS = 3;
const BACKOFF_MS = { first: 20, longest: 500 };

/** Opens at once and connects when needed; an etcd that is away shows in the calls. */
export function openEtcdStore(options: EtcdStoreOptions): Store {
  return new EtcdStore(options);
}

class EtcdStore implements Store {
  readonly #endpoints: Endpoints;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger | undefined;
  readonly #readTimeoutMs: number;
  readonly #attemptTimeoutMs: number;
  readonly #credentials: EtcdCredentials | undefined;
  readonly #commits: GroupCommit;
  readonly #keepAlives: KeepAlives;
  readonly #watches = new Set<EtcdWatch>();
  readonly #leases = new Set<HeldLease>();
  readonly #newId = writeIds();
  #closed = false;

  constructor(options: EtcdStoreOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#log = options.log;
    this.#readTimeoutMs = options.readTimeoutMs ?? 6000;
    this.#attemptTimeoutMs = options.attemptTimeoutMs ?? 2000;
    this.#credentials = options.credentials;
    this.#endpoints = new Endpoints(options.endpoints, options.credentials);
    this.#keepAlives = new KeepAlives(this.#endpoints, this.#clock, this.#attemptTimeoutMs);
    this.#commits = new GroupCommit({
      wire: this.#wire(),
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      newId: this.#newId,
      timeoutMs: options.commitTimeoutMs ?? 10_000,
      attemptTimeoutMs: this.#attemptTimeoutMs,
    });
  }

  async get(key: string, signal?: AbortSignal): Promise<{ entry: Entry | undefined; revision: number }> {
    const answer = await this.#range({ key: Buffer.from(key) }, signal);
    const [kv] = answer.kvs;
    return { entry: kv && entryOf(kv), revision: revisionOf(answer.header.revision) };
  }

  async list(prefix: string, signal?: AbortSignal): Promise<{ entries: Entry[]; revision: number }> {
    for (let restarts = 0; ; restarts++) {
      try {
        return await this.#listOnce(prefix, signal);
      } catch (error) {
        if (!(error instanceof EtcdCallError && isCompacted(error))) throw error;
        if (restarts === MAX_LIST_RESTARTS)
          throw new StoreUnavailable(`list of ${prefix}: etcd compacts faster than it is read`, { cause: error });
        this.#log?.info('a list outlived the history that it read and starts again', { prefix });
      }
    }
  }

  async #listOnce(prefix: string, signal?: AbortSignal): Promise<{ entries: Entry[]; revision: number }> {
    const end = prefixEnd(prefix);
    const entries: Entry[] = [];
    let key = prefix === '' ? Buffer.from([0]) : Buffer.from(prefix);
    let limit = FIRST_PAGE_KEYS;
    for (let revision = 0; ; ) {
      const page = await this.#range({ key, range_end: end, limit, revision }, signal);
      // The first page decides the revision of all.
      revision ||= revisionOf(page.header.revision);
      for (const kv of page.kvs) {
        const entry = entryOf(kv);
        if (!isReserved(entry.key)) entries.push(entry);
      }
      const last = page.kvs.at(-1);
      if (!page.more || !last) return { entries, revision };
      key = Buffer.concat([last.key, Buffer.from([0])]);
      limit = pageKeys(page.kvs);
    }
  }

  async revision(signal?: AbortSignal): Promise<number> {
    const answer = await this.#range({ key: Buffer.from(SEAL), count_only: true }, signal);
    return revisionOf(answer.header.revision);
  }

  commit(write: Write, options?: WriteOptions): Promise<WriteOutcome> {
    return this.#commits.commit(write, options);
  }

  watch(prefix: string, after: number, handler: WatchHandler): Watch {
    if (this.#closed) throw new StoreUnavailable('the store is closed');
    const watch = new EtcdWatch({
      endpoints: this.#endpoints,
      clock: this.#clock,
      random: this.#random,
      prefix,
      after,
      handler,
      currentRevision: () => this.revision(),
      lastChange: async (below, since, upTo) => {
        let last = since;
        await this.#history(since, upTo, this.#readTimeoutMs, (kv, revision) => {
          if (kv.key.toString().startsWith(below)) last = revision;
        });
        return last;
      },
      closed: (closed) => this.#watches.delete(closed),
    });
    this.#watches.add(watch);
    return watch;
  }

  async lease(ttlMs: number, options: LeaseOptions): Promise<Lease> {
    const granted = options.id === undefined ? await this.#grant(ttlMs) : await this.#takeOver(options.id);
    const lease: HeldLease = new HeldLease({
      ...granted,
      wire: {
        keepAlive: (id) => this.#keepAlives.send(id),
        revoke: (id) => this.#revoke(id),
      },
      clock: this.#clock,
      keepAlive: options.keepAlive,
      ended: () => this.#leases.delete(lease),
    });
    this.#leases.add(lease);
    return lease;
  }

  /** A lease whose grant's answer was lost is granted again; the orphan has no keys and expires. */
  async #grant(ttlMs: number): Promise<{ id: string; ttlMs: number; sentAtMs: number }> {
    return this.#call('lease grant', this.#readTimeoutMs, undefined, async (endpoint, timeoutMs) => {
      const sentAtMs = this.#clock.monotonicMs();
      const answer = await endpoint.lease({ timeoutMs }).leaseGrant({ TTL: Math.ceil(ttlMs / 1000) });
      return { id: answer.ID, ttlMs: Number(answer.TTL) * 1000, sentAtMs };
    });
  }

  async #takeOver(id: string): Promise<{ id: string; ttlMs: number; sentAtMs: number }> {
    const sentAtMs = this.#clock.monotonicMs();
    const ttlMs = await this.#keepAlives.send(id);
    if (ttlMs === 0) throw new LeaseGone(`lease ${id} is gone`);
    return { id, ttlMs, sentAtMs };
  }

  async #revoke(id: string): Promise<void> {
    await this.#call('lease revoke', this.#readTimeoutMs, undefined, async (endpoint, timeoutMs) => {
      try {
        await endpoint.lease({ timeoutMs }).leaseRevoke({ ID: id });
      } catch (error) {
        // Gone is what was asked for; the answer to an earlier attempt may have been lost.
        if (!isLeaseNotFound(error)) throw error;
      }
    });
  }

  async leaseTtlMs(id: string): Promise<number | undefined> {
    return this.#call('lease time to live', this.#readTimeoutMs, undefined, async (endpoint, timeoutMs) => {
      const answer = await endpoint.lease({ timeoutMs }).leaseTimeToLive({ ID: id });
      const seconds = Number(answer.TTL);
      return seconds < 0 ? undefined : seconds * 1000;
    });
  }

  members(): Promise<Member[]> {
    return readMembers(this.#endpoints.all, this.#credentials);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    for (const lease of this.#leases) lease.end('the store was closed');
    await this.#commits.close();
    this.#keepAlives.close();
    this.#endpoints.close();
  }

  #range(request: IRangeRequest, signal: AbortSignal | undefined) {
    return this.#call('range', this.#readTimeoutMs, signal, (endpoint, timeoutMs) => endpoint.kv({ timeoutMs, signal }).range(request));
  }

  /** Tries a call that may be repeated, on one endpoint after the other, until it is answered or the time is up. */
  async #call<T>(
    what: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    attempt: (endpoint: Endpoint, timeoutMs: number) => Promise<T>,
  ): Promise<T> {
    const deadlineMs = this.#clock.monotonicMs() + timeoutMs;
    for (let failures = 0; ; failures++) {
      const endpoint = this.#endpoints.preferred;
      const leftMs = deadlineMs - this.#clock.monotonicMs();
      try {
        return await attempt(endpoint, Math.max(1, Math.min(this.#attemptTimeoutMs, leftMs)));
      } catch (error) {
        if (!(error instanceof EtcdCallError)) throw error;
        if (error.effect === 'refused') throw refusal(error);
        this.#endpoints.after(endpoint);
        const tried = Math.floor(failures / this.#endpoints.all.length);
        // Each member is asked once at once; only the next round waits.
        const delayMs = tried === 0 && this.#endpoints.all.length > 1 ? 0 : backoffMs(tried, this.#random);
        if (this.#closed || this.#clock.monotonicMs() + delayMs >= deadlineMs) {
          throw new StoreUnavailable(`${what}: etcd did not answer in ${timeoutMs} ms: ${error.message} (${endpoint.url})`, {
            cause: error,
          });
        }
        await sleep(this.#clock, delayMs, signal);
        signal?.throwIfAborted();
      }
    }
  }

  #history(after: number, upTo: number, timeoutMs: number, see: (kv: IKeyValue, revision: number) => void): Promise<void> {
    const options = { after, upTo, timeoutMs, see: (event: { kv: IKeyValue }, revision: number) => see(event.kv, revision) };
    return readHistory(this.#endpoints.preferred, this.#clock, options);
  }

  #wire(): BatchWire {
    /** One attempt on the preferred endpoint; a failure moves the preference. */
    const once = async <T>(attempt: (endpoint: Endpoint) => Promise<T>): Promise<T> => {
      const endpoint = this.#endpoints.preferred;
      try {
        return await attempt(endpoint);
      } catch (error) {
        if (!(error instanceof EtcdCallError) || error.effect !== 'refused') this.#endpoints.after(endpoint);
        throw error;
      }
    };
    return {
      send: (items, fence, seal, timeoutMs) =>
        once(async (endpoint) => decodeBatch(await endpoint.kv({ timeoutMs }).txn(encodeBatch(items, fence, seal)), items, fence)),
      readSeal: (timeoutMs) =>
        once(async (endpoint) => {
          const answer = await endpoint.kv({ timeoutMs }).range({ key: Buffer.from(SEAL) });
          return revisionOf(answer.kvs[0]?.mod_revision ?? '0');
        }),
      replaceSeal: (seal, timeoutMs) =>
        once(async (endpoint) => decodeSealing(await endpoint.kv({ timeoutMs }).txn(encodeSealing(seal, this.#newId())))),
      findApplied: async (ids, after, upTo, timeoutMs) => {
        const applied = new Map<string, number>();
        await once(() =>
          this.#history(after, upTo, timeoutMs, (kv, revision) => {
            const id = writeIdOf(kv.value);
            if (id !== undefined && ids.has(id)) applied.set(id, revision);
          }),
        );
        return applied;
      },
      lastRevision: () => this.#endpoints.lastRevision,
      failure: failureOf,
      breadth: breadthOf,
    };
  }
}

const backoffMs = (failures: number, random: Random): number =>
  Math.min(BACKOFF_MS.longest, BACKOFF_MS.first * 2 ** failures) * (0.5 + random() / 2);

/** As many keys as fill a page if they are like those of the last one. */
function pageKeys(kvs: readonly IKeyValue[]): number {
  let bytes = 0;
  for (const kv of kvs) bytes += kv.key.length + kv.value.length + 32;
  return Math.max(1, Math.min(LARGEST_PAGE_KEYS, Math.floor((PAGE_BYTES * kvs.length) / bytes)));
}

const isLeaseNotFound = (error: unknown): boolean => error instanceof Error && /requested lease not found/.test(error.message);

const isCompacted = (error: EtcdCallError): boolean => /required revision has been compacted/.test(error.message);

/** What etcd's refusals mean to a caller. */
function refusal(error: EtcdCallError): Error {
  if (isLeaseNotFound(error)) return new LeaseGone(`etcd: ${error.message}`, { cause: error });
  if (/request is too large|larger than max|too many operations/.test(error.message)) {
    return new InvalidWrite(`etcd refuses the size of the request: ${error.message}`, { cause: error });
  }
  if (isCompacted(error)) return error;
  // No space, no permission, not a member: not the caller's fault, and not cured by asking somebody else.
  return new StoreUnavailable(`etcd refused: ${error.message} (${error.endpoint})`, { cause: error });
}

function failureOf(error: unknown): Failure {
  if (error instanceof EtcdCallError && error.effect === 'refused') {
    const cause = refusal(error);
    // etcd looks at its space before it applies a write and once more after it, and says the same both times (quotaApplierV3 of etcd 3.4).
    // Splitting frees the deletions from the company of puts for which there is no space.
    if (/space exceeded/.test(error.message)) return { effect: 'doubtful', error: cause, alone: true };
    const alone = cause instanceof LeaseGone || cause instanceof InvalidWrite;
    return { effect: 'refused', error: cause, alone };
  }
  if (error instanceof HistoryGone) return { effect: 'refused', error, alone: false };
  if (error instanceof EtcdCallError && error.effect === 'none') return { effect: 'none', error };
  return { effect: 'unknown', error: error instanceof Error ? error : new Error(String(error)) };
}
