/** `--tunnel` through a real OpenSSH server on loopback, to the real app on a unix socket and on https. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type Finished, run } from '../../cli/roles/dev/run.js';
import { type Cluster, newCluster, type Server } from '../api/server/agents/rig.js';
import { program, until } from '../rigs/cluster.js';
import { TestSshd } from '../rigs/sshd.js';

describe('--tunnel', () => {
  let cluster: Cluster;
  let server: Server;
  let sshd: TestSshd;
  before(async () => {
    cluster = await newCluster();
    server = await cluster.startServer('alpha');
    sshd = await TestSshd.start();
    await mkdir(sshd.keys.path('tmp'));
  });
  after(async () => {
    await sshd?.stop();
    await cluster?.close();
  });
  beforeEach(() => sshd.keys.know([sshd.knownAs]));

  const environment = (): NodeJS.ProcessEnv => ({
    ...sshd.keys.environment,
    FLOTILLA_ENDPOINT: `unix://${server.socketPath}`,
    TMPDIR: sshd.keys.path('tmp'),
    NO_COLOR: '1',
  });
  /** What tunnels have left behind. */
  const leftovers = () => readdir(sshd.keys.path('tmp'));
  const flotilla = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> =>
    run(process.execPath, [program, ...args], {
      env: { ...environment(), ...env },
    });
  const header = 'MACHINE\tIP\tMETADATA\n';

  test("a verb speaks to the server's socket on the other host, and nothing is left of the tunnel", async () => {
    const { code, stdout, stderr } = await flotilla(['--tunnel', sshd.host, 'list-machines']);
    assert.deepEqual([code, stdout, stderr], [0, header, '']);
    assert.deepEqual(await leftovers(), []);
    assert.equal(await sshOf(sshd), 0, 'the ssh that held it has ended');
  });

  test("the flag may stand behind the verb, and be fleet's variable", async () => {
    assert.equal((await flotilla(['list-machines', '--tunnel', sshd.host])).stdout, header);
    assert.equal((await flotilla(['list-machines'], { FLEETCTL_TUNNEL: sshd.host })).stdout, header);
    const both = { FLEETCTL_TUNNEL: '127.0.0.1:1', FLOTILLA_TUNNEL: sshd.host };
    assert.equal((await flotilla(['list-machines'], both)).stdout, header, 'our own variable is the stronger one');
  });

  test('to an https endpoint: its certificate is checked for the name that the endpoint has', async () => {
    const { certificate, key } = await server.pki.issueAdmin('ann');
    const files = { ca: server.ca, cert: certificate, key };
    for (const [name, text] of Object.entries(files)) await writeFile(sshd.keys.path(`${name}.pem`), text);
    const tls = Object.keys(files).flatMap((name) => [`--${name}-file`, sshd.keys.path(`${name}.pem`)]);
    const through = (endpoint: string) => flotilla(['--tunnel', sshd.host, '--endpoint', endpoint, ...tls, 'list-machines']);
    const { code, stdout, stderr } = await through(server.url);
    assert.deepEqual([code, stdout, stderr], [0, header, '']);
    // The same server by an address that its certificate does not have.
    const wrong = await through(server.url.replace('127.0.0.1', '0.0.0.0'));
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /cannot reach https:\/\/0\.0\.0\.0.* through .*altnames/);
  });

  for (const { name, hosts, key, flags, code, stderr } of [
    {
      name: 'an unknown host key is refused where nobody can be asked',
      hosts: ['elsewhere'],
      flags: [],
      code: 1,
      stderr: /Host key verification failed/,
    },
    {
      name: 'and by --strict-host-key-checking',
      hosts: ['elsewhere'],
      flags: ['--strict-host-key-checking=yes'],
      code: 1,
      stderr: /Host key verification failed/,
    },
    {
      name: 'it is taken with --strict-host-key-checking=false',
      hosts: ['elsewhere'],
      flags: ['--strict-host-key-checking=false'],
      code: 0,
      stderr: /^$/,
    },
    {
      name: 'another key than the one that is known is refused, with the warning',
      hosts: [],
      key: 'other-host',
      flags: ['--strict-host-key-checking'],
      code: 1,
      stderr: /REMOTE HOST IDENTIFICATION HAS CHANGED[\s\S]*flotilla: cannot open a tunnel through .*: Host key verification failed/,
    },
  ] as const) {
    test(name, async () => {
      await sshd.keys.know(hosts.length > 0 ? hosts : [sshd.knownAs], key ?? 'host');
      const outcome = await flotilla([...flags, '--tunnel', sshd.host, 'list-machines']);
      assert.equal(outcome.code, code, outcome.stderr);
      assert.match(outcome.stderr, stderr);
    });
  }

  test('--known-hosts-file is where ssh looks, and where it writes', async () => {
    await sshd.keys.know(['elsewhere']);
    const file = sshd.keys.path('known hosts of mine');
    const flags = ['--known-hosts-file', file, '--tunnel', sshd.host, 'list-machines'];
    assert.equal((await flotilla(flags)).code, 1);
    assert.equal((await flotilla(['--strict-host-key-checking', 'accept-new', ...flags])).code, 0);
    assert.ok((await readFile(file, 'utf8')).includes(sshd.knownAs));
    assert.equal((await flotilla(['--strict-host-key-checking=yes', ...flags])).code, 0);
  });

  test('what fails says where, in the words of ssh', async () => {
    const nobody = await flotilla(['--tunnel', '127.0.0.1:1', 'list-machines']);
    assert.equal(nobody.code, 1);
    assert.match(
      nobody.stderr,
      /^flotilla: cannot open a tunnel through 127\.0\.0\.1:1: ssh: connect to host 127\.0\.0\.1 port 1: Connection refused\n$/,
    );

    const stranger = await flotilla(['--ssh-username', 'nobody-here', '--tunnel', sshd.host, 'list-machines']);
    assert.equal(stranger.code, 1);
    assert.match(stranger.stderr, /nobody-here@127\.0\.0\.1: Permission denied/);

    const noServer = await flotilla(['--endpoint', 'unix:///nowhere/flotilla.sock', '--tunnel', sshd.host, 'list-machines']);
    assert.equal(noServer.code, 1);
    assert.match(noServer.stderr, new RegExp(`cannot reach unix:///nowhere/flotilla\\.sock through ${sshd.host}: .*open failed`));

    assert.equal((await flotilla(['--tunnel', '-oProxyCommand=true', 'list-machines'])).code, 2);
  });

  test('a host that accepts and says nothing is given up after --ssh-timeout', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((listening) => silent.once('listening', listening));
    const { port } = silent.address() as { port: number };
    const { code, stderr } = await flotilla(['--ssh-timeout', '1', '--tunnel', `127.0.0.1:${port}`, 'list-machines']);
    silent.close();
    assert.equal(code, 1);
    assert.match(stderr, /cannot open a tunnel through .*timed out/i);
  });

  test('a reader that has gone takes the tunnel down with the verb', async () => {
    const words = [process.execPath, program, '--tunnel', sshd.host, 'list-machines'].map((word) => `'${word}'`).join(' ');
    assert.equal((await run('sh', ['-c', `${words} | true`], { env: environment() })).code, 0);
    await until('the end of the tunnel', async () => (await sshOf(sshd)) === 0);
    assert.deepEqual(await leftovers(), []);
  });

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} takes the tunnel down with the verb`, async () => {
      const child = spawn(process.execPath, [program, '--tunnel', sshd.host, 'get', 'units', '--watch'], {
        env: environment(),
        stdio: 'ignore',
      });
      const ended = new Promise<number>((done) => child.once('exit', (status, by) => done(status ?? (by === signal ? code : -1))));
      await until('the tunnel', async () => (await sshOf(sshd)) > 0 && (await leftovers()).length > 0);
      child.kill(signal);
      assert.equal(await ended, code);
      await until('the end of the tunnel', async () => (await sshOf(sshd)) === 0);
      assert.deepEqual(await leftovers(), []);
    });
  }
});

/** How many ssh clients of this server run. */
async function sshOf(sshd: TestSshd): Promise<number> {
  const { stdout } = await run('ps', ['-eo', 'args']);
  return stdout.split('\n').filter((line) => line.startsWith('/usr/bin/ssh ') && line.includes(sshd.keys.directory)).length;
}
