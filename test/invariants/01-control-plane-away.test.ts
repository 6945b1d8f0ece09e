/** Invariant 1. The agent alone with what it knows: for a long time, over its own death, and through a boot. */
import assert from 'node:assert/strict';
import { assignment, service } from '../agent/world.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

/** Far beyond every lease, grace and resync. */
const longMs = 600_000;
const stay = assignment('stay.service', service(), { failover: 'stay' });
const movable = assignment('movable.service');

invariant(
  1,
  'losing the control plane never stops a running unit, and what was missed is caught up with',
  'stopped while no server was there',
  async (plant, t) => {
    const machine = await Machine.start(t);
    await machine.told(10, stay, movable);
    const pids = () => [stay, movable].map(({ unit }) => machine.systemd.mainPID(unit));
    const before = pids();
    const changes = machine.systemd.changes.length;

    // The fault: whoever stands between takes the outage for emptiness, and hands that on.
    if (plant) await machine.told(11);
    machine.agent.lost();
    await machine.pass(longMs);
    machine.killAgent();
    await machine.startAgent();
    await machine.pass(longMs);
    assert.deepEqual(pids(), before, 'stopped while no server was there');
    assert.deepEqual(machine.systemd.changes.slice(changes), []);

    const next = assignment('next.service');
    await machine.told(12, stay, next);
    await machine.pass(5_000);
    assert.deepEqual([machine.systemd.active('movable.service'), machine.systemd.active('next.service')], ['inactive', 'active']);
    assert.equal(machine.systemd.mainPID('stay.service'), before[0]);
  },
);

invariant(
  1,
  'a machine that boots while no server is there runs by the last that it was told: pinned units at once, movable ones after a grace',
  'was not started from what the disk holds',
  async (plant, t) => {
    const machine = await Machine.start(t);
    const once = assignment('once.service', service(), { failover: 'atMostOnce' });
    await machine.told(10, stay, movable, once);
    machine.reboot();
    // The fault: a disk that forgets what was safely written.
    if (plant) await machine.state.write('assignments', undefined as unknown);
    await machine.startAgent();
    assert.equal(machine.systemd.active('stay.service'), 'active', 'was not started from what the disk holds');
    await machine.pass(19_000);
    assert.equal(machine.systemd.active('movable.service'), 'inactive', 'it may run elsewhere by now');
    await machine.pass(2_000);
    assert.equal(machine.systemd.active('movable.service'), 'active');
    await machine.pass(longMs);
    assert.equal(machine.systemd.active('once.service'), 'inactive', 'a second copy may run');
    await machine.told(11, stay, movable, once);
    assert.equal(machine.systemd.active('once.service'), 'active');
  },
);
