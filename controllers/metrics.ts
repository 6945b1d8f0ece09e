/** What the controllers tell of themselves while this server leads, under the names that SREs know where there are such names. */
import { latencyBuckets, type Metrics } from '../runtime/metrics.js';
import { queueMetrics, reconcileMetrics } from '../runtime/queue-metrics.js';

/** What the loop is doing now. */
export interface Progress {
  /** Units, copies and machines that wait to be looked at. */
  readonly waiting: number;
  /** Milliseconds since the pass under way began; undefined between two passes. */
  readonly passAgeMs: number | undefined;
}

export interface ControllerMetrics {
  /** A pass takes up `units`; the one that waited longest has waited for `waitedMs`. */
  took(units: number, waitedMs: number): void;
  /** Something could not be written and is looked at again. */
  retried(): void;
  /** A pass ended. */
  passed(result: 'success' | 'error', ms: number): void;
  /** Copies of units were given a machine, `seconds` after it was known that they need one. */
  placed(count: number, seconds: number): void;
  /** A round of garbage collection ended. */
  collected(result: 'success' | 'error', ms: number): void;
  /** The leadership is over: there is no progress to show any more. */
  forget(): void;
}

export function controllerMetrics(metrics: Metrics, progress: () => Progress): ControllerMetrics {
  const agesMs = () => {
    const ageMs = progress().passAgeMs;
    return ageMs === undefined ? [] : [ageMs];
  };
  const queue = queueMetrics(metrics, { name: 'units', waiting: () => progress().waiting, agesMs });
  const workers = { active: () => agesMs().length, limit: 1 };
  const passes = reconcileMetrics(metrics, { controller: 'units', results: ['success'], workers });
  const rounds = reconcileMetrics(metrics, { controller: 'gc', results: ['success'] });
  const placements = metrics.counter('flotilla_scheduler_placements_total', 'Copies of units that were given a machine.');
  const waits = metrics.histogram(
    'flotilla_scheduling_duration_seconds',
    'From the moment a unit was known to need a machine until its assignment was stored.',
    latencyBuckets,
  );
  return {
    took(units, waitedMs) {
      queue.added(units);
      queue.waited(waitedMs);
    },
    retried: queue.retried,
    passed(result, ms) {
      queue.worked(ms);
      passes.ended(ms, result);
    },
    placed(count, seconds) {
      placements.inc({}, count);
      waits.observe({}, seconds);
    },
    collected: (result, ms) => rounds.ended(ms, result),
    forget() {
      queue.forget();
      passes.forget();
      rounds.forget();
    },
  };
}
