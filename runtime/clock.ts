/** Time as a port: everything that waits or compares times takes a Clock, so a test can own it. */
export interface Clock {
  /** Wall-clock time, for people and for timestamps in objects. Steps when someone sets the clock: never measure with it. */
  now(): Date;
  /** Milliseconds on a clock that only goes forward. Deadlines, leases and back-offs are measured with this one. */
  monotonicMs(): number;
  /** Calls `run` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or as soon as `signal` aborts: whoever waits looks at the signal afterwards. */
export const sleep = (clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener('abort', done);
  });

/** Randomness as a port: a number in [0, 1). */
export type Random = () => number;
