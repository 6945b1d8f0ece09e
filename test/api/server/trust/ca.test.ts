import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { keysUnder } from '../../../../api/resources/keys.js';
import { leafLifeMs, openPki } from '../../../../api/server/trust/ca.js';
import { StartRefused } from '../../../../api/server/trust/cluster-meta.js';
import { MemoryStore } from '../../../../runtime/store/memory-store.js';
import { createRequest, generateKeyPair } from '../../../../runtime/x509/certificates.js';
import { ManualClock } from '../../../rigs/manual-clock.js';

const keys = keysUnder();
const root = await mkdtemp(path.join(tmpdir(), 'flotilla-pki-'));
after(() => rm(root, { recursive: true }));
let dirs = 0;
const newDir = () => path.join(root, String(dirs++));
const machine = { id: 'a'.repeat(32), uid: '3b0c5ad5-0000-4000-8000-000000000001' };

// The signature is the request's last part: one bit of it is turned, the rest stays well-formed.
const der = Buffer.from((await createRequest(await generateKeyPair(), 'x')).replace(/-----.*-----|\s/g, ''), 'base64');
der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
const notRequests = {
  'no request at all': 'hello',
  'a request with a broken signature': `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`,
};

async function refused(promise: Promise<unknown>, words: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof StartRefused, String(error));
    assert.match(error.message, words);
    return true;
  });
}

describe('PKI', () => {
  const clock = new ManualClock();
  const open = (store: MemoryStore, dir = newDir(), names: string[] = []) => openPki({ dir, store, keys, names, clock });

  test('SEMANTICS 24: the first start makes the CA, puts its certificate into etcd and keeps the key in a private file', async () => {
    const store = new MemoryStore({ clock });
    const dir = newDir();
    const pki = await open(store, dir);
    const stored = (await store.get(keys.ca)).entry?.value;
    assert.equal(stored, pki.caCertificate);
    const ca = new X509Certificate(pki.caCertificate);
    assert.equal(ca.ca, true);
    assert.equal(new Date(ca.validTo).getTime() - clock.now().getTime(), 10 * 365 * 86_400_000);
    assert.deepEqual(await readdir(dir), ['ca.key'], 'no temporary file stays behind');
    assert.equal((await stat(dir)).mode & 0o777, 0o700);
    assert.equal((await stat(path.join(dir, 'ca.key'))).mode & 0o777, 0o600);
    for (const { value } of (await store.list(keys.root)).entries) assert.doesNotMatch(value, /PRIVATE KEY/);
    pki.close();
  });

  test('a second start uses the same CA', async () => {
    const store = new MemoryStore({ clock });
    const dir = newDir();
    const first = await open(store, dir);
    const second = await open(store.peer(), dir);
    assert.equal(second.caCertificate, first.caCertificate);
    assert.equal(second.clusterUid, first.clusterUid);
    first.close();
    second.close();
  });

  test('SEMANTICS 24: a server without the key refuses to start and says how to bring it', async () => {
    const store = new MemoryStore({ clock });
    (await open(store)).close();
    const dir = newDir();
    await refused(open(store, dir), /private key is not here: copy ca\.key .* to .*ca\.key.* mode 0600/);
    assert.deepEqual(await readdir(dir), [], 'and leaves no key of its own behind');
  });

  test("a server with another cluster's key refuses to start", async () => {
    const [store, foreign] = [new MemoryStore({ clock }), new MemoryStore({ clock })];
    const dir = newDir();
    (await open(store)).close();
    (await open(foreign, dir)).close();
    await refused(open(store, dir), /is not the key of this cluster's certificate authority/);
  });

  test('two servers that start an empty cluster together: one makes the CA, the other refuses and leaves no key behind', async () => {
    const store = new MemoryStore({ clock });
    const tries = [newDir(), newDir()];
    const results = await Promise.allSettled([open(store, tries[0]), open(store.peer(), tries[1])]);
    assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const loser = tries[results.findIndex(({ status }) => status === 'rejected')]!;
    assert.deepEqual(await readdir(loser), []);
    for (const result of results) if (result.status === 'fulfilled') result.value.close();
  });

  test('a crash between key file and etcd: the next start uses the key that is there', async () => {
    const store = new MemoryStore({ clock });
    const dir = newDir();

    const realCommit = store.commit.bind(store);
    store.commit = async (write, options) => {
      if (write.operations.some(({ key }) => key === keys.ca)) throw new Error('the server was killed here');
      return realCommit(write, options);
    };
    await assert.rejects(open(store, dir), /killed here/);
    assert.equal((await store.get(keys.ca)).entry, undefined);
    store.commit = realCommit;
    const pki = await open(store, dir);
    assert.equal((await store.get(keys.ca)).entry?.value, pki.caCertificate);
    pki.close();
  });

  test('a key that others can read is refused', async () => {
    const store = new MemoryStore({ clock });
    const dir = newDir();
    (await open(store, dir)).close();
    await chmod(path.join(dir, 'ca.key'), 0o644);
    await assert.rejects(open(store, dir), /can be reached by others .*chmod 600/);
    const loose = newDir();
    await mkdir(loose, { mode: 0o755 });
    await assert.rejects(open(store, loose), /chmod 700/);
  });

  test('a key file with garbage is refused by name', async () => {
    const dir = newDir();
    await mkdir(dir, { mode: 0o700 });
    await writeFile(path.join(dir, 'ca.key'), 'no key', { mode: 0o600 });
    await refused(open(new MemoryStore({ clock }), dir), /ca\.key cannot be used: this is not an ECDSA P-256 private key/);
  });

  test('SEMANTICS 24: a store in a newer format: refuse to start', async () => {
    const store = new MemoryStore({ clock });
    await store.commit({
      compares: [{ key: keys.meta, modRevision: 0 }],
      operations: [{ do: 'put', key: keys.meta, value: JSON.stringify({ clusterUid: 'x', format: 2, later: true }) }],
    });
    await refused(open(store), /stored in format 2 and this server knows formats up to 1/);
    assert.equal((await store.get(keys.ca)).entry, undefined);
  });

  test('the server certificate names all its addresses and is signed by the CA, which comes with it', async () => {
    const pki = await open(new MemoryStore({ clock }), newDir(), ['one.example', '192.0.2.7', '2001:db8::7']);
    const [leaf, ca] = String(pki.serverIdentity().cert)
      .split(/(?<=-----END CERTIFICATE-----)/)
      .filter((pem) => pem.includes('BEGIN'))
      .map((pem) => new X509Certificate(pem));
    assert.ok(leaf?.verify(new X509Certificate(pki.caCertificate).publicKey));
    assert.equal(ca?.fingerprint256, new X509Certificate(pki.caCertificate).fingerprint256);
    assert.equal(pki.caSha256, Buffer.from(ca!.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url'));
    for (const name of ['one.example', 'localhost']) assert.ok(leaf?.checkHost(name), name);
    for (const ip of ['192.0.2.7', '2001:db8::7', '127.0.0.1', '::1']) assert.ok(leaf?.checkIP(ip), ip);
    assert.equal(leaf?.checkHost('two.example'), undefined);
    pki.close();
  });

  test('the server certificate renews itself after two thirds of its life, also when the machine slept', async () => {
    const clock = new ManualClock();
    const pki = await openPki({ dir: newDir(), store: new MemoryStore({ clock }), keys, names: [], clock });
    let renewed = 0;
    pki.onRenewed(() => renewed++);
    const before = pki.serverIdentity();
    clock.stepWallClock((leafLifeMs * 2) / 3 - 7_200_000);
    await clock.advance(3_600_000);
    assert.equal(renewed, 0);
    assert.equal(pki.serverIdentity().cert, before.cert);
    await clock.advance(3_700_000);
    for (let i = 0; i < 100 && renewed === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(renewed, 1);
    assert.notEqual(pki.serverIdentity().cert, before.cert);
    assert.notEqual(pki.serverIdentity().key, before.key);
    pki.close();
  });

  test('SEMANTICS 24: a machine certificate names the machine and the uid of its Machine object, for 30 days', async () => {
    const pki = await open(new MemoryStore({ clock }));
    const pem = await pki.signMachine(await createRequest(await generateKeyPair(), 'whatever it calls itself'), machine);
    const certificate = new X509Certificate(pem);
    assert.equal(certificate.subject, `O=flotilla:machines\nCN=system:machine:${machine.id}`);
    assert.equal(certificate.subjectAltName, `URI:urn:flotilla:machine:${machine.id}:${machine.uid}`);
    assert.equal(new Date(certificate.validTo).getTime() - clock.now().getTime(), leafLifeMs);
    assert.equal(certificate.ca, false);
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'client authentication only: it cannot pose as a server');
    pki.close();
  });

  for (const [what, request] of Object.entries(notRequests)) {
    test(`nothing is signed for ${what}`, async () => {
      const pki = await open(new MemoryStore({ clock }));
      await assert.rejects(pki.signMachine(request, machine), /this is not a signed certificate request/);
      pki.close();
    });
  }
});
