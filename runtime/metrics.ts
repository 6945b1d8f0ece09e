/**
 * Metrics, and the only door to prom-client. A value that is not known is an absent sample, never 0 and never 2^64 (SEMANTICS 15): every
 * value passes `sampleValue`. Gauges whose label sets come and go are read from their sources when they are scraped.
 */
import * as prom from 'prom-client';

export type Labels<Names extends string> = Readonly<Record<Names, string>>;
/** What a sample may be given as; `undefined`, NaN, infinities and systemd's "not set" (2^64 - 1) mean that there is none. */
export type SampleInput = number | bigint | undefined;

export interface Counter<Names extends string> {
  inc(labels: Labels<Names>, by?: SampleInput): void;
  remove(labels: Labels<Names>): void;
}

export interface Gauge<Names extends string> {
  /** A value that is not known removes the sample. */
  set(labels: Labels<Names>, value: SampleInput): void;
  remove(labels: Labels<Names>): void;
}

export interface Histogram<Names extends string> {
  observe(labels: Labels<Names>, value: SampleInput): void;
  remove(labels: Labels<Names>): void;
}

export interface Sample<Names extends string> {
  readonly labels: Labels<Names>;
  readonly value: SampleInput;
}

/** Asked at each scrape for all the samples that there are now. */
export type Source<Names extends string> = () => Iterable<Sample<Names>>;

export interface Metrics {
  counter<const Names extends string = never>(name: string, help: string, labels?: readonly Names[]): Counter<Names>;
  gauge<const Names extends string = never>(name: string, help: string, labels?: readonly Names[]): Gauge<Names>;
  histogram<const Names extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly Names[],
  ): Histogram<Names>;
  /**
   * A gauge or counter whose samples live elsewhere. Several sources may feed one name with different labels. Returns the function that
   * takes the source, and with it its samples, away.
   */
  observe<const Names extends string = never>(
    type: 'gauge' | 'counter',
    name: string,
    help: string,
    labels: readonly Names[],
    source: Source<Names>,
  ): () => void;
  /** The exposition text. */
  render(): Promise<string>;
  readonly contentType: string;
}

/** From half a millisecond to a minute, in seconds: for calls, requests and reconciles. */
export const latencyBuckets: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface MetricsOptions {
  /** `server`, `agent`, ... */
  readonly component: string;
  readonly version: string;
  /** Git revision of the build, where it is known. */
  readonly revision?: string;
  /**
   * CPU, memory, event loop and GC of this process. Default true; their observers cannot be stopped again, so tests say false. `quiet`: without
   * the spread of the event loop's lag, for which the process would wake a hundred times a second (0.15 % of a core while idle).
   */
  readonly process?: boolean | 'quiet';
}

// `_total` is for counters, and these are gauges: promtool rejects them.
const rejectedByPromtool = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

const lagSpread = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'].map((of) => `nodejs_eventloop_lag_${of}_seconds`);

export function createMetrics({ component, version, revision = 'unknown', process: ofProcess = true }: MetricsOptions): Metrics {
  const registry = new prom.Registry();
  if (ofProcess) {
    const isQuiet = ofProcess === 'quiet';
    prom.collectDefaultMetrics({ register: registry, ...(isQuiet ? { eventLoopMonitoringPrecision: 60_000 } : {}) });
    for (const name of [...rejectedByPromtool, ...(isQuiet ? lagSpread : [])]) registry.removeSingleMetric(name);
  }
  const metrics = metricsOf(registry);
  metrics
    .gauge('flotilla_build_info', 'Always 1; the labels say what runs here.', ['component', 'version', 'revision', 'node_version'])
    .set({ component, version, revision, node_version: process.version }, 1);
  return metrics;
}

interface Family {
  readonly type: string;
  readonly labels: readonly string[];
  readonly metric: unknown;
}

function metricsOf(registry: prom.Registry): Metrics {
  const families = new Map<string, Family>();

  /** The metric of that name, made at its first use: two queues share `workqueue_depth`. Two meanings for one name are a programmer's error. */
  function family<Metric>(type: string, name: string, labels: readonly string[], make: () => Metric): Metric {
    const known = families.get(name);
    if (!known) {
      const metric = make();
      families.set(name, { type, labels, metric });
      return metric;
    }
    if (known.type !== type || known.labels.join() !== labels.join()) {
      throw new Error(`metric ${name} is already a ${known.type} with labels [${known.labels.join()}]`);
    }
    return known.metric as Metric;
  }

  const config = (name: string, help: string, labels: readonly string[]) => ({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
  });

  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),

    counter(name, help, labels = []) {
      const counter = family('counter', name, labels, () => new prom.Counter(config(name, help, labels)));
      return {
        inc(of, by = 1) {
          const value = sampleValue(by);
          if (value !== undefined && value >= 0) counter.inc(of, value);
        },
        remove: (of) => counter.remove(of),
      };
    },

    gauge(name, help, labels = []) {
      const gauge = family('gauge', name, labels, () => new prom.Gauge(config(name, help, labels)));
      return {
        set(of, given) {
          const value = sampleValue(given);
          if (value === undefined) gauge.remove(of);
          else gauge.set(of, value);
        },
        remove: (of) => gauge.remove(of),
      };
    },

    histogram(name, help, buckets, labels = []) {
      const histogram = family(
        'histogram',
        name,
        labels,
        () => new prom.Histogram({ ...config(name, help, labels), buckets: [...buckets] }),
      );
      return {
        observe(of, given) {
          const value = sampleValue(given);
          if (value !== undefined) histogram.observe(of, value);
        },
        remove: (of) => histogram.remove(of),
      };
    },

    observe(type, name, help, labels, source) {
      const sources = family(`observed ${type}`, name, labels, () => {
        const all = new Set<Source<string>>();
        if (type === 'gauge') {
          new prom.Gauge({
            ...config(name, help, labels),
            collect() {
              this.reset();
              // reset() of a gauge without labels leaves a 0 that nobody measured.
              if (labels.length === 0) this.remove();
              for (const { labels: of, value } of samples(all)) this.set(of, value);
            },
          });
        } else {
          new prom.Counter({
            ...config(name, help, labels),
            collect() {
              this.reset();
              if (labels.length === 0) this.remove();
              for (const { labels: of, value } of samples(all)) if (value >= 0) this.inc(of, value);
            },
          });
        }
        return all;
      });
      sources.add(source as Source<string>);
      return () => void sources.delete(source as Source<string>);
    },
  };
}

function* samples(sources: Iterable<Source<string>>): Generator<{ labels: Labels<string>; value: number }> {
  for (const source of sources) {
    for (const { labels, value: given } of source()) {
      const value = sampleValue(given);
      if (value !== undefined) yield { labels, value };
    }
  }
}

/** 2^64 - 1 is how systemd and D-Bus say "not set"; as a float it is 2^64. */
const notSet = 2 ** 64;

/** The value as a sample, or undefined when there is nothing to show. */
export function sampleValue(given: SampleInput): number | undefined {
  if (given === undefined) return undefined;
  const value = Number(given);
  return Number.isFinite(value) && value < notSet ? value : undefined;
}

const ignore = { inc: () => {}, set: () => {}, observe: () => {}, remove: () => {} };

/** For tests and for code that is used without a program around it: counts nothing. */
export const noMetrics: Metrics = {
  counter: () => ignore,
  gauge: () => ignore,
  histogram: () => ignore,
  observe: () => () => {},
  render: async () => '',
  contentType: prom.Registry.PROMETHEUS_CONTENT_TYPE,
};
