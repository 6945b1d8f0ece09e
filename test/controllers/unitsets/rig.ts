/** What users do with sets, through the door of a simulated server. */
import type { Joined } from '../../../api/objects/ports.js';
import type { UnitSetStatus } from '../../../api/resources/unitset.js';
import type { SimCluster } from '../../sim/cluster.js';

export const content = (version = 1): string => `[Service]\nExecStart=/bin/sleep infinity\nEnvironment=VERSION=${version}\n`;

export const setManifest = (name: string, replicas: number, spec: object = { content: content() }, metadata: object = {}) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'UnitSet',
  metadata: { name },
  spec: { replicas, template: { metadata, spec } },
});

/** The set applied, and whatever can happen without time passing. */
export async function applySet(sim: SimCluster, name: string, replicas: number, spec?: object, metadata?: object): Promise<void> {
  await door(sim).apply('unitsets', name, setManifest(name, replicas, spec, metadata), { manager: 'flotilla', force: true });
  await sim.rest();
}

export const door = (sim: SimCluster) => sim.servers.at(-1)!.door;

export const unitNames = (sim: SimCluster): string[] => [...sim.cache.objects('units').keys()].sort();

export const statusOf = (sim: SimCluster, name: string): UnitSetStatus =>
  (sim.cache.joined('unitsets', name) as Joined | undefined)?.status as UnitSetStatus;

/** Replicas, ready, updated. */
export const counts = (sim: SimCluster, name: string): (number | undefined)[] => {
  const { replicas, readyReplicas, updatedReplicas } = statusOf(sim, name) ?? {};
  return [replicas, readyReplicas, updatedReplicas];
};

export const conditionOf = (sim: SimCluster, name: string, type: string): string => {
  const condition = sim.condition('unitsets', name, type);
  return `${condition?.status} ${condition?.reason}: ${condition?.message}`;
};

/** Units of each machine, as `a: web@1, web@3`. */
export const machinesOf = (sim: SimCluster): Record<string, string[]> =>
  Object.fromEntries([...sim.agents.values()].map(({ name, running }) => [name, [...running.keys()].sort()]));

export async function scale(sim: SimCluster, name: string, replicas: number): Promise<void> {
  await door(sim).patch('unitsets', name, { type: 'merge', body: { spec: { replicas } } }, { manager: 'kubectl' });
  await sim.rest();
}
