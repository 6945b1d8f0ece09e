/** One at a time per key: writers of one object queue up here instead of losing races against each other in the store. */
import { StatusError } from '../resources/errors.js';

/** Writers that may wait for one object; more is a loop gone wild somewhere. */
export const maxWaiting = 1_000;

export class KeyedMutex {
  private readonly tails = new Map<string, { last: Promise<unknown>; waiting: number }>();

  /** @throws StatusError TooManyRequests (429) when too many wait already. */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const queue = this.tails.get(key) ?? { last: Promise.resolve(), waiting: 0 };
    if (queue.waiting >= maxWaiting) {
      throw new StatusError('TooManyRequests', 'too many writes of this object are waiting already', { retryAfterSeconds: 1 });
    }
    queue.waiting++;
    this.tails.set(key, queue);
    // Whoever came before may have failed: that is told to its own caller.
    const turn = queue.last.then(task, task);
    queue.last = turn;
    try {
      return await turn;
    } finally {
      if (--queue.waiting === 0) this.tails.delete(key);
    }
  }
}
