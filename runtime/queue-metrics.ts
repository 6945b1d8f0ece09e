/**
 * What work queues and reconcile loops tell of themselves. Names, labels and the meaning of the help texts are those of Kubernetes'
 * controllers: SREs' dashboards know them. This is the only place that spells them.
 */
import { latencyBuckets, type Metrics } from './metrics.js';

const seconds = (ms: number) => ms / 1_000;

const forgetAll = (sources: readonly (() => void)[]) => () => {
  for (const forget of sources) forget();
};

export interface QueueSources {
  readonly name: string;
  /** Keys that wait now. */
  readonly waiting: () => number;
  /** Milliseconds for which each run under way has lasted. */
  readonly agesMs: () => readonly number[];
}

export interface QueueMetrics {
  added(count: number): void;
  /** A run was planned by the outcome of an earlier one. */
  retried(): void;
  waited(ms: number): void;
  worked(ms: number): void;
  /** Takes away what is read at the scrape; what was counted stays. */
  forget(): void;
}

export function queueMetrics(metrics: Metrics, { name, waiting, agesMs }: QueueSources): QueueMetrics {
  const queue = { name };
  const adds = metrics.counter('workqueue_adds_total', 'Keys added, those that already waited left out.', ['name']);
  const retries = metrics.counter('workqueue_retries_total', 'Runs planned by the outcome of an earlier one.', ['name']);
  const waits = metrics.histogram('workqueue_queue_duration_seconds', 'How long a key waited before work on it began.', latencyBuckets, [
    'name',
  ]);
  const works = metrics.histogram('workqueue_work_duration_seconds', 'How long a run took.', latencyBuckets, ['name']);
  const gauge = (gaugeName: string, help: string, value: () => number) =>
    metrics.observe('gauge', gaugeName, help, ['name'], () => [{ labels: queue, value: value() }]);
  const sources = [
    gauge('workqueue_depth', 'Keys waiting to be worked on.', waiting),
    gauge('workqueue_unfinished_work_seconds', 'Age of all runs under way, summed up.', () =>
      seconds(agesMs().reduce((sum, ageMs) => sum + ageMs, 0)),
    ),
    gauge('workqueue_longest_running_processor_seconds', 'Age of the oldest run under way.', () => seconds(Math.max(0, ...agesMs()))),
  ];
  // Known from the start, so that a rate over them has a beginning.
  adds.inc(queue, 0);
  retries.inc(queue, 0);
  return {
    added: (count) => adds.inc(queue, count),
    retried: () => retries.inc(queue),
    waited: (ms) => waits.observe(queue, seconds(ms)),
    worked: (ms) => works.observe(queue, seconds(ms)),
    forget: forgetAll(sources),
  };
}

export interface ReconcileSources<Result extends string> {
  readonly controller: string;
  /** All the ways in which a run can end, so that each is known from the start. */
  readonly results: readonly Result[];
  /** Runs under way now, and how many may be at a time. */
  readonly workers?: { readonly active: () => number; readonly limit: number };
}

export interface ReconcileMetrics<Result extends string> {
  ended(ms: number, result: Result): void;
  /** Takes away what is read at the scrape; what was counted stays. */
  forget(): void;
}

/** A run that throws or fails ends in `error`. */
export function reconcileMetrics<Result extends string>(
  metrics: Metrics,
  { controller, results, workers }: ReconcileSources<Result>,
): ReconcileMetrics<Result | 'error'> {
  const of = { controller };
  const reconciles = metrics.counter('controller_runtime_reconcile_total', 'Runs, by how they ended.', ['controller', 'result']);
  const errors = metrics.counter('controller_runtime_reconcile_errors_total', 'Runs that threw.', ['controller']);
  const times = metrics.histogram('controller_runtime_reconcile_time_seconds', 'How long a run took.', latencyBuckets, ['controller']);
  const gauge = (name: string, help: string, value: () => number) =>
    metrics.observe('gauge', name, help, ['controller'], () => [{ labels: of, value: value() }]);
  const sources = workers
    ? [
        gauge('controller_runtime_active_workers', 'Runs under way.', workers.active),
        gauge('controller_runtime_max_concurrent_reconciles', 'Runs that may be under way at a time.', () => workers.limit),
      ]
    : [];
  errors.inc(of, 0);
  for (const result of [...results, 'error']) reconciles.inc({ controller, result }, 0);
  return {
    ended(ms, result) {
      times.observe(of, seconds(ms));
      reconciles.inc({ controller, result });
      if (result === 'error') errors.inc(of);
    },
    forget: forgetAll(sources),
  };
}
