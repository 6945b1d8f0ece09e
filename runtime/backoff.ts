/** Exponential back-off with jitter, for everything that tries again. */
import type { Random } from './clock.js';

export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Milliseconds to wait after the `failures`-th failure in a row (1, 2, ...): between half and all of base·2^(n-1), never above the cap. */
export function backoffMs({ baseMs, capMs }: Backoff, failures: number, random: Random): number {
  const fullMs = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return fullMs * (0.5 + 0.5 * random());
}
