/** The machine's key, its certificate and the cluster's CA: one file under `<state-dir>/pki`, so that they always fit together. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { z } from 'zod';
import type { JoinReply } from '../api/resources/protocol.js';
import { generateKeyPair, privateKeyPem } from '../runtime/x509/certificates.js';
import type { StateFiles } from './files.js';
import type { TlsIdentity } from './stream.js';

/** What a machine has once it belongs to a cluster. */
export interface Membership extends TlsIdentity {
  readonly clusterUid: string;
  readonly machineUid: string;
  /** The servers' endpoints at that time. */
  readonly servers: readonly string[];
  /** Wall-clock milliseconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** sha256 of the token that it joined with: another token asks to join again. */
  readonly tokenSha256: string;
}

const Stored = z.object({
  version: z.literal(1),
  key: z.string(),
  certificate: z.string(),
  ca: z.string(),
  clusterUid: z.string(),
  machineUid: z.string(),
  servers: z.array(z.string()),
  tokenSha256: z.string(),
});
type Stored = z.infer<typeof Stored>;

const NewKey = z.object({ key: z.string() });

export class Pki {
  readonly #files: StateFiles;

  /** `files` keeps its files readable by root only. */
  constructor(files: StateFiles) {
    this.#files = files;
  }

  /** Undefined while the machine has not joined. Throws when the certificate is not for the key beside it. */
  async membership(): Promise<Membership | undefined> {
    const stored = await this.#files.read('membership');
    return stored === undefined ? undefined : membershipOf(Stored.parse(stored));
  }

  /** The key to join with: the same one at each attempt, because a join token belongs to the first key that used it. */
  async joinKey(): Promise<string> {
    const kept = NewKey.safeParse(await this.#files.read('new-key'));
    return kept.success ? kept.data.key : this.newKey();
  }

  /** A key that has no certificate yet. */
  async newKey(): Promise<string> {
    const key = await privateKeyPem(await generateKeyPair());
    await this.#files.write('new-key', { key } satisfies z.infer<typeof NewKey>);
    return key;
  }

  /** Throws when the certificate is not for this key. */
  async store(key: string, tokenSha256: string, { certificate, ca, clusterUid, machineUid, servers }: JoinReply): Promise<Membership> {
    const stored: Stored = { version: 1, key, certificate, ca, clusterUid, machineUid, servers, tokenSha256 };
    const membership = membershipOf(stored);
    await this.#files.write('membership', stored);
    return membership;
  }
}

function membershipOf({ key, certificate, ca, clusterUid, machineUid, servers, tokenSha256 }: Stored): Membership {
  const leaf = new X509Certificate(certificate);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error('the certificate is not for the key beside it');
  const [notBeforeMs, notAfterMs] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  return { key, certificate, ca, clusterUid, machineUid, servers, notBeforeMs, notAfterMs, tokenSha256 };
}
