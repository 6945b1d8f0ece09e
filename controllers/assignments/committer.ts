/** Writes what a pass decided, each thing in a write of its own, and knows up to where the cache has to be before anything is decided again. */
import type { ClusterCache } from '../../api/objects/ports.js';
import type { Clock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import { type Fence, Fenced, OutcomeUnknown, type Store, StoreUnavailable, type Write } from '../../runtime/store/store.js';
import type { ControllerEvent, EventRecorder } from '../events.js';
import type { ControllerMetrics } from '../metrics.js';

export interface Job {
  readonly write: Write;
  /** Told once it is written. */
  readonly events: readonly ControllerEvent[];
  readonly placements: number;
  /** What to look at again when it could not be written: a unit, a global unit's copy on a machine, or a machine. */
  readonly unit?: string;
  readonly machine?: string;
}

export interface CommitterOptions {
  readonly store: Pick<Store, 'commit' | 'revision'>;
  readonly cache: Pick<ClusterCache, 'revision' | 'untilRevision'>;
  readonly fence: Fence;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly signal: AbortSignal;
  /** It was not written, or nobody knows. */
  readonly again: (job: Job) => void;
}

export class Committer {
  readonly #options: CommitterOptions;
  #mustSee = 0;
  #isUnsure = false;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** Resolves when the cache holds everything that was written, or may have been. */
  async catchUp(): Promise<void> {
    const { store, cache, signal } = this.#options;
    if (this.#isUnsure) {
      this.#mustSee = Math.max(this.#mustSee, await store.revision(signal));
      this.#isUnsure = false;
    }
    if (this.#mustSee > cache.revision) await cache.untilRevision(this.#mustSee);
  }

  /** Writes everything and catches up. Throws Fenced; resolves with any other failure. */
  async write(jobs: readonly Job[], startedMs: number): Promise<unknown> {
    let failure: unknown;
    let fenced: Fenced | undefined;
    await Promise.all(
      jobs.map(async (job) => {
        try {
          await this.#writeOne(job, startedMs);
        } catch (error) {
          if (error instanceof Fenced) fenced = error;
          failure ??= error;
        }
      }),
    );
    if (fenced) throw fenced;
    this.#options.signal.throwIfAborted();
    if (failure === undefined) await this.catchUp();
    return failure;
  }

  async #writeOne(job: Job, startedMs: number): Promise<void> {
    const { store, fence, signal, metrics, events, clock, log, again } = this.#options;
    try {
      const outcome = await store.commit(job.write, { fence, signal });
      this.#mustSee = Math.max(this.#mustSee, outcome.revision);
      if (!outcome.ok) {
        again(job);
        return;
      }
      for (const { about, type, reason, message } of job.events) events.record(about, type, reason, message);
      if (job.placements > 0) metrics.placed(job.placements, (clock.monotonicMs() - startedMs) / 1_000);
    } catch (error) {
      if (error instanceof OutcomeUnknown) this.#isUnsure = true;
      if (error instanceof OutcomeUnknown || error instanceof StoreUnavailable || error instanceof Fenced) {
        again(job);
        throw error;
      }
      // A write that no store would take is a fault of ours; it must not hold up the others. The sweep comes back to it.
      log.error('a decision could not be written', { unit: job.unit, machine: job.machine, error });
    }
  }
}
