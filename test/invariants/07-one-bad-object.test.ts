/** Invariant 7. Values that nobody can read, in every table; a unit that systemd cannot speak of. Everything else goes on. */
import assert from 'node:assert/strict';
import { SystemdError } from '../../agent/systemd.js';
import { StoreUnavailable } from '../../runtime/store/store.js';
import { assignment, service } from '../agent/world.js';
import { machineId, SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const good = ['1.service', '2.service', '3.service'];

invariant(7, 'a stored value that cannot be read hurts only itself', 'one bad value holds up others', async (plant) => {
  const sim = new SimCluster();
  for (const name of ['a', 'b', 'bad']) await sim.addMachine(name);
  for (const unit of [...good, 'bad.service']) await sim.apply(unit);
  const { keys } = sim;
  const bad: Record<string, string> = {
    [keys.object('units', 'bad.service')]: '{"spec": ',
    [keys.object('units', 'shape.service')]: '{"apiVersion": 1, "metadata": null}',
    [keys.object('machines', machineId('bad'))]: 'null',
    [keys.assignment(machineId('bad'), 'lost.service')]: '[]',
    [keys.state(machineId('a'), '1.service')]: '"running"',
    [keys.condition('units', 'bad.service')]: '{"conditions": 7}',
    [keys.event('units', '1.service', 'e')]: '{}',
  };
  for (const [key, value] of Object.entries(bad)) {
    const { entry } = await sim.store.get(key);
    const write = { compares: [{ key, modRevision: entry?.modRevision ?? 0 }], operations: [{ do: 'put', key, value } as const] };
    assert.ok((await sim.store.commit(write)).ok);
  }
  // The fault: a client that decodes a list as a whole.
  const peer = sim.store.peer.bind(sim.store);
  sim.store.peer = () => {
    const client = peer();
    const list = client.list.bind(client);
    client.list = async (prefix, signal) => {
      const listed = await list(prefix, signal);
      if (plant && listed.entries.some(({ key }) => key in bad)) throw new StoreUnavailable('the list cannot be decoded');
      return listed;
    };
    return client;
  };
  sim.addServer();
  await sim.advance(40_000);
  for (const unit of good) {
    assert.equal(sim.running(unit).length, 1, `one bad value holds up others: ${unit} does not run`);
    assert.equal(sim.condition('units', unit, 'Ready')?.status, 'True', unit);
  }
  const shown = sim.cache.joinedAll('units').map(({ metadata }) => metadata.name);
  assert.deepEqual(shown, good, 'a list shows the others');
  for (const key of Object.keys(bad)) {
    // An agent that reports anew mends what was stored of its report.
    const isMended = key === keys.state(machineId('a'), '1.service');
    assert.notEqual(sim.cache.broken.has(key), isMended, `${key} is named as broken`);
  }
  // One that goes bad later, in the watch, together with a good one.
  const key = keys.object('units', '3.service');
  const { entry } = await sim.store.get(key);
  await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'put', key, value: 'x' }] });
  await sim.apply('4.service');
  await sim.advance(1_000);
  assert.equal(sim.running('4.service').length, 1);
  assert.equal(sim.running('3.service').length, 1, 'what cannot be read is not taken for deleted');
  await sim.end();
});

invariant(7, 'a unit that systemd cannot speak of or load hurts no other unit of its machine', 'is held up', async (plant, t) => {
  let isPoisoned = false;
  const machine = await Machine.start(t, {
    port: (systemd) =>
      new Proxy(systemd, {
        get(target, name) {
          const value = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          if (name !== 'list') return value.bind(target);
          return async (names: readonly string[]) => {
            // The fault: after the first bad name no list is answered any more.
            if (names.includes('bad.service') || (plant && isPoisoned)) {
              isPoisoned = true;
              throw new SystemdError('org.freedesktop.DBus.Error.InvalidArgs', 'Invalid argument');
            }
            return target.list(names);
          };
        },
      }),
  });
  const { systemd } = machine;
  const units = [
    assignment('bad.service'),
    assignment('broken.service', '[Service]\nExecStart\n'),
    ...good.map((unit) => assignment(unit)),
  ];
  await machine.told(1, ...units);
  await machine.pass(5_000);
  for (const unit of good) assert.equal(systemd.active(unit), 'active', `${unit} is held up`);
  await machine.told(2, ...units, assignment('late.service', service()));
  await machine.pass(5_000);
  assert.equal(systemd.active('late.service'), 'active');
});
