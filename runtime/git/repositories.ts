/**
 * Repositories as this server sees them: one bare, shallow mirror for each address and credential, shared by all who sync from it. A poll
 * is one `ls-remote`; a fetch brings exactly one commit; files are read from git's objects and never written out.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, realpath, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import type { GitUrl } from '../../api/resources/git-url.js';
import type { Clock } from '../clock.js';
import type { Logger } from '../log.js';
import { credentialEnvironment, type GitCredentials, type SecretData, secretsIn, withPrivateDirectory } from './credentials.js';
import { type GitLimits, gitLimits } from './limits.js';
import { patternsFor, pick, type Revision, type WantedRef } from './refs.js';
import { GitError, type GitResult, gitFailure, runGit } from './run.js';
import { isSigned, signerOf, signingKeys, verificationFiles } from './signatures.js';
import { parseBlobs, parseListing, type TreeFile } from './tree.js';

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
}

/** One repository, and how long git may take for each thing asked of it. */
export interface RepositoryAccess {
  readonly url: GitUrl;
  readonly credentials?: GitCredentials | undefined;
  /** Mirrors of one address are apart when their credentials have different names: who may not read one is shown none of it. */
  readonly credentialsName?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
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
  /** Brings the commit into the mirror, if it is not there. */
  fetch(access: RepositoryAccess, commit: string): Promise<void>;
  /** Everything below a path of a fetched commit; undefined when the path is not there. */
  tree(access: RepositoryAccess, commit: string, path: readonly string[]): Promise<Tree | undefined>;
  /** Who signed a fetched commit, by one of these keys. Rejects with `refused` when nobody did. */
  signer(access: RepositoryAccess, commit: string, keys: SecretData): Promise<string>;
}

export const openRepositories = (options: RepositoriesOptions): Repositories => new Mirrors(options);

/**
 * Read by every git that we start, and by those that git starts; nothing of the host's own settings is. Whom gpgsm trusts is such a setting,
 * too: a certificate that this host takes for good is none of the keys that a Secret names.
 */
const config = `[core]
	hooksPath = /dev/null
	fsmonitor = false
	symlinks = false
	bigFileThreshold = 1m
	askPass =
[credential]
	helper =
[gpg "x509"]
	program = false
[gc]
	auto = 0
[maintenance]
	auto = false
[fetch]
	recurseSubmodules = false
	unpackLimit = 1
	writeCommitGraph = false
[submodule]
	recurse = false
[protocol "ext"]
	allow = never
[pack]
	threads = 1
[http]
	lowSpeedLimit = 1
	lowSpeedTime = 30
[safe]
	directory = *
`;

class Mirrors implements Repositories {
  readonly #options: RepositoriesOptions;
  readonly #limits: GitLimits;
  /** By mirror: the end of what is under way. Fetching and dropping exclude everything else. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #home: Promise<string> | undefined;

  constructor(options: RepositoriesOptions) {
    this.#options = options;
    this.#limits = { ...gitLimits, ...options.limits };
  }

  async resolve(access: RepositoryAccess, wanted: WantedRef): Promise<Revision> {
    if (wanted.commit !== undefined) return { commit: wanted.commit, name: '' };
    const address = await this.#address(access.url);
    const { stdout } = await this.#remote(access, ['ls-remote', '--symref', '--', address, ...patternsFor(wanted)], {
      maxOutputBytes: this.#limits.maxListingBytes,
    });
    const found = pick(wanted, stdout.toString('utf8'));
    if ('problem' in found) throw new GitError('not-found', found.problem);
    return found;
  }

  fetch(access: RepositoryAccess, commit: string): Promise<void> {
    return this.#inTurn(access, async (mirror) => {
      if (await this.#has(access, mirror, commit)) return this.#touch(mirror);
      if ((await sizeOf(mirror)) > this.#limits.maxMirrorBytes) await rm(mirror, { recursive: true, force: true });
      await this.#initialised(access, mirror);
      await this.#touch(mirror);
      const address = await this.#address(access.url);
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
      // The ref keeps the commit, and tells the next fetch what is here already.
      try {
        await this.#remote(access, [`--git-dir=${mirror}`, ...words, '--', address, `${commit}:refs/flotilla/${commit}`], {});
      } catch (error) {
        // What a git that was ended had received by then lies about under a name of its own.
        const received = await removeUnfinished(mirror);
        if (received < this.#limits.maxFetchBytes - 4_096 || !(error instanceof GitError)) throw error;
        throw new GitError('too-large', `the repository sends more than ${this.#limits.maxFetchBytes} bytes for one commit`);
      }
      if (!(await this.#has(access, mirror, commit))) throw new GitError('failed', `git fetched commit ${commit}, and it is not there`);
    });
  }

  tree(access: RepositoryAccess, commit: string, path: readonly string[]): Promise<Tree | undefined> {
    return this.#inTurn(access, async (mirror) => {
      if (path.length > 0 && !(await this.#isDirectory(access, mirror, commit, path))) return undefined;
      const root = path.length === 0 ? commit : `${commit}:${path.join('/')}`;
      const { stdout } = await this.#local(
        access,
        mirror,
        ['ls-tree', '-r', '-l', '-z', '--full-tree', root],
        'the files could not be listed',
        {
          maxOutputBytes: this.#limits.maxListingBytes,
        },
      );
      return { files: parseListing(stdout), read: (files) => this.#read(access, files) };
    });
  }

  signer(access: RepositoryAccess, commit: string, keys: SecretData): Promise<string> {
    const { allowedSigners, gpg } = signingKeys(keys);
    if (allowedSigners === undefined && gpg.length === 0) {
      return Promise.reject(new GitError('refused', 'the Secret of spec.verify holds neither "allowed_signers" nor a GPG key (*.asc)'));
    }
    return this.#inTurn(access, async (mirror) => {
      const { stdout } = await this.#local(access, mirror, ['cat-file', 'commit', commit], 'the commit could not be read');
      if (!isSigned(stdout.toString('utf8'))) throw new GitError('refused', `commit ${commit.slice(0, 12)} is not signed`);
      return withPrivateDirectory(this.#secretsDirectory(), async (directory) => {
        const { env, gpgKeys } = await verificationFiles(keys, directory);
        for (const file of gpgKeys) {
          await importKey(file, env.GNUPGHOME ?? directory, this.#options.clock, this.#limits, access.signal);
        }
        const checked = await this.#run(access, [`--git-dir=${mirror}`, 'verify-commit', '--raw', commit], { env, isLocal: true });
        const signer = checked.code === 0 ? signerOf(checked.stderr) : undefined;
        if (signer !== undefined) return signer;
        throw new GitError('refused', `commit ${commit.slice(0, 12)} is signed, but by none of the keys that spec.verify names`);
      });
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
    return this.#inTurn(access, async (mirror) => {
      const { stdout } = await this.#local(access, mirror, ['cat-file', '--batch'], 'the files could not be read', {
        input: `${files.map(({ blob }) => blob).join('\n')}\n`,
        maxOutputBytes: bytes + files.length * 128,
      });
      return parseBlobs(stdout, files.length);
    });
  }

  async #has(access: RepositoryAccess, mirror: string, commit: string): Promise<boolean> {
    if (!(await exists(join(mirror, 'HEAD')))) return false;
    const { code } = await this.#run(access, [`--git-dir=${mirror}`, 'cat-file', '-e', `${commit}^{commit}`], { isLocal: true });
    return code === 0;
  }

  async #isDirectory(access: RepositoryAccess, mirror: string, commit: string, path: readonly string[]): Promise<boolean> {
    const { stdout } = await this.#local(
      access,
      mirror,
      ['--literal-pathspecs', 'ls-tree', '-z', '--full-tree', commit, '--', path.join('/')],
      'the path could not be looked up',
    );
    const entry = stdout.toString('utf8');
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
    if (await exists(join(mirror, 'HEAD'))) return;
    await this.#dropIdle();
    await rm(mirror, { recursive: true, force: true });
    await mkdir(mirror, { recursive: true, mode: 0o700 });
    await this.#local(access, mirror, ['init', '--quiet', '--bare', '--template='], 'the mirror could not be made');
  }

  #touch(mirror: string): Promise<void> {
    const now = this.#options.clock.now();
    return utimes(mirror, now, now);
  }

  /** Nobody says when an address or a credential is not used any more: its mirror goes when another one comes. */
  async #dropIdle(): Promise<void> {
    const directory = join(this.#options.directory, 'mirrors');
    const latest = this.#options.clock.now().getTime() - this.#limits.mirrorIdleMs;
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name);
      if (this.#turns.has(name.replace(/\.git$/, '')) || (await usedAtMs(path)) > latest) continue;
      await rm(path, { recursive: true, force: true });
    }
  }

  async #local(access: RepositoryAccess, mirror: string, args: readonly string[], what: string, options: Partial<RunOptions> = {}) {
    const result = await this.#run(access, [`--git-dir=${mirror}`, ...args], { ...options, isLocal: true });
    if (result.code !== 0) throw gitFailure(what, result);
    return result;
  }

  async #remote(access: RepositoryAccess, args: readonly string[], options: Partial<RunOptions>): Promise<GitResult> {
    const { credentials = {}, url } = access;
    const run = async (directory: string) => {
      const env = await credentialEnvironment(credentials, directory, Math.max(1, Math.ceil(access.timeoutMs / 2_000)));
      return this.#run(access, args, { ...options, env: { ...env, GIT_ALLOW_PROTOCOL: url.transport } });
    };
    const needsFiles = credentials.ssh !== undefined || credentials.ca !== undefined;
    const result = needsFiles ? await withPrivateDirectory(this.#secretsDirectory(), run) : await run('');
    if (result.code === 0) return result;
    throw gitFailure('the repository could not be read', result, secretsIn(credentials));
  }

  async #run(access: RepositoryAccess, args: readonly string[], options: Partial<RunOptions>): Promise<GitResult> {
    const { clock } = this.#options;
    const { maxErrorBytes, maxFetchBytes, localTimeoutMs } = this.#limits;
    const { env = {}, isLocal = false, input, maxOutputBytes = this.#limits.maxErrorBytes } = options;
    const home = await this.#homeDirectory();
    return runGit({
      args,
      env: { ...baseEnvironment(home), ...env },
      clock,
      timeoutMs: isLocal ? Math.max(localTimeoutMs, access.timeoutMs) : access.timeoutMs,
      maxOutputBytes: Math.max(maxOutputBytes, 65_536),
      maxErrorBytes,
      maxWriteBytes: maxFetchBytes,
      cwd: home,
      ...(input === undefined ? {} : { input }),
      ...(access.signal === undefined ? {} : { signal: access.signal }),
    });
  }

  /** One after the other for each mirror, whatever the one before came to. */
  #inTurn<T>({ url, credentialsName = '' }: RepositoryAccess, task: (mirror: string) => Promise<T>): Promise<T> {
    const id = createHash('sha256').update(`${url.url}\0${credentialsName}`).digest('hex').slice(0, 32);
    const turn = (this.#turns.get(id) ?? Promise.resolve()).then(() => task(join(this.#options.directory, 'mirrors', `${id}.git`)));
    const ended = turn.then(
      () => {},
      () => {},
    );
    this.#turns.set(id, ended);
    void ended.then(() => this.#turns.get(id) === ended && this.#turns.delete(id));
    return turn;
  }

  /** What git is given: for file:// the real directory, once it has proved to lie where it may. */
  async #address({ url, directory }: GitUrl): Promise<string> {
    if (directory === undefined) return url;
    const { fileRoots } = this.#options;
    const real = await realpath(directory).catch(() => undefined);
    if (fileRoots !== undefined) {
      const roots = await Promise.all(fileRoots.map((root) => realpath(root).catch(() => undefined)));
      const isAllowed = (path: string) =>
        roots.some((root) => root !== undefined && (path === root || path.startsWith(root.endsWith(sep) ? root : root + sep)));
      // The same sentence whether it is there or not: nobody learns what this server's disk holds.
      if (real === undefined || !isAllowed(real)) {
        const where = fileRoots.length === 0 ? 'none: it was started without --git-file-root' : fileRoots.join(', ');
        throw new GitError('refused', `${directory} is not a directory below those that this server reads repositories from (${where})`);
      }
    }
    if (real === undefined) throw new GitError('not-found', `there is no directory ${directory} on this server`);
    return `file://${real}`;
  }

  #homeDirectory(): Promise<string> {
    this.#home ??= this.#makeHome().catch((error: unknown) => {
      this.#home = undefined;
      const { message } = error as Error;
      throw new GitError('failed', `the directory for repositories (--git-dir) cannot be used: ${message}`);
    });
    return this.#home;
  }

  async #makeHome(): Promise<string> {
    const home = join(this.#options.directory, 'home');
    await mkdir(home, { recursive: true, mode: 0o700 });
    await writeFile(join(home, 'gitconfig'), config, { mode: 0o600 });
    return home;
  }

  #secretsDirectory = (): string => this.#options.secretsDirectory ?? (process.platform === 'linux' ? '/dev/shm' : tmpdir());
}

interface RunOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly isLocal: boolean;
  readonly input: string;
  readonly maxOutputBytes: number;
}

/** Nothing of this process's own environment but where programs are found. */
const baseEnvironment = (home: string): Record<string, string> => ({
  PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
  HOME: home,
  XDG_CONFIG_HOME: home,
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: join(home, 'gitconfig'),
  GIT_TERMINAL_PROMPT: '0',
  GIT_LFS_SKIP_SMUDGE: '1',
  GIT_ALLOW_PROTOCOL: 'none',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_PROTOCOL_FROM_USER: '0',
  GIT_SSH_COMMAND: 'false',
});

async function importKey(file: string, gnupg: string, clock: Clock, limits: GitLimits, signal: AbortSignal | undefined): Promise<void> {
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

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Removes packs that were not finished; resolves with the size of the largest. */
async function removeUnfinished(mirror: string): Promise<number> {
  const packs = join(mirror, 'objects/pack');
  const names = (await readdir(packs).catch(() => [])).filter((name) => name.startsWith('tmp_'));
  const sizes = await Promise.all(names.map((name) => sizeIn(packs, name)));
  await Promise.all(names.map((name) => rm(join(packs, name), { force: true })));
  return Math.max(0, ...sizes);
}

const sizeIn = (directory: string, name: string): Promise<number> =>
  stat(join(directory, name)).then(
    ({ size }) => size,
    () => 0,
  );

/** Infinity when it is gone. */
const usedAtMs = (path: string): Promise<number> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => Number.POSITIVE_INFINITY,
  );

/** Bytes of the packs, which are nearly all of a mirror. */
async function sizeOf(mirror: string): Promise<number> {
  const packs = join(mirror, 'objects/pack');
  const names = await readdir(packs).catch(() => []);
  const sizes = await Promise.all(names.map((name) => sizeIn(packs, name)));
  return sizes.reduce((sum, size) => sum + size, 0);
}
