/** `--tunnel`: a local socket that leads through an ssh connection to the server, for as long as one verb runs. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Via } from '../client.js';
import { CliError } from '../exit.js';
import { say } from '../output.js';
import { isForwardable, parseTunnel, type SshFlags, sshOptionsOf, tunnelArguments } from './arguments.js';
import { cannotRunSsh } from './program.js';

export interface Tunnel extends Via {
  close(): void;
}

/** How long a person may take to answer what ssh asks: a password, an unknown host. */
const promptMs = 120_000;
/** Beyond ssh's own limit for connecting: for logging in where nobody can be asked. */
const loginMs = 10_000;
const lookEveryMs = 10;
const complaintMs = 100;
/** What is kept of ssh's words. */
const maxWords = 4_096;

/** Resolves when the tunnel stands. Throws CliError with ssh's own words. */
export async function openTunnel(global: SshFlags & { readonly endpoint: string }, name: string): Promise<Tunnel> {
  const options = sshOptionsOf(global);
  const socketIn = (directory: string) => join(directory, 'server.sock');
  const args = (directory: string) => tunnelArguments(options, parseTunnel(name), socketIn(directory), global.endpoint);
  // What is wrong with the words is said before anything is made.
  const parent = isForwardable(tmpdir()) ? tmpdir() : '/tmp';
  args(parent);
  const directory = mkdtempSync(join(parent, 'flotilla-'));
  const socketPath = socketIn(directory);
  const ssh = spawn('ssh', args(directory), { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  ssh.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-maxWords);
  });
  const ended = new Promise<Error | undefined>((resolve) => {
    ssh.once('error', resolve);
    ssh.once('close', () => resolve(undefined));
  });
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });

  const close = () => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
    process.off('exit', close);
    if (!hasEnded) ssh.kill('SIGTERM');
    ssh.stderr.destroy();
    ssh.unref();
    rmSync(directory, { recursive: true, force: true });
  };
  // However we end, ssh must not be left behind: by ourselves, as when the reader of our output has gone, or by a signal.
  process.once('exit', close);
  const listeners = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => {
    const listener = () => {
      close();
      process.kill(process.pid, signal);
    };
    process.once(signal, listener);
    return [signal, listener] as const;
  });

  const limitMs = options.timeoutSeconds * 1_000 + (process.stdin.isTTY ? promptMs : loginMs);
  const deadline = performance.now() + limitMs;
  try {
    while (!existsSync(socketPath)) {
      if (hasEnded) {
        const error = await ended;
        if (error) throw cannotRunSsh(error);
        throw new CliError(`cannot open a tunnel through ${name}: ${lastOf(words) || 'ssh ended and said nothing'}`);
      }
      if (performance.now() > deadline)
        throw new CliError(`cannot open a tunnel through ${name}: nobody was logged in within ${limitMs / 1_000} s`);
      await sleep(lookEveryMs);
    }
    // Bound is not yet listening: the next thing that ssh does.
    await sleep(lookEveryMs);
  } catch (error) {
    close();
    throw error;
  }
  words = '';
  const complaint = async () => {
    // The connection ends when ssh has said why, but its words come another way.
    await sleep(complaintMs);
    return words.trim().split(/\r?\n/).at(-1) ?? '';
  };
  return { socketPath, name, complaint, close };
}

/** ssh's last line is the reason; what stands above it, a changed host key for example, is said as it is. */
function lastOf(words: string): string {
  const lines = words
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
  for (const line of lines.slice(0, -1)) say(line);
  return lines.at(-1) ?? '';
}
