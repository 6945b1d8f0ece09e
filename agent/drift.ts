/** Stops that somebody made by hand: each is repaired, at most once a minute per unit (SEMANTICS 11). */
import type { Clock } from '../runtime/clock.js';

const repairEveryMs = 60_000;

/** Who was stopped by hand, when, and when that may be repaired. All times are monotonic milliseconds. */
export class Drift {
  readonly #stoppedAt = new Map<string, number>();
  readonly #repairedAt = new Map<string, number>();
  /** Units that the agent itself is stopping or replacing now: with them systemd stops those that require them. */
  readonly #replacing = new Set<string>();

  constructor(private readonly clock: Pick<Clock, 'monotonicMs'>) {}

  stopped(name: string): void {
    this.#stoppedAt.set(name, this.clock.monotonicMs());
  }

  /** It is up again, or being started: there is nothing to repair. */
  ended(name: string): void {
    this.#stoppedAt.delete(name);
  }

  /** A repair begins: the next one has to wait. */
  repairing(name: string): void {
    this.#repairedAt.set(name, this.clock.monotonicMs());
  }

  wasRepaired(name: string): boolean {
    return this.#repairedAt.has(name);
  }

  replacing(name: string): void {
    this.#replacing.add(name);
  }

  /** Returns the units whose repair waited for the last replacement to end. */
  replaced(name: string): readonly string[] {
    return this.#replacing.delete(name) && this.#replacing.size === 0 ? [...this.#stoppedAt.keys()] : [];
  }

  /** Milliseconds until a stop by hand may be repaired; 0 when it may be now, or when there is none. */
  waitMs(name: string): number {
    const stoppedAt = this.#stoppedAt.get(name);
    if (stoppedAt === undefined) return 0;
    // Started now, it would bring back a unit that it requires and that is just being replaced, with the old file.
    const untilReplacedAt = this.#replacing.size > 0 ? stoppedAt + repairEveryMs : 0;
    const untilNextAt = (this.#repairedAt.get(name) ?? Number.NEGATIVE_INFINITY) + repairEveryMs;
    return Math.max(0, Math.max(untilReplacedAt, untilNextAt) - this.clock.monotonicMs());
  }

  isDue(name: string): boolean {
    return this.#stoppedAt.has(name) && this.waitMs(name) === 0;
  }

  forget(name: string): void {
    this.#stoppedAt.delete(name);
    this.#repairedAt.delete(name);
  }
}
