/** Takes away what nothing names, after a grace: a text is often named again by the next apply. */
import type { ClusterCache } from '../../api/objects/ports.js';
import { type Clock, sleep } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import { type Fence, Fenced, type Store } from '../../runtime/store/store.js';
import type { ControllerMetrics } from '../metrics.js';
import { type Garbage, overflow, unnamed } from './plan.js';

export const gcLimits = {
  everyMs: 60_000,
  /** How long a thing has to be garbage, unchanged, before it goes. */
  graceMs: 600_000,
  /** Deletions of one round. */
  perRound: 5_000,
};

export interface GcOptions {
  readonly store: Pick<Store, 'commit'>;
  readonly cache: ClusterCache;
  readonly fence: Fence;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly metrics: Pick<ControllerMetrics, 'collected'>;
  /** While caution lasts, nothing is pruned (SEMANTICS 22). */
  readonly isCautious: () => boolean;
  readonly limits?: Partial<typeof gcLimits>;
}

export async function runGc(options: GcOptions): Promise<void> {
  const { clock, signal, log, metrics } = options;
  const limits = { ...gcLimits, ...options.limits };
  const collector = new Collector(options, limits);
  while (!signal.aborted) {
    await sleep(clock, limits.everyMs, signal);
    if (signal.aborted || options.isCautious()) continue;
    const startedMs = clock.monotonicMs();
    const ended = (result: 'success' | 'error') => metrics.collected(result, clock.monotonicMs() - startedMs);
    try {
      await collector.round();
      ended('success');
    } catch (error) {
      if (error instanceof Fenced) throw error;
      ended('error');
      log.warn('a round of garbage collection failed and is repeated', { error });
    }
  }
}

class Collector {
  /** Key → revision and time at which it was first seen to be garbage. */
  #suspects = new Map<string, { readonly modRevision: number; readonly sinceMs: number }>();

  constructor(
    private readonly options: GcOptions,
    private readonly limits: typeof gcLimits,
  ) {}

  async round(): Promise<void> {
    const { cache, clock, log } = this.options;
    const nowMs = clock.monotonicMs();
    const suspects = new Map<string, { modRevision: number; sinceMs: number }>();
    const due: Garbage[] = overflow(cache.events());
    for (const { key, modRevision } of unnamed(cache)) {
      const known = this.#suspects.get(key);
      const sinceMs = known?.modRevision === modRevision ? known.sinceMs : nowMs;
      if (nowMs - sinceMs >= this.limits.graceMs) due.push({ key, modRevision });
      suspects.set(key, { modRevision, sinceMs });
    }
    this.#suspects = suspects;
    const now = due.slice(0, this.limits.perRound);
    const collected = await Promise.all(now.map((garbage) => this.#collect(garbage)));
    if (now.length > 0) log.info('garbage was collected', { keys: collected.filter(Boolean).length });
  }

  async #collect({ key, modRevision }: Garbage): Promise<boolean> {
    const { store, fence, signal } = this.options;
    const outcome = await store.commit({ compares: [{ key, modRevision }], operations: [{ do: 'delete', key }] }, { fence, signal });
    return outcome.ok;
  }
}
