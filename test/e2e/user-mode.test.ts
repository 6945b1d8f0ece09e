/** `flotilla dev` without root: a user's own systemd as the one machine. Tried inside a real machine, by a user who has nothing but a session. */
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import type { Finished, RunOptions } from '../../cli/roles/dev/run.js';
import { program, TestCluster, until } from '../rigs/cluster.js';

const manifests = join(dirname(dirname(program)), 'manifests');
const flotilla = ['/opt/flotilla/node', '/opt/flotilla/dist/flotilla.mjs'];

describe('flotilla dev for a user without root', () => {
  let cluster: TestCluster;
  let machine: SystemdMachine;
  let uid: string;
  let runtime: string;
  before(async () => {
    cluster = await TestCluster.start({ machines: 1, bindInMachines: { [manifests]: '/opt/manifests' } });
    machine = cluster.dev.machines[0]!;
    // The machine's own agent is not what is looked at here.
    await machine.must(['systemctl', 'stop', 'flotilla-agent']);
    await machine.must(['useradd', '--create-home', 'ada']);
    uid = (await machine.must(['id', '-u', 'ada'])).trim();
    runtime = `/run/user/${uid}`;
    await machine.must(['loginctl', 'enable-linger', 'ada']);
    await until('the session', async () => (await asAda(['systemctl', '--user', 'is-system-running'])).stdout.trim() === 'running');
  });
  after(async () => {
    await cluster?.stop();
  });

  const asAda = (argv: readonly string[], options: RunOptions & { session?: boolean } = {}): Promise<Finished> =>
    machine.exec(
      [
        ...['setpriv', '--reuid=ada', '--regid=ada', '--init-groups', '--reset-env', 'env', `PATH=${process.env.PATH}`, 'NO_COLOR=1'],
        ...(options.session === false ? [] : [`XDG_RUNTIME_DIR=${runtime}`]),
        ...argv,
      ],
      options,
    );
  const mustAsAda = async (argv: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await asAda(argv);
    assert.equal(code, 0, `${argv.join(' ')}: ${stderr || stdout}`);
    return stdout;
  };
  const userUnits = async () =>
    (await mustAsAda(['systemctl', '--user', 'list-units', '--all', '--plain', '--no-legend', '--type=service']))
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/)[0]!)
      .sort();
  /** All that is under her runtime directory but for what her D-Bus starts by itself, and systemd's own notes about units. */
  const ourFiles = async () =>
    (await machine.must(['find', runtime, '-xdev']))
      .trim()
      .split('\n')
      .filter((path) => !/\/dbus-1(\/|$)|\/systemd\/units\//.test(path))
      .sort();
  const journal = () => machine.must(['journalctl', '-u', 'ada-dev', '-o', 'cat']);
  /** All that runs as her, but for the bus, which her session starts when somebody speaks on it. */
  const processesOfAda = async () =>
    (await machine.must(['ps', '-u', 'ada', '-o', 'args=']))
      .trim()
      .split('\n')
      .filter((line) => !line.includes('dbus-daemon'))
      .sort();

  test('up, units under her own manager, Ctrl-C, nothing left; twice', async () => {
    const [unitsBefore, filesBefore, processesBefore] = [await userUnits(), await ourFiles(), await processesOfAda()];
    for (const round of [1, 2]) {
      // As a terminal would run it, but for the terminal; whatever it leaves behind stays there to be seen.
      await machine.must([
        ...['systemd-run', '--unit=ada-dev', '--uid=ada', '--gid=ada', '-p', 'KillMode=process', '-p', 'RemainAfterExit=yes'],
        ...[`--setenv=XDG_RUNTIME_DIR=${runtime}`, `--setenv=PATH=${process.env.PATH}`, '--setenv=NO_COLOR=1'],
        ...[...flotilla, 'dev', '--apply', '/opt/manifests/quickstart'],
      ]);
      await until('it to be up', async () => /In a second terminal:/.test(await journal()), { timeoutMs: 60_000 }).catch(
        async (error: Error) => assert.fail(`round ${round}: ${error.message}\n${await journal()}`),
      );
      const said = await journal();
      assert.match(said, /web@2\.service waits: 1 machine: conflict with web@1\.service/, 'and does not wait for what cannot run here');

      const active = async (unit: string) => (await asAda(['systemctl', '--user', 'is-active', unit])).stdout.trim();
      assert.equal(await active('hello.service'), 'active');
      assert.equal(await active('web@1.service'), 'active');
      assert.equal(
        (await machine.exec(['systemctl', 'is-active', 'hello.service'])).stdout.trim(),
        'inactive',
        "the system's own has none of it",
      );
      assert.match(
        await mustAsAda(['systemctl', '--user', 'show', '-P', 'FragmentPath', 'hello.service']),
        new RegExp(`^${runtime}/systemd/user/`),
      );

      // What it says to type next works as it stands there.
      const [, setting] = /export (FLOTILLA_ENDPOINT=\S+)/.exec(said) ?? [];
      assert.ok(setting, said);
      const client = (...args: string[]) => mustAsAda(['env', setting, ...flotilla, ...args]);
      assert.match(await client('get', 'units'), /hello\.service +launched +active +running/);
      assert.match(await client('get', 'machines'), /Ready/);
      await until('its log', async () => /Hello World/.test(await client('logs', 'hello.service')));
      assert.match(await client('status', 'hello'), /^● hello\.service[\s\S]*Active: active \(running\)/);

      await machine.must(['systemctl', 'kill', '--kill-who=main', '--signal=INT', 'ada-dev']);
      await until(
        'it to end',
        async () => (await machine.must(['systemctl', 'show', '-P', 'SubState', 'ada-dev'])).trim() !== 'running',
      ).catch(async (error: Error) => assert.fail(`round ${round}: ${error.message}\n${await journal()}`));
      assert.equal((await machine.must(['systemctl', 'show', '-P', 'ExecMainStatus', 'ada-dev'])).trim(), '0', await journal());
      await machine.must(['systemctl', 'stop', 'ada-dev']);
      assert.deepEqual(await userUnits(), unitsBefore, `units after round ${round}`);
      assert.deepEqual(await ourFiles(), filesBefore, `files after round ${round}`);
      assert.deepEqual(await processesOfAda(), processesBefore, `processes after round ${round}`);
      await machine.must(['journalctl', '--rotate', '--vacuum-time=1s', '-q']);
    }
  });

  test('without a session: one sentence that says what is missing', async () => {
    const { code, stdout, stderr } = await asAda([...flotilla, 'dev'], { session: false });
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^flotilla dev: needs root .*or a systemd user session.*\n$/);
  });

  test('more than one machine needs root', async () => {
    const { code, stderr } = await asAda([...flotilla, 'dev', '--machines', '3']);
    assert.equal(code, 1);
    assert.match(stderr, /more than one machine needs root/);
  });
});
