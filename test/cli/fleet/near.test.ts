/** fleet's verbs that look at machines from near, against a real server and real agents; systemctl, journalctl and ssh are programs that tell what they were asked. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { FleetRig, machineIds, unitFile } from './rig.js';

/** Programs by name; `$last` is the last argument. */
const programs = {
  systemctl: `for last; do :; done; echo "● $last: $*"; case $last in broken.*) echo "and stderr" >&2; exit 3;; odd.*) printf 'a\\033[31mb\\n'; exit 4;; esac`,
  journalctl: `echo "2026-01-01T00:00:00+0000 host $*"`,
  ssh: 'printf "%s\\n" "$@" > "$SSH_ASKED"; exit 7',
};

describe('from near', () => {
  let rig: FleetRig;
  let asked: string;
  const path = process.env.PATH;
  before(async () => {
    rig = await FleetRig.start();
    const bin = join(rig.folder, 'bin');
    asked = join(rig.folder, 'asked');
    await mkdir(bin);
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
      await chmod(join(bin, name), 0o755);
    }
    // The agents run in this process.
    process.env.PATH = `${bin}${delimiter}${path}`;
    for (const name of ['hello', 'broken', 'odd', 'm1']) {
      await rig.write(`${name}.service`, unitFile('/bin/sleep infinity', { sections: `[X-Fleet]\nMachineID=${machineIds[1]}\n` }));
    }
    await rig.write('all.service', unitFile('/bin/sleep infinity', { sections: '[X-Fleet]\nGlobal=true\n' }));
    await rig.write('known.service', unitFile('/bin/true'));
    await rig.write('many@.service', unitFile('/bin/sleep infinity'));
    assert.equal((await rig.run('submit known.service many@.service')).code, 0);
    assert.equal((await rig.run('start hello broken odd m1 all')).code, 0);
    await rig.until('the global unit everywhere', async () => rig.pids('all.service').every((pid) => pid !== undefined));
  });
  after(async () => {
    process.env.PATH = path;
    await rig?.end();
  });

  const says = (unit: string) => `● ${unit}: status -l --no-pager -- ${unit}\n`;
  const on = (n: number) => `==> m${n} (00000000.../10.77.0.${n})\n`;

  for (const { line, code, out = '', err = /^$/, input = '' } of [
    { line: 'status hello', code: 0, out: says('hello.service') },
    { line: 'status hello.service', code: 0, out: says('hello.service') },
    {
      line: 'status hello broken odd',
      code: 3,
      out: `${says('hello.service')}\n${says('broken.service')}and stderr\n\n${says('odd.service')}a\u001b[31mb\n`,
    },
    {
      line: 'status nowhere broken known hello',
      code: 1,
      out: `\n${says('broken.service')}and stderr\n\n\n${says('hello.service')}`,
      err: /"nowhere\.service" not found[\s\S]*known\.service is on no machine/,
    },
    { line: 'status many@', code: 1, err: /many@\.service is a template/ },
    { line: 'status h*', code: 0, out: says('hello.service') },
    { line: 'status z*', code: 1, err: /no unit in the cluster matches/ },
    { line: 'status -', input: 'hello broken\n', code: 3, out: `${says('hello.service')}\n${says('broken.service')}and stderr\n` },
    { line: 'status', code: 2, err: /No units given/ },
    { line: 'status all', code: 0, out: [1, 2, 3].map((n) => on(n) + says('all.service')).join('\n') },
    { line: 'status all --machine m2 --ssh-port 22', code: 0, out: says('all.service') },
    { line: 'status hello --machine m3', code: 1, err: /hello\.service is not assigned to a machine/ },
    { line: 'status hello --machine m4', code: 1, err: /machine "m4" is not known/ },
    {
      line: 'journal hello',
      code: 0,
      out: '2026-01-01T00:00:00+0000 host --output=short --no-pager --quiet --lines=10 --unit=hello.service\n',
    },
    {
      line: 'journal --sudo --lines 3 -o cat --ssh-port 22 hello.service',
      code: 0,
      out: '2026-01-01T00:00:00+0000 host --output=cat --no-pager --quiet --lines=3 --unit=hello.service\n',
    },
    {
      line: 'journal -f --lines=0 hello',
      code: 0,
      out: '2026-01-01T00:00:00+0000 host --output=short --no-pager --quiet --lines=0 --follow --unit=hello.service\n',
    },
    {
      line: 'journal all --output short-iso',
      code: 0,
      out: '2026-01-01T00:00:00+0000 host --output=short-iso --no-pager --quiet --lines=10 --unit=all.service\n'.repeat(3),
    },
    { line: 'journal all --machine m1', code: 0, out: /^[^\n]*--unit=all\.service\n$/ },
    { line: 'logs --output json --tail 5 hello', code: 0, out: /--output=json .*--lines=5 / },
    { line: 'journal --output jsom hello', code: 2, err: /expected one of short, .*did you mean "json"\?/ },
    { line: 'journal known', code: 1, err: /known\.service is on no machine, so it has no journal/ },
    { line: 'journal nowhere', code: 1, err: /"nowhere\.service" not found/ },
  ] satisfies { line: string; code: number; out?: string | RegExp; err?: RegExp; input?: string }[]) {
    test(line, async () => {
      const ran = await rig.run(line, { input });
      assert.equal(ran.code, code, ran.stderr);
      if (typeof out === 'string') assert.equal(ran.stdout, out);
      else assert.match(ran.stdout, out);
      assert.match(ran.stderr, err);
    });
  }

  const connect = ['-o', 'ConnectTimeout=10'];
  for (const { line, env = {}, args, err = /^$/ } of [
    { line: 'ssh m2', args: [...connect, '--', '10.77.0.2'] },
    { line: 'ssh hello cat /etc/environment', args: [...connect, '--', '10.77.0.2', 'cat /etc/environment'] },
    { line: 'ssh --unit hello.service ls -l --machine x', args: [...connect, '--', '10.77.0.2', 'ls -l --machine x'] },
    { line: 'ssh --machine=m3 -A --ssh-port 2222 -- ls -l', args: [...connect, '-p', '2222', '-A', '--', '10.77.0.3', 'ls -l'] },
    { line: `--ssh-timeout 2.5 ssh ${machineIds[0]} true`, args: ['-o', 'ConnectTimeout=3', '--', '10.77.0.1', 'true'] },
    { line: 'ssh m2 words -- true', args: [...connect, '--', '10.77.0.2', 'true'], err: /left out: words/ },
    { line: 'ssh --unit m1', args: [...connect, '--', '10.77.0.2'] },
    { line: 'ssh --machine m1', args: [...connect, '--', '10.77.0.1'] },
    {
      line: 'ssh m2',
      env: {
        FLEETCTL_SSH_USERNAME: 'core',
        FLEETCTL_STRICT_HOST_KEY_CHECKING: 'false',
        FLEETCTL_KNOWN_HOSTS_FILE: '/k',
        FLEETCTL_SSH_TIMEOUT: '5.0',
      },
      args: ['-o', 'ConnectTimeout=5', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile="/k"', '-l', 'core', '--', '10.77.0.2'],
    },
    { line: 'ssh --strict-host-key-checking m2', args: ['-o', 'ConnectTimeout=10', '-o', 'StrictHostKeyChecking=ask', '--', '10.77.0.2'] },
  ] satisfies { line: string; env?: Record<string, string>; args: string[]; err?: RegExp }[]) {
    test(`${line}${Object.keys(env).length > 0 ? ' with variables' : ''}`, async () => {
      await rm(asked, { force: true });
      const ran = await rig.run(line, { env: { ...env, PATH: process.env.PATH!, SSH_ASKED: asked } });
      assert.equal(ran.code, 7, `ssh's exit code is ours: ${ran.stderr}`);
      assert.deepEqual((await readFile(asked, 'utf8')).split('\n').slice(0, -1), args);
      assert.match(ran.stderr, err);
    });
  }

  for (const { line, code, err } of [
    { line: 'ssh', code: 2, err: /ssh to where\?/ },
    { line: 'ssh --machine m1 --unit hello', code: 2, err: /--machine and --unit both say where to go/ },
    { line: 'ssh m1 true', code: 1, err: /"m1" is a machine and a unit: say which/ },
    { line: 'ssh 0000 true', code: 1, err: /machine "0000" could be / },
    { line: 'ssh all true', code: 1, err: /all\.service is on 3 machines: choose one with --machine, of m1, m2, m3/ },
    { line: 'ssh nowhere', code: 1, err: /"nowhere" is no machine and no unit/ },
    { line: 'ssh known', code: 1, err: /known\.service is on no machine/ },
    { line: 'ssh --ssh-port 0 m2', code: 2, err: /expected a number from 1 to 65535/ },
    { line: 'ssh --ssh-username -oX m2', code: 2, err: /no user name/ },
    { line: 'ssh --strict-host-key-checking=maybe m2', code: 2, err: /expected one of true, false/ },
    { line: 'ssh --machin m2', code: 2, err: /--machin/ },
  ]) {
    test(`${line}: refused`, async () => {
      await rm(asked, { force: true });
      const ran = await rig.run(line, { env: { PATH: process.env.PATH!, SSH_ASKED: asked } });
      assert.deepEqual([ran.code, ran.stdout], [code, '']);
      assert.match(ran.stderr, err);
      await assert.rejects(readFile(asked), 'ssh was not run');
    });
  }
});
