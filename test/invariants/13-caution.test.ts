/** Invariant 13. Absence is a reason to look, never one to act: machines that vanish together, leaders that are new, lists that are empty. */
import assert from 'node:assert/strict';
import { openClusterCache } from '../../api/objects/cache.js';
import { silentLogger } from '../../runtime/log.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { StoreUnavailable } from '../../runtime/store/store.js';
import { assignment } from '../agent/world.js';
import { keys, unitRow, write } from '../api/objects/cluster-writer.js';
import { applySet } from '../controllers/unitsets/rig.js';
import { ManualClock } from '../rigs/manual-clock.js';
import { machineId, SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const units = ['1.service', '2.service', '3.service', '4.service'];

invariant(13, 'when too many machines vanish together nothing is moved, until a human says so', 'was moved', async (plant) => {
  const sim = await new SimCluster().start(['a', 'b', 'c', 'd']);
  await sim.advance(25_000);
  for (const unit of units) await sim.apply(unit);
  await sim.rest();
  const homes = () => units.map((unit) => sim.assigned(unit).join());
  const before = homes();
  assert.deepEqual(before, ['a', 'b', 'c', 'd']);
  // The fault: leases that look full, so that nobody sees that more machines are about to vanish.
  for (const { store } of sim.servers) store.faults.leasesLookFull = plant;
  for (const name of ['b', 'c', 'd']) {
    sim.agent(name).kill();
    // By more than a heartbeat apart, so that their leases end one after another.
    await sim.advance(3_100);
  }
  await sim.advance(300_000);
  assert.deepEqual(homes(), before, 'a unit was moved');
  assert.match(sim.condition('machines', 'b', 'Caution')?.message ?? '', /vanished together.*failover --confirm/);
  assert.match(sim.condition('units', '2.service', 'Scheduled')?.message ?? '', /vanished together/);

  await sim.apply('new.service');
  await sim.rest();
  assert.deepEqual(sim.running('new.service'), ['a'], 'new units are still placed');
  await sim.touch('machines', machineId('b'), ({ metadata }) => {
    metadata.annotations = { 'flotilla.dev/failover-confirmed': sim.clock.now().toISOString() };
  });
  await sim.rest();
  assert.deepEqual(sim.running('2.service'), ['a']);
  await sim.end();
});

invariant(13, 'a new leader moves nothing before it has seen who is there', 'was moved', async (plant) => {
  const sim = await new SimCluster().start(['a', 'b', 'c', 'd']);
  for (const unit of units) await sim.apply(unit);
  await sim.advance(25_000);
  for (const server of sim.servers.splice(0)) await server.end(sim);
  sim.agent('a').cutOff();
  await sim.advance(30_000);
  let aheadMs = 0;
  const { clock } = sim;
  sim.addServer({
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs() + aheadMs,
    after: (delayMs, run) => clock.after(delayMs, run),
  });
  await sim.rest();
  // The fault: a clock that leaps, so that the leader takes itself for an old one.
  if (plant) aheadMs = 120_000;
  await sim.advance(15_000);
  // One agent was slow to find the new server.
  await sim.agent('a').connect();
  await sim.advance(60_000);
  for (const agent of sim.agents.values()) assert.equal(agent.history.length, 1, `a unit of ${agent.name} was moved`);
  await sim.end();
});

invariant(13, 'an outage of the store is not an empty cluster', 'took the outage for emptiness', async (plant, t) => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  for (const unit of units) await write(store, unitRow(unit, `uid-${unit}`, 1, '[Service]\nExecStart=/bin/true\n'));
  let isAway = false;
  const port = {
    watch: store.watch.bind(store),
    list: async (prefix: string, signal?: AbortSignal) => {
      if (!isAway) return store.list(prefix, signal);
      // The fault: a client that answers what nobody heard with an empty list.
      if (plant) return { entries: [], revision: await store.revision() };
      throw new StoreUnavailable('etcd cannot be reached');
    },
  };
  const { cache, stop } = openClusterCache({ store: port, keys, clock, log: silentLogger });
  t.after(stop);
  await clock.advance(100);
  assert.equal(cache.objects('units').size, units.length);
  store.faults.watchesCut = true;
  await write(store, unitRow('5.service', 'uid-5', 1, '[Service]\nExecStart=/bin/true\n'));
  store.compact();
  isAway = true;
  store.faults.watchesCut = false;
  await clock.advance(600_000);
  assert.equal(cache.objects('units').size, units.length, 'the cache took the outage for emptiness');
  isAway = false;
  await clock.advance(10_000);
  assert.equal(cache.objects('units').size, units.length + 1);
});

invariant(13, 'an agent lets nothing go for a list from before what it knows', 'was stopped', async (plant, t) => {
  const machine = await Machine.start(t);
  await machine.told(100, assignment('web.service'));
  // An etcd that was set up anew knows nothing, at a low revision; the fault forges a high one.
  assert.equal(await machine.told(plant ? 1_000 : 7), plant);
  const foreign = machine.agent.welcome({
    type: 'welcome',
    clusterUid: 'another',
    machineUid: 'x',
    session: 's',
    servers: [],
  });
  assert.equal(foreign, false, 'a server of another cluster is not listened to');
  await machine.pass(300_000);
  assert.equal(machine.systemd.active('web.service'), 'active', 'web.service was stopped');
  assert.ok(machine.sent.some((message) => message.type === 'event' && message.reason === 'StaleSnapshot'));
});

invariant(13, 'sets that vanish together take no unit along', 'a unit of theirs was stopped', async (plant) => {
  const sim = await new SimCluster().start(['a', 'b', 'c']);
  await sim.advance(25_000);
  const sets = ['web', 'api', 'db'];
  for (const name of sets) await applySet(sim, name, 2);
  await sim.advance(2_000);
  // The fault: a loss that looks like a wish, because somebody forges one first.
  const forge = ({ metadata }: { metadata: Record<string, unknown> }) => {
    metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
  };
  if (plant) await sim.touch('unitsets', 'web', forge);
  await sim.rest();
  for (const name of sets) {
    const key = sim.keys.object('unitsets', name);
    const { entry } = await sim.store.get(key);
    if (entry) await sim.store.commit({ compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'delete', key }] });
  }
  await sim.advance(200_000);
  for (const name of sets) {
    for (const number of [1, 2]) assert.equal(sim.running(`${name}@${number}.service`).length, 1, 'a unit of theirs was stopped');
  }
  assert.equal(sim.said('OwnersMissing', 'Unit').length > 0, true);
  await sim.end();
});
