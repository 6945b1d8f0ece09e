/** Every type of unit that fleet's names allow, on a real machine: what works works end to end, and what systemd refuses there says so. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { conditionOf, isTrue, TestCluster, unitManifest, until } from '../rigs/cluster.js';

describe('types of units', { concurrency: 4 }, () => {
  let cluster: TestCluster;
  let machine: SystemdMachine;
  before(async () => {
    cluster = await TestCluster.start({ machines: 1 });
    machine = cluster.dev.machines[0]!;
  });
  after(async () => {
    await cluster?.stop();
  });

  /** A unit that is there for another one to start. */
  const loaded = (name: string, content: string) => unitManifest(name, content, { desiredState: 'loaded' });
  const oneshot = (command: string) => `[Service]\nType=oneshot\nExecStart=/bin/sh -c '${command}'\n`;
  const active = async (unit: string) => (await cluster.show(machine, unit, 'ActiveState')).ActiveState;
  const fileIsThere = (path: string) => until(path, async () => (await machine.exec(['test', '-e', path])).code === 0);

  test('socket: the first connection starts the service, which keeps running though it is only wanted loaded', async () => {
    const answer = 'require("net").createServer((peer) => peer.end("woken")).listen({ fd: 3 })';
    await cluster.apply(
      loaded('woken.service', `[Service]\nExecStart=/opt/flotilla/node -e '${answer}'\n`),
      unitManifest('woken.socket', '[Socket]\nListenStream=127.0.0.1:7799\n'),
    );
    const socket = await cluster.untilReady('woken.socket');
    assert.equal(socket.status?.sub, 'listening');
    await cluster.untilReady('woken.service');
    assert.equal(await active('woken.service'), 'inactive');

    assert.equal(await machine.must(['bash', '-c', 'cat < /dev/tcp/127.0.0.1/7799']), 'woken');
    const woken = await cluster.untilUnit('woken.service', 'active', ({ status }) => status?.active === 'active');
    assert.equal(isTrue(woken, 'Ready'), true);
    const { MainPID } = await cluster.show(machine, 'woken.service', 'MainPID');
    await cluster.untilUnit('woken.socket', 'running', ({ status }) => status?.sub === 'running');
    assert.equal(await machine.must(['bash', '-c', 'cat < /dev/tcp/127.0.0.1/7799']), 'woken');
    assert.equal((await cluster.show(machine, 'woken.service', 'MainPID')).MainPID, MainPID, 'by the same process');
  });

  test('timer: it fires, and the oneshot that it starts is reported', async () => {
    await cluster.apply(
      loaded('tick.service', oneshot('echo tick >> /var/stamps-tick')),
      unitManifest('tick.timer', '[Timer]\nOnActiveSec=100ms\nOnUnitInactiveSec=100ms\nAccuracySec=1ms\n'),
    );
    await cluster.untilReady('tick.timer');
    await until('two ticks', async () => (await machine.exec(['cat', '/var/stamps-tick'])).stdout.startsWith('tick\ntick\n'));
    await cluster.dev.mustCli(['delete', 'unit', 'tick.timer', 'tick.service']);
    assert.equal((await cluster.show(machine, 'tick.timer', 'LoadState')).LoadState, 'not-found');
  });

  test('path: a file that appears starts the service', async () => {
    await cluster.apply(
      loaded('inbox.service', oneshot('mv /run/inbox/* /run/outbox/')),
      unitManifest('inbox.path', '[Path]\nDirectoryNotEmpty=/run/inbox\nMakeDirectory=yes\n'),
    );
    await cluster.untilReady('inbox.path');
    await machine.must(['sh', '-c', 'mkdir -p /run/outbox && touch /run/inbox/letter']);
    await fileIsThere('/run/outbox/letter');
  });

  test('mount: it is mounted, and gone with the unit', async () => {
    await cluster.apply(unitManifest('run-scratch.mount', '[Mount]\nWhat=tmpfs\nWhere=/run/scratch\nType=tmpfs\nOptions=size=1m\n'));
    const mount = await cluster.untilReady('run-scratch.mount');
    assert.deepEqual([mount.status?.active, mount.status?.sub], ['active', 'mounted']);
    assert.match(await machine.must(['findmnt', '--noheadings', '/run/scratch']), /tmpfs.*size=1024k/);
    await cluster.dev.mustCli(['delete', 'unit', 'run-scratch.mount']);
    assert.equal((await machine.exec(['findmnt', '/run/scratch'])).code, 1);
  });

  test('target and slice: one starts what it wants, also when that comes later, the other holds what names it', async () => {
    // The target is there first: what it wants is started when it comes.
    await cluster.apply(unitManifest('everything.target', '[Unit]\nWants=member.service\nAfter=member.service\n'));
    assert.equal((await cluster.untilReady('everything.target')).status?.active, 'active');
    await cluster.apply(
      loaded('member.service', '[Service]\nSlice=team.slice\nExecStart=/bin/sleep infinity\n'),
      unitManifest('team.slice', '[Slice]\nTasksMax=50\n'),
    );
    await cluster.untilReady('team.slice');
    await until('the member', async () => (await active('member.service')) === 'active');
    const { ControlGroup, TasksMax } = {
      ...(await cluster.show(machine, 'member.service', 'ControlGroup')),
      ...(await cluster.show(machine, 'team.slice', 'TasksMax')),
    };
    assert.match(ControlGroup ?? '', /\/team\.slice\/member\.service$/);
    assert.equal(TasksMax, '50');
    await cluster.dev.mustCli(['delete', 'unit', 'everything.target', 'member.service', 'team.slice']);
    assert.equal(await active('everything.target'), 'inactive');
  });

  const swapFile = '/var/no-such-swap';
  for (const { name, content } of [
    { name: 'dev-null.device', content: '[Unit]\nDescription=a device\n' },
    { name: 'var-no\\x2dsuch\\x2dswap.swap', content: `[Swap]\nWhat=${swapFile}\n` },
    { name: 'run-lazy.automount', content: '[Automount]\nWhere=/run/lazy\n' },
  ]) {
    test(`${name.slice(name.lastIndexOf('.') + 1)}: stored and placed, and what systemd says of it is the condition`, async () => {
      const swaps = await readFile('/proc/swaps', 'utf8');
      if (name.endsWith('.automount')) await cluster.apply(loaded('run-lazy.mount', '[Mount]\nWhat=tmpfs\nWhere=/run/lazy\nType=tmpfs\n'));
      await cluster.apply(unitManifest(name, content));
      const unit = await cluster.untilUnit(name, 'refused', (seen) => conditionOf(seen, 'Ready')?.reason === 'Unsupported');
      assert.equal(isTrue(unit, 'Scheduled'), true);
      const { stderr } = await machine.exec(['systemctl', 'start', '--', name]);
      const words = stderr.trim().replace(/\.$/, '').toLowerCase();
      assert.match(words, /not supported/);
      assert.ok(
        conditionOf(unit, 'Ready')!.message.toLowerCase().includes(words),
        `${conditionOf(unit, 'Ready')!.message} as systemctl: ${stderr}`,
      );
      assert.equal(await readFile('/proc/swaps', 'utf8'), swaps);
      await cluster.dev.mustCli(['delete', 'unit', name]);
      assert.equal(await cluster.unit(name), undefined);
    });
  }
});
