/** The controller of sets over a store in memory, the real cache, door and scheduler, and simulated machines. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { SimCluster } from '../../sim/cluster.js';
import { applySet, conditionOf, content, counts, door, statusOf, unitNames } from './rig.js';

async function cluster(t: TestContext, machines = ['a', 'b', 'c'], servers = 1): Promise<SimCluster> {
  const sim = await new SimCluster().start(machines, servers);
  t.after(() => sim.end());
  await sim.advance(25_000);
  return sim;
}

const scale = (sim: SimCluster, name: string, replicas: number) =>
  door(sim).patch('unitsets', name, { type: 'merge', body: { spec: { replicas } } }, { manager: 'kubectl' });

test('a set makes its units, and says when all of them are ready', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), ['web@1.service', 'web@2.service', 'web@3.service']);
  assert.deepEqual(counts(sim, 'web'), [3, 3, 3]);
  assert.equal(conditionOf(sim, 'web', 'Available'), 'True AllReady: 3 of 3 units are ready.');
  assert.equal(conditionOf(sim, 'web', 'Progressing'), 'True Complete: All 3 units exist and have carried out the newest template.');
  assert.deepEqual([statusOf(sim, 'web').observedGeneration, statusOf(sim, 'web').selector], [1, 'flotilla.dev/unitset=web']);
  const unit = sim.cache.joined('units', 'web@2.service')!;
  assert.equal(unit.metadata.labels?.['flotilla.dev/unitset'], 'web');
  assert.equal((unit.spec as { content: string }).content, content(), 'the text is its own');
  assert.deepEqual(
    unit.metadata.ownerReferences?.map(({ kind, name, controller }) => [kind, name, controller]),
    [['UnitSet', 'web', true]],
  );
  assert.deepEqual(sim.said('Created', 'UnitSet'), ['web: Created 3 units: web@1.service to web@3.service.']);
});

test('scaled down, the highest numbers go; scaled up, they come back', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 4);
  await scale(sim, 'web', 2);
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), ['web@1.service', 'web@2.service']);
  assert.deepEqual(counts(sim, 'web'), [2, 2, 2]);
  await scale(sim, 'web', 3);
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), ['web@1.service', 'web@2.service', 'web@3.service']);
  await scale(sim, 'web', 0);
  await sim.advance(2_000);
  assert.deepEqual([unitNames(sim), conditionOf(sim, 'web', 'Available')], [[], 'True NoneWanted: No units are wanted.']);
});
