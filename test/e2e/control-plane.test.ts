/** The control plane goes away in every way it can, and no running unit notices: invariants 1, 3, 5 on real machines. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

const names = ['one.service', 'two.service', 'three.service'];
/** Their agents are stopped for a while here, on a slow machine for longer than their presence lives: that must not move them. */
const staying = new Set(['one.service', 'two.service']);
const manifestOf = (name: string, note?: string) =>
  unitManifest(name, stampingUnit(note === undefined ? {} : { note }), staying.has(name) ? { failover: { policy: 'stay' } } : {});

describe('losing the control plane', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
    await cluster.apply(...names.map((name) => manifestOf(name)));
    for (const name of names) await cluster.untilReady(name);
  });
  after(async () => {
    await cluster?.stop();
  });

  /** PID and InvocationID of each unit, from its machine's systemctl. */
  const identities = () =>
    Promise.all(
      names.map(async (name) =>
        cluster.show(cluster.machineOf((await cluster.unit(name))!), name, 'MainPID', 'InvocationID', 'ActiveState'),
      ),
    );

  test('etcd away for a minute: nothing stops, and everything catches up', async () => {
    const before = await identities();
    const stampsBefore = (await cluster.stamps()).length;
    const [etcd] = cluster.dev.etcds;
    etcd!.freeze();
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    assert.equal((await cluster.stamps()).length, stampsBefore);
    etcd!.thaw();
    await cluster.dev.untilReady(cluster.dev.servers[0]!);
    await cluster.dev.untilMachinesReady();
    await cluster.apply(unitManifest('after.service', stampingUnit()));
    await cluster.untilReady('after.service');
    assert.deepEqual(await identities(), before);
    await cluster.dev.mustCli(['delete', 'unit', 'after.service']);
  });

  test('etcd killed and started again: the same', async () => {
    const before = await identities();
    const [etcd] = cluster.dev.etcds;
    await etcd!.kill();
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    etcd!.start();
    await cluster.dev.untilReady(cluster.dev.servers[0]!);
    await cluster.dev.untilMachinesReady();
    assert.deepEqual(await identities(), before);
  });

  test('server killed and started again: units keep their processes', async () => {
    const before = await identities();
    const [server] = cluster.dev.servers;
    await server!.process.kill();
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    server!.process.start();
    await cluster.dev.untilReady(server!);
    await cluster.dev.untilMachinesReady();
    assert.deepEqual(await identities(), before);
  });

  test('agents killed and started again, daemon-reload, and a spec change while one was away', async () => {
    const before = await identities();
    const away = cluster.machineOf((await cluster.unit('one.service'))!);
    for (const machine of cluster.dev.machines) await machine.must(['systemctl', 'kill', '--signal=KILL', 'flotilla-agent.service']);
    for (const machine of cluster.dev.machines) await machine.must(['systemctl', 'daemon-reload']);
    await cluster.dev.untilMachinesReady();
    assert.deepEqual(await identities(), before);

    await away.must(['systemctl', 'stop', 'flotilla-agent.service']);
    await cluster.apply(manifestOf('one.service', 'changed while its agent was away'));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await away.must(['systemctl', 'start', 'flotilla-agent.service']);
    await cluster.untilUnit(
      'one.service',
      'carried out',
      ({ status, metadata }) => status?.observedGeneration === metadata.generation && status.active === 'active',
    );
    const now = await identities();
    assert.notEqual(now[0]?.MainPID, before[0]?.MainPID);
    assert.deepEqual(now.slice(1), before.slice(1));
    // Started at first, and once more for the change.
    await cluster.untilStamps('one.service', 'start', 'stop', 'start');
  });

  test("the agent's state directory lost: running units are adopted, not restarted", async () => {
    const before = await identities();
    const machine = cluster.machineOf((await cluster.unit('two.service'))!);
    await machine.must(['systemctl', 'stop', 'flotilla-agent.service']);
    const token = (await cluster.dev.mustCli(['token', 'create'])).trim();
    await machine.must([
      'sh',
      '-c',
      'rm -rf /var/lib/flotilla-agent && sed -i "s|^FLOTILLA_TOKEN=.*|FLOTILLA_TOKEN=$0|" /etc/flotilla/agent.env',
      token,
    ]);
    await machine.must(['systemctl', 'start', 'flotilla-agent.service']);
    await cluster.dev.untilMachinesReady();
    await cluster.untilReady('two.service');
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    assert.deepEqual(await identities(), before);
  });

  test('a machine that boots with the control plane away starts its units', async () => {
    const unit = (await cluster.unit('three.service'))!;
    const machine = cluster.machineOf(unit);
    const [server] = cluster.dev.servers;
    await server!.process.kill();
    await machine.kill();
    await machine.boot();
    await until(
      'three.service active',
      async () => (await cluster.show(machine, 'three.service', 'ActiveState')).ActiveState === 'active',
      { timeoutMs: 60_000 },
    );
    server!.process.start();
    await cluster.dev.untilReady(server!);
    await cluster.dev.untilMachinesReady();
    const { MainPID } = await cluster.show(machine, 'three.service', 'MainPID');
    await cluster.untilUnit(
      'three.service',
      'adopted',
      ({ status }) => status?.machine === machine.options.machineId && status.mainPID === Number(MainPID),
    );
  });
});
