/**
 * One run of the git binary: no shell sees a user's word, every run has an end, an output limit and a limit on the files that it writes,
 * and takes its whole process group along when it is ended.
 */
import { spawn } from 'node:child_process';
import type { Clock } from '../clock.js';

export type GitFault = 'timeout' | 'too-large' | 'refused' | 'not-found' | 'unreachable' | 'failed';

/** Git could not do it. The message is a sentence for people and holds no secret. */
export class GitError extends Error {
  override readonly name = 'GitError';

  constructor(
    readonly fault: GitFault,
    message: string,
  ) {
    super(message);
  }
}

export interface GitRun {
  /** Default git. */
  readonly program?: 'git' | 'gpg';
  /** Git's own words, whoever wrote them; what came from a user stands behind `--` or in a `--flag=value`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
  readonly maxErrorBytes: number;
  /** Bytes of a file that it may write; absent: it has no reason to write any. */
  readonly maxWriteBytes?: number;
  readonly input?: string;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
}

export interface GitResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** POSIX counts the limit of `ulimit -f` in blocks of 512 bytes. */
const blockBytes = 512;

/** Resolves whatever git's exit code is. @throws GitError timeout and too-large; the signal's reason when it aborts */
export function runGit(run: GitRun): Promise<GitResult> {
  const { program = 'git', args, env, clock, timeoutMs, maxOutputBytes, maxErrorBytes, maxWriteBytes, input, cwd, signal } = run;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const [file, ...words] = maxWriteBytes === undefined ? [program, ...args] : limited(maxWriteBytes, program, args);
    const child = spawn(file, words, { env, detached: true, stdio: ['pipe', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
    const output: Buffer[] = [];
    let outputBytes = 0;
    let errors = '';
    let failure: unknown;

    const end = (why: unknown) => {
      failure ??= why;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        // Everybody in the group has ended by itself.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') failure = error;
      }
    };
    const cancel = clock.after(timeoutMs, () => end(new GitError('timeout', `git took longer than ${timeoutMs / 1_000} s`)));
    const aborted = () => end(signal?.reason);
    signal?.addEventListener('abort', aborted, { once: true });

    child.on('error', (error) => {
      end(new GitError('failed', `git could not be started: ${error.message}`));
      // Without a process there are no streams whose end would be told.
      if (child.pid !== undefined) return;
      cancel();
      signal?.removeEventListener('abort', aborted);
      reject(failure);
    });
    // Not even made when this process has no file descriptor left, whatever the types say.
    if (child.stdout === undefined) return;
    child.stdout.on('data', (chunk: Buffer) => {
      outputBytes += chunk.length;
      if (outputBytes > maxOutputBytes) end(new GitError('too-large', `git has more to say than ${maxOutputBytes} bytes`));
      else output.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (errors.length < maxErrorBytes) errors += chunk.toString('utf8');
    });
    // A git that ends early leaves words unread; its exit code tells why.
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    child.on('close', (code) => {
      cancel();
      signal?.removeEventListener('abort', aborted);
      if (failure !== undefined) return reject(failure);
      resolve({ code: code ?? 1, stdout: Buffer.concat(output), stderr: errors.slice(0, maxErrorBytes) });
    });
  });
}

/** The limit is the kernel's: index-pack writes what it is sent, and nobody else counts. */
const limited = (maxWriteBytes: number, program: string, args: readonly string[]): [string, ...string[]] => {
  const blocks = String(Math.ceil(maxWriteBytes / blockBytes));
  return ['/bin/sh', '-c', 'ulimit -f "$1" && shift && exec "$@"', 'sh', blocks, program, ...args];
};

const faults: readonly (readonly [RegExp, GitFault])[] = [
  [
    /authentication failed|could not read (?:username|password)|permission denied|access denied|HTTP (?:code )?(?:401|403|407)|response 407|error: 40[137]|host key verification failed/i,
    'refused',
  ],
  [
    /repository .*not found|does not appear to be a git repository|HTTP 404|error: 404|not found|couldn't find remote ref|not our ref|No such file/i,
    'not-found',
  ],
  [
    /could not resolve|unable to (?:connect|access)|connection (?:refused|reset|timed out|closed)|network is unreachable|could not connect|failed to connect/i,
    'unreachable',
  ],
];

/** What a failed run means: git's own first word about it, without its prefixes and without the strings in `secrets`. */
export function gitFailure(what: string, { code, stderr }: Pick<GitResult, 'code' | 'stderr'>, secrets: readonly string[] = []): GitError {
  const lines = stderr
    .split(/[\r\n]+/)
    .filter(
      (line) =>
        /[a-z]/i.test(line) && !/^(?:warning|hint|Warning: Permanently added)/.test(line) && !/Could not read from remote/.test(line),
    );
  const [telling, fault] = faults
    .map(([pattern, of]) => [lines.find((line) => pattern.test(line)), of] as const)
    .find(([line]) => line !== undefined) ?? [undefined, 'failed' as const];
  const said = telling ?? lines.find((line) => /^(?:fatal|error|ssh|remote):/.test(line)) ?? lines[0];
  let message = (said ?? `exit code ${code}`).replace(/^(?:fatal|error|remote): */g, '').slice(0, 300);
  for (const secret of secrets) if (secret.length > 0) message = message.replaceAll(secret, '***');
  return new GitError(fault, `${what}: ${message}`);
}
