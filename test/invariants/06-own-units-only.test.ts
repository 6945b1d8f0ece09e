/** Invariant 6. Everything that a cluster may ask of a machine's own units, and what becomes of it: nothing, with a reason. */
import assert from 'node:assert/strict';
import { assignment, service } from '../agent/world.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const taken = ['sshd.service', 'ssh.service', 'getty@9.service', 'byhand.service'];

invariant(6, 'the agent touches only units that it owns, and never shadows one of the machine', 'the machine’s own', async (plant, t) => {
  const machine = await Machine.start(t, {
    vendor: { 'sshd.service': service('ExecStart=/usr/sbin/sshd'), 'getty@.service': service('ExecStart=/sbin/agetty') },
    aliases: { 'ssh.service': 'sshd.service' },
  });
  const { systemd, files } = machine;
  const handmade = service('ExecStart=/usr/local/bin/by-hand');
  files.entries.set('byhand.service', handmade);
  await systemd.byHand('start', 'sshd.service');
  const pid = systemd.mainPID('sshd.service');
  // The fault: a systemd that says of everything that it comes from the agent's own file.
  if (plant) systemd.faults.add('hides-owners');

  const untouched = (when: string) => {
    assert.deepEqual([...files.entries], [['byhand.service', handmade], ...ours()], `the machine’s own is shadowed ${when}`);
    assert.equal(systemd.mainPID('sshd.service'), pid, `the machine’s own was restarted ${when}`);
    assert.deepEqual(
      systemd.changes.filter((call) => !call.endsWith(' ok.service')),
      [],
      `the machine’s own was touched ${when}`,
    );
    assert.deepEqual(systemd.violations, []);
  };
  const ours = () => [...files.entries].filter(([name]) => name === 'ok.service');

  await machine.told(1, ...taken.map((unit) => assignment(unit)), assignment('ok.service'));
  await machine.pass(120_000);
  untouched('when it is wanted');
  assert.equal(systemd.active('ok.service'), 'active');
  const states = Object.assign({}, ...machine.sent.map((message) => (message.type === 'states' ? message.states : {})));
  for (const unit of taken) {
    assert.equal(states[unit]?.problem?.reason, 'NameTaken', unit);
    assert.match(states[unit].problem.message, /is a unit of the machine itself/);
  }

  await machine.told(2, ...taken.map((unit) => assignment(unit, service('ExecStart=/bin/other'), { generation: 2, restart: 'now' })));
  await machine.pass(120_000);
  untouched('when it is changed');
  await machine.told(3, ...taken.map((unit) => assignment(unit, service(), { remove: 'the Unit was deleted' })));
  await machine.pass(120_000);
  untouched('when it is deleted');
  await machine.told(4);
  await machine.pass(120_000);
  untouched('when nothing is wanted any more');
});
