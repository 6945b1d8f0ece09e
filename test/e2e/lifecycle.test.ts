/** One unit's whole life on three real machines, through the verbs that an operator types. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { conditionOf, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

describe('a unit on three machines', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
  });
  after(async () => {
    await cluster?.stop();
  });

  /** A process is there a moment before it has said anything. */
  const untilLogged = (unit: string, words: RegExp) =>
    until(`${words} in the logs of ${unit}`, async () => words.test(await cluster.dev.mustCli(['logs', unit])));

  test('apply runs it, get and describe show it, logs follow it', async () => {
    assert.equal(
      await cluster.apply(unitManifest('hello.service', "[Service]\nExecStart=/bin/sh -c 'echo Hello World; exec sleep infinity'\n")),
      'unit/hello.service created\n',
    );
    const unit = await cluster.untilReady('hello.service');
    const machine = cluster.machineOf(unit);
    const seen = await cluster.show(machine, 'hello.service', 'ActiveState', 'MainPID');
    assert.deepEqual({ active: seen.ActiveState, pid: Number(seen.MainPID) }, { active: 'active', pid: unit.status?.mainPID });

    assert.match(await cluster.dev.mustCli(['get', 'units']), /^NAME +.*\nhello\.service +launched +active +running/);
    assert.match(await cluster.dev.mustCli(['describe', 'unit', 'hello.service']), new RegExp(machine.options.machineId.slice(0, 8)));
    await untilLogged('hello.service', /Hello World/);
    assert.match(await cluster.dev.mustCli(['wait', '--for=condition=Ready', 'unit/hello.service', '--timeout=30s']), /condition met/);
  });

  test('applying the same again changes nothing and says so', async () => {
    const before = await cluster.unit('hello.service');
    const same = unitManifest('hello.service', "[Service]\nExecStart=/bin/sh -c 'echo Hello World; exec sleep infinity'\n");
    assert.equal(await cluster.apply(same), 'unit/hello.service unchanged\n');
    assert.deepEqual((await cluster.unit('hello.service'))?.metadata, before?.metadata);
    assert.equal((await cluster.dev.cli(['diff', '-f', '-'], { input: same })).code, 0);
  });

  test('a changed text restarts it once, on the same machine; a changed comment does not', async () => {
    await cluster.apply(unitManifest('changes.service', stampingUnit({ note: 'one' })));
    const first = await cluster.untilReady('changes.service');
    await cluster.apply(unitManifest('changes.service', `# a comment\n${stampingUnit({ note: 'one' })}`));
    const commented = await cluster.untilReady('changes.service');
    assert.equal(commented.status?.mainPID, first.status?.mainPID);

    const changed = unitManifest('changes.service', stampingUnit({ note: 'two' }));
    const diff = await cluster.dev.cli(['diff', '-f', '-'], { input: changed });
    assert.equal(diff.code, 1);
    assert.match(diff.stdout, /^-.*stamps one$/m);
    assert.match(diff.stdout, /^\+.*stamps two$/m);
    await cluster.apply(changed);
    const second = await cluster.untilUnit(
      'changes.service',
      'up to date',
      (unit) => unit.metadata.generation === 3 && unit.status?.observedGeneration === 3 && conditionOf(unit, 'UpToDate')?.status === 'True',
    );
    assert.equal(second.status?.machine, first.status?.machine);
    assert.notEqual(second.status?.mainPID, first.status?.mainPID);
    await cluster.untilStamps('changes.service', 'start', 'stop', 'start');
  });

  test('loaded is on a machine and not running; inactive is on none', async () => {
    const text = stampingUnit();
    await cluster.apply(unitManifest('words.service', text, { desiredState: 'loaded' }));
    const loaded = await cluster.untilReady('words.service');
    assert.equal(loaded.status?.active, 'inactive');
    const machine = cluster.machineOf(loaded);
    assert.equal((await cluster.show(machine, 'words.service', 'LoadState')).LoadState, 'loaded');
    await cluster.apply(unitManifest('words.service', text, { desiredState: 'launched' }));
    await cluster.untilUnit('words.service', 'active', (unit) => unit.status?.active === 'active');
    await cluster.apply(unitManifest('words.service', text, { desiredState: 'inactive' }));
    await until('its file to go', async () => (await cluster.show(machine, 'words.service', 'LoadState')).LoadState === 'not-found');
    await cluster.untilStamps('words.service', 'start', 'stop');
  });

  test('delete waits for the process and leaves nothing on the machine', async () => {
    await cluster.apply(unitManifest('goes.service', stampingUnit({ extra: 'ExecStop=/bin/sleep 1' })));
    const machine = cluster.machineOf(await cluster.untilReady('goes.service'));
    assert.equal(await cluster.dev.mustCli(['delete', 'unit', 'goes.service']), 'unit/goes.service deleted\n');
    assert.equal((await cluster.show(machine, 'goes.service', 'LoadState')).LoadState, 'not-found');
    const stamps = (await cluster.stamps('goes.service')).map(({ what }) => what);
    assert.deepEqual(stamps, ['start', 'stop'], 'stopped before the delete returned');
    assert.equal(await cluster.unit('goes.service'), undefined);
    assert.equal((await machine.must(['find', '/run/systemd', '-name', 'goes.service*'])).trim(), '');
  });

  test('a template runs nothing; its instances follow it, and a change of it reaches them', async () => {
    const template = (word: string) =>
      unitManifest('job@.service', `[Service]\nExecStart=/bin/sh -c 'echo ${word} %i; exec sleep infinity'\n`);
    const instance = (name: string) =>
      JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name }, spec: { desiredState: 'launched' } });
    await cluster.apply(template('first'), instance('job@1.service'), instance('job@2.service'));
    const one = await cluster.untilReady('job@1.service');
    await cluster.untilReady('job@2.service');
    await cluster.apply(template('second'));
    const again = await cluster.untilUnit(
      'job@1.service',
      'restarted',
      (unit) => unit.status?.mainPID !== undefined && unit.status.mainPID !== 0 && unit.status.mainPID !== one.status?.mainPID,
    );
    await untilLogged('job@1.service', /second 1/);
    assert.equal(again.status?.machine, one.status?.machine);
    assert.match(await cluster.dev.mustCli(['describe', 'unit', 'job@1']), /Content, of its template job@\.service:\n.*\n.*second %i/);
    assert.equal(await cluster.dev.mustCli(['wait', 'unit/job@1']), 'unit/job@1.service condition met\n');
    const refused = await cluster.dev.cli(['delete', 'unit', 'job@.service']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /job@1\.service/);
  });
});
