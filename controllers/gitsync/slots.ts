/** Who may sync at the same time. Pure. */

export const slotLimits = {
  /** Syncs under way at a time. */
  syncs: 4,
  /** Of these, syncs of repositories that were slow, or away, the last time: the others do not wait for forges that are not theirs. */
  slow: 2,
  /** A repository that took longer than this to say where it is, and to send that, is slow. */
  slowMs: 10_000,
  /** Who may not begin asks again after this. */
  againMs: 1_000,
};

/** `slowUnderWay`: syncs of slow repositories that have begun and not ended. */
export const mayBegin = (isSlow: boolean, slowUnderWay: number): boolean => !isSlow || slowUnderWay < slotLimits.slow;
