/**
 * One lane per unit: a unit is worked on by one at a time, units among each other in parallel, without a limit of lanes, because a lane
 * that waits for a stuck unit must not take another one's place. How much is asked of systemd at a time is limited by the job window.
 */
import { type Backoff, backoffMs } from '../runtime/backoff.js';
import type { Clock, Random } from '../runtime/clock.js';

export interface LanesOptions {
  readonly work: (name: string) => Promise<void>;
  /** Told of each failure; the unit is tried again after `retryMs`. */
  readonly onFailure: (name: string, error: Error, retryMs: number) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly backoff?: Backoff;
}

interface Lane {
  isWorking: boolean;
  /** Asked for again while it was being worked on. */
  isDirty: boolean;
  failures: number;
  cancelRetry?: () => void;
}

export class Lanes {
  readonly #options: LanesOptions;
  readonly #backoff: Backoff;
  readonly #lanes = new Map<string, Lane>();
  #isClosed = false;
  #resting: (() => void)[] = [];

  constructor(options: LanesOptions) {
    this.#options = options;
    this.#backoff = options.backoff ?? { baseMs: 250, capMs: 60_000 };
  }

  /** The unit is worked on now, or again after what is being done with it. Waits for no back-off. */
  add(name: string): void {
    if (this.#isClosed) return;
    const lane = this.#lanes.get(name) ?? { isWorking: false, isDirty: false, failures: 0 };
    this.#lanes.set(name, lane);
    lane.cancelRetry?.();
    if (lane.isWorking) lane.isDirty = true;
    else void this.#run(name, lane);
  }

  isWorking(name: string): boolean {
    return this.#lanes.get(name)?.isWorking === true;
  }

  /** Units that are being worked on, or wait to be tried again. */
  get size(): number {
    return this.#lanes.size;
  }

  /** Resolves when nothing is being worked on; what waits to be tried again does not count. */
  async rest(): Promise<void> {
    while ([...this.#lanes.values()].some(({ isWorking }) => isWorking)) await new Promise<void>((resolve) => this.#resting.push(resolve));
  }

  /** Nothing new is begun; what is under way ends by itself. */
  close(): void {
    this.#isClosed = true;
    for (const lane of this.#lanes.values()) lane.cancelRetry?.();
  }

  async #run(name: string, lane: Lane): Promise<void> {
    lane.isWorking = true;
    do {
      lane.isDirty = false;
      try {
        await this.#options.work(name);
        lane.failures = 0;
      } catch (error) {
        lane.failures += 1;
        if (!lane.isDirty) this.#retryLater(name, lane, error as Error);
      }
    } while (lane.isDirty && !this.#isClosed);
    lane.isWorking = false;
    if (lane.failures === 0) this.#lanes.delete(name);
    for (const resolve of this.#resting.splice(0)) resolve();
  }

  #retryLater(name: string, lane: Lane, error: Error): void {
    const retryMs = backoffMs(this.#backoff, lane.failures, this.#options.random);
    this.#options.onFailure(name, error, retryMs);
    if (this.#isClosed) return;
    const cancel = this.#options.clock.after(retryMs, () => {
      if (lane.cancelRetry) this.add(name);
    });
    lane.cancelRetry = () => {
      cancel();
      delete lane.cancelRetry;
    };
  }
}
