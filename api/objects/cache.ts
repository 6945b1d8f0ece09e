/**
 * The cluster in memory: one watch over all our keys, decoded, indexed and joined, a cut at one revision (SEMANTICS 2). Reads come from
 * here and are still read-your-writes: whoever wrote at a revision waits until it is in.
 */
import type { Clock, Random } from '../../runtime/clock.js';
import { type Informer, type informerLimits, type KeyBatch, startInformer } from '../../runtime/informer.js';
import type { Logger } from '../../runtime/log.js';
import { type Metrics, noMetrics } from '../../runtime/metrics.js';
import { type Store, StoreUnavailable } from '../../runtime/store/store.js';
import type { AssignmentSpec, UnitState } from '../resources/assignment.js';
import type { Event } from '../resources/event.js';
import type { Keys } from '../resources/keys.js';
import type { Presence } from '../resources/machine.js';
import { Hub, type hubLimits } from './hub.js';
import { JoinedView } from './joined-view.js';
import type { BrokenRow, CacheBatch, ClusterCache, Joined, ObjectId, Row, StatusFragment, StoredObject, WatchHub } from './ports.js';
import { Rows } from './rows.js';

export interface ClusterCacheOptions {
  readonly store: Pick<Store, 'list' | 'watch'>;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: Random;
  readonly metrics?: Metrics;
  /** Stops following the store; what is known stays readable. */
  readonly signal?: AbortSignal;
  readonly limits?: {
    readonly cache?: Partial<typeof cacheLimits>;
    readonly informer?: Partial<typeof informerLimits>;
    readonly hub?: Partial<typeof hubLimits>;
  };
}

export const cacheLimits = {
  /** How long `untilRevision` waits when its caller does not say. */
  untilRevisionMs: 5_000,
  /** While somebody waits for a revision, the store is asked this often how far the watch is. */
  nudgeEveryMs: 50,
};

/** Starts to follow the store at once; `untilSynced` resolves when the first list is in. */
export function openClusterCache(options: ClusterCacheOptions): { cache: ClusterCache; hub: WatchHub; stop: () => void } {
  const hub = new Hub(options.log, options.metrics, options.limits?.hub);
  const cache = new Cache(options, hub);
  return { cache, hub, stop: () => cache.stop() };
}

interface Waiter {
  readonly revision: number;
  readonly done: () => void;
}

class Cache implements ClusterCache {
  readonly keys: Keys;
  revision = 0;
  synced = false;

  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limits: typeof cacheLimits;
  readonly #rows: Rows;
  readonly #view: JoinedView;
  readonly #hub: Hub;
  readonly #informer: Informer;
  readonly #listeners = new Set<(batch: CacheBatch) => void>();
  readonly #waiters = new Set<Waiter>();
  #cancelNudge: (() => void) | undefined;

  constructor({ store, keys, clock, log, random = Math.random, metrics = noMetrics, signal, limits }: ClusterCacheOptions, hub: Hub) {
    this.keys = keys;
    this.#clock = clock;
    this.#log = log;
    this.#hub = hub;
    this.#limits = { ...cacheLimits, ...limits?.cache };
    this.#rows = new Rows(keys, ({ key, modRevision, message }) =>
      log.error('a stored value cannot be read and is left out', { key, modRevision, why: message }),
    );
    this.#view = new JoinedView(this.#rows, keys);
    this.#observe(metrics);
    this.#informer = startInformer({
      name: 'cluster',
      store,
      prefix: keys.root,
      clock,
      random,
      log,
      metrics,
      handler: { batch: (batch) => this.#apply(batch), progress: (revision) => this.#reach(revision) },
      ...(limits?.informer ? { limits: limits.informer } : {}),
    });
    if (signal?.aborted) this.stop();
    else signal?.addEventListener('abort', () => this.stop(), { once: true });
  }

  stop(): void {
    this.#informer.stop();
    this.#cancelNudge?.();
    this.#cancelNudge = undefined;
  }

  async untilSynced(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.synced) return;
    // Any revision will do: the first one known is that of the first list.
    await new Promise<void>((resolve, reject) => {
      const aborted = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter = {
        revision: 0,
        done: () => {
          signal?.removeEventListener('abort', aborted);
          resolve();
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', aborted, { once: true });
    });
  }

  async untilRevision(revision: number, timeoutMs = this.#limits.untilRevisionMs): Promise<void> {
    if (this.synced && this.revision >= revision) return;
    await new Promise<void>((resolve, reject) => {
      const cancel = this.#clock.after(timeoutMs, () => {
        this.#waiters.delete(waiter);
        reject(
          new StoreUnavailable(`revision ${revision} did not arrive within ${timeoutMs} ms; this server knows revision ${this.revision}`),
        );
      });
      const waiter = {
        revision,
        done: () => {
          cancel();
          resolve();
        },
      };
      this.#waiters.add(waiter);
      this.#nudgeLater();
    });
  }

  object = (plural: string, name: string): Row<StoredObject> | undefined => this.#rows.objects.get(plural, name);
  objects = (plural: string): ReadonlyMap<string, Row<StoredObject>> => this.#rows.objects.all(plural);
  dependentsOf = (uid: string): Iterable<ObjectId> => this.#rows.dependents.of(uid);
  fragment = (plural: string, name: string): Row<StatusFragment> | undefined => this.#rows.fragments.get(plural, name);
  presence = (machine: string): Row<Presence> | undefined => this.#rows.presences.get('', machine);
  presences = (): ReadonlyMap<string, Row<Presence>> => this.#rows.presences.all('');
  assignment = (machine: string, unit: string): Row<AssignmentSpec> | undefined => this.#rows.assignmentsByMachine.get(machine, unit);
  assignmentsOn = (machine: string): ReadonlyMap<string, Row<AssignmentSpec>> => this.#rows.assignmentsByMachine.all(machine);
  assignmentsOf = (unit: string): ReadonlyMap<string, Row<AssignmentSpec>> => this.#rows.assignmentsByUnit.all(unit);
  state = (machine: string, unit: string): Row<UnitState> | undefined => this.#rows.statesByMachine.get(machine, unit);
  statesOn = (machine: string): ReadonlyMap<string, Row<UnitState>> => this.#rows.statesByMachine.all(machine);
  statesOf = (unit: string): ReadonlyMap<string, Row<UnitState>> => this.#rows.statesByUnit.all(unit);
  content = (sha256: string): Row<string> | undefined => this.#rows.contents.get('', sha256);
  contents = (): ReadonlyMap<string, Row<string>> => this.#rows.contents.all('');
  events = (): Iterable<Row<Event>> => this.#rows.events.rows();
  eventsAbout = (plural: string, object: string): ReadonlyMap<string, Row<Event>> => this.#rows.events.all(`${plural}/${object}`);
  joined = (plural: string, name: string): Joined | undefined => this.#view.get(plural, name);
  joinedAll = (plural: string): Joined[] => this.#view.all(plural);

  get broken(): ReadonlyMap<string, BrokenRow> {
    return this.#rows.broken;
  }

  subscribe(listener: (batch: CacheBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #apply(raw: KeyBatch): void {
    const batch = this.#rows.apply(raw);
    const events = this.#view.apply(batch);
    this.revision = batch.revision;
    this.synced = true;
    if (batch.relisted) this.#hub.restart(batch.revision);
    else this.#hub.publish(batch.revision, events);
    if (batch.changes.length === 0 && !batch.relisted) return;
    for (const listener of this.#listeners) {
      try {
        listener(batch);
      } catch (error) {
        this.#log.error('a subscriber of the cache failed', { revision: batch.revision, error });
      }
    }
  }

  #reach(revision: number): void {
    this.revision = revision;
    for (const waiter of this.#waiters) {
      if (waiter.revision > revision) continue;
      this.#waiters.delete(waiter);
      waiter.done();
    }
  }

  // A write's own event brings its revision. Only a revision of somebody else's keys has to be asked for.
  #nudgeLater(): void {
    this.#cancelNudge ??= this.#clock.after(this.#limits.nudgeEveryMs, () => {
      this.#cancelNudge = undefined;
      if (![...this.#waiters].some(({ revision }) => revision > 0)) return;
      this.#informer.requestProgress();
      this.#nudgeLater();
    });
  }

  #observe(metrics: Metrics): void {
    metrics.observe('gauge', 'flotilla_cache_rows', 'Rows in the cache, by table.', ['table'], () =>
      this.#rows.sizes().map(([table, value]) => ({ labels: { table }, value })),
    );
    metrics.observe('gauge', 'flotilla_cache_broken_rows', 'Stored values that cannot be read.', [], () => [
      { labels: {}, value: this.#rows.broken.size },
    ]);
    metrics.observe('gauge', 'flotilla_cache_revision', 'Revision of the store up to which the cache is complete.', [], () => [
      { labels: {}, value: this.synced ? this.revision : undefined },
    ]);
  }
}
