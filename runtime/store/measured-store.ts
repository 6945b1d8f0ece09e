/** A store that counts and times what is asked of it: around the real one and the fake alike. */
import type { Clock } from '../clock.js';
import { latencyBuckets, type Metrics } from '../metrics.js';
import type { Lease, LeaseOptions, Store, Watch, WatchHandler, Write, WriteOptions } from './store.js';

/** What is told apart: the store's own errors, `aborted` by whoever asked, and `other`, which is a fault of ours or a refusal of etcd's. */
const codes = ['StoreUnavailable', 'OutcomeUnknown', 'Fenced', 'LeaseGone', 'aborted', 'other'] as const;
const operations = ['get', 'list', 'commit', 'revision', 'members', 'lease_grant', 'lease_keepalive', 'lease_revoke', 'lease_ttl'] as const;
type Operation = (typeof operations)[number];

export function measuredStore(store: Store, metrics: Metrics, clock: Clock): Store {
  const errors = metrics.counter('flotilla_store_errors_total', 'Calls to etcd that failed, by operation and kind of failure.', [
    'operation',
    'code',
  ]);
  const durations = metrics.histogram(
    'flotilla_store_request_duration_seconds',
    'How long calls to etcd took, attempts and failures included.',
    latencyBuckets,
    ['operation'],
  );
  const restarts = metrics.counter('flotilla_store_watch_restarts_total', 'Times a watch had to be re-established.');
  const losses = metrics.counter('flotilla_store_watch_compacted_total', 'Times a watch ended because its history was gone.');
  for (const operation of operations) for (const code of ['StoreUnavailable', 'other']) errors.inc({ operation, code }, 0);
  restarts.inc({}, 0);
  losses.inc({}, 0);

  async function measured<T>(operation: Operation, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const startedMs = clock.monotonicMs();
    try {
      return await call();
    } catch (error) {
      errors.inc({ operation, code: signal?.aborted && error === signal.reason ? 'aborted' : codeOf(error) });
      throw error;
    } finally {
      durations.observe({ operation }, (clock.monotonicMs() - startedMs) / 1_000);
    }
  }

  const measuredLease = (lease: Lease): Lease => ({
    id: lease.id,
    get ttlMs() {
      return lease.ttlMs;
    },
    get deadlineMs() {
      return lease.deadlineMs;
    },
    lost: lease.lost,
    keepAlive: () => measured('lease_keepalive', () => lease.keepAlive()),
    revoke: () => measured('lease_revoke', () => lease.revoke()),
  });

  return {
    get: (key: string, signal?: AbortSignal) => measured('get', () => store.get(key, signal), signal),
    list: (prefix: string, signal?: AbortSignal) => measured('list', () => store.list(prefix, signal), signal),
    commit: (write: Write, options?: WriteOptions) => measured('commit', () => store.commit(write, options), options?.signal),
    revision: (signal?: AbortSignal) => measured('revision', () => store.revision(signal), signal),
    members: () => measured('members', () => store.members()),
    lease: async (ttlMs: number, options: LeaseOptions) => measuredLease(await measured('lease_grant', () => store.lease(ttlMs, options))),
    leaseTtlMs: (id: string) => measured('lease_ttl', () => store.leaseTtlMs(id)),
    watch(prefix: string, after: number, handler: WatchHandler): Watch {
      return store.watch(prefix, after, {
        events: (events, revision) => handler.events(events, revision),
        progress: (revision) => handler.progress?.(revision),
        compacted() {
          losses.inc({});
          handler.compacted();
        },
        interrupted(error) {
          restarts.inc({});
          handler.interrupted?.(error);
        },
      });
    },
    close: () => store.close(),
  };
}

function codeOf(error: unknown): (typeof codes)[number] {
  const name = error instanceof Error ? error.name : '';
  return codes.find((code) => code === name) ?? 'other';
}
