/**
 * Values at rest: AES-256-GCM under the first key of the server's key file, bound to the object and the key that they belong to, so that
 * one put in another's place is noticed. Further keys of the file only open what was sealed under them before (docs/decisions/0026).
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { z } from 'zod';

/** What lies in the store in a value's place. */
export const SealedValue = z.strictObject({
  /** Digest that the mask shows: the same for the same value in the same place, under the same key. */
  mask: z.string(),
  /** `<id of the key>.<iv>.<tag>.<ciphertext>`, all but the first in base64url. */
  sealed: z.string(),
});
export type SealedValue = z.infer<typeof SealedValue>;

/** Where a value belongs. */
export interface SecretPlace {
  readonly secret: string;
  readonly key: string;
}

const keyBytes = 32;
const ivBytes = 12;
const maskDigits = 16;

interface SealingKey {
  readonly id: string;
  readonly cipher: Buffer;
  readonly mask: Buffer;
}

/** The value cannot be opened: sealed under a key that this server does not have, or not what was sealed. Says nothing of the value. */
export class CannotOpen extends Error {
  override readonly name = 'CannotOpen';
}

export class SecretBox {
  readonly #keys: readonly [SealingKey, ...SealingKey[]];

  /** @param keys 32 bytes each; the first one seals */
  constructor(keys: readonly [Buffer, ...Buffer[]]) {
    const [first, ...others] = keys.map(sealingKey);
    this.#keys = [first!, ...others];
  }

  mask(place: SecretPlace, value: Buffer): string {
    const digest = createHmac('sha256', this.#keys[0].mask).update(boundTo(place)).update(value);
    return digest.digest('hex').slice(0, maskDigits);
  }

  seal(place: SecretPlace, value: Buffer): SealedValue {
    const [{ id, cipher: key }] = this.#keys;
    const iv = randomBytes(ivBytes);
    const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(boundTo(place));
    const ciphertext = Buffer.concat([cipher.update(value), cipher.final()]);
    const sealed = [id, ...[iv, cipher.getAuthTag(), ciphertext].map((part) => part.toString('base64url'))].join('.');
    return { mask: this.mask(place, value), sealed };
  }

  /** Throws CannotOpen. */
  open(place: SecretPlace, { sealed }: SealedValue): Buffer {
    const [id, ...parts] = sealed.split('.');
    const key = this.#keys.find((known) => known.id === id);
    if (!key) throw new CannotOpen(`it was sealed under the key ${id}, which is not in this server's key file`);
    const [iv, tag, ciphertext] = parts.map((part) => Buffer.from(part, 'base64url'));
    try {
      const decipher = createDecipheriv('aes-256-gcm', key.cipher, iv!, { authTagLength: 16 }).setAAD(boundTo(place)).setAuthTag(tag!);
      return Buffer.concat([decipher.update(ciphertext!), decipher.final()]);
    } catch (error) {
      throw new CannotOpen('what is stored is not what was sealed in this place', { cause: error });
    }
  }
}

/** Keys have a length of their own in front, so that no two places are the same bytes. */
const boundTo = ({ secret, key }: SecretPlace): Buffer => Buffer.from(JSON.stringify(['flotilla.dev/secret', secret, key]));

function sealingKey(key: Buffer): SealingKey {
  const derived = (use: string) => Buffer.from(hkdfSync('sha256', key, '', `flotilla.dev/${use}`, keyBytes));
  return { id: createHash('sha256').update(key).digest('hex').slice(0, 8), cipher: derived('seal'), mask: derived('mask') };
}

/**
 * Keys of a key file: one a line, 32 bytes in base64, as `openssl rand -base64 32` prints them; the first one seals. Lines that are empty
 * or begin with `#` do not count. Throws with a sentence that quotes nothing.
 */
export function parseKeyFile(text: string): readonly [Buffer, ...Buffer[]] {
  const lines = text.split('\n').map((line) => line.trim());
  const keys = lines.flatMap((line, index) => {
    if (line === '' || line.startsWith('#')) return [];
    const key = Buffer.from(line, 'base64');
    if (key.length !== keyBytes)
      throw new Error(`line ${index + 1} is not a key: expected ${keyBytes} bytes in base64 (openssl rand -base64 ${keyBytes})`);
    return [key];
  });
  const [first, ...others] = keys;
  if (!first) throw new Error(`it holds no key: expected ${keyBytes} bytes in base64 (openssl rand -base64 ${keyBytes})`);
  return [first, ...others];
}
