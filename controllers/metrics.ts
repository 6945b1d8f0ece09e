/** What the controllers count, under the names that SREs know where there are such names. */
import { latencyBuckets, type Metrics } from '../runtime/metrics.js';

export interface ControllerMetrics {
  /** One pass of the loop ended, after `seconds`. */
  passed(result: 'success' | 'error', seconds: number): void;
  /** Copies of units were given a machine, `seconds` after it was known that they need one. */
  placed(count: number, seconds: number): void;
}

export function controllerMetrics(metrics: Metrics): ControllerMetrics {
  const passes = metrics.counter('controller_runtime_reconcile_total', 'Reconciles by controller and result.', ['controller', 'result']);
  const times = metrics.histogram('controller_runtime_reconcile_time_seconds', 'Length of time per reconcile.', latencyBuckets, [
    'controller',
  ]);
  const placements = metrics.counter('flotilla_scheduler_placements_total', 'Copies of units that were given a machine.');
  const waits = metrics.histogram(
    'flotilla_scheduling_duration_seconds',
    'From the moment a unit was known to need a machine until its assignment was stored.',
    latencyBuckets,
  );
  return {
    passed(result, seconds) {
      passes.inc({ controller: 'units', result });
      times.observe({ controller: 'units' }, seconds);
    },
    placed(count, seconds) {
      placements.inc({}, count);
      waits.observe({}, seconds);
    },
  };
}
