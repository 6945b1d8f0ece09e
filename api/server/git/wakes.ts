/** Asks for syncs on behalf of whoever calls, however often they do: one write at once, and one more for all who come while that one rests. */
import { type Clock, sleep } from '../../../runtime/clock.js';

export const wakeLimits = {
  /** From one write for a GitSync to the next. */
  restMs: 250,
};

export class Wakes {
  /** By GitSync: the end of the rest after its last write. */
  readonly #resting = new Map<string, Promise<void>>();
  /** By GitSync: the write that comes after the rest. */
  readonly #next = new Map<string, Promise<void>>();

  constructor(
    private readonly clock: Clock,
    private readonly write: (name: string) => Promise<void>,
  ) {}

  /** Resolves once a write that began after this call is done; rejects when it failed. */
  ask(name: string): Promise<void> {
    const resting = this.#resting.get(name);
    if (resting === undefined) return this.#begin(name);
    const known = this.#next.get(name);
    if (known !== undefined) return known;
    const next = resting.then(() => {
      this.#next.delete(name);
      return this.#begin(name);
    });
    this.#next.set(name, next);
    return next;
  }

  #begin(name: string): Promise<void> {
    const rest = sleep(this.clock, wakeLimits.restMs).then(() => {
      if (this.#resting.get(name) === rest) this.#resting.delete(name);
    });
    this.#resting.set(name, rest);
    return this.write(name);
  }
}
