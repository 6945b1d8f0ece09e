/** Units that misbehave, beside healthy ones that must not wait for them: invariants 6, 7, 8, 9. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { conditionOf, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

describe('units that misbehave', () => {
  let cluster: TestCluster;
  let pinned: (name: string, content: string, spec?: Record<string, unknown>) => string;
  before(async () => {
    cluster = await TestCluster.start({ machines: 1 });
    const machineID = cluster.dev.machines[0]!.options.machineId;
    pinned = (name, content, spec = {}) => unitManifest(name, content, { placement: { machineID }, ...spec });
  });
  after(async () => {
    await cluster?.stop();
  });

  test('a unit named like one of the machine is refused there, with a condition, and the machine keeps its own', async () => {
    await cluster.apply(pinned('systemd-journald.service', '[Service]\nExecStart=/bin/sleep infinity\n'));
    const unit = await cluster.untilUnit(
      'systemd-journald.service',
      'refused',
      (seen) => conditionOf(seen, 'Ready')?.reason === 'NameTaken',
    );
    assert.match(conditionOf(unit, 'Ready')!.message, /systemd-journald\.service/);
    const { FragmentPath, ActiveState } = await cluster.show(
      cluster.dev.machines[0]!,
      'systemd-journald.service',
      'FragmentPath',
      'ActiveState',
    );
    assert.deepEqual(
      { FragmentPath, ActiveState },
      { FragmentPath: '/lib/systemd/system/systemd-journald.service', ActiveState: 'active' },
    );
    await cluster.dev.mustCli(['delete', 'unit', 'systemd-journald.service']);
    assert.equal((await cluster.show(cluster.dev.machines[0]!, 'systemd-journald.service', 'ActiveState')).ActiveState, 'active');
  });

  test('one that hangs in ExecStop delays only itself', async () => {
    const letGo = '/run/let-go';
    await cluster.apply(
      pinned(
        'hangs.service',
        stampingUnit({ extra: `ExecStop=/bin/sh -c 'until [ -e ${letGo} ]; do sleep 0.1; done'\nTimeoutStopSec=300` }),
      ),
      pinned('healthy.service', stampingUnit()),
    );
    await cluster.untilReady('hangs.service');
    await cluster.untilReady('healthy.service');
    await cluster.dev.mustCli(['delete', 'unit', 'hangs.service', '--no-wait']);
    await cluster.dev.mustCli(['delete', 'unit', 'healthy.service']);
    await cluster.apply(pinned('next.service', stampingUnit()));
    await cluster.untilReady('next.service');
    const machine = cluster.dev.machines[0]!;
    assert.equal(
      (await cluster.show(machine, 'hangs.service', 'ActiveState')).ActiveState,
      'deactivating',
      'the stuck one is still stopping',
    );
    assert.match(await machine.must(['cat', '/run/systemd/system/hangs.service']), /let-go/, 'and its file is there while it does');
    await machine.must(['touch', letGo]);
    await cluster.untilGone('hangs.service', 60_000);
    const stamps = await cluster.stamps();
    const at = (unit: string, what: string) => stamps.find((stamp) => stamp.unit === unit && stamp.what === what)?.at ?? Number.NaN;
    assert.equal(at('next.service', 'start') < at('hangs.service', 'stop'), true);
  });

  test('one that fails says why, and is not started again behind systemd', async () => {
    await cluster.apply(pinned('fails.service', `[Service]\nExecStart=/bin/sh -c 'echo tried >> /var/stamps-fails; exit 7'\n`));
    const unit = await cluster.untilUnit('fails.service', 'failed', (seen) => seen.status?.active === 'failed');
    assert.match(conditionOf(unit, 'Ready')!.message, /exit|7/);
    assert.match(await cluster.dev.mustCli(['describe', 'unit', 'fails.service']), /Ready: .*(exit|7)/);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    assert.equal((await cluster.dev.machines[0]!.must(['cat', '/var/stamps-fails'])).trim(), 'tried');
    assert.equal((await cluster.dev.cli(['wait', '--for=condition=Ready', 'unit/fails.service', '--timeout=1s'])).code, 124);
  });

  test('one that forks, a oneshot, and one that a socket starts', async () => {
    await cluster.apply(
      pinned(
        'forks.service',
        "[Service]\nType=forking\nPIDFile=/run/forks.pid\nExecStart=/bin/sh -c 'sleep infinity & echo $! > /run/forks.pid'\n",
      ),
      pinned('once.service', '[Service]\nType=oneshot\nExecStart=/bin/true\n'),
      pinned('echo.socket', '[Socket]\nListenStream=/run/echo.sock\nAccept=no\n[Install]\nWantedBy=sockets.target\n'),
      pinned('echo.service', '[Service]\nExecStart=/bin/cat\nStandardInput=socket\n', { desiredState: 'loaded' }),
    );
    const forks = await cluster.untilReady('forks.service');
    assert.equal((forks.status?.mainPID ?? 0) > 0, true);
    const once = await cluster.untilReady('once.service');
    assert.equal(once.status?.active, 'inactive', 'a oneshot that succeeded is Ready though nothing runs');
    const socket = await cluster.untilReady('echo.socket');
    assert.equal(socket.status?.sub, 'listening');
    await cluster.untilReady('echo.service');
  });

  test('one whose text systemd will not load keeps the old version running', async () => {
    await cluster.apply(pinned('rolls-back.service', stampingUnit()));
    const good = await cluster.untilReady('rolls-back.service');
    await cluster.apply(pinned('rolls-back.service', '[Service]\nType=nonsense\nExecStart=relative/path\n'));
    const bad = await cluster.untilUnit(
      'rolls-back.service',
      'refused',
      (seen) =>
        conditionOf(seen, 'UpToDate')?.status === 'False' &&
        seen.status?.observedGeneration !== undefined &&
        seen.status.active === 'active' &&
        /load|bad|systemd/i.test(`${conditionOf(seen, 'Ready')?.message} ${conditionOf(seen, 'UpToDate')?.message}`),
    );
    assert.equal(bad.status?.active, 'active');
    assert.match(await cluster.dev.machines[0]!.must(['cat', '/run/systemd/system/rolls-back.service']), /stamps/);
    assert.notEqual(good.status?.mainPID, 0);
  });

  test('a unit stopped by hand is started again once', async () => {
    await cluster.apply(pinned('by-hand.service', stampingUnit()));
    const first = await cluster.untilReady('by-hand.service');
    await cluster.dev.machines[0]!.must(['systemctl', 'stop', 'by-hand.service']);
    await until('it to be repaired', async () => {
      const unit = await cluster.unit('by-hand.service');
      return unit?.status?.active === 'active' && unit.status.mainPID !== first.status?.mainPID;
    });
    await cluster.untilStamps('by-hand.service', 'start', 'stop', 'start');
  });
});
