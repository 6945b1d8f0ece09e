/** The user's own `ssh` program, in the foreground. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { CliError } from '../exit.js';

export const cannotRunSsh = (error: Error): CliError =>
  new CliError(
    (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? 'there is no ssh program here: install OpenSSH (openssh-client)'
      : `ssh cannot be run: ${error.message}`,
  );

/** Runs ssh on this terminal; resolves with its exit code, which is the remote command's, or 255 when ssh itself failed. */
export function runSsh(args: readonly string[]): Promise<number> {
  // A Ctrl-C is for the far side: ssh has it from the terminal, and its exit code is still waited for.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  return new Promise<number>((resolve, reject) => {
    const ssh = spawn('ssh', args, { stdio: 'inherit' });
    ssh.once('error', (error) => reject(cannotRunSsh(error)));
    ssh.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  }).finally(() => process.off('SIGINT', ignore));
}
