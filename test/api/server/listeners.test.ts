import assert from 'node:assert/strict';
import { once } from 'node:events';
import { link, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { keysUnder } from '../../../api/resources/keys.js';
import { ConnectionIdentities } from '../../../api/server/connection-identity.js';
import { isLoopback, type Listeners, openListeners, parseListen, refusal } from '../../../api/server/listeners.js';
import { leafLifeMs, openPki, type Pki } from '../../../api/server/trust/ca.js';
import { StartRefused } from '../../../api/server/trust/cluster-meta.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { createRequest, generateKeyPair, privateKeyPem } from '../../../runtime/x509/certificates.js';
import { ManualClock } from '../../rigs/manual-clock.js';

const machine = { id: 'a'.repeat(32), uid: 'uid-1' };
const dir = await mkdtemp(path.join(tmpdir(), 'flotilla-listen-'));
after(() => rm(dir, { recursive: true }));

/** The server's clock; TLS itself goes by the real one. */
const clock = new ManualClock(new Date());
const identities = new ConnectionIdentities(clock);
const whoami: http.RequestListener = (request, response) => response.end(JSON.stringify(identities.of(request)));

const newPki = async (name: string, at = clock) =>
  openPki({ dir: path.join(dir, name), store: new MemoryStore({ clock: at }), keys: keysUnder(), names: [], clock: at });

async function machineIdentity(pki: Pki) {
  const keys = await generateKeyPair();
  return { cert: await pki.signMachine(await createRequest(keys, 'x'), machine), key: await privateKeyPem(keys) };
}

const adminIdentity = async (pki: Pki) => {
  const { certificate, key } = await pki.issueAdmin('ann');
  return { cert: certificate, key };
};

async function ask(url: string, options: https.RequestOptions = {}): Promise<{ status: number; body: string }> {
  const request = (url.startsWith('https') ? https : http).get(url, { agent: false, ...options });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode ?? 0, body };
}

describe('listeners', () => {
  let pki: Pki;
  let listeners: Listeners;
  let httpsUrl: string;
  let httpUrl: string;
  const socketPath = path.join(dir, 'flotilla.sock');

  before(async () => {
    pki = await newPki('pki');
    listeners = await openListeners(
      [parseListen(`unix://${socketPath}`), parseListen('http://127.0.0.1:0'), parseListen('https://127.0.0.1:0')],
      {
        handler: whoami,
        identities,
        pki,
        insecureLoopback: true,
      },
    );
    [, httpUrl, httpsUrl] = listeners.endpoints as [string, string, string];
  });
  after(async () => {
    await listeners.close(0);
    pki.close();
  });

  const whoIs = async (url: string, options: https.RequestOptions = {}): Promise<unknown> => JSON.parse((await ask(url, options)).body);
  const overTls = (client: { cert?: string; key?: string } = {}) => whoIs(httpsUrl, { ca: pki.caCertificate, ...client });

  test('over the unix socket everybody whom the file lets in is admin', async () => {
    assert.equal((await stat(socketPath)).mode & 0o777, 0o660);
    assert.deepEqual(await whoIs('http://flotilla/', { socketPath }), { kind: 'admin', name: 'local-admin', via: 'unix-socket' });
  });

  test('the unix socket belongs to the group that is named, when the machine knows it', async () => {
    const groups = (await readFile('/etc/group', 'utf8')).split('\n').map((line) => line.split(':'));
    // Only root may give a file to a group that it is not in.
    const [name = '', , gid] = groups.find(([, , id]) => (process.geteuid!() === 0 ? id !== '0' : Number(id) === process.getegid!()))!;
    const file = path.join(dir, 'grouped.sock');
    const server = await openListeners([parseListen(`unix://${file}`)], { handler: whoami, identities, group: name });
    assert.equal((await stat(file)).gid, Number(gid));
    await server.close(0);
  });

  test('over plain http on loopback everybody is admin', async () => {
    assert.deepEqual(await whoIs(httpUrl), { kind: 'admin', name: 'loopback', via: 'insecure-loopback' });
  });

  test('over TLS: a machine certificate names its machine', async () => {
    assert.deepEqual(await overTls(await machineIdentity(pki)), { kind: 'machine', machine: machine.id, uid: machine.uid });
  });

  test('over TLS: an admin certificate', async () => {
    assert.deepEqual(await overTls(await adminIdentity(pki)), { kind: 'admin', name: 'ann', via: 'certificate' });
  });

  test('over TLS: no certificate, nobody', async () => {
    assert.deepEqual(await overTls(), { kind: 'anonymous' });
  });

  test('over TLS: the same names from a foreign CA, nobody', async () => {
    const foreign = await newPki('foreign');
    assert.deepEqual(await overTls(await machineIdentity(foreign)), { kind: 'anonymous' });
    assert.deepEqual(await overTls(await adminIdentity(foreign)), { kind: 'anonymous' });
    foreign.close();
  });

  test('over TLS: a certificate that has expired, nobody', async () => {
    const past = new ManualClock(new Date(Date.now() - leafLifeMs - 60_000));
    const store = new MemoryStore({ clock: past });
    const old = await openPki({ dir: path.join(dir, 'aged'), store, keys: keysUnder(), names: [], clock: past });
    const expired = await machineIdentity(old);
    old.close();
    const now = await openPki({ dir: path.join(dir, 'aged'), store, keys: keysUnder(), names: [], clock });
    const server = await openListeners([parseListen('https://127.0.0.1:0')], { handler: whoami, identities, pki: now });
    const url = server.endpoints[0]!;
    assert.deepEqual(await whoIs(url, { ca: now.caCertificate, ...expired }), { kind: 'anonymous' });
    assert.deepEqual(await whoIs(url, { ca: now.caCertificate, ...(await machineIdentity(now)) }), {
      kind: 'machine',
      machine: machine.id,
      uid: machine.uid,
    });
    await server.close(0);
    now.close();
  });

  test('a connection that outlives its certificate becomes nobody', async () => {
    const ours = new ManualClock(new Date());
    const judge = new ConnectionIdentities(ours);
    const server = await openListeners([parseListen('https://127.0.0.1:0')], {
      handler: (request, response) => response.end(JSON.stringify(judge.of(request))),
      identities: judge,
      pki,
    });
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    const options = { ca: pki.caCertificate, ...(await machineIdentity(pki)), agent };
    const url = server.endpoints[0]!;
    assert.deepEqual(await whoIs(url, options), { kind: 'machine', machine: machine.id, uid: machine.uid });
    ours.stepWallClock(leafLifeMs + 1_000);
    assert.deepEqual(await whoIs(url, options), { kind: 'anonymous' });
    agent.destroy();
    await server.close(0);
  });

  test('a client that resumes its TLS session shows its certificate again', async () => {
    const sessions: Buffer[] = [];
    const { port } = new URL(httpsUrl);
    const connect = async (session?: Buffer) => {
      const socket = tls.connect({ port: Number(port), host: '127.0.0.1', ca: pki.caCertificate, ...(session ? { session } : {}) });
      socket.on('session', (received) => sessions.push(received));
      await once(socket, 'secureConnect');
      const resumed = socket.isSessionReused();
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      for await (const _ of socket);
      return resumed;
    };
    assert.equal(await connect(), false);
    assert.ok(sessions.length > 0);
    for (const session of [...sessions]) assert.equal(await connect(session), false);
  });

  test('a page in a browser on this computer does not get in by way of loopback', async () => {
    assert.equal((await ask(httpUrl, { headers: { host: 'evil.example' } })).status, 403, 'DNS rebinding');
    assert.equal((await ask(httpUrl, { headers: { origin: 'https://evil.example' } })).status, 403, 'cross-origin request');
    assert.equal((await ask(httpUrl, { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403, 'cross-site request');
    assert.equal((await ask(httpUrl, { headers: { host: 'localhost:7080', origin: 'http://127.0.0.1:7080' } })).status, 200);
  });

  test('a renewed server certificate is shown to new connections, and open ones go on', async () => {
    // So old that the renewed certificate has begun to be valid for the client, whose clock is the real one.
    const ours = new ManualClock(new Date(Date.now() - (leafLifeMs * 2) / 3));
    const aging = await newPki('renewing', ours);
    const server = await openListeners([parseListen('https://127.0.0.1:0')], { handler: whoami, identities, pki: aging });
    const url = server.endpoints[0]!;
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: aging.caCertificate });
    const serial = async (options: https.RequestOptions) => {
      const request = https.get(url, options);
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const { serialNumber } = (response.socket as tls.TLSSocket).getPeerCertificate();
      const { localPort } = response.socket;
      response.resume();
      await once(response, 'end');
      return { serialNumber, localPort };
    };
    const first = await serial({ agent });
    const renewed = new Promise<void>((resolve) => aging.onRenewed(resolve));
    ours.stepWallClock((leafLifeMs * 2) / 3);
    await ours.advance(3_600_000);
    await renewed;
    const kept = await serial({ agent });
    assert.equal(kept.localPort, first.localPort, 'the connection was not dropped');
    const fresh = await serial({ agent: false, ca: aging.caCertificate });
    assert.notEqual(fresh.serialNumber, first.serialNumber);
    agent.destroy();
    await server.close(0);
    aging.close();
  });

  test('a unix socket that another server answers on is left alone', async () => {
    await assert.rejects(openListeners([parseListen(`unix://${socketPath}`)], { handler: whoami, identities }), /another server answers/);
    assert.deepEqual(await whoIs('http://flotilla/', { socketPath }), { kind: 'admin', name: 'local-admin', via: 'unix-socket' });
  });

  test('a unix socket that nobody answers on is replaced; anything else of that name is not', async () => {
    const stale = path.join(dir, 'stale.sock');
    const left = net.createServer().listen(`${stale}.other`);
    await once(left, 'listening');
    // A socket file without a listener: what a killed server leaves behind.
    await link(`${stale}.other`, stale);
    left.close();
    await once(left, 'close');
    assert.ok((await stat(stale)).isSocket());
    const again = await openListeners([parseListen(`unix://${stale}`)], { handler: whoami, identities });
    assert.deepEqual(await whoIs('http://flotilla/', { socketPath: stale }), { kind: 'admin', name: 'local-admin', via: 'unix-socket' });
    await again.close(0);

    const file = path.join(dir, 'precious');
    await writeFile(file, 'keep me');
    await assert.rejects(
      openListeners([parseListen(`unix://${file}`)], { handler: whoami, identities }),
      /is no socket: it will not be removed/,
    );
    assert.equal(await readFile(file, 'utf8'), 'keep me');
    await symlink(socketPath, path.join(dir, 'link'));
    await assert.rejects(openListeners([parseListen(`unix://${path.join(dir, 'link')}`)], { handler: whoami, identities }), /is no socket/);
  });

  test('a port that is taken: refused with a sentence, and what was opened before is closed again', async () => {
    const socket = path.join(dir, 'half.sock');
    const { port } = new URL(httpUrl);
    await assert.rejects(
      openListeners([parseListen(`unix://${socket}`), parseListen(`https://127.0.0.1:${port}`)], { handler: whoami, identities, pki }),
      (error: unknown) => error instanceof StartRefused && /cannot listen on https:\/\/127\.0\.0\.1:\d+: .*EADDRINUSE/.test(error.message),
    );
    await assert.rejects(stat(socket), /ENOENT/);
  });

  test('an upgrade that nobody serves is refused', async () => {
    const request = http.get(httpUrl, { headers: { connection: 'Upgrade', upgrade: 'websocket' } });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    assert.equal(response.statusCode, 404);
    response.destroy();
  });

  test('a directory that the server may not write to is a sentence, not a stack', async () => {
    const file = path.join(dir, 'precious', 'x.sock');
    await assert.rejects(openListeners([parseListen(`unix://${file}`)], { handler: whoami, identities }), StartRefused);
  });
});

describe('invariant 12: no network listener beyond loopback without TLS', () => {
  for (const { listen, insecureLoopback = false, says } of [
    { listen: ['http://0.0.0.0:7080'], says: /would let everybody who reaches this address act as admin, unencrypted: use https/ },
    { listen: ['http://0.0.0.0:7080'], insecureLoopback: true, says: /would let everybody/ },
    { listen: ['http://[::]:7080'], insecureLoopback: true, says: /would let everybody/ },
    { listen: ['http://192.0.2.1:7080'], insecureLoopback: true, says: /would let everybody/ },
    { listen: ['http://127.0.0.1.example.com:7080'], insecureLoopback: true, says: /would let everybody/ },
    { listen: ['http://127.0.0.1:7080'], says: /every user of this computer act as admin: say --insecure-loopback too/ },
    { listen: ['https://127.0.0.1:7443', 'http://10.0.0.1:80'], insecureLoopback: true, says: /10\.0\.0\.1/ },
    { listen: ['https://0.0.0.0:7443'], says: undefined },
    { listen: ['http://127.0.0.1:7080', 'unix:///run/x.sock'], insecureLoopback: true, says: undefined },
    { listen: ['http://localhost:7080'], insecureLoopback: true, says: undefined },
    { listen: ['http://[::1]:7080'], insecureLoopback: true, says: undefined },
    { listen: [], says: /nothing to listen on/ },
  ]) {
    test(`--listen ${listen.join(' --listen ')}${insecureLoopback ? ' --insecure-loopback' : ''}: ${says ? 'refused' : 'fine'}`, () => {
      const against = refusal(listen.map(parseListen), { insecureLoopback, tls: true });
      if (says) assert.match(against ?? 'not refused', says);
      else assert.equal(against, undefined);
    });
  }

  for (const text of [
    '',
    'ftp://x:1',
    'http://x',
    'https://x:99999',
    'unix://relative',
    `unix:///${'x'.repeat(200)}`,
    'https://a b:1',
    'https://user@h:1',
  ]) {
    test(`--listen ${JSON.stringify(text.slice(0, 30))} is no listener`, () => assert.throws(() => parseListen(text), StartRefused));
  }

  test('loopback is told by its spelling', () => {
    const hosts = ['127.0.0.1', '127.9.9.9', '::1', 'localhost', '0.0.0.0', '::', '127.0.0.1.evil.example', '10.0.0.1', ''];
    assert.deepEqual(hosts.filter(isLoopback), ['127.0.0.1', '127.9.9.9', '::1', 'localhost']);
  });
});
