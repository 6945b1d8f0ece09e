/** How the cluster is, for Prometheus: read from the leader alone at each scrape, so that sums over the servers count nothing twice. */
import type { ClusterCache, Joined } from '../api/objects/ports.js';
import { conditionOf } from '../api/resources/conditions.js';
import type { MachineStatus } from '../api/resources/machine.js';
import type { Metrics } from '../runtime/metrics.js';

/** What is asked of the leader's loop. */
export interface Leading {
  pendingByReason(): ReadonlyMap<string, number>;
  machinesByHealth(): ReadonlyMap<string, number>;
  readonly isCautious: boolean;
}

/** Returns the function that takes it all away again. */
export function observeCluster(metrics: Metrics, cache: Pick<ClusterCache, 'joinedAll'>, leading: () => Leading | undefined): () => void {
  const stops = [
    metrics.observe('gauge', 'flotilla_leader', 'Whether this server leads the controllers: 1 or 0.', [], () => [
      { labels: {}, value: leading() ? 1 : 0 },
    ]),
    metrics.observe(
      'gauge',
      'flotilla_scheduler_pending_units',
      'Units that have no machine, by reason; from the leader only.',
      ['reason'],
      () => [...(leading()?.pendingByReason() ?? [])].map(([reason, value]) => ({ labels: { reason }, value })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_machines',
      'Machines by condition: present, lost, or held by caution; from the leader only.',
      ['condition'],
      () => [...(leading()?.machinesByHealth() ?? [])].map(([condition, value]) => ({ labels: { condition }, value })),
    ),
    metrics.observe(
      'gauge',
      'flotilla_machine_ready',
      'Whether the machine is Ready: 1 or 0; from the leader only.',
      ['machine', 'hostname'],
      () => (leading() ? cache.joinedAll('machines').map(machineReady) : []),
    ),
    metrics.observe(
      'gauge',
      'flotilla_units',
      'Units by their Ready condition and its reason; from the leader only.',
      ['ready', 'reason'],
      () => (leading() ? unitsByReadiness(cache.joinedAll('units')) : []),
    ),
    metrics.observe(
      'gauge',
      'flotilla_caution',
      'Whether nothing is moved because too many machines vanished together: 1 or 0; from the leader only.',
      [],
      () => {
        const leader = leading();
        return leader ? [{ labels: {}, value: leader.isCautious ? 1 : 0 }] : [];
      },
    ),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

function machineReady(machine: Joined) {
  const { info } = (machine.status ?? {}) as MachineStatus;
  return {
    labels: { machine: machine.metadata.name, hostname: info?.hostname ?? '' },
    value: conditionOf(machine, 'Ready')?.status === 'True' ? 1 : 0,
  };
}

/** Counts, not a series per unit: reasons are a fixed list of words, units are as many as users make. */
function unitsByReadiness(units: readonly Joined[]) {
  const counts = new Map<string, { labels: { ready: string; reason: string }; value: number }>();
  for (const unit of units) {
    const { status: ready, reason } = conditionOf(unit, 'Ready') ?? { status: 'Unknown', reason: 'Pending' };
    const key = `${ready} ${reason}`;
    const known = counts.get(key);
    if (known) known.value++;
    else counts.set(key, { labels: { ready, reason }, value: 1 });
  }
  return counts.values();
}
