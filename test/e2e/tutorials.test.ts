/** The units of tutorials about fleet, as they are printed there, on three machines with a real Docker each: SEMANTICS 14, invariants 8 and 9. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { conditionOf, TestCluster, unitManifest, until } from '../rigs/cluster.js';
import { DockerRig, nginxPage } from '../rigs/docker.js';

const directory = join(dirname(fileURLToPath(import.meta.url)), 'tutorials');
const file = (name: string) => join(directory, name);
const textOf = (name: string) => readFile(file(name), 'utf8');

// Together, because some of them wait: for RestartSec=, and for docker stop, which gives a shell that ignores SIGTERM its 10 seconds.
describe("the tutorials' units", { concurrency: true }, () => {
  let cluster: TestCluster;
  let docker: DockerRig;
  before(async () => {
    cluster = await TestCluster.start();
    docker = await DockerRig.start(cluster);
  });
  after(async () => {
    await docker?.stop();
    await cluster?.stop();
  });

  const cli = (...args: string[]) => cluster.dev.cli(args);
  const must = (...args: string[]) => cluster.dev.mustCli(args);
  /** Applies a unit file's text under a name of our choice, as a file of that name would be. */
  const applyText = (name: string, content: string) => cluster.apply(unitManifest(name, content));

  test('hello.service: pulls, runs, is heard, keeps other hellos away, and its container goes with it', async () => {
    // As the tutorial goes: what each listing shows at each step, and the way back.
    const hello = file('first-steps/hello.service');
    assert.equal(await must('submit', hello), 'Unit hello.service inactive\n');
    assert.match(
      await must('list-unit-files'),
      /^UNIT\t+HASH\t+DSTATE\t+STATE\t+TARGET\nhello\.service\t+[0-9a-f]{7}\t+inactive\t+inactive\t+-$/m,
    );
    assert.doesNotMatch(await must('list-units'), /hello/);
    assert.match(await must('cat', 'hello.service'), /X-Conflicts=hello\*\.service/);
    assert.match(await must('load', 'hello.service'), /^Unit hello\.service loaded on [0-9a-f]{8}\.\.\.\/\S+\n$/);
    assert.match(await must('start', 'hello.service'), /^Unit hello\.service launched on [0-9a-f]{8}\.\.\.\/\S+\n$/);
    assert.match(await must('list-units'), /^hello\.service\t+[0-9a-f]{8}\.\.\.\/\S+\t+active\t+running$/m);
    const unit = await cluster.untilReady('hello.service');
    const machine = cluster.machineOf(unit);
    await until('its container', async () => (await docker.containers(machine)).includes('busybox1'));
    assert.match(await must('status', 'hello.service'), /Active: active \(running\)[\s\S]*ExecStartPre=\/usr\/bin\/docker pull busybox/);
    await until('its words', async () => /Hello World\n.*Hello World/s.test(await must('journal', '--lines', '20', 'hello.service')));

    await applyText('hello2.service', await textOf('first-steps/hello.service'));
    const other = await cluster.untilReady('hello2.service');
    assert.notEqual(other.status?.machine, unit.status?.machine, 'X-Conflicts keeps them apart');
    await must('destroy', 'hello2');

    assert.match((await cli('stop', 'hello.service')).stderr, /^Successfully stopped units \[hello\.service\]\.$/m);
    assert.equal((await docker.containers(machine)).includes('busybox1'), false, 'killed before stop returned');
    assert.match((await cli('unload', 'hello.service')).stderr, /^Successfully unloaded units \[hello\.service\]\.$/m);
    assert.equal(await must('destroy', 'hello.service'), 'Destroyed hello.service\n');
    assert.equal((await cluster.show(machine, 'hello.service', 'LoadState')).LoadState, 'not-found');

    // The other tutorial's, with ExecStopPost= and [Install]: enabled while it is there, and no container is left.
    assert.match(await must('start', file('lifecycle/hello.service')), /^Unit hello\.service inactive\nUnit hello\.service launched on /);
    const second = cluster.machineOf(await cluster.untilReady('hello.service'));
    await until('its container', async () => (await docker.containers(second)).includes('busybox1'));
    const wants = '/run/systemd/system/multi-user.target.wants/hello.service';
    await second.must(['test', '-e', wants]);
    await must('destroy', 'hello.service');
    assert.equal((await docker.containers(second, 'all')).includes('busybox1'), false, 'stopped, and then removed by ExecStopPost');
    assert.equal((await second.exec(['test', '-e', wants])).code, 1);
  });

  test('nginx.service pinned by MachineID, as a user that the host lacks, and then has; changed in place', async () => {
    await must('submit', file('pinned/nginx.service'));
    const nowhere = await cli('start', '--block-attempts=1', 'nginx');
    assert.equal(nowhere.code, 124);
    assert.match(nowhere.stderr, /no machine df515c36/);
    const unplaced = await cluster.untilUnit('nginx.service', 'unplaced', (seen) => conditionOf(seen, 'Scheduled')?.status === 'False');
    assert.match(conditionOf(unplaced, 'Scheduled')!.message, /no machine df515c36/);

    const machine = cluster.dev.machines[1]!;
    const here = (await textOf('pinned/nginx.service')).replace(/^MachineID=.*$/m, `MachineID=${machine.options.machineId}`);
    await applyText('nginx.service', here);
    await until('the reason in describe', async () => /status 217\/USER/.test(await must('describe', 'unit', 'nginx.service')));

    await machine.must(['useradd', '--system', '--groups', 'docker', 'core']);
    const unit = await cluster.untilReady('nginx.service');
    assert.equal(cluster.machineOf(unit), machine);
    const untilPage = (text: string) =>
      until(`a page that says ${text}`, async () => (await (await fetch(`http://${machine.options.address}/`)).text()) === text);
    await untilPage(nginxPage);

    // fleet wanted it destroyed first. The container is dockerd's, on the host, so the directory is the host's, too.
    const www = join(cluster.dev.directory, 'www');
    await mkdir(www);
    await writeFile(join(www, 'index.html'), 'configured on the host\n');
    await applyText('nginx.service', here.replace('-p 80:80', `-v ${www}:/www:ro -p 80:80`));
    await untilPage('configured on the host\n');
    assert.equal(cluster.machineOf(await cluster.untilReady('nginx.service')), machine);
    await must('destroy', 'nginx');
    assert.equal((await docker.containers(machine)).includes('nginx'), false);
  });

  test('the redis pair: refused as printed, by file and line; mended it runs on two machines', async () => {
    const names = ['redis@1.service', 'redis@2.service'];
    const started = await cli('start', file('replicas/redis@1'), file('replicas/redis@2'));
    assert.equal(started.code, 1);
    assert.match(started.stderr, /redis@1\.service:10/);
    const printed = await cli('apply', '-f', file('replicas'));
    assert.equal(printed.code, 1);
    for (const name of names) {
      for (const [line, option] of [
        [10, 'ExecStartPre'],
        [11, 'ExecStart'],
      ]) {
        assert.match(printed.stderr, new RegExp(`/${name}:${line}: "${option}" has no "="`));
      }
    }
    assert.equal(await cluster.unit('redis@1.service'), undefined);

    const withSigns = (await textOf('replicas/redis@1.service')).replace(/^(ExecStart(?:Pre)?) docker/gm, '$1=docker');
    for (const name of names) await applyText(name, withSigns.replace('docker run -d', 'docker run'));
    const pair = await Promise.all(names.map((name) => cluster.untilReady(name)));
    const machines = pair.map((unit) => cluster.machineOf(unit));
    assert.notEqual(machines[0], machines[1]);
    for (const machine of machines) {
      const ping = ['sh', '-c', `busybox nc ${machine.options.address} 6379 < /dev/null`];
      await until('its answer', async () => (await machine.must(ping)) === '+PONG\n');
    }

    // docker run -d leaves at once, and systemd then stops what it took for the service: ended, and said to be.
    await applyText('redis@1.service', withSigns);
    const detached = await cluster.untilUnit(
      'redis@1.service',
      'ended',
      (seen) => seen.status?.observedGeneration === seen.metadata.generation && seen.status.active === 'inactive',
    );
    const ready = conditionOf(detached, 'Ready')!;
    assert.deepEqual([ready.status, ready.reason], ['False', 'Ended']);
    await must('destroy', ...names);
  });

  test('list_machines, as one of them spells it', async () => {
    const { code, stderr } = await cli('list_machines');
    assert.equal(code, 2);
    assert.match(stderr, /list-machines/);
  });
});
