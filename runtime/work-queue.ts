/**
 * A queue of keys to look at, in client-go's manner, and the only door to p-queue: a key waits at most once, is never worked on twice at
 * a time, and a key that is added while it is worked on is looked at once more afterwards. A key says only where to look; what to do is
 * found out by the worker (invariant 4).
 */
import { setMaxListeners } from 'node:events';
import PQueue from 'p-queue';
import { type Backoff, backoffMs } from './backoff.js';
import { type Clock, type Random, sleep } from './clock.js';
import type { Logger } from './log.js';
import { type Metrics, noMetrics } from './metrics.js';
import { queueMetrics, reconcileMetrics } from './queue-metrics.js';

/** What comes next for a key. A throw means: again, after a back-off. */
export type Outcome =
  | { readonly next: 'settled' }
  | { readonly next: 'again'; readonly afterMs: number; readonly why: string }
  /** Nothing we do helps; looked at again when it is added again. */
  | { readonly next: 'stuck'; readonly why: string };

export const settled: Outcome = { next: 'settled' };

export interface WorkQueueOptions {
  /** For logs, and the `name` and `controller` labels of the metrics. */
  readonly name: string;
  /** Never called for a key while an earlier call for it is under way. `signal` aborts when the queue stops or the run takes too long. */
  readonly work: (key: string, signal: AbortSignal) => Promise<Outcome>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics?: Metrics;
  /** How many keys are worked on at a time. Default 1. */
  readonly concurrency?: number;
  readonly limits?: Partial<typeof workQueueLimits>;
}

export const workQueueLimits = {
  /** Keys that wait, are worked on or wait for their time, in all. Far above any cluster: reaching it is a bug. */
  maxKeys: 500_000,
  /** Wait after a throw; doubles with each in a row. */
  backoff: { baseMs: 50, capMs: 60_000 } as Backoff,
  /** A run that takes longer is told to end, and logged. */
  runMs: 120_000,
};

export interface WorkQueue {
  /** False when the queue is stopped or full; then whoever lists everything on a period brings the key back. */
  add(key: string): boolean;
  /** The earliest of several times counts. */
  addAfter(key: string, delayMs: number): boolean;
  /** How the key's last run ended, unless it settled. After a throw: `again`, with the error's message. */
  outcome(key: string): Outcome | undefined;
  /** Forgets back-off, planned runs and the last outcome of a key whose object is gone. */
  forget(key: string): void;
  /** Keys waiting to be worked on now. */
  readonly waiting: number;
  readonly working: number;
  /** Resolves when nothing waits and nothing is worked on; keys whose time has not come do not count. */
  idle(): Promise<void>;
  /**
   * Takes no more keys and plans no more runs. With `drain`, what waits is still worked on; without, it is dropped and runs under way are
   * told to end. Resolves to true when all runs have ended, to false when `limitMs` came first.
   */
  stop(options: { readonly drain: boolean; readonly limitMs: number }): Promise<boolean>;
}

export const createWorkQueue = (options: WorkQueueOptions): WorkQueue => new KeyedQueue(options);

interface Planned {
  readonly dueMs: number;
  readonly cancel: () => void;
}

class KeyedQueue implements WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #limits: typeof workQueueLimits;
  readonly #queue: PQueue;
  readonly #measure: ReturnType<typeof measuresOf>;
  /** Key → when it was added. */
  readonly #waiting = new Map<string, number>();
  /** Key → when work on it began. */
  readonly #working = new Map<string, number>();
  /** Keys that were added while they were worked on → when. */
  readonly #dirty = new Map<string, number>();
  readonly #planned = new Map<string, Planned>();
  /** Runs that the last outcome asked for; a run in between makes them needless, since it ends in an outcome of its own. */
  readonly #retries = new Map<string, Planned>();
  readonly #failures = new Map<string, number>();
  readonly #outcomes = new Map<string, Outcome>();
  readonly #abort = new AbortController();
  #stopped = false;
  #dropping = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#limits = { ...workQueueLimits, ...options.limits };
    this.#queue = new PQueue({ concurrency: options.concurrency ?? 1 });
    // Each run listens for the end, and there may be many at a time.
    setMaxListeners(0, this.#abort.signal);
    this.#measure = measuresOf(options.metrics ?? noMetrics, options, this.#waiting, this.#working);
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get working(): number {
    return this.#working.size;
  }

  add(key: string): boolean {
    if (this.#stopped) return false;
    if (this.#waiting.has(key) || this.#dirty.has(key)) return true;
    if (!this.#hasRoomFor(key)) return false;
    this.#measure.adds();
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#working.has(key)) this.#dirty.set(key, nowMs);
    else this.#enqueue(key, nowMs);
    return true;
  }

  addAfter(key: string, delayMs: number): boolean {
    if (delayMs <= 0) return this.add(key);
    if (this.#stopped || !this.#hasRoomFor(key)) return false;
    this.#plan(this.#planned, key, delayMs);
    return true;
  }

  outcome(key: string): Outcome | undefined {
    return this.#outcomes.get(key);
  }

  forget(key: string): void {
    cancel(this.#planned, key);
    cancel(this.#retries, key);
    this.#failures.delete(key);
    this.#outcomes.delete(key);
  }

  async idle(): Promise<void> {
    await this.#queue.onIdle();
  }

  async stop({ drain, limitMs }: { drain: boolean; limitMs: number }): Promise<boolean> {
    const { clock, log, name } = this.#options;
    this.#stopped = true;
    for (const key of [...this.#planned.keys()]) cancel(this.#planned, key);
    for (const key of [...this.#retries.keys()]) cancel(this.#retries, key);
    if (!drain) this.#drop();
    const given = new AbortController();
    const inTime = await Promise.race([this.#queue.onIdle().then(() => true), sleep(clock, limitMs, given.signal).then(() => false)]);
    given.abort();
    if (!inTime) {
      log.warn('work queue stopped with runs still under way', { queue: name, working: [...this.#working.keys()].slice(0, 10) });
      this.#drop();
    }
    this.#measure.forget();
    return inTime;
  }

  #drop(): void {
    this.#dropping = true;
    this.#queue.clear();
    this.#waiting.clear();
    this.#dirty.clear();
    this.#abort.abort();
  }

  #hasRoomFor(key: string): boolean {
    const { log, name } = this.#options;
    if (this.#waiting.size + this.#working.size + this.#planned.size + this.#retries.size < this.#limits.maxKeys) return true;
    if (this.#working.has(key) || this.#planned.has(key) || this.#retries.has(key)) return true;
    log.error('work queue is full, key refused', { queue: name, key, maxKeys: this.#limits.maxKeys });
    this.#measure.refused();
    return false;
  }

  #enqueue(key: string, addedMs: number): void {
    this.#waiting.set(key, addedMs);
    // run() never rejects, and p-queue's promise says nothing that we do not know.
    void this.#queue.add(() => this.#run(key));
  }

  async #run(key: string): Promise<void> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    this.#measure.waited(startedMs - (this.#waiting.get(key) ?? startedMs));
    this.#waiting.delete(key);
    this.#working.set(key, startedMs);
    cancel(this.#retries, key);

    const result = await this.#workOn(key);

    this.#working.delete(key);
    this.#measure.worked(clock.monotonicMs() - startedMs, result);
    const dirtySinceMs = this.#dirty.get(key);
    this.#dirty.delete(key);
    if (this.#dropping) return;
    if (dirtySinceMs !== undefined) this.#enqueue(key, dirtySinceMs);
  }

  /** Works on the key and plans what its outcome asks for. Never rejects. */
  async #workOn(key: string): Promise<Result> {
    const { work, clock, random, log, name } = this.#options;
    const run = new AbortController();
    const abort = () => run.abort();
    this.#abort.signal.addEventListener('abort', abort);
    const cancelLimit = clock.after(this.#limits.runMs, () => {
      log.warn('a run takes too long and is told to end', { queue: name, key, limitMs: this.#limits.runMs });
      abort();
    });
    try {
      const outcome = await work(key, run.signal);
      this.#failures.delete(key);
      if (outcome.next === 'settled') {
        this.#outcomes.delete(key);
        return 'success';
      }
      this.#outcomes.set(key, outcome);
      if (outcome.next === 'stuck') return 'stuck';
      this.#retry(key, outcome.afterMs);
      return 'requeue_after';
    } catch (error) {
      if (this.#dropping) return 'error';
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      const afterMs = backoffMs(this.#limits.backoff, failures, random);
      log.warn('a run failed, trying again', { queue: name, key, failures, after_ms: Math.round(afterMs), error });
      this.#outcomes.set(key, { next: 'again', afterMs, why: error instanceof Error ? error.message : String(error) });
      this.#retry(key, afterMs);
      return 'error';
    } finally {
      cancelLimit();
      this.#abort.signal.removeEventListener('abort', abort);
    }
  }

  #retry(key: string, afterMs: number): void {
    if (this.#stopped) return;
    this.#measure.retries();
    this.#plan(this.#retries, key, Math.max(0, afterMs));
  }

  #plan(plans: Map<string, Planned>, key: string, delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.monotonicMs() + delayMs;
    const earlier = plans.get(key);
    if (earlier && earlier.dueMs <= dueMs) return;
    earlier?.cancel();
    const cancelTimer = clock.after(delayMs, () => {
      plans.delete(key);
      this.add(key);
    });
    plans.set(key, { dueMs, cancel: cancelTimer });
  }
}

function cancel(plans: Map<string, Planned>, key: string): void {
  plans.get(key)?.cancel();
  plans.delete(key);
}

/** controller-runtime's words, and `stuck`, which it does not have. */
type Result = 'success' | 'error' | 'requeue_after' | 'stuck';

function measuresOf(
  metrics: Metrics,
  { name, clock, concurrency = 1 }: WorkQueueOptions,
  waiting: ReadonlyMap<string, number>,
  working: ReadonlyMap<string, number>,
) {
  const agesMs = () => [...working.values()].map((sinceMs) => clock.monotonicMs() - sinceMs);
  const queue = queueMetrics(metrics, { name, waiting: () => waiting.size, agesMs });
  const results = ['success', 'requeue_after', 'stuck'] as const satisfies Result[];
  const reconciles = reconcileMetrics(metrics, {
    controller: name,
    results,
    workers: { active: () => working.size, limit: concurrency },
  });
  const refused = metrics.counter('flotilla_workqueue_refused_total', 'Keys refused because the queue was full.', ['name']);
  refused.inc({ name }, 0);
  return {
    adds: () => queue.added(1),
    retries: queue.retried,
    refused: () => refused.inc({ name }),
    waited: queue.waited,
    worked(ms: number, result: Result) {
      queue.worked(ms);
      reconciles.ended(ms, result);
    },
    forget() {
      queue.forget();
      reconciles.forget();
    },
  };
}
