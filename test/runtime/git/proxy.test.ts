/** Repositories that only a proxy leads to, by plain http and through CONNECT. */
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type GitUrl, parseGitUrl } from '../../../api/resources/git-url.js';
import { type GitProxy, proxyEnvironment, proxyFrom, secretsOfProxies } from '../../../runtime/git/proxy.js';
import { generateKeyPair, issueCertificate, privateKeyPem } from '../../../runtime/x509/certificates.js';
import { GitHttpServer } from '../../rigs/git-http.js';
import { GitRepository } from '../../rigs/git-repository.js';
import { HttpProxy } from '../../rigs/http-proxy.js';
import { access, fails, open } from './rig.js';

const address = (text: string) => parseGitUrl(text) as GitUrl;
const secret = (values: Record<string, string>) => new Map(Object.entries(values).map(([key, value]) => [key, Buffer.from(value)]));

/** A forge called git.example, over http and https, behind a proxy. */
async function behindProxy(t: TestContext) {
  const repository = new GitRepository(t);
  const commit = repository.write('a', '1').commit();
  const [ca, own] = await Promise.all([generateKeyPair(), generateKeyPair()]);
  const span = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const signer = { ...ca, commonName: 'a CA of its own' };
  const caPem = await issueCertificate({ ...span, commonName: signer.commonName, publicKey: ca.publicKey, usage: 'ca' }, signer);
  const names = { commonName: 'git.example', dnsNames: ['git.example'] };
  const cert = await issueCertificate({ ...span, ...names, publicKey: own.publicKey, usage: ['server'] }, signer);
  const root = dirname(repository.directory);
  const plain = await GitHttpServer.start(root);
  t.after(() => plain.stop());
  const secure = await GitHttpServer.start(root, { key: await privateKeyPem(own), cert });
  t.after(() => secure.stop());
  const proxy = await HttpProxy.start(
    new Map([
      ['git.example:80', plain.port],
      ['git.example:443', secure.port],
    ]),
  );
  t.after(() => proxy.stop());
  const path = `/${repository.directory.split('/').at(-1)}/.git`;
  return {
    repository,
    commit,
    proxy,
    secure,
    ca: Buffer.from(caPem),
    http: `http://git.example${path}`,
    https: `https://git.example${path}`,
  };
}

test('the proxy of the server’s environment is used for http and https, and no_proxy is heeded', async (t) => {
  const { commit, proxy, ca, http, https } = await behindProxy(t);
  const { repositories } = open(t, {}, undefined, { HTTP_PROXY: proxy.url, https_proxy: proxy.url, NO_PROXY: 'other.example' });
  assert.equal((await repositories.resolve(access(http), {})).commit, commit);
  await repositories.fetch(access(http), commit);
  assert.ok(
    proxy.requests.some((request) => request.startsWith('GET git.example/')),
    String(proxy.requests),
  );
  assert.equal((await repositories.resolve(access(https, { credentials: { ca } }), {})).commit, commit);
  assert.ok(proxy.requests.includes('CONNECT git.example:443'));
  const direct = open(t, {}, undefined, { https_proxy: proxy.url, no_proxy: '.example' });
  await fails(direct.repositories.resolve(access(https), {}), 'unreachable', /git\.example/);
});

test('a CA of one’s own is needed for what it signed, and is enough', async (t) => {
  const { commit, proxy, ca, https } = await behindProxy(t);
  const { repositories } = open(t, {}, undefined, { https_proxy: proxy.url });
  await assert.rejects(repositories.resolve(access(https), {}), /certificate/);
  await repositories.fetch(access(https, { credentials: { ca } }), commit);
});

test('a proxy that asks for a password gets the Secret’s, which shows up nowhere, and the forge gets none of it', async (t) => {
  const { commit, proxy, secure, ca, http, https } = await behindProxy(t);
  proxy.authorization = `Basic ${Buffer.from('ann:p@ss/word').toString('base64')}`;
  secure.authorization = 'Bearer of-the-forge';
  const { repositories } = open(t);
  const named = (password: string) => {
    const found = proxyFrom(address(https), secret({ address: proxy.url, username: 'ann', password }));
    assert.ok(!('problem' in found));
    return found;
  };
  const credentials = { ca, authorization: 'Bearer of-the-forge' };
  assert.equal((await repositories.resolve(access(https, { credentials, proxy: named('p@ss/word\n') }), {})).commit, commit);
  assert.equal((await repositories.resolve(access(http, { proxy: named('p@ss/word') }), {})).commit, commit);
  for (const of of [access(https, { credentials, proxy: named('another-word') }), access(http, { proxy: named('another-word') })]) {
    await fails(repositories.resolve(of, {}), 'refused', /407/);
    await assert.rejects(repositories.resolve(of, {}), (error) => !/another|of-the-forge/.test(String(error)));
  }
  const gone = proxyFrom(address(https), secret({ address: 'http://127.0.0.1:1', username: 'ann', password: 'another-word' })) as GitProxy;
  await fails(repositories.resolve(access(https, { proxy: gone }), {}), 'unreachable', /127\.0\.0\.1/);
  await assert.rejects(repositories.resolve(access(https, { proxy: gone }), {}), (error) => !/another/.test(String(error)));
});

for (const { name, url = 'https://git.example/x', data, problem } of [
  { name: 'without an address', data: {}, problem: /no key "address"/ },
  { name: 'without a scheme', data: { address: 'proxy.example:3128' }, problem: /has to begin with one of http:\/\/, / },
  { name: 'of nonsense', data: { address: '::' }, problem: /expected http:\/\/proxy\.example:3128/ },
  { name: 'of another sort', data: { address: 'ftp://proxy.example' }, problem: /has to begin with/ },
  { name: 'to this server itself', url: 'http://127.0.0.1/x', data: { address: 'http://proxy.example' }, problem: /no proxy leads to/ },
]) {
  test(`a proxy's Secret ${name} is refused`, () => {
    const found = proxyFrom(address(url), secret(data));
    assert.match('problem' in found ? found.problem : '', problem);
  });
}

test('a proxy is for http and https to others; what it is called by shows no password', () => {
  const server = { https_proxy: 'http://ann:s%40cret@proxy.example:3128', HTTP_PROXY: 'http://proxy.example', AWS_SECRET: 'x' };
  assert.deepEqual(proxyEnvironment(address('https://git.example/x'), undefined, server), {
    http_proxy: 'http://proxy.example',
    https_proxy: 'http://ann:s%40cret@proxy.example:3128',
  });
  for (const url of ['ssh://git@git.example/x', 'file:///srv/x', 'http://localhost/x', 'http://127.0.0.2/x', 'http://[::1]/x']) {
    assert.deepEqual(proxyEnvironment(address(url), undefined, server), {}, url);
  }
  assert.deepEqual(secretsOfProxies({ https_proxy: server.https_proxy }), ['ann:s%40cret', 's%40cret', 's@cret']);
});
