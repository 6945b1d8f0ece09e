/**
 * Work that many ask for and that is worth doing once: whoever asks before a run begins shares it, whoever asks later shares the next
 * one. Runs never overlap, and a run begins one turn of the event loop after it was asked for, so that a burst shares it.
 */
export function sharedWork(work: () => Promise<void>): () => Promise<void> {
  let waiting: Promise<void> | undefined;
  let last: Promise<void> = Promise.resolve();
  return () => {
    waiting ??= last = last
      .catch(() => {}) // its own callers were told
      .then(() => new Promise((resolve) => setImmediate(resolve)))
      .then(() => {
        waiting = undefined;
        return work();
      });
    return waiting;
  };
}
