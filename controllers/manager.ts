/** The controllers as one: campaigns for the leadership, and while it lasts keeps the cluster the way that its objects say. */
import { setMaxListeners } from 'node:events';
import type { ClusterCache, ObjectDoor } from '../api/objects/ports.js';
import { presenceTtlMs } from '../api/resources/protocol.js';
import type { Clock, Random } from '../runtime/clock.js';
import { type Leadership, runForLeader } from '../runtime/leader.js';
import type { Logger } from '../runtime/log.js';
import type { Metrics } from '../runtime/metrics.js';
import { type Fence, Fenced, type Store, StoreUnavailable } from '../runtime/store/store.js';
import { Reconciler, type reconcileLimits } from './assignments/reconcile.js';
import type { EventRecorder } from './events.js';
import { type gcLimits, runGc } from './gc/reconcile.js';
import { gitSyncMetrics } from './gitsync/metrics.js';
import type { GitSources } from './gitsync/ports.js';
import { runGitSyncs } from './gitsync/reconcile.js';
import type { cautionLimits } from './machines/caution.js';
import { type ControllerMetrics, controllerMetrics } from './metrics.js';
import { observeCluster } from './observe.js';
import { type ownersLimits, runOwners } from './owners/reconcile.js';
import { runUnitSets, type unitSetLimits } from './unitsets/reconcile.js';

export interface ControllersOptions {
  readonly store: Store;
  /** Follows the same store. */
  readonly cache: ClusterCache;
  /** Writes objects to the same store. */
  readonly door: ObjectDoor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
  /** Where GitSyncs read from and write through; without it nobody carries them out. */
  readonly git?: GitSources;
  /** Default Math.random. */
  readonly random?: Random;
  /** Shown to whoever asks who leads. */
  readonly identity: Readonly<Record<string, unknown>>;
  /** Ends the candidacy; a leader steps down. */
  readonly signal: AbortSignal;
  /** How long a leader may be silent before another one takes over. Default: as long as a machine. */
  readonly leaderTtlMs?: number;
  readonly limits?: {
    readonly reconcile?: Partial<typeof reconcileLimits>;
    readonly caution?: typeof cautionLimits;
    readonly gc?: Partial<typeof gcLimits>;
    readonly owners?: Partial<typeof ownersLimits>;
    readonly unitSets?: Partial<typeof unitSetLimits>;
  };
}

/** Resolves when the signal has aborted and nothing of a leadership is running any more. Rejects on a fault of the program only. */
export async function runControllers(options: ControllersOptions): Promise<void> {
  const { store, cache, clock, log, metrics, identity, signal, leaderTtlMs = presenceTtlMs } = options;
  let leading: Reconciler | undefined;
  const unobserve = observeCluster(metrics, cache, () => leading);
  try {
    await cache.untilSynced(signal);
    await runForLeader({
      store,
      key: cache.keys.leader,
      identity,
      ttlMs: leaderTtlMs,
      clock,
      log,
      signal,
      lead: (leadership) => lead(options, leadership, (reconciler) => (leading = reconciler)).finally(() => (leading = undefined)),
    });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    unobserve();
  }
}

async function lead(options: ControllersOptions, { fence, electedAtMs, signal }: Leadership, started: (reconciler: Reconciler) => void) {
  const { store, cache, door, clock, random = Math.random, log, metrics, events, limits = {} } = options;
  // Whatever former leaders wrote, they wrote before this leadership's key was made: their fence cannot hold after it.
  while (cache.revision < fence.createRevision) {
    if (signal.aborted) return;
    await cache.untilRevision(fence.createRevision).catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error;
      log.warn('the new leader waits for its cache', { error });
    });
  }
  const stop = new AbortController();
  // A pass writes hundreds of things at a time, and each write listens.
  setMaxListeners(0, stop.signal);
  const end = () => stop.abort(signal.aborted ? signal.reason : new Fenced('the work of the leader has ended'));
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  const counted: ControllerMetrics = controllerMetrics(metrics, () => reconciler.progress);
  const reconciler: Reconciler = new Reconciler({
    store,
    cache,
    fence,
    electedAtMs,
    clock,
    log,
    events,
    metrics: counted,
    signal: stop.signal,
    ...(limits.reconcile ? { limits: limits.reconcile } : {}),
    ...(limits.caution ? { caution: limits.caution } : {}),
  });
  started(reconciler);
  const isCautious = () => reconciler.isCautious;
  const gcOptions = { store, cache, fence, clock, log, metrics: counted, isCautious, ...(limits.gc ? { limits: limits.gc } : {}) };
  const byKey = { store, cache, door, fence, clock, random, log, metrics, events, signal: stop.signal };
  const works = [
    reconciler.run(),
    runGc({ ...gcOptions, signal: stop.signal }),
    runOwners({ ...byKey, isCautious, ...(limits.owners ? { limits: limits.owners } : {}) }),
    runUnitSets({ ...byKey, ...(limits.unitSets ? { limits: limits.unitSets } : {}) }),
  ];
  if (options.git) works.push(syncFromGit(options.git, options, { fence, signal: stop.signal, isCautious }));
  try {
    await allOrNone(works, end);
  } finally {
    counted.forget();
    signal.removeEventListener('abort', end);
  }
}

function syncFromGit(
  git: NonNullable<ControllersOptions['git']>,
  { store, cache, door, clock, log, metrics, events, random = Math.random }: ControllersOptions,
  leading: { readonly fence: Fence; readonly signal: AbortSignal; readonly isCautious: () => boolean },
): Promise<void> {
  const shared = { store, cache, door, clock, random, log: log.child({ controller: 'gitsyncs' }), events };
  return runGitSyncs({ ...git, ...shared, ...leading, metrics: gitSyncMetrics(metrics, cache, clock), queueMetrics: metrics });
}

/** Whichever ends first ends the others; resolves when all have. Rejects with what the first one that failed threw. */
async function allOrNone(works: readonly Promise<void>[], end: () => void): Promise<void> {
  const failures: unknown[] = [];
  await Promise.all(works.map((work) => work.catch((error: unknown) => failures.push(error)).finally(end)));
  if (failures.length > 0) throw failures[0];
}
