/** A child process of the dev cluster that can be killed, frozen and started again, with its output in a file. It dies when we do. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

export interface ProcessOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: NodeJS.ProcessEnv;
}

export class ManagedProcess {
  #child: ChildProcess | undefined;

  constructor(readonly options: ProcessOptions) {}

  get pid(): number | undefined {
    return this.isRunning ? this.#child?.pid : undefined;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  start(): void {
    if (this.isRunning) return;
    const { command, args, env, logFile } = this.options;
    const log = openSync(logFile, 'a');
    // setpriv: a SIGKILL to us must not leave an etcd or a server behind. It execs, so the pid is the program's own.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
      // A Ctrl-C on the terminal goes to the whole foreground group; we decide the order in which things stop.
      detached: true,
    });
    this.#child.on('error', () => undefined);
    closeSync(log);
  }

  /** SIGTERM, and SIGKILL when that was not enough. */
  async stop(limitMs = 10_000): Promise<void> {
    if (!this.isRunning) return;
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), limitMs);
    await this.#exited();
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#exited();
  }

  freeze(): void {
    this.signal('SIGSTOP');
  }

  thaw(): void {
    this.signal('SIGCONT');
  }

  signal(name: NodeJS.Signals): void {
    if (this.isRunning) this.#child?.kill(name);
  }

  async log(): Promise<string> {
    return readFile(this.options.logFile, 'utf8');
  }

  async #exited(): Promise<void> {
    if (this.#child && this.isRunning) await once(this.#child, 'exit');
  }
}

/** Waits until `check` returns something, looking often; throws `what` with the last error, or when `process` ended meanwhile. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  options: { timeoutMs?: number; everyMs?: number; process?: ManagedProcess } = {},
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? 30_000);
  let last = '';
  for (;;) {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
      last = '';
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    if (options.process && !options.process.isRunning) {
      throw new Error(`${what}: ${options.process.options.name} ended: ${(await options.process.log()).trim().slice(-1_500)}`);
    }
    if (performance.now() > deadline)
      throw new Error(`${what}: not within ${(options.timeoutMs ?? 30_000) / 1_000} s${last ? `: ${last}` : ''}`);
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 50));
  }
}
