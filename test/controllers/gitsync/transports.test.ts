/** The ways to a repository, each to a real server: OpenSSH, and git's own HTTP backend. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { keys as storeKeys } from '../../api/objects/door-rig.js';
import { GitHttpServer } from '../../rigs/git-http.js';
import { GitRepository, unitFile } from '../../rigs/git-repository.js';
import { HttpProxy } from '../../rigs/http-proxy.js';
import { TestSshd } from '../../rigs/sshd.js';
import { SyncRig } from './rig.js';

test('ssh:// with a key and known hosts from a Secret; another host key, or no key, is refused', async (t) => {
  const sshd = await TestSshd.start();
  t.after(() => sshd.stop());
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  const [key, host, other] = await Promise.all([
    readFile(sshd.keys.path('user')),
    sshd.keys.publicKey('host'),
    sshd.keys.publicKey('other-host'),
  ]);
  const secret = (hostKey: string, identity = key) =>
    new Map([
      ['identity', identity],
      ['known_hosts', Buffer.from(`${sshd.knownAs} ${hostKey}`)],
    ]);
  rig.secrets.set('right', secret(host));
  rig.secrets.set('other-host', secret(other));
  rig.secrets.set('other-key', secret(host, await readFile(sshd.keys.path('other-host'))));
  rig.secrets.set('no-hosts', new Map([['identity', key]]));
  const url = `ssh://root@${sshd.host}${repository.directory}`;
  await rig.apply('right', { url, secretRef: { name: 'right' } });
  await rig.until('applied', () => rig.reason('right') === 'Applied');
  assert.deepEqual(rig.units(), ['web.service']);

  for (const [name, reason, message] of [
    ['other-host', 'AccessRefused', /host key verification failed/i],
    ['other-key', 'AccessRefused', /permission denied/i],
    ['no-hosts', 'SecretMissing', /known_hosts/],
    ['missing', 'SecretMissing', /names the Secret missing, which does not exist/],
  ] as const) {
    await rig.apply(name, { url, secretRef: { name } });
    await rig.until(`${name} is refused`, () => rig.reason(name) === reason);
    assert.match(rig.message(name), message);
  }
  const told = JSON.stringify([rig.events, rig.server.cache.joinedAll('gitsyncs')]);
  assert.doesNotMatch(told, /PRIVATE KEY/);
});

test('http:// with a password or a token from a Secret, which shows up nowhere', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  const http = await GitHttpServer.start(dirname(repository.directory));
  t.after(() => http.stop());
  const url = `${http.url}/${repository.directory.split('/').at(-1)}/.git`;
  rig.secrets.set(
    'basic',
    new Map([
      ['username', Buffer.from('ann')],
      ['password', Buffer.from('hunter2-basic')],
    ]),
  );
  rig.secrets.set('token', new Map([['bearerToken', Buffer.from('hunter2-token\n')]]));

  http.authorization = `Basic ${Buffer.from('ann:hunter2-basic').toString('base64')}`;
  await rig.apply('basic', { url, secretRef: { name: 'basic' } });
  await rig.until('applied', () => rig.reason('basic') === 'Applied');
  await rig.apply('without', { url });
  await rig.until('refused', () => rig.reason('without') === 'AccessRefused' || rig.reason('without') === 'FetchFailed');
  await rig.apply('token', { url, secretRef: { name: 'token' } });
  await rig.until('refused', () => rig.reason('token') !== undefined && rig.reason('token') !== 'Progressing');
  assert.notEqual(rig.reason('token'), 'Applied');

  http.authorization = 'Bearer hunter2-token';
  repository.write('other.service', unitFile()).remove('web.service').commit();
  assert.equal(await rig.sync('token'), 'Applied');
  assert.deepEqual(rig.units(), ['other.service', 'web.service']);
  const told = JSON.stringify([rig.events, rig.server.cache.joinedAll('gitsyncs')]);
  assert.doesNotMatch(told, /hunter2|aHVudGVy|YW5uOmh1bnRlcjI/);
});

test('forges that take calls and say nothing hold up no other GitSync, and are ended in time', async (t) => {
  const rig = await SyncRig.start(t);
  const forge = createServer((socket) => void socket.on('error', () => {}).resume());
  forge.listen(0, '127.0.0.1');
  await once(forge, 'listening');
  t.after(() => forge.close());
  const { port } = forge.address() as AddressInfo;
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  for (const name of ['hung-1', 'hung-2']) await rig.apply(name, { url: `http://127.0.0.1:${port}/${name}.git`, timeout: '5s' });
  await rig.apply('prod', { url: repository.url });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  await rig.until('given up', () => ['hung-1', 'hung-2'].every((name) => rig.reason(name) === 'FetchFailed'));
  assert.match(rig.message('hung-1'), /longer than 5 s/);
});

test('a token is not sent over http:// to another computer', async (t) => {
  const rig = await SyncRig.start(t);
  rig.secrets.set('token', new Map([['bearerToken', Buffer.from('x')]]));
  await rig.apply('plain', { url: 'http://git.example/x.git', secretRef: { name: 'token' } });
  await rig.until('refused', () => rig.reason('plain') === 'SecretMissing');
  assert.match(rig.message('plain'), /use https/);
});

test('a repository that only a proxy leads to, whose Secret comes later and changes', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  const http = await GitHttpServer.start(dirname(repository.directory));
  t.after(() => http.stop());
  const proxy = await HttpProxy.start(new Map([['git.example:80', http.port]]));
  t.after(() => proxy.stop());
  proxy.authorization = `Basic ${Buffer.from('ann:hunter2-proxy').toString('base64')}`;
  const url = `http://git.example/${repository.directory.split('/').at(-1)}/.git`;
  await rig.apply('prod', { url, proxySecretRef: { name: 'proxy' } });
  await rig.until('refused', () => rig.reason('prod') === 'SecretMissing');
  assert.match(rig.message('prod'), /spec\.proxySecretRef names the Secret proxy, which does not exist/);

  const secret = (password: string) =>
    rig.secrets.set(
      'proxy',
      new Map(Object.entries({ address: proxy.url, username: 'ann', password }).map(([key, value]) => [key, Buffer.from(value)])),
    );
  secret('hunter2-wrong');
  assert.equal(await rig.sync('prod'), 'AccessRefused');
  secret('hunter2-proxy');
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.ok(proxy.requests.length > 0);
  assert.doesNotMatch(JSON.stringify([rig.events, rig.server.cache.joinedAll('gitsyncs')]), /hunter2/);
  await assert.rejects(
    rig.apply('other', { url: repository.url, proxySecretRef: { name: 'proxy' } }),
    /works for https:\/\/ and http:\/\/ alone/,
  );
});

test('a Secret that comes while the store is away is read once that is back, not an interval later', async (t) => {
  const rig = await SyncRig.start(t);
  await rig.apply('prod', { url: 'ssh://git@git.example/x.git', secretRef: { name: 'late' } });
  await rig.until('refused', () => rig.reason('prod') === 'SecretMissing');
  assert.match(rig.message('prod'), /does not exist/);

  let failures = 0;
  const read = rig.secrets.get.bind(rig.secrets);
  rig.secrets.get = (name) => {
    if (failures++ === 0) throw new Error('the store is away');
    return read(name);
  };
  rig.secrets.set('late', new Map([['token', Buffer.from('x')]]));
  const secret = { apiVersion: 'flotilla.dev/v1', kind: 'Secret', metadata: { name: 'late', uid: 'uid-late' }, data: {} };
  const { store, cache } = rig.server;
  const key = storeKeys.object('secrets', 'late');
  const write = { compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: JSON.stringify(secret) }] } as const;
  await cache.untilRevision((await store.commit(write)).revision);
  await rig.until('read', () => /has no key "identity"/.test(rig.message('prod')));
  assert.ok(failures > 1, 'it had failed before');
});

test('only signed commits are applied: unsigned and foreign ones fail, and what was applied stays', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  const keys = new GitRepository(t);
  for (const name of ['ann', 'eve']) spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${keys.directory}/${name}`]);
  repository.git('config', 'gpg.format', 'ssh');
  const signedBy = (name: string, text: string) => {
    repository.git('config', 'user.signingkey', `${keys.directory}/${name}`);
    return repository.write('web.service', unitFile(text)).commit(name, '--gpg-sign');
  };
  await writeFile(`${keys.directory}/signers`, `ann@example.com ${await readFile(`${keys.directory}/ann.pub`, 'utf8')}`);
  rig.secrets.set('keys', new Map([['allowed_signers', await readFile(`${keys.directory}/signers`)]]));
  signedBy('ann', '/bin/sleep 1');
  await rig.apply('prod', { url: repository.url, verify: { mode: 'signed', keysSecretRef: { name: 'keys' } } });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  signedBy('eve', '/bin/sleep 2');
  assert.equal(await rig.sync('prod'), 'VerificationFailed');
  assert.match(rig.message('prod'), /by none of the keys/);
  repository.write('web.service', unitFile('/bin/sleep 3')).commit('unsigned', '--no-gpg-sign');
  assert.equal(await rig.sync('prod'), 'VerificationFailed');
  assert.match(rig.message('prod'), /is not signed/);
  assert.match(rig.text('web.service'), /sleep 1\n/);
  signedBy('ann', '/bin/sleep 4');
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.match(rig.text('web.service'), /sleep 4\n/);
});
