import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { JoinReply } from '../../../../api/resources/protocol.js';
import { generateKeyPair } from '../../../../runtime/x509/certificates.js';
import { remove } from '../../objects/cluster-writer.js';
import { ask, type Cluster, FakeAgent, joinBody, joinMachine, machineId, newCluster, type Server, until } from './rig.js';

describe('joining', () => {
  let cluster: Cluster;
  let server: Server;
  before(async () => {
    cluster = await newCluster();
    server = await cluster.startServer('alpha');
  });
  after(() => cluster.close());

  const post = async (body: unknown) => {
    const answer = await ask(server, 'POST', '/agent/v1/join', { body });
    return { status: answer.status, body: JSON.parse(answer.text) as JoinReply & { message: string } };
  };
  const machineObject = (id: string) => server.cache.object('machines', id)?.value;

  test('SEMANTICS 23, 24: a token makes a Machine object with the labels it lists, and a certificate that names it', async () => {
    const id = machineId('a');
    const { token } = await server.tokens.create({ labels: ['region', 'example.com/*'] });
    const labels = { region: 'eu', 'example.com/disk': 'ssd', rack: '7', 'flotilla.dev/admin': 'yes' };
    const { status, body } = await post(await joinBody(token, id, await generateKeyPair(), labels));
    assert.equal(status, 200, body.message);
    const object = machineObject(id)!;
    assert.deepEqual(object.metadata.labels, { region: 'eu', 'example.com/disk': 'ssd' });
    assert.equal(object.metadata.uid, body.machineUid);
    assert.equal(body.clusterUid, server.pki.clusterUid);
    const certificate = new X509Certificate(body.certificate);
    assert.equal(certificate.subjectAltName, `URI:urn:flotilla:machine:${id}:${body.machineUid}`);
    assert.ok(certificate.verify(new X509Certificate(body.ca).publicKey));
    assert.deepEqual(body.servers, [server.url]);
  });

  test('a token lets one machine in, once', async () => {
    const { token } = await server.tokens.create({});
    assert.equal((await post(await joinBody(token, machineId('b'), await generateKeyPair()))).status, 200);
    for (const id of [machineId('b'), machineId('c')]) {
      const { status, body } = await post(await joinBody(token, id, await generateKeyPair()));
      assert.equal(status, 403);
      assert.match(body.message, /unknown, used or expired/);
    }
    assert.equal(machineObject(machineId('c')), undefined);
  });

  test('two machines race with one token: one certificate, one Machine object', async () => {
    const { token } = await server.tokens.create({});
    const ids = ['d', 'e'].map(machineId);
    const answers = await Promise.all(ids.map(async (id) => post(await joinBody(token, id, await generateKeyPair()))));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403]);
    assert.deepEqual(ids.filter((id) => machineObject(id)).length, 1);
  });

  test('the store fails between claim and certificate: the same machine comes again with the same key, nobody else', async () => {
    const id = machineId('f');
    const { token } = await server.tokens.create({});
    const pair = await generateKeyPair();
    const commit = server.store.commit.bind(server.store);
    server.store.commit = (write, options) =>
      write.operations.some(({ key }) => key.includes('/machines/')) ? Promise.reject(new Error('killed here')) : commit(write, options);
    assert.equal((await post(await joinBody(token, id, pair))).status, 500);
    server.store.commit = commit;
    assert.equal((await post(await joinBody(token, id, await generateKeyPair()))).status, 403, 'another key');
    assert.equal((await post(await joinBody(token, id, pair))).status, 200);
    assert.equal((await post(await joinBody(token, id, pair))).status, 403, 'consumed now');
  });

  test('a machine that is connected cannot be joined again under its id, until its presence has run out', async () => {
    const id = machineId('1');
    const agent = await FakeAgent.open(server, await joinMachine(server, id));
    const { token } = await server.tokens.create({});
    const pair = await generateKeyPair();
    const { status, body } = await post(await joinBody(token, id, pair));
    assert.equal(status, 503);
    assert.match(body.message, /is connected right now: if this host is a copy of it/);
    assert.ok(server.events.some(({ name, reason }) => name === id && reason === 'JoinRefused'));
    agent.close();
    const presence = (await cluster.store.get(cluster.keys.presence(id))).entry!;
    await cluster.store.commit({
      compares: [{ key: presence.key, modRevision: presence.modRevision }],
      operations: [remove(presence.key)],
    });
    assert.equal((await post(await joinBody(token, id, pair))).status, 200, 'the same token still serves the same host');
  });

  test("SEMANTICS 23: joining again does not take a user's label over", async () => {
    const id = machineId('2');
    await joinMachine(server, id, { region: 'eu' });
    await server.door.patch('machines', id, { type: 'merge', body: { metadata: { labels: { region: 'us' } } } }, { manager: 'ann' });
    await joinMachine(server, id, { region: 'eu', disk: 'ssd' });
    assert.deepEqual(machineObject(id)?.metadata.labels, { region: 'us', disk: 'ssd' });
  });

  test('a label that no object can carry hurts only itself', async () => {
    const id = machineId('3');
    await joinMachine(server, id, { region: 'eu', 'no label': 'x' });
    assert.deepEqual(machineObject(id)?.metadata.labels, { region: 'eu' });
  });

  for (const [what, change, says] of [
    ['no machine id', { machine: '../units/web' }, /machine/],
    ['no request', { csr: 'hello' }, /csr: this is not a signed certificate request/],
    ['no token', { token: 'hello' }, /no join token/],
    ['something more', { admin: true }, /Unrecognized key/],
  ] as const) {
    test(`a join with ${what} is refused with a sentence and leaves the token as it is`, async () => {
      const id = machineId('4');
      const { token } = await server.tokens.create({});
      const good = await joinBody(token, id, await generateKeyPair());
      const { status, body } = await post({ ...good, ...change });
      assert.ok(status === 400 || status === 403, String(status));
      assert.match(body.message, says);
      assert.equal(machineObject(id), undefined);
    });
  }

  test('a machine renews its certificate for another key, and not once it is removed', async () => {
    const id = machineId('5');
    const credentials = await joinMachine(server, id);
    const body = async () => {
      const { csr } = await joinBody('', id, await generateKeyPair());
      return { csr };
    };
    const renewed = await ask(server, 'POST', '/agent/v1/renew', { credentials, body: await body() });
    assert.equal(renewed.status, 200, renewed.text);
    const certificate = new X509Certificate((JSON.parse(renewed.text) as JoinReply).certificate);
    assert.equal(certificate.subjectAltName, new X509Certificate(credentials.cert).subjectAltName);
    assert.equal((await ask(server, 'POST', '/agent/v1/renew', { body: await body() })).status, 401, 'not without one');

    await server.door.remove('machines', id, {}, { manager: 'ann' });
    await until('the removal', () => machineObject(id) === undefined);
    assert.equal((await ask(server, 'POST', '/agent/v1/renew', { credentials, body: await body() })).status, 403);
    await joinMachine(server, id);
    const old = await ask(server, 'POST', '/agent/v1/renew', { credentials, body: await body() });
    assert.equal(old.status, 403, 'the old certificate is for the Machine object that was removed');
  });

  test('join tokens and kubeconfigs over HTTP', async () => {
    const admin = await server.pki.issueAdmin('ann');
    const credentials = { ca: server.ca, cert: admin.certificate, key: admin.key };
    const made = await ask(server, 'POST', '/apis/flotilla.dev/v1/tokens', { credentials, body: { labels: ['region'] } });
    assert.equal(made.status, 201, made.text);
    const { token, expiresAt } = JSON.parse(made.text) as { token: string; expiresAt: string };
    assert.ok(Date.parse(expiresAt) > Date.now() + 3_500_000);
    assert.equal((await post(await joinBody(token, machineId('6'), await generateKeyPair(), { region: 'x', y: 'z' }))).status, 200);
    assert.deepEqual(machineObject(machineId('6'))?.metadata.labels, { region: 'x' });
    const wrong = await ask(server, 'POST', '/apis/flotilla.dev/v1/tokens', { credentials, body: { label: ['region'] } });
    assert.equal(wrong.status, 400);
    const remote = await ask(server, 'POST', '/apis/flotilla.dev/v1/kubeconfigs', { credentials, body: {} });
    assert.equal(remote.status, 403);
    assert.match(remote.text, /unix socket only/);
  });
});
