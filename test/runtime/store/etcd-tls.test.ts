/** etcd behind TLS that asks for our certificate, as it should be wherever it is not on loopback. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { EtcdCredentials } from '../../../runtime/store/etcd-client.js';
import { openEtcdStore } from '../../../runtime/store/etcd-store.js';
import { StoreUnavailable } from '../../../runtime/store/store.js';
import {
  type CertificateContent,
  generateKeyPair,
  issueCertificate,
  type KeyPair,
  openSigner,
  privateKeyPem,
} from '../../../runtime/x509/certificates.js';
import { startEtcd } from '../../rigs/etcd.js';
import { create, record } from '../../rigs/store-under-faults.js';

interface Authority {
  readonly certificate: string;
  issue(usage: readonly ('server' | 'client')[]): Promise<{ cert: string; key: string }>;
}

async function authority(name: string): Promise<Authority> {
  const now = Date.now();
  const content = (commonName: string, keys: KeyPair, usage: CertificateContent['usage']): CertificateContent => ({
    commonName,
    notBefore: new Date(now - 60_000),
    notAfter: new Date(now + 3_600_000),
    publicKey: keys.publicKey,
    usage,
    addresses: ['127.0.0.1'],
  });
  const keys = await generateKeyPair();
  const certificate = await issueCertificate(content(name, keys, 'ca'), { ...keys, commonName: name });
  const signer = await openSigner(certificate, keys);
  assert.ok(signer);
  return {
    certificate,
    issue: async (usage) => {
      const own = await generateKeyPair();
      return { cert: await issueCertificate(content('flotilla', own, usage), signer), key: await privateKeyPem(own) };
    },
  };
}

test('over TLS with certificates on both sides everything works; a stranger is kept out, and so is a stranger of an etcd', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'flotilla-tls-'));
  t.after(() => rm(directory, { recursive: true }));
  const [ours, theirs] = await Promise.all([authority('ours'), authority('theirs')]);
  const server = await ours.issue(['server', 'client']);
  const files = { ca: join(directory, 'ca.crt'), cert: join(directory, 'etcd.crt'), key: join(directory, 'etcd.key') };
  await writeFile(files.ca, ours.certificate);
  await writeFile(files.cert, server.cert);
  await writeFile(files.key, server.key, { mode: 0o600 });
  const etcd = await startEtcd({ tls: files });
  t.after(() => etcd.stop());
  const open = (credentials: EtcdCredentials) => {
    const store = openEtcdStore({ endpoints: etcd.endpoints, credentials, readTimeoutMs: 500 });
    t.after(() => store.close());
    return store;
  };

  const client = await ours.issue(['client']);
  const store = open({ ca: ours.certificate, ...client });
  const seen = record(store, '/f/');
  const { revision } = await store.commit(create('/f/a', 'x'));
  await seen.until(revision);
  const lease = await store.lease(5000, { keepAlive: 'manual' });
  assert.equal(await lease.keepAlive(), true);
  assert.ok((await store.members()).every((member) => member.healthy));

  for (const [who, credentials] of [
    ['without a certificate', { ca: ours.certificate }],
    ['with a certificate of another CA', { ca: ours.certificate, ...(await theirs.issue(['client'])) }],
    ['that trusts another CA', { ca: theirs.certificate, ...client }],
  ] as const) {
    await assert.rejects(open(credentials).get('/f/a'), StoreUnavailable, who);
  }
});
