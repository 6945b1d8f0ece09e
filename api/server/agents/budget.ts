/** A token bucket: so much at once, so much a second in the long run. */
import type { Clock } from '../../../runtime/clock.js';

export class Budget {
  #left: number;
  #atMs: number;

  constructor(
    private readonly clock: Clock,
    private readonly burst: number,
    private readonly perSecond: number,
  ) {
    this.#left = burst;
    this.#atMs = clock.monotonicMs();
  }

  /** Takes `amount` if there is so much; false when there is not. */
  spend(amount: number): boolean {
    const nowMs = this.clock.monotonicMs();
    this.#left = Math.min(this.burst, this.#left + ((nowMs - this.#atMs) / 1_000) * this.perSecond);
    this.#atMs = nowMs;
    if (amount > this.#left) return false;
    this.#left -= amount;
    return true;
  }
}
