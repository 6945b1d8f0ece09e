/**
 * Join tokens: 256 random bits that let one machine in, once, within an hour. etcd holds only the sha256 of the secret, as a key, so
 * nothing compares secrets byte by byte and a copy of etcd lets nobody in.
 *
 * A token is used in two steps. `claim` binds it to one machine and one key pair by a conditional write: whoever comes second with
 * another machine or key is refused, however the two race. `consume` deletes it, with the certificate already signed. A crash in between
 * leaves a token with which the same machine may fetch a certificate for the same key again until it expires, and nobody else ever.
 */
import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../../runtime/clock.js';
import type { Store } from '../../../runtime/store/store.js';
import { StatusError } from '../../resources/errors.js';
import { formatJoinToken, parseJoinToken } from '../../resources/join-token.js';
import type { Keys } from '../../resources/keys.js';

export const tokenLifeMs = 3_600_000;

/** Label keys that a machine may set, as `region`, `example.com/*` or `*`; never those of `flotilla.dev` (SEMANTICS 23). */
export const LabelKeys = z.array(z.string().min(1).max(317)).max(100);

const TokenRecord = z.strictObject({
  labels: LabelKeys,
  /** Only this machine may use it. */
  machine: z.string().optional(),
  /** By the wall clock: etcd prolongs leases when its leader changes. */
  expiresAt: z.string(),
  claim: z.strictObject({ machine: z.string(), keySha256: z.string() }).optional(),
});
type TokenRecord = z.infer<typeof TokenRecord>;

export interface NewToken {
  /** Label keys that the machine may set. Default: every key that is not reserved. */
  readonly labels?: readonly string[];
  /** Machine id that the token is for. Default: any. */
  readonly machine?: string;
}

/** Who wants to use a token. */
export interface Claimant {
  readonly machine: string;
  /** Hex sha256 over the public key of its signing request. */
  readonly keySha256: string;
}

export interface Claim {
  readonly labels: readonly string[];
  /** Deletes the token, unless it is gone already. */
  consume(): Promise<void>;
}

export interface Tokens {
  /** The token as it is to be typed, and when it expires. It cannot be read again. */
  create(token: NewToken): Promise<{ token: string; expiresAt: Date }>;
  /** Throws StatusError Forbidden when the token is unknown, used, expired, for another machine or of another cluster. */
  claim(token: string, claimant: Claimant): Promise<Claim>;
}

export interface TokensOptions {
  readonly store: Store;
  readonly keys: Keys;
  readonly clock: Clock;
  /** Of this cluster's CA, base64url. */
  readonly caSha256: string;
}

export function openTokens({ store, keys, clock, caSha256 }: TokensOptions): Tokens {
  const keyOf = (secret: string) => keys.token(createHash('sha256').update(secret).digest('hex'));

  return {
    async create({ labels = ['*'], machine }) {
      const secret = randomBytes(32).toString('base64url');
      const key = keyOf(secret);
      const expiresAt = new Date(clock.now().getTime() + tokenLifeMs);
      const record: TokenRecord = {
        labels: [...labels],
        expiresAt: expiresAt.toISOString(),
        ...(machine === undefined ? {} : { machine }),
      };
      const lease = await store.lease(tokenLifeMs, { keepAlive: 'manual' });
      const outcome = await store.commit({
        compares: [{ key, modRevision: 0 }],
        operations: [{ do: 'put', key, value: JSON.stringify(record), lease: lease.id }],
      });
      if (!outcome.ok)
        throw new StatusError('InternalError', 'a new random token exists already: is the random source of this machine broken?');
      return { token: formatJoinToken({ secret, caSha256 }), expiresAt };
    },

    async claim(text, claimant) {
      const token = parseJoinToken(text);
      if (!token) throw refused('this is no join token; one looks like flotilla-<43 characters>.<43 characters>');
      if (token.caSha256 !== caSha256) throw refused('this join token was made by another cluster: its CA is not the one of this server');
      const key = keyOf(token.secret);
      const { entry } = await store.get(key);
      if (!entry) throw refused(unknownToken);
      const record = TokenRecord.parse(JSON.parse(entry.value));
      if (Date.parse(record.expiresAt) <= clock.now().getTime()) throw refused(unknownToken);
      if (record.machine !== undefined && record.machine !== claimant.machine) throw refused('this join token is for another machine');
      if (record.claim && !sameClaimant(record.claim, claimant)) throw refused(unknownToken);

      let { modRevision } = entry;
      if (!record.claim) {
        const claimed: TokenRecord = { ...record, claim: { machine: claimant.machine, keySha256: claimant.keySha256 } };
        const outcome = await store.commit({
          compares: [{ key, modRevision }],
          operations: [{ do: 'put', key, value: JSON.stringify(claimed), ...(entry.lease === undefined ? {} : { lease: entry.lease }) }],
        });
        if (!outcome.ok) throw refused(unknownToken);
        modRevision = outcome.revision;
      }
      return {
        labels: record.labels,
        async consume() {
          await store.commit({ compares: [{ key, modRevision }], operations: [{ do: 'delete', key }] });
        },
      };
    },
  };
}

// One sentence for every way in which a token is no longer good: which one it was would help only someone who guesses.
const unknownToken = 'this join token is unknown, used or expired; make a new one with: flotilla token create';

const refused = (message: string): StatusError => new StatusError('Forbidden', message);

const sameClaimant = (a: Claimant, b: Claimant): boolean => a.machine === b.machine && a.keySha256 === b.keySha256;

const reserved = (key: string): boolean => /^([^/]+\.)?flotilla\.dev\//.test(key);

/** Whether a machine whose token listed `allowed` may set the label `key` on itself. */
export function mayLabel(allowed: readonly string[], key: string): boolean {
  if (reserved(key)) return false;
  return allowed.some((rule) => rule === '*' || rule === key || (rule.endsWith('/*') && key.startsWith(rule.slice(0, -1))));
}
