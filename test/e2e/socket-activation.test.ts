/** A server that is started by whoever calls it first, as it is shipped: by systemd itself, and by the tool that systemd has for trying it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../cli/roles/dev/ports.js';
import { program, TestCluster, until } from '../rigs/cluster.js';
import { type EtcdRig, startEtcd } from '../rigs/etcd.js';

const shipped = join(dirname(fileURLToPath(import.meta.url)), '../../manifests/systemd');

interface Answered {
  readonly status: number | undefined;
  readonly server: string;
  readonly body: string;
}

/** Waits for as long as it takes: whoever activates a server is in its backlog until it is up. */
async function call(options: http.RequestOptions & https.RequestOptions, tls = false): Promise<Answered> {
  const request = (tls ? https : http).get({ agent: false, ...options });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, server: String(response.headers.server), body };
}

describe('with systemd-socket-activate', () => {
  let etcd: EtcdRig;
  let dir: string;
  before(async () => {
    etcd = await startEtcd();
    dir = await mkdtemp(join(tmpdir(), 'flotilla-activate-'));
  });
  after(async () => {
    await etcd?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  /** The tool becomes the server with the first connection, and keeps its process id. */
  function activate(listen: readonly string[], name: string, flags: readonly string[] = []) {
    const child = spawn(
      'systemd-socket-activate',
      [
        ...listen.map((address) => `--listen=${address}`),
        `--fdname=${name}`,
        ...[process.execPath, program, 'server', `--etcd=${etcd.endpoints.join(',')}`, `--pki-dir=${join(dir, 'pki')}`, ...flags],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    return { child, said: () => said };
  }
  const ended = async (child: ChildProcess): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode;
  };

  test('over a unix socket and over plain http on loopback, the request that started it is answered', { timeout: 90_000 }, async () => {
    const socketPath = join(dir, 'flotilla.sock');
    const port = await freePort();
    const { child, said } = activate([socketPath, `127.0.0.1:${port}`], 'http:http', ['--insecure-loopback']);
    try {
      await until('the tool listens', async () => said().includes('Listening on'));
      await chmod(socketPath, 0o600);
      const first = await call({ socketPath, path: '/fleet/v1/units?alt=json' });
      assert.deepEqual([first.status, first.body], [200, '{}'], said());
      assert.match(first.server, /^fleetd\//);
      assert.equal((await call({ host: '127.0.0.1', port, path: '/fleet/v1/machines' })).status, 200);
      assert.match(said(), /"endpoint":"unix:\/\//);
    } finally {
      child.kill('SIGTERM');
      assert.equal(await ended(child), 0);
    }
  });

  test('over TCP with TLS, and whoever has no certificate is nobody', { timeout: 90_000 }, async () => {
    const port = await freePort();
    const { child, said } = activate([`127.0.0.1:${port}`], 'https');
    try {
      await until('the tool listens', async () => said().includes('Listening on'));
      const first = await call({ host: '127.0.0.1', port, path: '/readyz', rejectUnauthorized: false }, true);
      assert.deepEqual([first.status, first.body], [200, 'ok'], said());
      assert.equal((await call({ host: '127.0.0.1', port, path: '/fleet/v1/units', rejectUnauthorized: false }, true)).status, 401);
    } finally {
      child.kill('SIGTERM');
      await ended(child);
    }
  });

  test('plain http beyond loopback, and a unix socket for everybody, end it with exit code 2 and a sentence', {
    timeout: 90_000,
  }, async () => {
    const port = await freePort();
    const open = join(dir, 'open.sock');
    for (const { listen, knock, sentence } of [
      { listen: `0.0.0.0:${port}`, knock: { host: '127.0.0.1', port }, sentence: /http:\/\/0\.0\.0\.0:\d+ would let everybody/ },
      { listen: open, knock: { socketPath: open }, sentence: /open\.sock has mode 0666.*SocketMode=0660/ },
    ]) {
      const { child, said } = activate([listen], 'http', ['--insecure-loopback']);
      await until('the tool listens', async () => said().includes('Listening on'));
      if ('socketPath' in knock) await chmod(open, 0o666);
      const refused = assert.rejects(call({ ...knock, path: '/' }));
      assert.equal(await ended(child), 2, said());
      await refused;
      assert.match(said(), sentence);
    }
  });
});

/** What a process inside a machine runs: prints the body of the answer. */
const asking = `const [, url, options] = process.argv;
require(url.split(':')[0]).get(url, JSON.parse(options), (answer) => answer.pipe(process.stdout));`;

describe('with systemd, by the files that are shipped', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start({ machines: 1 });
  });
  after(() => cluster?.stop());

  test('the first request starts the server and is answered; when it is stopped, the next one starts it again', {
    timeout: 120_000,
  }, async () => {
    const [machine] = cluster.dev.machines;
    assert.ok(machine);
    // A host of its own: an etcd, the program, and nothing else than the two files and where etcd is.
    await machine.must(['systemd-run', '--unit=test-etcd', 'etcd', '--data-dir=/run/etcd']);
    await machine.must(['groupadd', '--system', '--force', 'flotilla']);
    await writeFile(machine.path('/usr/local/bin/flotilla'), '#!/bin/sh\nexec /opt/flotilla/node /opt/flotilla/dist/flotilla.mjs "$@"\n');
    await chmod(machine.path('/usr/local/bin/flotilla'), 0o755);
    await writeFile(machine.path('/etc/flotilla/server.yaml'), 'etcd: http://127.0.0.1:2379\n');
    for (const unit of ['flotilla.socket', 'flotilla.service']) {
      const text = await readFile(join(shipped, unit), 'utf8');
      await writeFile(machine.path(`/etc/systemd/system/${unit}`), text.replace('#ListenStream=7443', 'ListenStream=7443'));
    }
    const verified = await machine.exec(['systemd-analyze', 'verify', 'flotilla.socket', 'flotilla.service']);
    assert.deepEqual([verified.code, verified.stderr], [0, '']);
    await machine.must(['systemctl', 'daemon-reload']);
    await machine.must(['systemctl', 'start', 'flotilla.socket']);
    const isActive = async () => (await machine.exec(['systemctl', 'is-active', 'flotilla.service'])).stdout.trim();
    assert.equal(await isActive(), 'inactive');

    const ask = (url: string, options: http.RequestOptions & https.RequestOptions) =>
      machine.must(['/opt/flotilla/node', '-e', asking, url, JSON.stringify(options)], { timeoutMs: 60_000 });
    const overSocket = () => ask('http://flotilla/fleet/v1/units', { socketPath: '/run/flotilla/flotilla.sock' });
    const overTls = () => ask('https://127.0.0.1:7443/readyz', { rejectUnauthorized: false });
    assert.equal(await overSocket(), '{}');
    assert.equal(await isActive(), 'active');
    assert.equal(await overTls(), 'ok');
    assert.match(await machine.must(['stat', '--format=%a %G', '/run/flotilla/flotilla.sock']), /^660 flotilla/);

    await machine.must(['systemctl', 'stop', 'flotilla.service']);
    assert.equal(await isActive(), 'inactive');
    // This time over TCP.
    assert.equal(await overTls(), 'ok');
    assert.equal(await isActive(), 'active');
    assert.equal(await overSocket(), '{}');
  });
});
