/** One unit asked to leave its machine, with the real controllers on simulated machines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evictAnnotation, evictionText } from '../../api/resources/eviction.js';
import { machineId, SimCluster } from '../sim/cluster.js';

async function cluster(t: { after(run: () => Promise<void>): void }, machines: readonly string[]): Promise<SimCluster> {
  const sim = await new SimCluster().start(machines);
  t.after(() => sim.end());
  await sim.advance(25_000);
  return sim;
}

/** What the API server writes when the unit is evicted from there now. */
function wish(sim: SimCluster, unit: string, from: string): string {
  const machine = machineId(from);
  const { assignedAt } = sim.cache.assignment(machine, unit)!.value;
  return evictionText({ machine, machineGeneration: sim.cache.object('machines', machine)!.value.metadata.generation!, assignedAt });
}

const ask = (sim: SimCluster, unit: string, text: string): Promise<void> =>
  sim.touch('units', unit, ({ metadata }) => {
    metadata.annotations = { [evictAnnotation]: text };
  });

const evict = (sim: SimCluster, unit: string, from: string): Promise<void> => ask(sim, unit, wish(sim, unit, from));

test('the unit that was asked to stops there, then starts elsewhere; others on the machine stay', async (t) => {
  const sim = await cluster(t, ['a']);
  for (const unit of ['1.service', '2.service']) await sim.apply(unit);
  await sim.rest();
  await sim.addMachine('b');
  await sim.machine('a', { unschedulable: true });
  sim.agent('a').stopTakesMs = 5_000;
  await evict(sim, '1.service', 'a');
  await sim.advance(2_000);
  assert.deepEqual([sim.assigned('1.service'), sim.running('1.service')], [['leaving a'], ['a']], 'nothing starts before it has stopped');
  await sim.advance(10_000);
  assert.deepEqual([sim.running('1.service'), sim.running('2.service')], [['b'], ['a']]);
  assert.deepEqual(sim.said('Moved'), ['1.service: Stopped on machine 61000000: it was asked to leave machine 61000000.']);
});

test('with nowhere else to go it stays and says so, and goes once there is; what was asked then means nothing any more', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('1.service');
  await sim.rest();
  await sim.machine('a', { unschedulable: true });
  await evict(sim, '1.service', 'a');
  await sim.rest();
  assert.deepEqual(sim.running('1.service'), ['a']);
  const { status, reason, message } = sim.condition('units', '1.service', 'Scheduled')!;
  assert.deepEqual([status, reason], ['True', 'Evicting']);
  assert.match(message, /asked to leave machine 61000000, but there is nowhere else to go: 1 machine: cordoned/);
  assert.equal(sim.said('Evicting').length, 1);
  await sim.addMachine('b');
  await sim.rest();
  assert.deepEqual(sim.running('1.service'), ['b']);

  await sim.machine('a', {});
  await sim.machine('b', { drain: true });
  await sim.advance(10_000);
  assert.deepEqual(sim.running('1.service'), ['a']);
  await sim.machine('b', {});
  await sim.machine('a', { unschedulable: true });
  await sim.advance(10_000);
  assert.deepEqual(sim.running('1.service'), ['a'], 'that was about an earlier stay');
});

test('whoever takes units again keeps those that could not leave', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('1.service');
  await sim.rest();
  await sim.machine('a', { unschedulable: true });
  await evict(sim, '1.service', 'a');
  await sim.rest();
  await sim.machine('a', {});
  await sim.addMachine('b');
  await sim.advance(10_000);
  assert.deepEqual(sim.running('1.service'), ['a']);
  assert.equal(sim.condition('units', '1.service', 'Scheduled')?.reason, 'Assigned');
});

test('the wish is in the store: the next leader fulfils it', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('1.service');
  await sim.rest();
  await sim.addMachine('b');
  await sim.rest();
  const text = wish(sim, '1.service', 'a');
  await sim.servers[0]!.end(sim);
  sim.servers.shift();
  await sim.machine('a', { unschedulable: true });
  await ask(sim, '1.service', text);
  assert.deepEqual(sim.running('1.service'), ['a']);
  sim.addServer();
  await sim.advance(60_000);
  assert.deepEqual(sim.running('1.service'), ['b']);
});
