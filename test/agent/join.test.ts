import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import { JoinRefused, join, renew, renewAtMs, shouldJoin } from '../../agent/join.js';
import { Pki } from '../../agent/pki.js';
import { formatJoinToken } from '../../api/resources/join-token.js';
import { AgentServer, TestCa } from '../rigs/agent-server.js';
import { MemoryStateFiles } from '../rigs/memory-files.js';

const machine = 'a'.repeat(32);
const day = 86_400_000;
let ca: TestCa;
before(async () => {
  ca = await TestCa.create();
});

const tokenFor = ({ pin }: TestCa) => formatJoinToken({ secret: randomBytes(32).toString('base64url'), caSha256: pin });

async function withServer(run: (server: AgentServer) => Promise<void>, of = ca): Promise<void> {
  const server = await AgentServer.start({ ca: of });
  try {
    await run(server);
  } finally {
    await server.stop();
  }
}

test('a machine joins: its key stays here, its membership is kept', async () => {
  await withServer(async (server) => {
    const files = new MemoryStateFiles();
    const pki = new Pki(files);
    assert.equal(await pki.membership(), undefined);
    const token = tokenFor(ca);
    const membership = await join({ servers: [server.url], token, machine, labels: { disk: 'ssd' }, pki });
    assert.equal(membership.clusterUid, 'c1');
    assert.deepEqual(await new Pki(files).membership(), membership);
    const [request] = server.requests;
    const body = request?.body as Record<string, unknown>;
    assert.deepEqual([body.token, body.machine, body.labels], [token, machine, { disk: 'ssd' }]);
    assert.doesNotMatch(JSON.stringify(server.requests), /PRIVATE KEY/);
    assert.ok(new X509Certificate(membership.certificate).checkIssued(new X509Certificate(ca.certificate)));
  });
});

test('T4: the secret is never said to a server of another CA than the token pins', async () => {
  await withServer(
    async (server) => {
      const attempt = join({ servers: [server.url], token: tokenFor(ca), machine, labels: {}, pki: new Pki(new MemoryStateFiles()) });
      await assert.rejects(attempt, (error: Error) => error instanceof JoinRefused && /its CA is another one/.test(error.message));
      assert.deepEqual(server.requests, []);
    },
    await TestCa.create(),
  );
});

test('a server that shows our CA but has no certificate of it gets no secret either', async () => {
  const stranger = await TestCa.create();
  // It appends our public CA certificate to its own chain, as anybody can.
  const borrowed = Object.assign(Object.create(Object.getPrototypeOf(stranger)) as TestCa, stranger, {
    certificate: `${stranger.certificate}\n${ca.certificate}`,
  });
  await withServer(async (server) => {
    const attempt = join({ servers: [server.url], token: tokenFor(ca), machine, labels: {}, pki: new Pki(new MemoryStateFiles()) });
    await assert.rejects(attempt);
    assert.deepEqual(server.requests, []);
  }, borrowed);
});

test('what is no token is said before anybody is asked', async () => {
  const attempt = join({
    servers: ['https://127.0.0.1:1'],
    token: 'flotilla-x.y',
    machine,
    labels: {},
    pki: new Pki(new MemoryStateFiles()),
  });
  await assert.rejects(attempt, /not a join token/);
});

test('the next server is asked when one does not answer', async () => {
  await withServer(async (server) => {
    const membership = await join({
      servers: ['https://127.0.0.1:1', server.url],
      token: tokenFor(ca),
      machine,
      labels: {},
      pki: new Pki(new MemoryStateFiles()),
    });
    assert.equal(membership.machineUid, 'mu1');
  });
});

for (const { status, isFinal } of [
  { status: 403, isFinal: true },
  { status: 503, isFinal: false },
  { status: 429, isFinal: false },
]) {
  test(`a ${status} is ${isFinal ? 'final' : 'tried again'}, and its sentence is passed on`, async () => {
    await withServer(async (server) => {
      server.refusal = { status, message: 'the token was used before' };
      const attempt = join({ servers: [server.url], token: tokenFor(ca), machine, labels: {}, pki: new Pki(new MemoryStateFiles()) });
      await assert.rejects(
        attempt,
        (error: Error) => error instanceof JoinRefused === isFinal && /the token was used before/.test(error.message),
      );
    });
  });
}

test('a second attempt joins with the same key, because the token belongs to it', async () => {
  await withServer(async (server) => {
    const pki = new Pki(new MemoryStateFiles());
    const token = tokenFor(ca);
    server.refusal = { status: 503, message: 'later' };
    await assert.rejects(join({ servers: [server.url], token, machine, labels: {}, pki }));
    const key = await pki.joinKey();
    server.refusal = undefined;
    const membership = await join({ servers: [server.url], token, machine, labels: {}, pki });
    assert.equal(membership.key, key);
  });
});

test('a renewal is asked for with the old certificate, for a new key', async () => {
  await withServer(async (server) => {
    const pki = new Pki(new MemoryStateFiles());
    const membership = await join({ servers: [server.url], token: tokenFor(ca), machine, labels: {}, pki });
    const renewed = await renew(server.url, machine, membership, pki);
    assert.notEqual(renewed.key, membership.key);
    assert.equal(renewed.tokenSha256, membership.tokenSha256);
    assert.deepEqual(await pki.membership(), renewed);
    assert.deepEqual(
      server.requests.map(({ path, hasCertificate }) => [path, hasCertificate]),
      [
        ['/agent/v1/join', false],
        ['/agent/v1/renew', true],
      ],
    );
  });
});

test('renewal is due at two thirds of the certificate’s life', () => {
  assert.equal(renewAtMs({ notBeforeMs: 0, notAfterMs: 30 * day }), 20 * day);
});

test('a certificate that is for another key is not kept', async () => {
  await withServer(async (server) => {
    const pki = new Pki(new MemoryStateFiles());
    const membership = await join({ servers: [server.url], token: tokenFor(ca), machine, labels: {}, pki });
    const otherKey = await pki.newKey();
    const reply = { certificate: membership.certificate, ca: membership.ca, clusterUid: 'c1', machineUid: 'm', servers: [] };
    await assert.rejects(pki.store(otherKey, '', reply), /not for the key/);
    assert.deepEqual(await pki.membership(), membership);
  });
});

test('when a token asks to join: none yet, a new token, an ended certificate with a token; never without one', async () => {
  await withServer(async (server) => {
    const token = tokenFor(ca);
    const membership = await join({ servers: [server.url], token, machine, labels: {}, pki: new Pki(new MemoryStateFiles()) });
    const now = Date.now();
    assert.equal(shouldJoin(undefined, undefined, now), true);
    assert.equal(shouldJoin(membership, undefined, now), false);
    assert.equal(shouldJoin(membership, token, now), false);
    assert.equal(shouldJoin(membership, tokenFor(ca), now), true);
    assert.equal(shouldJoin(membership, token, now + 60 * day), true);
    assert.equal(shouldJoin(membership, undefined, now + 60 * day), false);
  });
});
