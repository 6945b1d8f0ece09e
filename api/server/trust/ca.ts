/**
 * The cluster's certificate authority and this server's certificate. The CA certificate stands in etcd for everybody to compare with;
 * its private key never leaves the pki directories of the servers.
 */
import { randomUUID, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import path from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import type { Clock } from '../../../runtime/clock.js';
import { type Logger, silentLogger } from '../../../runtime/log.js';
import { type Metrics, noMetrics } from '../../../runtime/metrics.js';
import type { Store } from '../../../runtime/store/store.js';
import {
  type CertificateContent,
  certificateSha256,
  generateKeyPair,
  issueCertificate,
  type KeyPair,
  openSigner,
  privateKeyPem,
  readKeyPair,
  readRequest,
  type Signer,
} from '../../../runtime/x509/certificates.js';
import type { Keys } from '../../resources/keys.js';
import { createIfAbsent, openClusterMeta, StartRefused } from './cluster-meta.js';
import { ensurePrivateDirectory, readPrivateFile, removePrivateFile, writePrivateFile } from './key-file.js';
import { adminOrganization, machineCommonName, machineOrganization, machineUri } from './names.js';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
export const caLifeMs = 10 * 365 * dayMs;
export const leafLifeMs = 30 * dayMs;
export const maxAdminLifeMs = 365 * dayMs;
/** Certificates begin in the past by this much: a machine whose clock is behind must still be able to join. */
export const backdatedMs = hourMs;
/** How often a server looks whether its own certificate has come to two thirds of its life: by the wall clock, since machines sleep. */
const renewalCheckMs = hourMs;

export interface PkiOptions {
  /** Where the CA's private key lies: 0700. */
  readonly dir: string;
  readonly store: Store;
  readonly keys: Keys;
  /** Names and addresses by which clients reach this server; `localhost` and the loopback addresses are always among them. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

export interface IssuedKey {
  readonly certificate: string;
  readonly key: string;
}

export interface Pki {
  readonly clusterUid: string;
  /** PEM. */
  readonly caCertificate: string;
  /** sha256 of the CA certificate in DER, base64url: what a join token pins. */
  readonly caSha256: string;
  /** What a TLS server presents now, the CA certificate in its chain, so that a machine can compare it with its token. */
  serverIdentity(): SecureContextOptions;
  /** Called after each renewal of the server certificate. Returns the unsubscriber. */
  onRenewed(listener: () => void): () => void;
  /** For one Machine object; PEM. Throws CertificateError for a request that is not one. */
  signMachine(requestPem: string, machine: { readonly id: string; readonly uid: string }): Promise<string>;
  /** A client certificate with all rights, and its key. */
  issueAdmin(name: string, lifeMs?: number): Promise<IssuedKey>;
  close(): void;
}

/** Opens the cluster's PKI, or makes it on the very first start. Throws StartRefused when this server cannot be one of the cluster's. */
export async function openPki(options: PkiOptions): Promise<Pki> {
  const { clock, log = silentLogger, metrics = noMetrics } = options;
  const { clusterUid } = await openClusterMeta(options.store, options.keys);
  const ca = await openCa(options);
  const listeners = new Set<() => void>();
  const now = () => clock.now().getTime();

  const leaf = (
    publicKey: CertificateContent['publicKey'],
    lifeMs: number,
    content: Partial<CertificateContent> & { commonName: string },
  ) =>
    issueCertificate(
      { usage: ['client'], ...content, publicKey, notBefore: new Date(now() - backdatedMs), notAfter: new Date(now() + lifeMs) },
      ca.signer,
    );

  async function newServerIdentity() {
    const pair = await generateKeyPair();
    const names = [...new Set(['localhost', '127.0.0.1', '::1', ...options.names])];
    const certificate = await leaf(pair.publicKey, leafLifeMs, {
      commonName: 'flotilla-server',
      usage: ['server'],
      dnsNames: names.filter((name) => !isIP(name)),
      addresses: names.filter((name) => isIP(name)),
    });
    return {
      cert: `${certificate}\n${ca.certificate}`,
      key: await privateKeyPem(pair),
      ca: ca.certificate,
      renewAtMs: now() + (leafLifeMs * 2) / 3,
    };
  }

  let server = await newServerIdentity();
  let cancel = () => {};
  let closed = false;
  const renewLater = () => {
    cancel = clock.after(renewalCheckMs, () => {
      renewIfDue().then(renewLater, (error: unknown) => {
        log.error('server certificate could not be renewed', { error });
        renewLater();
      });
    });
  };
  async function renewIfDue() {
    if (closed || now() < server.renewAtMs) return;
    server = await newServerIdentity();
    log.info('server certificate renewed');
    for (const listener of listeners) listener();
  }
  renewLater();
  const unobserve = metrics.observe(
    'gauge',
    'flotilla_certificate_expiration_timestamp_seconds',
    "When a certificate of this server's ends.",
    ['certificate'],
    () => [
      { labels: { certificate: 'ca' }, value: notAfterSeconds(ca.certificate) },
      { labels: { certificate: 'server' }, value: notAfterSeconds(server.cert) },
    ],
  );

  return {
    clusterUid,
    caCertificate: ca.certificate,
    caSha256: certificateSha256(ca.certificate).toString('base64url'),
    serverIdentity: () => ({ cert: server.cert, key: server.key, ca: server.ca }),
    onRenewed(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    signMachine: async (requestPem, machine) =>
      leaf(await readRequest(requestPem), leafLifeMs, {
        commonName: machineCommonName(machine.id),
        organization: machineOrganization,
        uris: [machineUri(machine)],
      }),
    async issueAdmin(name, lifeMs = leafLifeMs) {
      const pair = await generateKeyPair();
      const certificate = await leaf(pair.publicKey, Math.min(lifeMs, maxAdminLifeMs), {
        commonName: name,
        organization: adminOrganization,
      });
      return { certificate, key: await privateKeyPem(pair) };
    },
    close() {
      closed = true;
      cancel();
      unobserve();
      listeners.clear();
    },
  };
}

/** Of the first certificate in the PEM text. */
const notAfterSeconds = (pem: string): number => Date.parse(new X509Certificate(pem).validTo) / 1_000;

interface Ca {
  /** PEM. */
  readonly certificate: string;
  readonly signer: Signer;
}

/**
 * The key is on disk before the certificate is in etcd: a crash in between leaves a key that the next start uses, never a cluster whose
 * key is lost.
 */
async function openCa({ dir, store, keys, clock, log = silentLogger }: PkiOptions): Promise<Ca> {
  const keyFile = path.join(dir, 'ca.key');
  await ensurePrivateDirectory(dir);
  const onDisk = await readPrivateFile(keyFile);
  const pair = onDisk === undefined ? undefined : await readCaKey(onDisk, keyFile);
  const stored = (await store.get(keys.ca)).entry?.value;
  if (stored !== undefined) return matchingCa(stored, pair, keyFile);

  const own = pair ?? (await generateKeyPair());
  if (!pair) await writePrivateFile(keyFile, await privateKeyPem(own));
  const winner = await createIfAbsent(store, keys.ca, await newCaCertificate(own, clock));
  if (winner.created) log.info('certificate authority made', { dir });
  // Another server of a new cluster was faster: our key has signed nothing, and left here it would only stand in the way of the right one.
  else if (!pair) await removePrivateFile(keyFile);
  return matchingCa(winner.value, winner.created ? own : pair, keyFile);
}

async function newCaCertificate(keys: KeyPair, clock: Clock): Promise<string> {
  const now = clock.now().getTime();
  const commonName = `flotilla-ca-${randomUUID().slice(0, 8)}`;
  return issueCertificate(
    { commonName, publicKey: keys.publicKey, usage: 'ca', notBefore: new Date(now - backdatedMs), notAfter: new Date(now + caLifeMs) },
    { ...keys, commonName },
  );
}

async function matchingCa(certificate: string, keys: KeyPair | undefined, keyFile: string): Promise<Ca> {
  const how = `copy ca.key from the pki directory of a server that runs to ${keyFile}, owned by this server's user and with mode 0600`;
  if (!keys) throw new StartRefused(`this cluster has a certificate authority and its private key is not here: ${how}`);
  const signer = await openSigner(certificate, keys);
  if (!signer) throw new StartRefused(`${keyFile} is not the key of this cluster's certificate authority: ${how}`);
  return { certificate, signer };
}

async function readCaKey(pem: string, keyFile: string): Promise<KeyPair> {
  try {
    return await readKeyPair(pem);
  } catch (error) {
    throw new StartRefused(`${keyFile} cannot be used: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
