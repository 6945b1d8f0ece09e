/** Git's commands as this server runs them: on a mirror alone, or with what opens the repository at hand. */
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GitUrl } from '../../api/resources/git-url.js';
import type { Clock } from '../clock.js';
import { credentialEnvironment, type GitCredentials, secretsIn, withPrivateDirectory } from './credentials.js';
import { baseEnvironment, gitConfig } from './environment.js';
import type { GitLimits } from './limits.js';
import { type GitProxy, proxyEnvironment, secretsOfProxies } from './proxy.js';
import { GitError, type GitResult, gitFailure, runGit } from './run.js';

/** One repository, and how long git may take for each thing asked of it. */
export interface RepositoryAccess {
  readonly url: GitUrl;
  readonly credentials?: GitCredentials | undefined;
  /** Mirrors of one address are apart when their credentials have different names: who may not read one is shown none of it. */
  readonly credentialsName?: string | undefined;
  /** For http and https; undefined: the one that this server's environment names, if any. */
  readonly proxy?: GitProxy | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface RunOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly isLocal: boolean;
  /** It writes files: within the limit of one fetch. */
  readonly isWriting: boolean;
  readonly input: string;
  readonly maxOutputBytes: number;
}

export interface GitCommandsOptions {
  /** Where the settings lie that every git reads; made with the first. */
  readonly home: string;
  readonly clock: Clock;
  readonly limits: GitLimits;
  readonly secretsDirectory?: string | undefined;
  /** Of this server: only what names a proxy is read. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Everything rejects with GitError, or with the reason of the access' signal. */
export class GitCommands {
  readonly #options: GitCommandsOptions;
  #home: Promise<string> | undefined;

  constructor(options: GitCommandsOptions) {
    this.#options = options;
  }

  /** What git does on this computer alone; rejects when it fails at it. */
  async local(access: RepositoryAccess, mirror: string, args: readonly string[], what: string, options: Partial<RunOptions> = {}) {
    const result = await this.run(access, [`--git-dir=${mirror}`, ...args], { ...options, isLocal: true });
    if (result.code !== 0) throw gitFailure(what, result);
    return result;
  }

  /** What git asks of the repository; rejects when it fails at it. */
  async remote(access: RepositoryAccess, args: readonly string[], options: Partial<RunOptions>): Promise<GitResult> {
    const { credentials = {}, url } = access;
    const proxy = proxyEnvironment(url, access.proxy, this.#options.environment);
    const run = async (directory: string) => {
      const env = await credentialEnvironment(credentials, directory, Math.max(1, Math.ceil(access.timeoutMs / 2_000)));
      return this.run(access, args, { ...options, env: { ...env, ...proxy, GIT_ALLOW_PROTOCOL: url.transport } });
    };
    const needsFiles = credentials.ssh !== undefined || credentials.ca !== undefined;
    const result = needsFiles ? await this.inPrivate(run) : await run('');
    if (result.code === 0) return result;
    throw gitFailure('the repository could not be read', result, [...secretsIn(credentials), ...secretsOfProxies(proxy)]);
  }

  /** Resolves whatever the exit code is. */
  async run(access: RepositoryAccess, args: readonly string[], options: Partial<RunOptions>): Promise<GitResult> {
    const { clock, limits } = this.#options;
    const { maxErrorBytes, maxFetchBytes, localTimeoutMs } = limits;
    const { env = {}, isLocal = false, isWriting = false, input, maxOutputBytes = maxErrorBytes } = options;
    const home = await this.#homeDirectory();
    return runGit({
      args,
      env: { ...baseEnvironment(home), ...env },
      clock,
      timeoutMs: isLocal ? Math.max(localTimeoutMs, access.timeoutMs) : access.timeoutMs,
      maxOutputBytes: Math.max(maxOutputBytes, 65_536),
      maxErrorBytes,
      ...(isWriting ? { maxWriteBytes: maxFetchBytes } : {}),
      cwd: home,
      ...(input === undefined ? {} : { input }),
      ...(access.signal === undefined ? {} : { signal: access.signal }),
    });
  }

  /** Runs with a directory for keys, which goes with the run. */
  inPrivate<T>(run: (directory: string) => Promise<T>): Promise<T> {
    return withPrivateDirectory(this.#options.secretsDirectory ?? (process.platform === 'linux' ? '/dev/shm' : tmpdir()), run);
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
    const { home } = this.#options;
    await mkdir(home, { recursive: true, mode: 0o700 });
    await writeFile(join(home, 'gitconfig'), gitConfig, { mode: 0o600 });
    return home;
  }
}
