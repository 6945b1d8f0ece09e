/** Invariant 9. What is stopped is stopped before its file goes; what hangs hangs alone. */
import assert from 'node:assert/strict';
import { assignment, service } from '../agent/world.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const removed = (unit: string) => assignment(unit, service(), { remove: 'the Unit was deleted' });
const gone = (machine: Machine, unit: string) =>
  machine.sent.some((message) => message.type === 'states' && message.states[unit]?.gone === true);

invariant(
  9,
  'a stop is awaited before the file vanishes and the unit is said to be gone',
  'while its process still ran',
  async (plant, t) => {
    const machine = await Machine.start(t);
    const { systemd, files } = machine;
    await machine.told(1, assignment('web.service'));
    // The fault: what is being stopped looks as if it were down.
    if (plant) systemd.faults.add('stops-look-done');
    systemd.stick('web.service');
    await machine.told(2, removed('web.service'));
    await machine.pass(60_000);
    assert.equal(systemd.active('web.service'), 'deactivating');
    assert.ok(files.entries.has('web.service'), 'the file vanished while its process still ran');
    assert.ok(!gone(machine, 'web.service'), 'it was said to be gone while its process still ran');
    systemd.release('web.service');
    await machine.rest();
    await machine.pass(60_000);
    assert.ok(!files.entries.has('web.service'));
    assert.deepEqual(systemd.violations, []);
    // Whoever listens now is told.
    await machine.told(3, removed('web.service'));
    await machine.pass(1_000);
    assert.ok(gone(machine, 'web.service'));
  },
);

invariant(
  9,
  'independent units converge in parallel: one that is stuck delays only itself',
  'waits for the stuck one',
  async (plant, t) => {
    const machine = await Machine.start(t);
    const { systemd } = machine;
    const names = Array.from({ length: 80 }, (_, index) => `u${index}.service`);
    const old = names.slice(0, 40).map((unit) => assignment(unit));
    await machine.told(1, assignment('stuck.service'), assignment('starting.service', service()), ...old);
    await machine.pass(1_000);
    if (plant) systemd.faults.add('one-job-at-a-time');
    systemd.stick('stuck.service');
    const changed = names.map((unit) => assignment(unit, service('ExecStart=/bin/sleep 5'), { generation: 2 }));
    // The stop that hangs is asked for first.
    await machine.told(2, removed('stuck.service'), ...old);
    await machine.told(3, removed('stuck.service'), ...changed);
    // Those that come give those that leave a moment to free what they hold.
    await machine.pass(1_500);
    for (const unit of names) assert.match(systemd.runningText(unit) ?? '', /sleep 5/, `${unit} waits for the stuck one`);
    assert.equal(systemd.active('stuck.service'), 'deactivating');
    assert.ok(systemd.mostJobs > 10, 'and they went in parallel');
    systemd.release('stuck.service');
    await machine.pass(1_000);
  },
);
