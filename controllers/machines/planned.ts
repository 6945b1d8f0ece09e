/** A machine as the planner sees it, read from the cache. */
import type { ClusterCache } from '../../api/objects/ports.js';
import type { MachineSpec } from '../../api/resources/machine.js';
import type { PlannedMachine } from '../scheduler/types.js';
import type { MachineHealth } from './health.js';
import type { MachineFragment } from './plan.js';

/**
 * Undefined when there is no such Machine. One whose object cannot be read is held: it is there, and nothing is done about it.
 * @param known what the planner knew of it before
 * @param drainBusy the unit that is on its way off it, while it is drained
 */
export function plannedMachine(
  cache: ClusterCache,
  health: MachineHealth,
  id: string,
  known: PlannedMachine | undefined,
  drainBusy: string | undefined,
): PlannedMachine | undefined {
  const row = cache.object('machines', id);
  if (!row) {
    if (!cache.broken.has(cache.keys.object('machines', id))) return undefined;
    const nothing = { id, labels: {}, cordoned: true, draining: false, taints: [] };
    return { ...(known ?? nothing), isUnreadable: true, health: 'held', heldWhy: 'its object cannot be read' };
  }
  const { labels = {}, deletionTimestamp, generation } = row.value.metadata;
  const spec = (row.value.spec ?? {}) as MachineSpec;
  const fragment = cache.fragment('machines', id)?.value as MachineFragment | undefined;
  const info = cache.presence(id)?.value.info ?? fragment?.info;
  const heldWhy = health.heldWhy(id);
  return {
    id,
    labels,
    health: health.of(id),
    ...(heldWhy === undefined ? {} : { heldWhy }),
    cordoned: spec.unschedulable === true || Boolean(deletionTimestamp),
    generation,
    draining: spec.drain === true,
    ...(spec.drain && drainBusy !== undefined ? { drainBusy } : {}),
    taints: spec.taints ?? [],
    ...(info ? { capacity: { cpuMillis: info.cpus * 1_000, memoryBytes: info.memoryBytes } } : {}),
  };
}
