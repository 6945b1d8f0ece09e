/** When a GitSync is looked at again. Pure. */
import { backoffMs } from '../../runtime/backoff.js';
import type { Random } from '../../runtime/clock.js';
import type { Verdict } from './status.js';

export const scheduleLimits = {
  /** The interval is drawn out by up to this share, so that many GitSyncs do not ask together. */
  jitter: 0.1,
  /** After a sync that failed and may come right by itself. */
  retry: { baseMs: 2_000, capMs: 300_000 },
  /** While something is held by caution, or waits for another GitSync that no event tells of. */
  againMs: 5_000,
};

export interface Scheduled {
  readonly waitMs: number;
  /** Syncs in a row that did not come to an end, this one included. */
  readonly failures: number;
}

/** `failures`: those in a row before this one. Never later than the interval: whoever set that wants to be up to date after it. */
export function nextLook(verdict: Verdict, failures: number, intervalMs: number, random: Random): Scheduled {
  const jitteredMs = intervalMs * (1 + scheduleLimits.jitter * random());
  // What is unhealthy is for its machines to mend; the repository has nothing to do with it.
  if (verdict.is !== 'failing' || verdict.reason === 'Unhealthy') return { waitMs: jitteredMs, failures: 0 };
  const isBrief = verdict.reason === 'Caution' || verdict.reason === 'DependencyNotReady';
  const retryMs = isBrief ? scheduleLimits.againMs : backoffMs(scheduleLimits.retry, failures + 1, random);
  return { waitMs: Math.min(retryMs, Math.max(jitteredMs, scheduleLimits.againMs)), failures: failures + 1 };
}
