/**
 * How many jobs may be in flight. Each pending job costs PID 1 a match rule at the bus, and at 512 of those the bus throws systemd out;
 * replies come four times faster than jobs end, so a slot is given back by the job's end, not by the reply.
 */
import type { Clock } from '../runtime/clock.js';

export interface JobWindowOptions {
  readonly clock: Clock;
  /** Jobs that are in flight at a time. */
  readonly size?: number;
  /** A job that lasts longer than this leaves the window, so that stuck ones delay nobody... */
  readonly slowAfterMs?: number;
  /** ...up to so many: window and slow jobs together stay far below 512. */
  readonly maxSlow?: number;
}

export class JobWindow {
  readonly #clock: Clock;
  readonly #size: number;
  readonly #slowAfterMs: number;
  readonly #maxSlow: number;
  readonly #waiting: (() => void)[] = [];
  #inFlight = 0;
  #slow = 0;

  constructor({ clock, size = 64, slowAfterMs = 5_000, maxSlow = 256 }: JobWindowOptions) {
    this.#clock = clock;
    this.#size = size;
    this.#slowAfterMs = slowAfterMs;
    this.#maxSlow = maxSlow;
  }

  get inFlight(): number {
    return this.#inFlight + this.#slow;
  }

  /** Resolves when there is room, in the order of asking; the returned function gives the slot back, once. */
  async take(): Promise<() => void> {
    if (this.#inFlight >= this.#size) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#inFlight += 1;
    let isSlow = false;
    let isOver = false;
    const cancel = this.#clock.after(this.#slowAfterMs, () => {
      if (this.#slow >= this.#maxSlow) return;
      isSlow = true;
      this.#slow += 1;
      this.#release();
    });
    return () => {
      if (isOver) return;
      isOver = true;
      cancel();
      if (isSlow) this.#slow -= 1;
      else this.#release();
    };
  }

  /** A slot goes straight to whoever waits longest. */
  #release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#inFlight -= 1;
  }
}
