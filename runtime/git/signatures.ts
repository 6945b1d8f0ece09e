/** Who signed a commit or a tag: keys of a Secret in, a name or a reason out. Git verifies; the keys live for the time of one run. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { SecretData } from './credentials.js';
import type { GitLimits } from './limits.js';
import { GitError, runGit } from './run.js';

export interface VerificationFiles {
  readonly env: Readonly<Record<string, string>>;
  /** GPG public keys to import before the verification. */
  readonly gpgKeys: readonly string[];
}

/** What of the Secret is keys: `allowed_signers` as ssh-keygen reads it, and everything that ends in .asc or .gpg or is a PGP block. */
export function signingKeys(data: SecretData): { allowedSigners: Buffer | undefined; gpg: readonly Buffer[] } {
  const gpg = [...data]
    .filter(([name, value]) => /\.(?:asc|gpg)$/.test(name) || value.includes('BEGIN PGP PUBLIC KEY'))
    .map(([, value]) => value);
  return { allowedSigners: data.get('allowed_signers'), gpg };
}

/** Puts the keys where git's helpers read them. */
export async function verificationFiles(data: SecretData, directory: string): Promise<VerificationFiles> {
  const { allowedSigners, gpg } = signingKeys(data);
  const gnupg = join(directory, 'gnupg');
  await mkdir(gnupg, { mode: 0o700 });
  // No agent is left behind by looking at a signature.
  await writeFile(join(gnupg, 'gpg.conf'), 'no-autostart\n');
  const signers = join(directory, 'allowed_signers');
  await writeFile(signers, allowedSigners ?? '', { mode: 0o600 });
  const gpgKeys = await Promise.all(
    gpg.map(async (key, at) => {
      const file = join(directory, `key-${at}`);
      await writeFile(file, key, { mode: 0o600 });
      return file;
    }),
  );
  const env = { GNUPGHOME: gnupg, GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'gpg.ssh.allowedSignersFile', GIT_CONFIG_VALUE_0: signers };
  return { env, gpgKeys };
}

/** Whether a raw commit object carries a signature at all. */
export const isSigned = (commit: string): boolean => /^gpgsig(?:-sha256)? /m.test(commit.split('\n\n', 1)[0] ?? '');

/** Whether the text of a tag ends in a signature, or claims to. */
export const isTagSigned = (tag: string): boolean => /^-----BEGIN (?:(?:PGP|SSH) SIGNATURE|(?:PGP|SIGNED) MESSAGE)-----/m.test(tag);

/** The name that a tag was made under, which its signature covers. */
export const tagNameOf = (tag: string): string => /^tag (.*)$/m.exec(tag.split('\n\n', 1)[0] ?? '')?.[1] ?? '';

/** `Good "git" signature for ops@example.com with …` or gpg's `GOODSIG <id> <user>`; undefined when git did not say so. */
export function signerOf(stderr: string): string | undefined {
  const ssh = /^Good "git" signature for (.+?) with /m.exec(stderr)?.[1];
  return ssh ?? /^\[GNUPG:\] GOODSIG [0-9A-F]+ (.+)$/m.exec(stderr)?.[1];
}

export async function importKey(
  file: string,
  gnupg: string,
  clock: Clock,
  limits: GitLimits,
  signal: AbortSignal | undefined,
): Promise<void> {
  const result = await runGit({
    program: 'gpg',
    args: ['--batch', '--quiet', '--no-autostart', '--import', file],
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: gnupg, GNUPGHOME: gnupg, LC_ALL: 'C' },
    clock,
    timeoutMs: limits.localTimeoutMs,
    maxOutputBytes: limits.maxErrorBytes,
    maxErrorBytes: limits.maxErrorBytes,
    maxWriteBytes: limits.maxFetchBytes,
    ...(signal === undefined ? {} : { signal }),
  });
  if (result.code !== 0) throw new GitError('refused', 'a GPG key of spec.verify could not be imported: gpg does not take it');
}
