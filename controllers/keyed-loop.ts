/**
 * The frame of a controller that looks at one object at a time: keys come from changes in the cache and from a sweep over everything, and
 * lead to the same work (invariant 4). It ends with the leadership.
 */
import type { CacheBatch, ClusterCache } from '../api/objects/ports.js';
import { type Clock, type Random, sleep } from '../runtime/clock.js';
import type { Logger } from '../runtime/log.js';
import type { Metrics } from '../runtime/metrics.js';
import { Fenced } from '../runtime/store/store.js';
import { createWorkQueue, type Outcome, settled } from '../runtime/work-queue.js';

/** What every such controller is given. */
export interface LoopPorts {
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Aborts when the leadership ends. */
  readonly signal: AbortSignal;
}

/** A key that is looked at once the changes that lead to it have gathered for a while. */
export interface LaterKey {
  readonly key: string;
  readonly afterMs: number;
}

export interface KeyedLoop extends LoopPorts {
  /** For logs and metrics. */
  readonly name: string;
  readonly concurrency: number;
  /** How long a run may take before it is told to end. Default: as the queue has it. */
  readonly runMs?: number;
  readonly sweepEveryMs: number;
  readonly keysOf: (batch: CacheBatch) => Iterable<string | LaterKey>;
  /** Asked at the start, after the cache was listed anew, and for each sweep. */
  readonly everything: () => Iterable<string>;
  readonly work: (key: string, signal: AbortSignal) => Promise<Outcome>;
}

/** How long runs under way may take to end when the leadership does. */
const stopMs = 10_000;

/** Resolves when the signal has aborted and no work is under way; rejects with Fenced when the leadership turns out to be lost. */
export async function runKeyedLoop(loop: KeyedLoop): Promise<void> {
  const { name, cache, clock, random, log, metrics, signal, concurrency } = loop;
  let fenced: Fenced | undefined;
  const end = new AbortController();
  const queue = createWorkQueue({
    name,
    clock,
    random,
    log,
    metrics,
    concurrency,
    ...(loop.runMs === undefined ? {} : { limits: { runMs: loop.runMs } }),
    async work(key, run) {
      try {
        return await loop.work(key, run);
      } catch (error) {
        if (!(error instanceof Fenced)) throw error;
        fenced ??= error;
        end.abort();
        return settled;
      }
    },
  });
  const unsubscribe = cache.subscribe((batch) => {
    if (batch.relisted) for (const key of loop.everything()) queue.add(key);
    // After a list, too: a change may mean more than its key.
    for (const key of loop.keysOf(batch)) {
      if (typeof key === 'string') queue.add(key);
      else queue.addAfter(key.key, key.afterMs);
    }
  });
  const stop = () => end.abort();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    while (!end.signal.aborted) {
      for (const key of loop.everything()) queue.add(key);
      await sleep(clock, loop.sweepEveryMs, end.signal);
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', stop);
    await queue.stop({ drain: false, limitMs: stopMs });
  }
  if (fenced) throw fenced;
}
