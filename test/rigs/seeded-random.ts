/** Random numbers that a seed repeats: a failing run is run again with `FLOTILLA_SEED=<seed>`. */
import type { Random } from '../../runtime/clock.js';

/** `FLOTILLA_SEED`, or the test's own. */
export const seedOr = (seed: number): number => Number(process.env.FLOTILLA_SEED ?? seed);

/** A 32-bit linear congruential step with its output mixed (Knuth's multiplier, Murmur3's finaliser): plenty for choosing faults. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}
