/** The whole agent, from its disk to its stream: what it believes, what it does without a server, and what it leaves behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runtimeDirectory } from '../../agent/agent.js';
import { Machine } from '../invariants/machine.js';
import { assignment, service } from './world.js';

const units = [
  assignment('pinned.service', service(), { failover: 'stay' }),
  assignment('movable.service'),
  assignment('once.service', service(), { failover: 'atMostOnce' }),
];

/** A machine that knew its units, and was switched off and on while no server could be reached. */
async function bootedAlone(t: Parameters<typeof Machine.start>[0]): Promise<Machine> {
  const machine = await Machine.start(t);
  await machine.told(10, ...units);
  await machine.pass(1_000);
  machine.reboot();
  await machine.startAgent();
  return machine;
}

const started = (machine: Machine) => units.map(({ unit }) => machine.systemd.active(unit) === 'active');

test('SEMANTICS 16: booted without a server: pinned units at once, movable ones after 20 s, at-most-once ones never', async (t) => {
  const machine = await bootedAlone(t);
  assert.deepEqual(started(machine), [true, false, false]);
  await machine.pass(18_000);
  assert.deepEqual(started(machine), [true, false, false]);
  await machine.pass(4_000);
  assert.deepEqual(started(machine), [true, true, false]);
  await machine.pass(3_600_000);
  assert.deepEqual(started(machine), [true, true, false]);
});

test('SEMANTICS 16: a server that comes back decides at once', async (t) => {
  const machine = await bootedAlone(t);
  assert.equal(await machine.told(11, units[0]!, units[2]!), true);
  assert.deepEqual(started(machine), [true, false, true]);
  await machine.pass(60_000);
  assert.deepEqual(started(machine), [true, false, true], 'what was moved elsewhere meanwhile is not started here');
});

test('SEMANTICS 16: a snapshot older than what is on disk is refused, and nothing changes', async (t) => {
  const machine = await bootedAlone(t);
  await machine.pass(30_000);
  const before = machine.systemd.changes.length;
  assert.equal(await machine.told(9), false);
  await machine.pass(60_000);
  assert.equal(machine.systemd.changes.length, before);
  assert.deepEqual(started(machine), [true, true, false]);
  assert.ok(machine.sent.some((message) => message.type === 'event' && message.reason === 'StaleSnapshot'));
});

test('SEMANTICS 16: a complete empty snapshot is obeyed', async (t) => {
  const machine = await Machine.start(t);
  await machine.told(10, ...units);
  assert.equal(await machine.told(11), true);
  await machine.pass(5_000);
  assert.deepEqual(started(machine), [false, false, false]);
  assert.deepEqual([...machine.files.entries.keys()], []);
});

test('a unit whose text the server does not hold yet stays as it is, and stays known', async (t) => {
  const machine = await Machine.start(t);
  await machine.told(10, ...units);
  const pid = machine.systemd.mainPID('movable.service');
  machine.agent.snapshot({ type: 'snapshot', revision: 11, assignments: [units[0]!], held: ['movable.service'], states: {} }, () => {});
  await machine.pass(5_000);
  assert.equal(machine.systemd.mainPID('movable.service'), pid);
  assert.equal(machine.systemd.active('once.service'), 'inactive', 'what is neither named nor held leaves');
  machine.reboot();
  await machine.startAgent();
  await machine.pass(25_000);
  assert.equal(machine.systemd.active('movable.service'), 'active', 'it was kept on disk');
});

test('changes are kept on disk, too', async (t) => {
  const machine = await Machine.start(t);
  await machine.told(10, units[0]!);
  machine.agent.changes({
    type: 'changes',
    revision: 12,
    assignments: [assignment('new.service', service(), { failover: 'stay' })],
    dropped: ['pinned.service'],
  });
  await machine.pass(1_000);
  machine.reboot();
  await machine.startAgent();
  await machine.pass(1_000);
  assert.deepEqual([machine.systemd.active('new.service'), machine.systemd.active('pinned.service')], ['active', 'inactive']);
  assert.equal(await machine.told(11), false, 'the revision of changes counts, too');
});

test('invariant 5: notes and last-known-good lost: what runs is adopted', async (t) => {
  const machine = await Machine.start(t);
  await machine.told(10, ...units);
  const pids = units.map(({ unit }) => machine.systemd.mainPID(unit));
  machine.killAgent();
  machine.files.loseNotes();
  await machine.state.write('assignments', { version: 99 });
  await machine.startAgent();
  await machine.pass(60_000);
  await machine.told(11, ...units);
  await machine.pass(60_000);
  assert.deepEqual(
    units.map(({ unit }) => machine.systemd.mainPID(unit)),
    pids,
  );
});

for (const { name, paths, found } of [
  {
    name: 'the system manager',
    paths: ['/etc/systemd/system', '/run/systemd/system', '/usr/lib/systemd/system'],
    found: { directory: '/run/systemd/system', isUserManager: false },
  },
  {
    name: "a user's manager",
    paths: ['/home/u/.config/systemd/user', '/run/user/1000/systemd/transient', '/run/user/1000/systemd/user', '/usr/lib/systemd/user'],
    found: { directory: '/run/user/1000/systemd/user', isUserManager: true },
  },
]) {
  test(`SEMANTICS 13: units go where ${name} looks and where they are gone at boot`, () => {
    assert.deepEqual(runtimeDirectory(paths), found);
  });
}

test('a manager that looks nowhere of the kind is an error in words', () => {
  assert.throws(() => runtimeDirectory(['/usr/lib/systemd/system']), /gone at boot/);
});
