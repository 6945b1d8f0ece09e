/** etcd's members for Prometheus: looked at when somebody scrapes, so that nobody else pays for it. */
import { type Clock, sleep } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { Metrics } from '../../runtime/metrics.js';
import type { Member, Store } from '../../runtime/store/store.js';

/** A scrape waits so long for the members: one that does not answer must not make it late. */
const patienceMs = 1_000;
/** What was seen longer ago is not known any more. */
const maxAgeMs = 60_000;

/** Returns what a scrape does first: looks anew, and goes on with the last look when that takes too long. Never rejects. */
export function observeMembers(metrics: Metrics, store: Pick<Store, 'members'>, clock: Clock, log: Logger): () => Promise<void> {
  let last: { readonly atMs: number; readonly members: readonly Member[] } | undefined;
  let looking: Promise<void> | undefined;
  const members = () => (last && clock.monotonicMs() - last.atMs <= maxAgeMs ? last.members : []);

  metrics.observe('gauge', 'flotilla_etcd_member_healthy', 'Whether the member of etcd answers and has no alarm: 1 or 0.', ['member'], () =>
    members().map(({ name, healthy }) => ({ labels: { member: name }, value: healthy ? 1 : 0 })),
  );
  metrics.observe(
    'gauge',
    'flotilla_etcd_member_db_size_bytes',
    "Size of the member's database file, which its quota is about.",
    ['member'],
    () => members().map(({ name, dbSizeBytes }) => ({ labels: { member: name }, value: dbSizeBytes })),
  );

  const look = async () => {
    try {
      const seen = await store.members();
      last = { atMs: clock.monotonicMs(), members: seen };
    } catch (error) {
      log.warn("etcd's members could not be looked at", { error });
    } finally {
      looking = undefined;
    }
  };
  return async () => {
    looking ??= look();
    const answered = new AbortController();
    await Promise.race([looking, sleep(clock, patienceMs, answered.signal)]);
    answered.abort();
  };
}
