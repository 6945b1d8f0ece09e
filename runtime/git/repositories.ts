/**
 * Repositories as this server sees them: one bare, shallow mirror for each address and credential, shared by all who sync from it. A poll
 * is one `ls-remote`; a fetch brings exactly one commit; files are read from git's objects and never written out.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { Logger } from '../log.js';
import { GitCommands, type RepositoryAccess } from './commands.js';
import type { SecretData } from './credentials.js';
import { addressOf } from './file-roots.js';
import { type GitLimits, gitLimits } from './limits.js';
import { holds, isMade, Mirrors, refOf, removeUnfinished, sizeOf } from './mirrors.js';
import { patternsFor, pick, type Revision, type WantedRef } from './refs.js';
import { GitError, gitFailure } from './run.js';
import { importKey, isSigned, isTagSigned, signerOf, signingKeys, tagNameOf, verificationFiles } from './signatures.js';
import { parseBlobs, parseListing, type TreeFile } from './tree.js';

export type { RepositoryAccess } from './commands.js';

export interface RepositoriesOptions {
  /** Where mirrors are kept; made when the first one is. */
  readonly directory: string;
  /** Directories below which file:// may read; undefined: anywhere. */
  readonly fileRoots: readonly string[] | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<GitLimits>;
  /** Where keys lie while git runs. Default: in memory where the system has such a place. */
  readonly secretsDirectory?: string;
  /** Where a proxy may be named. Default: this process's environment. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

export interface Tree {
  readonly files: readonly TreeFile[];
  /** The contents of these files, in their order. @throws GitError too-large */
  read(files: readonly TreeFile[]): Promise<readonly Buffer[]>;
}

/** Everything rejects with GitError. */
export interface Repositories {
  /** The commit that the ref names now: one `ls-remote`, or nothing at all for a commit. */
  resolve(access: RepositoryAccess, wanted: WantedRef): Promise<Revision>;
  /** Brings the commit, and the tag if one is named, into the mirror, if they are not there. */
  fetch(access: RepositoryAccess, commit: string, tag?: string): Promise<void>;
  /** Everything below a path of a fetched commit; undefined when the path is not there. */
  tree(access: RepositoryAccess, commit: string, path: readonly string[]): Promise<Tree | undefined>;
  /**
   * Who signed a fetched revision, by one of these keys: its tag, if that is signed, else its commit. Rejects with `refused` when nobody did,
   * or when the tag was signed for another name or commit.
   */
  signer(access: RepositoryAccess, revision: Revision, keys: SecretData): Promise<string>;
}

export const openRepositories = (options: RepositoriesOptions): Repositories => new MirroredRepositories(options);

class MirroredRepositories implements Repositories {
  readonly #options: RepositoriesOptions;
  readonly #limits: GitLimits;
  readonly #git: GitCommands;
  readonly #mirrors: Mirrors;

  constructor(options: RepositoriesOptions) {
    const { directory, clock, secretsDirectory, environment = process.env } = options;
    this.#options = options;
    this.#limits = { ...gitLimits, ...options.limits };
    this.#git = new GitCommands({ home: join(directory, 'home'), clock, limits: this.#limits, secretsDirectory, environment });
    this.#mirrors = new Mirrors({ directory: join(directory, 'mirrors'), clock, idleMs: this.#limits.mirrorIdleMs });
  }

  async resolve(access: RepositoryAccess, wanted: WantedRef): Promise<Revision> {
    if (wanted.commit !== undefined) return { commit: wanted.commit, name: '' };
    const address = await addressOf(access.url, this.#options.fileRoots);
    const { maxListingBytes, listingTimeoutMs } = this.#limits;
    const quick = { ...access, timeoutMs: Math.min(access.timeoutMs, listingTimeoutMs) };
    const { stdout } = await this.#git.remote(quick, ['ls-remote', '--symref', '--', address, ...patternsFor(wanted)], {
      maxOutputBytes: maxListingBytes,
    });
    const found = pick(wanted, stdout.toString('utf8'));
    if ('problem' in found) throw new GitError('not-found', found.problem);
    return found;
  }

  fetch(access: RepositoryAccess, commit: string, tag?: string): Promise<void> {
    return this.#mirrors.inTurn(access, async (mirror) => {
      const wanted = tag === undefined ? [commit] : [commit, tag];
      if (await holds(mirror, wanted)) return this.#mirrors.touch(mirror);
      if ((await sizeOf(mirror)) > this.#limits.maxMirrorBytes) await rm(mirror, { recursive: true, force: true });
      await this.#initialised(access, mirror);
      await this.#mirrors.touch(mirror);
      const address = await addressOf(access.url, this.#options.fileRoots);
      const words = [
        'fetch',
        '--quiet',
        '--depth=1',
        '--no-tags',
        '--no-write-fetch-head',
        '--no-auto-gc',
        '--no-recurse-submodules',
        '--force',
      ];
      // The refs keep what came, and tell the next fetch what is here already.
      try {
        await this.#git.remote(
          access,
          [`--git-dir=${mirror}`, ...words, '--', address, ...wanted.map((hash) => `${hash}:${refOf(hash)}`)],
          { isWriting: true },
        );
      } catch (error) {
        // What a git that was ended had received by then lies about under a name of its own.
        const received = await removeUnfinished(mirror);
        if (received < this.#limits.maxFetchBytes - 4_096 || !(error instanceof GitError)) throw error;
        throw new GitError('too-large', `the repository sends more than ${this.#limits.maxFetchBytes} bytes for one commit`);
      }
      if (!(await holds(mirror, wanted))) throw new GitError('failed', `git fetched commit ${commit}, and it is not there`);
    });
  }

  tree(access: RepositoryAccess, commit: string, path: readonly string[]): Promise<Tree | undefined> {
    return this.#mirrors.inTurn(access, async (mirror) => {
      const root = path.length === 0 ? commit : `${commit}:${path.join('/')}`;
      const words = ['ls-tree', '-r', '-l', '-z', '--full-tree', root];
      const listed = await this.#git.run(access, [`--git-dir=${mirror}`, ...words], {
        isLocal: true,
        maxOutputBytes: this.#limits.maxListingBytes,
      });
      if (listed.code === 0) return { files: parseListing(listed.stdout), read: (files) => this.#read(access, files) };
      if (path.length > 0 && !(await this.#isDirectory(access, mirror, commit, path))) return undefined;
      return this.#lost(mirror, gitFailure('the files could not be listed', listed));
    });
  }

  signer(access: RepositoryAccess, { commit, name, tag }: Revision, keys: SecretData): Promise<string> {
    const { allowedSigners, gpg } = signingKeys(keys);
    if (allowedSigners === undefined && gpg.length === 0) {
      return Promise.reject(new GitError('refused', 'the Secret of spec.verify holds neither "allowed_signers" nor a GPG key (*.asc)'));
    }
    return this.#mirrors.inTurn(access, async (mirror) => {
      const text = async (kind: 'commit' | 'tag', hash: string) =>
        (await this.#git.local(access, mirror, ['cat-file', kind, hash], `the ${kind} could not be read`)).stdout.toString('utf8');
      const tagText = tag === undefined ? undefined : await text('tag', tag);
      if (tag !== undefined && tagText !== undefined && isTagSigned(tagText)) {
        // Git verifies that somebody signed it, not that it is the one that was asked for.
        const signedFor = tagNameOf(tagText);
        if (signedFor !== name) throw new GitError('refused', `what is called tag ${name} was signed as tag ${JSON.stringify(signedFor)}`);
        const named = await this.#git.local(access, mirror, ['rev-parse', '--verify', `${tag}^{commit}`], 'the tag could not be read');
        if (named.stdout.toString('utf8').trim() !== commit) throw new GitError('refused', `tag ${name} was signed for another commit`);
        return this.#verified(access, mirror, ['verify-tag', '--raw', tag], `tag ${name}`, keys);
      }
      const short = commit.slice(0, 12);
      if (!isSigned(await text('commit', commit))) {
        throw new GitError(
          'refused',
          tag === undefined ? `commit ${short} is not signed` : `neither tag ${name} nor commit ${short} is signed`,
        );
      }
      return this.#verified(access, mirror, ['verify-commit', '--raw', commit], `commit ${short}`, keys);
    });
  }

  async #verified(access: RepositoryAccess, mirror: string, args: readonly string[], what: string, keys: SecretData): Promise<string> {
    return this.#git.inPrivate(async (directory) => {
      const { env, gpgKeys } = await verificationFiles(keys, directory);
      for (const file of gpgKeys) {
        await importKey(file, env.GNUPGHOME ?? directory, this.#options.clock, this.#limits, access.signal);
      }
      const checked = await this.#git.run(access, [`--git-dir=${mirror}`, ...args], { env, isLocal: true, isWriting: true });
      const signer = checked.code === 0 ? signerOf(checked.stderr) : undefined;
      if (signer !== undefined) return signer;
      throw new GitError('refused', `${what} is signed, but by none of the keys that spec.verify names`);
    });
  }

  #read(access: RepositoryAccess, files: readonly TreeFile[]): Promise<readonly Buffer[]> {
    const { maxFiles, maxFileBytes, maxCheckoutBytes } = this.#limits;
    const large = files.find(({ bytes }) => bytes > maxFileBytes);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const problem =
      large !== undefined
        ? `${large.path} has ${large.bytes} bytes, at most ${maxFileBytes} are read`
        : files.length > maxFiles
          ? `there are ${files.length} files to read, at most ${maxFiles} are`
          : bytes > maxCheckoutBytes
            ? `the files have ${bytes} bytes together, at most ${maxCheckoutBytes} are read`
            : undefined;
    if (problem !== undefined) return Promise.reject(new GitError('too-large', problem));
    if (files.length === 0) return Promise.resolve([]);
    return this.#mirrors.inTurn(access, async (mirror) => {
      const { stdout } = await this.#git.local(access, mirror, ['cat-file', '--batch'], 'the files could not be read', {
        input: `${files.map(({ blob }) => blob).join('\n')}\n`,
        maxOutputBytes: bytes + files.length * 128,
      });
      try {
        return parseBlobs(stdout, files.length);
      } catch (error) {
        return this.#lost(mirror, new GitError('failed', `the files could not be read: ${(error as Error).message}`));
      }
    });
  }

  /** What was fetched whole cannot be read: a disk that lost something, say. The next fetch begins anew. */
  async #lost(mirror: string, error: GitError): Promise<never> {
    await rm(mirror, { recursive: true, force: true });
    throw error;
  }

  async #isDirectory(access: RepositoryAccess, mirror: string, commit: string, path: readonly string[]): Promise<boolean> {
    const words = ['--literal-pathspecs', 'ls-tree', '-z', '--full-tree', commit, '--', path.join('/')];
    const looked = await this.#git.run(access, [`--git-dir=${mirror}`, ...words], { isLocal: true });
    if (looked.code !== 0) return this.#lost(mirror, gitFailure('the path could not be looked up', looked));
    const entry = looked.stdout.toString('utf8');
    if (entry.startsWith('040000 tree')) return true;
    if (entry === '') return false;
    const what = entry.startsWith('120000')
      ? 'a symbolic link, which is not followed'
      : entry.startsWith('160000')
        ? 'a submodule, which is not fetched'
        : 'a file';
    throw new GitError('refused', `${path.join('/')} is ${what}; spec.path has to name a directory`);
  }

  async #initialised(access: RepositoryAccess, mirror: string): Promise<void> {
    if (await isMade(mirror)) return;
    await this.#mirrors.dropIdle();
    await rm(mirror, { recursive: true, force: true });
    await mkdir(mirror, { recursive: true, mode: 0o700 });
    await this.#git.local(access, mirror, ['init', '--quiet', '--bare', '--template='], 'the mirror could not be made', {
      isWriting: true,
    });
  }
}
