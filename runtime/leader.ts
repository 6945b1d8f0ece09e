/**
 * Leader election on one leased key: whoever creates it leads, for as long as the lease holds by the leader's own clock. The key's create
 * revision is the fence that goes into each of the leader's transactions, so a leader that does not know yet that it was deposed cannot
 * write (invariant 3).
 */
import { type Clock, sleep } from './clock.js';
import type { Logger } from './log.js';
import { type Fence, Fenced, type Lease, OutcomeUnknown, type Store, type Watch } from './store/store.js';

export interface Leadership {
  /** Goes into each write of this leadership. */
  readonly fence: Fence;
  /** When it began, on the clock's monotonic scale. */
  readonly electedAtMs: number;
  /** Aborts as soon as this process must no longer act as the leader; the reason is an Error that says why. */
  readonly signal: AbortSignal;
}

export interface RunForLeaderOptions {
  readonly store: Store;
  readonly key: string;
  /** Stored as JSON under the key, for people who ask who leads. */
  readonly identity: Readonly<Record<string, unknown>>;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Does a leader's work until the signal aborts, and returns when nothing of it is running any more. */
  readonly lead: (leadership: Leadership) => Promise<void>;
  /** Ends the candidacy: a leader steps down and frees the key at once. */
  readonly signal: AbortSignal;
}

/** How long a candidate waits after the store failed it, or after `lead` returned by itself. */
const PAUSE_MS = 1000;

/**
 * Campaigns, leads, and campaigns again, until the signal aborts; resolves when `lead` has returned and the key is free. Rejects with what
 * `lead` threw while it still held the leadership: that is a fault of the program, not of the election.
 */
export async function runForLeader(options: RunForLeaderOptions): Promise<void> {
  const { clock, log, signal, key } = options;
  while (!signal.aborted) {
    try {
      const won = await campaign(options);
      if (won) await serve(options, won);
      else await vacancy(options);
    } catch (error) {
      if (error instanceof LeadFailed) throw error.cause;
      if (signal.aborted) break;
      log.warn('the election was disturbed', { key, error: messageOf(error) });
      await sleep(clock, PAUSE_MS, signal);
    }
  }
}

interface Won {
  readonly lease: Lease;
  readonly fence: Fence;
}

class LeadFailed extends Error {}

/** Tries once to create the key. */
async function campaign(options: RunForLeaderOptions): Promise<Won | undefined> {
  const { store, key, identity, ttlMs, signal } = options;
  const { entry } = await store.get(key, signal);
  if (entry) return undefined;
  const lease = await store.lease(ttlMs, { keepAlive: 'auto' });
  try {
    const value = JSON.stringify(identity);
    const outcome = await store
      .commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value, lease: lease.id }] }, { signal })
      .catch(async (error: unknown) => {
        if (!(error instanceof OutcomeUnknown)) throw error;
        // Our lease on the key is the proof that it is ours.
        const { entry } = await store.get(key);
        return entry?.lease === lease.id ? { ok: true as const, revision: entry.createRevision } : { ok: false as const };
      });
    if (outcome.ok) return { lease, fence: { key, createRevision: outcome.revision } };
  } catch (error) {
    // Should the key be ours after all, it vanishes with the lease.
    await letGo(options, lease);
    throw error;
  }
  await letGo(options, lease);
  return undefined;
}

/** The successor need not wait for the lease to expire. When etcd is away it expires by itself. */
const letGo = ({ log, key }: RunForLeaderOptions, lease: Lease): Promise<void> =>
  lease.revoke().catch((error: unknown) => log.warn('a lease could not be revoked and will expire', { key, error: messageOf(error) }));

/** Leads until something ends it, then waits for `lead` to return and frees the key. */
async function serve(options: RunForLeaderOptions, { lease, fence }: Won): Promise<void> {
  const { store, clock, log, lead, signal } = options;
  const { key } = fence;
  const term = new AbortController();
  const depose = (why: string) => {
    if (term.signal.aborted) return;
    log.info('stepping down as leader', { key, why });
    term.abort(new Fenced(`no longer the leader: ${why}`));
  };
  const stop = () => depose('stopping');
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  void lease.lost.then((why) => depose(`the lease was lost: ${why}`));
  const guard = guardKey(store, clock, fence, depose);
  log.info('elected leader', { key, create_revision: fence.createRevision });
  try {
    await lead({ fence, electedAtMs: clock.monotonicMs(), signal: term.signal });
    if (!term.signal.aborted) {
      depose('its work has ended by itself');
      await sleep(clock, PAUSE_MS, signal);
    }
  } catch (error) {
    // Whoever was deposed in mid-work may end with an error; that is the way it was told.
    if (!term.signal.aborted && !(error instanceof Fenced)) throw new LeadFailed('lead failed', { cause: error });
    log.info('the work of the leader ended with an error', { key, error: messageOf(error) });
  } finally {
    depose('its work has failed');
    signal.removeEventListener('abort', stop);
    guard.close();
    await letGo(options, lease);
  }
}

/** Watches the key that proves the leadership, for whoever deletes or replaces it behind our back. */
function guardKey(store: Store, clock: Clock, fence: Fence, depose: (why: string) => void): Watch {
  let watch: Watch | undefined;
  let cancelRetry: (() => void) | undefined;
  let closed = false;
  const watchFrom = (revision: number) => {
    if (closed) return;
    watch = store.watch(fence.key, revision, {
      events: (events) => {
        for (const event of events) {
          if (event.type === 'delete' && event.key === fence.key) depose('the leader key was deleted');
          if (event.type === 'put' && event.entry.key === fence.key && event.entry.createRevision !== fence.createRevision) {
            depose('somebody else holds the leader key');
          }
        }
      },
      compacted: look,
    });
  };
  const look = () => {
    store.get(fence.key).then(
      ({ entry, revision }) => {
        if (entry?.createRevision === fence.createRevision) watchFrom(revision);
        else depose('the leader key is not ours any more');
      },
      () => {
        // The store is away: the lease decides about us meanwhile.
        if (!closed) cancelRetry = clock.after(PAUSE_MS, look);
      },
    );
  };
  watchFrom(fence.createRevision);
  return {
    close: () => {
      closed = true;
      cancelRetry?.();
      watch?.close();
    },
  };
}

/** Resolves when the key may be free: it was deleted, the watch cannot tell any more, or it is time for a look anyway. */
async function vacancy({ store, key, ttlMs, clock, signal }: RunForLeaderOptions): Promise<void> {
  const { entry, revision } = await store.get(key, signal);
  if (!entry) return;
  const free = new AbortController();
  const wake = () => free.abort();
  signal.addEventListener('abort', wake);
  const watch = store.watch(key, revision, {
    events: (events) => {
      if (events.some((event) => event.type === 'delete' && event.key === key)) wake();
    },
    compacted: wake,
  });
  await sleep(clock, 3 * ttlMs, free.signal);
  watch.close();
  signal.removeEventListener('abort', wake);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
