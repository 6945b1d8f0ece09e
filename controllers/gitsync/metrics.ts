/** What GitSyncs tell Prometheus, from the leader alone. Labels are names of GitSyncs and words of ours: as many as users make, no more. */
import type { ClusterCache } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import type { GitSync } from '../../api/resources/gitsync.js';
import type { Clock } from '../../runtime/clock.js';
import type { Metrics } from '../../runtime/metrics.js';
import { settingsOf } from './settings.js';
import type { Verdict } from './status.js';

export interface GitSyncMetrics {
  /** A sync came to an end; `ms` is unknown where only its health was awaited. */
  ended(name: string, result: Verdict['is'], ms: number | undefined): void;
  /** The GitSync is gone. */
  forget(name: string): void;
  /** The leadership is over. */
  stop(): void;
}

const buckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const results = ['ready', 'working', 'failing', 'stalled'] as const satisfies Verdict['is'][];

export function gitSyncMetrics(metrics: Metrics, cache: Pick<ClusterCache, 'joinedAll'>, clock: Clock): GitSyncMetrics {
  const counts = metrics.counter('flotilla_gitsync_reconcile_total', 'Syncs, by how they ended.', ['gitsync', 'result']);
  const durations = metrics.histogram('flotilla_gitsync_reconcile_duration_seconds', 'How long a sync took.', buckets, ['gitsync']);
  const succeeded = new Map<string, number>();
  const known = new Set<string>();
  const all = () => cache.joinedAll('gitsyncs') as readonly GitSync[];
  const sources = [
    metrics.observe(
      'gauge',
      'flotilla_gitsync_last_success_timestamp_seconds',
      'When the cluster was last found, or made, to be as the repository says; from the leader only.',
      ['gitsync'],
      () => [...succeeded].map(([gitsync, value]) => ({ labels: { gitsync }, value })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_gitsync_ready',
      'Whether the GitSync is Ready: 1 or 0, with the reason; from the leader only.',
      ['gitsync', 'reason'],
      () =>
        all().map((sync) => {
          const ready = conditionOf(sync, 'Ready');
          return { labels: { gitsync: sync.metadata.name, reason: ready?.reason ?? 'Pending' }, value: ready?.status === 'True' ? 1 : 0 };
        }),
    ),
    metrics.observe(
      'gauge',
      'flotilla_gitsync_suspended',
      'Whether the GitSync is suspended: 1 or 0; from the leader only.',
      ['gitsync'],
      () => all().map(({ metadata, spec }) => ({ labels: { gitsync: metadata.name }, value: spec?.suspend ? 1 : 0 })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_gitsync_interval_seconds',
      'How often the GitSync asks its repository, by its spec; from the leader only.',
      ['gitsync'],
      () =>
        all().flatMap(({ metadata, spec = {} }) => {
          const settings = settingsOf(spec);
          return 'problem' in settings ? [] : [{ labels: { gitsync: metadata.name }, value: settings.intervalMs / 1_000 }];
        }),
    ),
    metrics.observe(
      'gauge',
      'flotilla_gitsync_objects',
      'Objects that the GitSync made and has not let go of; from the leader only.',
      ['gitsync'],
      () => all().map(({ metadata, status }) => ({ labels: { gitsync: metadata.name }, value: status?.inventory?.length ?? 0 })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_gitsync_info',
      'Always 1; the label says which revision was applied last; from the leader only.',
      ['gitsync', 'revision'],
      () =>
        all().map(({ metadata, status }) => ({
          labels: { gitsync: metadata.name, revision: status?.lastAppliedRevision ?? '' },
          value: 1,
        })),
    ),
  ];
  const drop = (gitsync: string) => {
    succeeded.delete(gitsync);
    for (const result of results) counts.remove({ gitsync, result });
    durations.remove({ gitsync });
  };
  return {
    ended(gitsync, result, ms) {
      known.add(gitsync);
      if (result === 'ready') succeeded.set(gitsync, clock.now().getTime() / 1_000);
      if (ms === undefined) return;
      counts.inc({ gitsync, result });
      durations.observe({ gitsync }, ms / 1_000);
    },
    forget(gitsync) {
      if (known.delete(gitsync)) drop(gitsync);
    },
    stop() {
      for (const source of sources) source();
      for (const gitsync of known) drop(gitsync);
    },
  };
}
