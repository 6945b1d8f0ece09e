/** What the leader's loop tells of itself, under the names of work queues and reconciles. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkExposition, samplesOf } from '../rigs/promtool.js';
import { SimCluster, type SimServer } from '../sim/cluster.js';
import { applySet } from './unitsets/rig.js';

async function cluster(t: { after(run: () => Promise<void>): void }, servers = 1): Promise<SimCluster> {
  const sim = await new SimCluster().start(['a', 'b'], servers);
  t.after(() => sim.end());
  await sim.advance(25_000);
  return sim;
}

async function read({ metrics }: SimServer) {
  const text = await metrics.render();
  await checkExposition(text);
  const samples = samplesOf(text);
  return (name: string, labels: Readonly<Record<string, string>> = {}) =>
    samples.find((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))?.value;
}

const units = { name: 'units' };
const loop = { controller: 'units' };

test('a unit that is placed is added once or more, worked on in passes that succeed, and counted as placed', async (t) => {
  const sim = await cluster(t);
  const [server] = sim.servers as [SimServer];
  const before = await read(server);
  await sim.apply('web.service');
  await sim.rest();
  const after = await read(server);
  const rose = (name: string, labels = {}) => (after(name, labels) ?? 0) - (before(name, labels) ?? 0);
  assert.ok(rose('workqueue_adds_total', units) >= 1);
  assert.ok(rose('controller_runtime_reconcile_total', { ...loop, result: 'success' }) >= 1);
  assert.equal(rose('controller_runtime_reconcile_errors_total', loop), 0);
  assert.equal(rose('flotilla_scheduler_placements_total'), 1);
  assert.equal(after('workqueue_depth', units), 0);
  assert.equal(after('controller_runtime_active_workers', loop), 0);
  assert.equal(after('flotilla_units', { ready: 'True' }), 1);
});

test('a unit that fits nowhere is pending by its reason, and no longer once it fits', async (t) => {
  const sim = await cluster(t);
  const [server] = sim.servers as [SimServer];
  await sim.apply('web.service', { placement: { machineMetadata: ['zone=mars'] } });
  await sim.rest();
  assert.equal((await read(server))('flotilla_scheduler_pending_units', { reason: 'Unschedulable' }), 1);
  await sim.apply('web.service');
  await sim.rest();
  assert.equal((await read(server))('flotilla_scheduler_pending_units', { reason: 'Unschedulable' }), undefined);
});

test('a pass that etcd does not answer is an error of the loop, what it was about is tried again', async (t) => {
  const sim = await cluster(t);
  const [server] = sim.servers as [SimServer];
  server.store.faults.loseAnswers = 1;
  await sim.apply('web.service');
  await sim.advance(5_000);
  const value = await read(server);
  assert.ok((value('controller_runtime_reconcile_errors_total', loop) ?? 0) >= 1);
  assert.equal(
    value('controller_runtime_reconcile_total', { ...loop, result: 'error' }),
    value('controller_runtime_reconcile_errors_total', loop),
  );
  assert.ok((value('workqueue_retries_total', units) ?? 0) >= 1);
  assert.deepEqual(sim.assigned('web.service'), ['a']);
});

test('sets and owners have queues and reconciles of their own', async (t) => {
  const sim = await cluster(t);
  const [server] = sim.servers as [SimServer];
  await applySet(sim, 'web', 2);
  await sim.advance(2_000);
  const value = await read(server);
  for (const name of ['unitsets', 'owners']) {
    assert.ok((value('workqueue_adds_total', { name }) ?? 0) >= 1, name);
    assert.equal(value('workqueue_depth', { name }), 0, name);
    assert.ok((value('controller_runtime_reconcile_total', { controller: name, result: 'success' }) ?? 0) >= 1, name);
    assert.equal(value('controller_runtime_reconcile_errors_total', { controller: name }), 0, name);
  }
});

test('of two servers one leads and tells of the cluster; when it is gone the other one does', async (t) => {
  const sim = await cluster(t, 2);
  const leaders = async () => Promise.all(sim.servers.map(async (server) => (await read(server))('flotilla_leader')));
  const present = async () =>
    Promise.all(sim.servers.map(async (server) => (await read(server))('flotilla_machines', { condition: 'present' })));
  assert.deepEqual(await leaders(), [1, 0]);
  assert.deepEqual(await present(), [2, undefined]);
  await sim.servers[0]!.end(sim);
  await sim.advance(30_000);
  assert.deepEqual(await leaders(), [undefined, 1]);
  assert.deepEqual(await present(), [undefined, 2]);
  assert.equal((await read(sim.servers[0]!))('workqueue_depth', units), undefined, 'who leads no more has no queue');
});
