/** The command line in a process of its own, started once for many commands: what each prints where, and its exit code. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { sourceProcess } from './source-process.js';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Order {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly input: string;
}

export class CommandLine {
  readonly #child: ChildProcess;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly defaults: { readonly endpoint: string; readonly cwd: string }) {
    const { file, execArgv } = sourceProcess('test/rigs/command-line-child.ts');
    this.#child = fork(file, { execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  }

  /** One command at a time: they share a process. */
  run(argv: readonly string[], options: Partial<Omit<Order, 'argv'>> = {}): Promise<Ran> {
    const { endpoint, cwd } = this.defaults;
    const order: Order = { argv, cwd, input: '', ...options, env: { FLOTILLA_ENDPOINT: endpoint, ...options.env } };
    const answer = this.#turn.then(async () => {
      const answered = once(this.#child, 'message');
      this.#child.send(order);
      return (await answered)[0] as Ran;
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }
}
