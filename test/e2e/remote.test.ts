/** `status`, `journal` and `ssh` against real machines: what their systemd says, what their journal says, and who is let in. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { type Finished, run } from '../../cli/roles/dev/run.js';
import { program, TestCluster, unitManifest, until } from '../rigs/cluster.js';
import { TestSshd } from '../rigs/sshd.js';

const sshPort = 2222;
const inMachines = '/var/ssh-test';
const global = '[X-Fleet]\nGlobal=true\n';

/** Says a line whenever somebody writes one into /run/said. It holds that open for writing, too: a writer that leaves is not the end. */
const talker = `[Service]
ExecStartPre=/bin/sh -c 'rm -f /run/said; mkfifo /run/said'
ExecStart=/bin/sh -c 'exec 3<>/run/said; echo ready; while read -r line <&3; do echo "$line"; done'
`;

describe('machines from near', () => {
  let cluster: TestCluster;
  let sshd: TestSshd;
  let alpha: SystemdMachine;
  let beta: SystemdMachine;
  before(async () => {
    sshd = await TestSshd.start();
    await writeFile(sshd.keys.path('sshd_config.machine'), sshd.keys.serverConfig(`0.0.0.0:${sshPort}`, inMachines));
    cluster = await TestCluster.start({ machines: 2, bindInMachines: { [sshd.keys.directory]: inMachines } });
    [alpha, beta] = cluster.dev.machines as [SystemdMachine, SystemdMachine];
    const sshUnit = `[Service]\nExecStartPre=/bin/mkdir -p /run/sshd\nExecStart=/usr/sbin/sshd -D -e -f ${inMachines}/sshd_config.machine\n`;
    const onAlpha = { placement: { machineID: alpha.options.machineId } };
    await cluster.apply(
      unitManifest('hello.service', '[Service]\nExecStart=/bin/sleep infinity\n', onAlpha),
      unitManifest('broken.service', '[Service]\nExecStart=/bin/false\n', onAlpha),
      unitManifest('ready.service', '[Service]\nExecStart=/bin/sleep infinity\n', { ...onAlpha, desiredState: 'loaded' }),
      unitManifest('known.service', '[Service]\nExecStart=/bin/true\n', { desiredState: 'inactive' }),
      unitManifest('talker.service', talker + global),
      unitManifest('ssh-test.service', sshUnit + global),
    );
    await cluster.untilReady('hello.service');
    await cluster.untilReady('ready.service');
    await cluster.untilReady('talker.service');
    await cluster.untilReady('ssh-test.service');
    await cluster.untilUnit('broken.service', 'failed', ({ status }) => status?.active === 'failed');
  });
  after(async () => {
    await cluster?.stop();
    await sshd?.stop();
  });

  const flotilla = (...args: readonly string[]): Promise<Finished> => cluster.dev.cli(args, { env: sshd.keys.environment });
  const say = (machine: SystemdMachine, line: string) => machine.must(['sh', '-c', `echo "${line}" > /run/said`]);
  const follower = (unit: string) => ['pgrep', '--full', `journalctl .*--unit=${unit}`];

  describe('status', () => {
    for (const { units, code, says } of [
      { units: ['hello'], code: 0, says: /^● hello\.service[\s\S]*Active: active \(running\)[\s\S]*sleep infinity\n/ },
      { units: ['broken.service'], code: 3, says: /Active: failed \(Result: exit-code\)/ },
      { units: ['ready'], code: 3, says: /Active: inactive \(dead\)/ },
      { units: ['hello', 'broken'], code: 3, says: /^● hello\.service[\s\S]*\n\n× broken\.service/ },
      { units: ['{hello,broken}'], code: 1, says: /^$/ },
      { units: ['b*', 'h*'], code: 3, says: /^× broken\.service[\s\S]*\n\n● hello\.service/ },
    ]) {
      test(`${units.join(' ')}: systemctl's words, exit ${code}`, async () => {
        const outcome = await flotilla('status', ...units);
        assert.equal(outcome.code, code, outcome.stderr);
        assert.match(outcome.stdout, says);
      });
    }

    for (const { unit, says } of [
      { unit: 'nobody', says: /units\.flotilla\.dev "nobody\.service" not found/ },
      { unit: 'known', says: /known\.service is on no machine, so it has no status/ },
    ]) {
      test(`${unit}: the reason, exit 1, and what comes after it all the same`, async () => {
        const { code, stdout, stderr } = await flotilla('status', unit, 'hello');
        assert.equal(code, 1);
        assert.match(stderr, says);
        assert.match(stdout, /hello\.service/);
      });
    }

    test('of a global unit: each machine under its name, or the one that was asked for', async () => {
      const both = await flotilla('status', 'talker');
      assert.equal(both.code, 0, both.stderr);
      for (const { options } of [alpha, beta]) {
        const heading = `==> ${options.hostname} (${options.machineId.slice(0, 8)}.../${options.address})\n● talker.service`;
        assert.ok(both.stdout.includes(heading), both.stdout);
      }
      const one = await flotilla('status', 'talker', '--machine', beta.options.hostname);
      assert.equal(one.code, 0);
      assert.ok(one.stdout.startsWith('● talker.service'), one.stdout);
    });

    test('of a unit of the machine that is not ours: nothing is shown', async () => {
      const { code, stderr } = await flotilla('get', '--raw', '/apis/flotilla.dev/v1/units/dbus.service/systemd-status');
      assert.equal(code, 1);
      assert.match(stderr, /not found/);
    });
  });

  describe('journal', () => {
    test('the last lines, as journalctl writes them', async () => {
      const journal = (...args: readonly string[]) => flotilla('journal', ...args, '--machine', alpha.options.hostname, 'talker');
      await say(alpha, 'well');
      await until('the line', async () => (await journal('--output', 'cat')).stdout.endsWith('well\n'));
      const short = await journal('--sudo');
      assert.match(short.stdout, /^[A-Z][a-z]{2} \d\d [\d:]{8} \S+ sh\[\d+\]: well$/m);
      const cat = await journal('--lines', '1', '--output=cat');
      assert.deepEqual([cat.code, cat.stdout], [0, 'well\n']);
      const json = await journal('-n1', '-o', 'json');
      assert.equal(JSON.parse(json.stdout).MESSAGE, 'well');
    });

    test('-f on all machines of a global unit, until a Ctrl-C ends it with 130 and the processes with it', async () => {
      const reader = spawn(process.execPath, [program, 'journal', '-f', '--lines', '20', '--output', 'cat', 'talker.service'], {
        env: { ...process.env, FLOTILLA_ENDPOINT: `unix://${cluster.dev.servers[0]!.socket}` },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      reader.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      const ended = new Promise<number | null>((done) => reader.once('exit', done));
      try {
        await until('the lines that were there', async () => text.split('ready\n').length > 2);
        for (const [machine, line] of [
          [alpha, 'first of alpha'],
          [beta, 'then of beta'],
          [alpha, 'and alpha again'],
        ] as const) {
          await say(machine, line);
          await until(line, async () => text.includes(`${line}\n`));
        }
        for (const machine of [alpha, beta])
          assert.equal((await machine.exec(follower('talker'))).code, 0, 'a journal process per machine');
      } finally {
        reader.kill('SIGINT');
      }
      assert.equal(await ended, 130);
      for (const machine of [alpha, beta]) {
        await until('the end of the journal process', async () => (await machine.exec(follower('talker'))).code === 1);
      }
    });

    test('one machine of several', async () => {
      await say(beta, 'only here');
      const read = (machine: SystemdMachine) => flotilla('journal', 'talker', '--output', 'cat', '--machine', machine.options.hostname);
      await until('the line', async () => (await read(beta)).stdout.includes('only here\n'));
      assert.ok(!(await read(alpha)).stdout.includes('only here'));
    });
  });

  describe('ssh', () => {
    const into = (...args: readonly string[]) => flotilla('ssh', '--ssh-port', String(sshPort), ...args);
    const knownAs = ({ options }: SystemdMachine) => `[${options.address}]:${sshPort}`;

    test('a machine whose key is not known is not entered', async () => {
      await sshd.keys.know([sshd.knownAs]);
      const { code, stdout, stderr } = await into(alpha.options.hostname, 'hostname');
      assert.deepEqual([code, stdout], [255, '']);
      assert.match(stderr, /Host key verification failed/);
    });

    test('by hostname, by the beginning of its id, by a unit; the command keeps its flags, and its exit code is ours', async () => {
      await sshd.keys.know([knownAs(alpha), knownAs(beta)]);
      for (const target of [
        [alpha.options.hostname],
        [alpha.options.machineId.slice(0, 12)],
        ['--machine', alpha.options.hostname],
        ['hello'],
        ['--unit', 'hello.service'],
      ]) {
        const { code, stdout, stderr } = await into(...target, 'uname', '-n');
        assert.deepEqual([code, stdout], [0, `${alpha.options.hostname}\n`], `${target.join(' ')}: ${stderr}`);
      }
      const failed = await into('hello', 'sh', '-c', "'exit 7'");
      assert.equal(failed.code, 7);
      const input = await cluster.dev.cli(['ssh', '--ssh-port', String(sshPort), 'hello', '--', 'wc', '-c'], {
        env: sshd.keys.environment,
        input: '12345',
      });
      assert.equal(input.stdout.trim(), '5');
    });

    test('without a command: a shell, on a terminal when there is one here', async () => {
      const words = [process.execPath, program, 'ssh', '--ssh-port', String(sshPort), 'hello'].join(' ');
      const env = { ...sshd.keys.environment, FLOTILLA_ENDPOINT: `unix://${cluster.dev.servers[0]!.socket}` };
      const typed = 'tty; hostname; exit 5\n';
      const { code, stdout } = await run('script', ['--quiet', '--return', '--command', words, '/dev/null'], { env, input: typed });
      assert.equal(code, 5, stdout);
      assert.match(stdout, /\/dev\/pts\/\d+/);
      assert.ok(stdout.includes(alpha.options.hostname), stdout);
    });

    test('what is not clear is asked back, not guessed', async () => {
      for (const { words, code, says } of [
        { words: ['--machine', 'a', '--unit', 'b'], code: 2, says: /--machine and --unit/ },
        { words: [], code: 2, says: /ssh to where\?/ },
        { words: ['nowhere'], code: 1, says: /"nowhere" is no machine and no unit/ },
        { words: ['known'], code: 1, says: /known\.service is on no machine/ },
        { words: ['talker', 'true'], code: 1, says: /talker\.service is on 2 machines: choose one with --machine/ },
      ]) {
        const outcome = await into(...words);
        assert.equal(outcome.code, code, words.join(' '));
        assert.match(outcome.stderr, says);
      }
      // A unit that is called like a machine.
      await cluster.apply(unitManifest(`${alpha.options.hostname}.service`, '[Service]\nExecStart=/bin/sleep infinity\n'));
      await cluster.untilReady(`${alpha.options.hostname}.service`);
      const both = await into(alpha.options.hostname, 'true');
      assert.equal(both.code, 1);
      assert.match(both.stderr, /is a machine and a unit: say which/);
    });

    test('through a tunnel: server and machine are reached by way of that host', async () => {
      await sshd.keys.know([sshd.knownAs, knownAs(beta)]);
      const { code, stdout, stderr } = await into('--tunnel', sshd.host, '--machine', beta.options.hostname, 'printenv', 'SSH_CONNECTION');
      assert.equal(code, 0, stderr);
      assert.match(stdout, new RegExp(` ${beta.options.address.replaceAll('.', '\\.')} ${sshPort}\\n$`));
      assert.match(sshd.words, /Accepted publickey/);
      // What is said of host keys is said of the host in between, too.
      await sshd.keys.know([knownAs(beta)]);
      assert.notEqual((await into('--tunnel', sshd.host, '--machine', beta.options.hostname, 'true')).code, 0);
      const trusting = ['--strict-host-key-checking=false', '--known-hosts-file', sshd.keys.path('other_hosts')];
      assert.equal((await into(...trusting, '--tunnel', sshd.host, '--machine', beta.options.hostname, 'true')).code, 0);

      await sshd.keys.know([sshd.knownAs]);
      assert.equal((await flotilla('--tunnel', sshd.host, 'status', 'broken')).code, 3);
    });
  });
});
