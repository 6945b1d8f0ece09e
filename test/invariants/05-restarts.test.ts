/** Invariant 5. Agents and servers come and go; the processes that they look after stay the same ones. */
import assert from 'node:assert/strict';
import { assignment, service } from '../agent/world.js';
import { SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

invariant(
  5,
  'restarting or upgrading the agent restarts no unit: what runs is adopted, same PID',
  'runs as another process',
  async (plant, t) => {
    const machine = await Machine.start(t);
    const units = [
      assignment('web.service'),
      assignment('pinned.service', service(), { failover: 'stay' }),
      assignment('job.service', service('Type=oneshot\nExecStart=/bin/true')),
    ];
    await machine.told(10, ...units);
    const pids = () => ['web.service', 'pinned.service'].map((unit) => machine.systemd.mainPID(unit));
    const before = pids();
    if (plant) machine.systemd.faults.add('looking-restarts');

    for (const version of ['1', '2']) {
      machine.killAgent();
      machine.version = version;
      await machine.startAgent();
      await machine.pass(30_000);
      // Without a server, and then with one that tells the same in a new generation.
      await machine.told(20 + Number(version), ...units.map((unit) => ({ ...unit, generation: 1 + Number(version) })));
      await machine.pass(120_000);
      assert.deepEqual(pids(), before, 'runs as another process');
    }
    assert.equal(machine.systemd.starts.get('job.service'), 1, 'a finished job has not run again');
    assert.deepEqual(
      machine.systemd.changes.filter((call) => !call.startsWith('start')),
      [],
    );
  },
);

invariant(5, 'restarting every server restarts no unit', 'a unit was restarted', async (plant) => {
  const sim = await new SimCluster().start(['a', 'b', 'c'], 2);
  for (const unit of ['1.service', '2.service', '3.service']) await sim.apply(unit);
  await sim.apply('all.service', { placement: { global: true } });
  await sim.advance(25_000);
  const histories = () => [...sim.agents.values()].map(({ history }) => [...history]);
  const before = histories();
  for (const server of sim.servers.splice(0)) await server.end(sim);
  // The fault: while the servers are away, a store that loses the assignments.
  if (plant) {
    for (const { key, modRevision } of (await sim.store.list('/flotilla/assignments/')).entries) {
      await sim.store.commit({ compares: [{ key, modRevision }], operations: [{ do: 'delete', key }] });
    }
  }
  await sim.advance(30_000);
  sim.addServer();
  await sim.advance(60_000);
  assert.deepEqual(histories(), before, 'a unit was restarted');
  await sim.end();
});
