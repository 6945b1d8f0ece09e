/**
 * Reads what happened between two revisions, completely. The watch covers all keys: every revision changes some key, so the event of
 * the last revision is the proof that nothing before it is missing. Used rarely: after a lost answer, and to prove progress.
 */
import type { IEvent } from 'etcd3';
import type { Clock } from '../clock.js';
import { type Endpoint, revisionOf } from './etcd-client.js';
import { WatchSession } from './etcd-watch.js';

const everything = { key: Buffer.from([0]), end: Buffer.from([0]) };

/** That part of the history was compacted: it can no longer be known. */
export class HistoryGone extends Error {
  override readonly name = 'HistoryGone';
}

/** Calls `see` for each event in `(after, upTo]`, in order; rejects when the stream breaks or the time is up. */
export function readHistory(
  endpoint: Endpoint,
  clock: Clock,
  { after, upTo, timeoutMs, see }: { after: number; upTo: number; timeoutMs: number; see: (event: IEvent, revision: number) => void },
): Promise<void> {
  if (upTo <= after) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      cancelTimeout();
      session.close();
      settle();
    };
    const cancelTimeout = clock.after(timeoutMs, () => end(() => reject(new Error(`the history was not read within ${timeoutMs} ms`))));
    // From `after` itself, for the reason given in EtcdWatch.
    const session = new WatchSession(endpoint, everything, Math.max(1, after), clock, {
      events: (events) => {
        let reached = after;
        for (const event of events) {
          reached = revisionOf(event.kv.mod_revision);
          if (reached > after && reached <= upTo) see(event, reached);
        }
        if (reached >= upTo) end(resolve);
      },
      compacted: () => end(() => reject(new HistoryGone(`the history after revision ${after} was compacted`))),
      broken: (error) => end(() => reject(error)),
    });
  });
}
