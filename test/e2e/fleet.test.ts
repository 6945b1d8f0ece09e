/** fleet's words and meanings on three real machines: a unit's whole life by its verbs, and what its users rely on. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { conditionOf, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

describe("fleet's verbs and meanings on three machines", { concurrency: 4 }, () => {
  let cluster: TestCluster;
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flotilla-units-'));
    cluster = await TestCluster.start();
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  /** A unit file on this computer; its path. */
  const file = async (name: string, content: string): Promise<string> => {
    const path = join(directory, name);
    await writeFile(path, content);
    return path;
  };
  const verb = (...words: string[]) => cluster.dev.cli(words);
  const must = (...words: string[]) => cluster.dev.mustCli(words);
  /** What a listing says of one unit, in these columns. */
  const listed = async (listing: 'list-units' | 'list-unit-files', unit: string, fields: string) =>
    (await must(listing, '--no-legend', `--fields=unit,${fields}`))
      .split('\n')
      .map((line) => line.split(/\t+/))
      .filter(([name]) => name === unit)
      .map(([, ...values]) => values.join(' '));
  const onMachine = /^[0-9a-f]{8}\.\.\.\/10\.\d+\.\d+\.\d+$/;

  test('submit, load, start, status, journal, stop, unload, destroy: each shows what is so, and ends when it is', async () => {
    const path = await file('life.service', "[Service]\nExecStart=/bin/sh -c 'echo I live; exec sleep infinity'\n");
    assert.equal(await must('submit', path), 'Unit life.service inactive\n');
    assert.deepEqual(await listed('list-unit-files', 'life.service', 'dstate,state,target'), ['inactive inactive -']);
    assert.deepEqual(await listed('list-units', 'life.service', 'active'), []);
    assert.match(await must('cat', 'life'), /^\[Service\]\nExecStart=.*I live/);

    const machine = /^Unit life\.service loaded on (\S+)\n$/.exec(await must('load', 'life'))?.[1] ?? '';
    assert.match(machine, onMachine);
    assert.deepEqual(await listed('list-unit-files', 'life.service', 'dstate,state,target'), [`loaded loaded ${machine}`]);
    assert.deepEqual(await listed('list-units', 'life.service', 'machine,active,sub'), [`${machine} inactive dead`]);

    assert.equal(await must('start', 'life'), `Unit life.service launched on ${machine}\n`, 'on the machine that it was loaded on');
    assert.deepEqual(await listed('list-units', 'life.service', 'machine,active,sub'), [`${machine} active running`]);
    const status = await verb('status', 'life');
    assert.equal(status.code, 0);
    assert.match(status.stdout, /life\.service[\s\S]*Active: active \(running\)/);
    await until('its words', async () => /I live/.test(await must('journal', '--lines', '5', 'life')));

    const first = (await cluster.unit('life.service'))?.status?.mainPID;
    assert.equal(await must('restart', 'life'), `Unit life.service launched on ${machine}\n`);
    const again = (await cluster.untilReady('life.service')).status?.mainPID;
    assert.notEqual(again, first, 'restart restarts');

    const stopped = await verb('stop', 'life');
    assert.deepEqual([stopped.code, stopped.stderr], [0, 'Successfully stopped units [life.service].\n']);
    assert.deepEqual(await listed('list-units', 'life.service', 'machine,active,sub'), [`${machine} inactive dead`]);
    assert.equal((await verb('status', 'life')).code, 3, "systemctl's own");
    assert.equal((await verb('unload', 'life')).stderr, 'Successfully unloaded units [life.service].\n');
    assert.deepEqual(await listed('list-unit-files', 'life.service', 'dstate,state,target'), ['inactive inactive -']);
    assert.deepEqual(await listed('list-units', 'life.service', 'active'), []);
    assert.equal(await must('destroy', 'life'), 'Destroyed life.service\n');
    assert.equal((await verb('cat', 'life')).code, 1);
  });

  test('destroy ends when process and file are gone, and start after it makes another unit', async () => {
    const path = await file('slow-end.service', stampingUnit({ extra: 'ExecStop=/bin/sleep 0.5' }));
    await must('start', path);
    const machine = cluster.machineOf(await cluster.untilReady('slow-end.service'));
    await must('destroy', 'slow-end');
    assert.equal((await cluster.show(machine, 'slow-end.service', 'LoadState')).LoadState, 'not-found');
    await must('start', path);
    await must('destroy', '--no-block', 'slow-end');
    await must('start', path);
    await cluster.untilStamps('slow-end.service', 'start', 'stop', 'start', 'stop', 'start');
  });

  test('instances of a template that the cluster knows; the template itself is not started', async () => {
    await must('submit', await file('job@.service', "[Service]\nExecStart=/bin/sh -c 'echo I am %i; exec sleep infinity'\n"));
    const both = await must('start', 'job@one', 'job@two');
    for (const name of ['one', 'two']) {
      assert.match(both, new RegExp(`^Unit job@${name}\\.service launched on `, 'm'));
      await until('its words', async () => new RegExp(`I am ${name}$`, 'm').test(await must('journal', `job@${name}`)));
    }
    const template = await verb('start', 'job@.service');
    assert.equal(template.code, 1);
    assert.match(template.stderr, /cannot activate template "job@\.service"/);
    assert.equal(await must('destroy', 'job@*'), 'Destroyed job@.service\nDestroyed job@one.service\nDestroyed job@two.service\n');
  });

  for (const { name, content, flags = [], code, says } of [
    { name: 'a oneshot', content: '[Service]\nType=oneshot\nExecStart=/bin/true\n', code: 0, says: /launched on/ },
    {
      name: 'a slow starter',
      content: '[Service]\nExecStartPre=/bin/sleep 3\nExecStart=/bin/sleep infinity\n',
      code: 0,
      says: /launched on/,
    },
    {
      name: 'one that fails',
      content: '[Service]\nType=oneshot\nExecStart=/bin/sh -c "exit 7"\n',
      code: 1,
      says: /is not launched on .*exited with status 7/,
    },
    {
      name: 'one whose program is missing',
      content: '[Service]\nType=exec\nExecStart=/no/such/program\n',
      code: 1,
      says: /is not launched on .*exited with status 203\/EXEC/,
    },
    {
      name: 'one that requires what fails',
      content: '[Unit]\nRequires=always-fails.service\nAfter=always-fails.service\n[Service]\nExecStart=/bin/sleep infinity\n',
      code: 1,
      says: /is not launched on .*a unit that it requires did not start/,
    },
    {
      name: 'one of a type that does not work here',
      content: '[Automount]\nWhere=/run/nothing\n',
      code: 1,
      says: /is not launched on .*not supported on this system/,
    },
    {
      name: 'one that fits nowhere',
      content: '[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetadata=disk=tape\n',
      code: 1,
      says: /3 machines: no metadata disk=tape/,
    },
    {
      name: 'one that is too slow for the attempts that it is given',
      content: '[Service]\nExecStartPre=/bin/sleep 60\nExecStart=/bin/true\n',
      flags: ['--block-attempts=1'],
      code: 124,
      says: /timed out after 2 s waiting for unit .* to report state launched: ./,
    },
  ]) {
    test(`start of ${name}: exit ${code}`, async () => {
      const fails = '[Service]\nType=oneshot\nExecStart=/bin/false\n';
      for (const machine of cluster.dev.machines) await machine.writeFile('/etc/systemd/system/always-fails.service', fails);
      const unit = content.startsWith('[Automount]') ? 'run-nothing.automount' : `${name.replaceAll(' ', '-')}.service`;
      const ended = await verb('start', ...flags, await file(unit, content));
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stdout + ended.stderr, says);
      await must('destroy', unit);
    });
  }

  test('start --replace updates in place: on the same machine, and begins only after the old one has ended', async () => {
    const stamp = (what: string) =>
      `/bin/sh -c 'echo "%n $(hostname) ${what} $$$$ $(cut -d" " -f1 /proc/uptime)" >> /var/stamps/%n.$(hostname)'`;
    const text = (note: string) =>
      `[Unit]\nDescription=${note}\n[Service]\nExecStartPre=${stamp('start')}\nExecStart=/bin/sleep infinity\nExecStopPost=/bin/sleep 0.5\nExecStopPost=${stamp('stop')}\n`;
    const path = await file('inplace.service', text('one'));
    const first = await must('start', path);
    await writeFile(path, text('two'));
    const warned = await verb('start', path);
    assert.deepEqual([warned.code, /differs from local unit file .* Add --replace/.test(warned.stderr)], [0, true]);
    await cluster.untilStamps('inplace.service', 'start');
    assert.equal(await must('start', '--replace', path), first.split('\n').slice(1).join('\n'), 'launched on the same machine');
    await cluster.untilStamps('inplace.service', 'start', 'stop', 'start');
    const stamps = await cluster.stamps('inplace.service');
    assert.equal(new Set(stamps.map(({ machine }) => machine)).size, 1);
    assert.match(await must('cat', 'inplace'), /Description=two/);
    assert.equal(await must('start', '--replace', path), 'Found same Unit(inplace.service) in Registry, nothing to do\n');
  });

  test('a global unit with conflicts: started, shown and restarted on each machine but the one that it conflicts with', async () => {
    const here = cluster.dev.machines[0]!.options.machineId;
    await cluster.apply(unitManifest('guard.service', stampingUnit(), { placement: { machineID: here } }));
    await cluster.untilReady('guard.service');
    const path = await file('all.service', stampingUnit({ sections: '[X-Fleet]\nGlobal=true\nConflicts=guard.service\n' }));
    assert.equal(await must('start', path), 'Unit all.service \nTriggered global unit all.service start\n');
    const places = async () => (await listed('list-units', 'all.service', 'machine,active,sub')).sort();
    const others = cluster.dev.machines
      .slice(1)
      .map(({ options }) => `${options.machineId.slice(0, 8)}.../${options.address} active running`);
    assert.deepEqual(await places(), others.sort());
    assert.equal((await verb('status', 'all')).stdout.match(/Active: active/g)?.length, 2);
    await must('restart', 'all');
    await cluster.untilStamps('all.service', ...(await restarted('all.service', 2)));
    const stopped = await must('stop', 'all');
    assert.equal(stopped, 'Triggered global unit all.service stop\n');
    assert.equal((await cluster.stamps('all.service')).filter(({ what }) => what === 'stop').length, 4);
    await must('destroy', 'all', 'guard');
  });

  /** Stamps of a restart on so many machines, in whatever order these came. */
  async function restarted(unit: string, machines: number) {
    await until(`${unit} restarted`, async () => (await cluster.stamps(unit)).length === 3 * machines);
    const stamps = await cluster.stamps(unit);
    for (const machine of new Set(stamps.map((stamp) => stamp.machine))) {
      assert.deepEqual(
        stamps.filter((stamp) => stamp.machine === machine).map(({ what }) => what),
        ['start', 'stop', 'start'],
      );
    }
    return stamps.map(({ what }) => what);
  }

  test('a name that the machine still has, as from fleet, is taken over once it is free', async () => {
    const machine = cluster.dev.machines[1]!;
    const legacy = '/run/fleet/units/legacy.service';
    const script = `mkdir -p /run/fleet/units && printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > ${legacy} &&
      systemctl link --runtime ${legacy} && systemctl start legacy.service`;
    await machine.must(['sh', '-s'], { input: script });
    const before = await cluster.show(machine, 'legacy.service', 'MainPID');
    await cluster.apply(unitManifest('legacy.service', stampingUnit(), { placement: { machineID: machine.options.machineId } }));
    await cluster.untilUnit('legacy.service', 'refused', (unit) => conditionOf(unit, 'Ready')?.reason === 'NameTaken');
    assert.deepEqual(await cluster.show(machine, 'legacy.service', 'MainPID'), before, 'and left alone');
    await machine.must(['sh', '-s'], {
      input: `systemctl stop legacy.service && systemctl disable --runtime legacy.service; rm -f ${legacy}`,
    });
    await cluster.untilReady('legacy.service', 60_000);
    await must('destroy', 'legacy');
  });

  test('two units that replace each other share a machine: neither drives the other out', async () => {
    const placement = (other: string) => ({ placement: { machineMetadata: ['zone=z3'], replaces: [other] } });
    await cluster.apply(unitManifest('ring-a.service', stampingUnit(), placement('ring-b.service')));
    const first = await cluster.untilReady('ring-a.service');
    await cluster.apply(unitManifest('ring-b.service', stampingUnit(), placement('ring-a.service')));
    assert.equal((await cluster.untilReady('ring-b.service')).status?.machine, first.status?.machine);
    await cluster.untilStamps('ring-b.service', 'start');
    await cluster.untilStamps('ring-a.service', 'start');
    await must('destroy', 'ring-a', 'ring-b');
  });
});
