/** Invariant 4. Every piece of news gets lost; what the news would have led to happens all the same, when its period comes. */
import assert from 'node:assert/strict';
import type { Clock } from '../../runtime/clock.js';
import { assignment } from '../agent/world.js';
import { SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

/** The fault: a clock on which no period ever comes round. Back-offs, graces and heartbeats, which are shorter, work. */
const withoutPeriods = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonicMs: () => clock.monotonicMs(),
  after: (delayMs, run) => (delayMs > 30_000 ? () => {} : clock.after(delayMs, run)),
});

invariant(4, 'what no signal told an agent it finds on its period', 'nobody looked', async (plant, t) => {
  const machine = await Machine.start(t, plant ? { time: withoutPeriods } : {});
  await machine.told(1, assignment('web.service'), assignment('other.service'));
  await machine.pass(25_000);
  const whole = machine.files.entries.get('web.service');
  machine.systemd.faults.add('silent');
  machine.files.entries.delete('web.service');
  machine.files.entries.set('other.service', `${machine.files.entries.get('other.service')}Nice=5\n`);
  await machine.pass(5_000);
  assert.ok(!machine.files.entries.has('web.service'), 'nothing told of it');
  await machine.pass(90_000);
  assert.equal(machine.files.entries.get('web.service'), whole, 'nobody looked for a lost file');
  assert.doesNotMatch(machine.files.entries.get('other.service') ?? '', /Nice/, 'nobody looked into a changed file');
});

invariant(4, 'what a watch lost without a sign the controllers act on at the next comparison', 'was never placed', async (plant) => {
  const sim = new SimCluster();
  for (const name of ['a', 'b']) await sim.addMachine(name);
  const { store } = sim.addServer(plant ? withoutPeriods(sim.clock) : sim.clock);
  await sim.advance(25_000);
  // One revision, for the cache's watch and for the one over the leader's key.
  store.faults.loseRevisions = 2;
  await sim.apply('web.service');
  await sim.rest();
  assert.equal(store.faults.loseRevisions, 0);
  await sim.advance(5_000);
  assert.deepEqual(sim.running('web.service'), [], 'nothing told of it');
  await sim.advance(350_000);
  assert.deepEqual(sim.running('web.service'), ['a'], 'web.service was never placed');
  await sim.end();
});

invariant(4, 'an event only says where to look: what it claims is not believed', 'was started on hearsay', async (plant, t) => {
  const machine = await Machine.start(t);
  const { systemd } = machine;
  await machine.told(1, assignment('web.service'));
  const pid = systemd.mainPID('web.service');
  // A signal from the past: it was stopped by somebody. The fault: this time it is so.
  if (plant) await systemd.byHand('stop', 'web.service');
  else systemd.hearsay('web.service', 'inactive', 'dead');
  await machine.pass(120_000);
  assert.equal(systemd.mainPID('web.service'), pid, 'web.service was started on hearsay');
});
