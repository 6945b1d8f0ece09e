/** The controllers as one: campaigns for the leadership, and while it lasts keeps the cluster the way that its objects say. */
import type { ClusterCache } from '../api/objects/ports.js';
import { presenceTtlMs } from '../api/resources/protocol.js';
import type { Clock } from '../runtime/clock.js';
import { type Leadership, runForLeader } from '../runtime/leader.js';
import type { Logger } from '../runtime/log.js';
import type { Metrics } from '../runtime/metrics.js';
import { Fenced, type Store, StoreUnavailable } from '../runtime/store/store.js';
import { Reconciler, type reconcileLimits } from './assignments/reconcile.js';
import type { EventRecorder } from './events.js';
import { type gcLimits, runGc } from './gc/reconcile.js';
import type { cautionLimits } from './machines/caution.js';
import { controllerMetrics } from './metrics.js';

export interface ControllersOptions {
  readonly store: Store;
  /** Follows the same store. */
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
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
  };
}

/** Resolves when the signal has aborted and nothing of a leadership is running any more. Rejects on a fault of the program only. */
export async function runControllers(options: ControllersOptions): Promise<void> {
  const { store, cache, clock, log, metrics, identity, signal, leaderTtlMs = presenceTtlMs } = options;
  let leading: Reconciler | undefined;
  const unobserve = observe(metrics, () => leading);
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
  const { store, cache, clock, log, metrics, events, limits = {} } = options;
  // Whatever former leaders wrote, they wrote before this leadership's key was made: their fence cannot hold after it.
  while (cache.revision < fence.createRevision) {
    if (signal.aborted) return;
    await cache.untilRevision(fence.createRevision).catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error;
      log.warn('the new leader waits for its cache', { error });
    });
  }
  const stop = new AbortController();
  const end = () => stop.abort(signal.aborted ? signal.reason : new Fenced('the work of the leader has ended'));
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  const reconciler = new Reconciler({
    store,
    cache,
    fence,
    electedAtMs,
    clock,
    log,
    events,
    metrics: controllerMetrics(metrics),
    signal: stop.signal,
    ...(limits.reconcile ? { limits: limits.reconcile } : {}),
    ...(limits.caution ? { caution: limits.caution } : {}),
  });
  started(reconciler);
  const gcOptions = {
    store,
    cache,
    fence,
    clock,
    log,
    isCautious: () => reconciler.isCautious,
    ...(limits.gc ? { limits: limits.gc } : {}),
  };
  try {
    await allOrNone([reconciler.run(), runGc({ ...gcOptions, signal: stop.signal })], end);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/** Whichever ends first ends the others; resolves when all have. Rejects with what the first one that failed threw. */
async function allOrNone(works: readonly Promise<void>[], end: () => void): Promise<void> {
  const failures: unknown[] = [];
  await Promise.all(works.map((work) => work.catch((error: unknown) => failures.push(error)).finally(end)));
  if (failures.length > 0) throw failures[0];
}

function observe(metrics: Metrics, leading: () => Reconciler | undefined): () => void {
  const stops = [
    metrics.observe('gauge', 'flotilla_leader', 'Whether this server leads the controllers: 1 or 0.', [], () => [
      { labels: {}, value: leading() ? 1 : 0 },
    ]),
    metrics.observe(
      'gauge',
      'flotilla_scheduler_pending_units',
      'Units that have no machine, by reason; from the leader only.',
      ['reason'],
      () => [...(leading()?.pendingByReason() ?? [])].map(([reason, value]) => ({ labels: { reason }, value })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_machines',
      'Machines by condition: present, lost, or held by caution; from the leader only.',
      ['condition'],
      () => [...(leading()?.machinesByHealth() ?? [])].map(([condition, value]) => ({ labels: { condition }, value })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_caution',
      'Whether nothing is moved because too many machines vanished together: 1 or 0.',
      [],
      () => {
        const reconciler = leading();
        return reconciler ? [{ labels: {}, value: reconciler.isCautious ? 1 : 0 }] : [];
      },
    ),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
