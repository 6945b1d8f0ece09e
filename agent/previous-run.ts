/** Which run of a unit came before, by what systemd itself has written about it: a few lines a run, however much the unit says. */
import { execFile } from 'node:child_process';

/** Runs since the one before are looked for in this many of systemd's last lines about the unit; a run takes two to ten. */
const maxLines = 200;
const timeoutMs = 10_000;
const maxBytes = 1024 * 1024;

export interface RunNow {
  /** Of the current or last run. */
  readonly invocationID?: string | undefined;
  /** It has ended, and systemd is about to start the unit again. */
  readonly isRestarting: boolean;
}

/**
 * As `kubectl logs --previous` understands it: the run before the one that is shown as the current one; while a unit waits for its
 * restart, that is the last one. Undefined when the journal has none. Pure.
 * @param ids of systemd's lines, the newest first
 */
export function runBefore(ids: readonly string[], { invocationID = ids[0], isRestarting }: RunNow): string | undefined {
  return isRestarting ? invocationID : ids.find((id) => id !== invocationID);
}

/** Invocations that systemd has written about, the newest first, each as often as it was written about. */
export function invocationsOf(unit: string, command = 'journalctl'): Promise<string[]> {
  const args = ['--output=json', '--output-fields=INVOCATION_ID', '--quiet', '--reverse', `--lines=${maxLines}`, '_PID=1', `UNIT=${unit}`];
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: timeoutMs, maxBuffer: maxBytes, killSignal: 'SIGKILL' }, (error, stdout) => {
      if (error) reject(error);
      else resolve([...stdout.matchAll(/"INVOCATION_ID":"([0-9a-f]{32})"/g)].map(([, id]) => id!));
    });
  });
}
