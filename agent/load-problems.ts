/** What is wrong with a unit file that systemd does not load: over D-Bus it says little more than that something is. */
import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { markerLines } from './unit-text.js';

/** A quick look at one small file; a machine that takes longer has other worries. */
const limitMs = 5_000;
const maxOutputBytes = 65_536;
/** Whoever comes while so many are being looked at goes without: a batch of bad files must not become a batch of processes. */
const maxAtATime = 4;
/** In a condition people read the first few. */
const maxProblems = 3;

export type ExplainLoad = (path: string) => Promise<string | undefined>;

/** `loadProblems` for some files at a time; undefined for those beyond. */
export function loadExplainer(isUserManager: boolean): ExplainLoad {
  let running = 0;
  return async (path) => {
    if (running === maxAtATime) return undefined;
    running += 1;
    try {
      return await loadProblems(path, isUserManager);
    } finally {
      running -= 1;
    }
  };
}

/**
 * The first problems that `systemd-analyze verify` finds in the file, as one sentence: `line 4: Unknown key 'ExecStrt' …; Service has no …`.
 * Undefined when it finds none, or when there is no such program.
 */
export function loadProblems(path: string, isUserManager: boolean): Promise<string | undefined> {
  const args = ['verify', '--man=no', '--recursive-errors=no', ...(isUserManager ? ['--user'] : []), '--', path];
  const env = { ...process.env, LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' };
  return new Promise((resolve) => {
    // It ends with a failure when it finds something, so its status says nothing.
    execFile('systemd-analyze', args, { env, timeout: limitMs, maxBuffer: maxOutputBytes }, (_error, _stdout, stderr) =>
      resolve(readProblems(stderr, path)),
    );
  });
}

/** Its lines about this file, without the file's name; lines counted as in the user's text. */
export function readProblems(output: string, path: string): string | undefined {
  const found = output.split('\n').flatMap((line) => {
    const ofLine = /^:(\d+): (.+)$/.exec(line.startsWith(path) ? line.slice(path.length) : '');
    if (ofLine) return [`line ${Number(ofLine[1]) - markerLines}: ${ofLine[2]}`];
    const prefix = `${basename(path)}: `;
    return line.startsWith(prefix) ? [line.slice(prefix.length)] : [];
  });
  const problems = [...new Set(found)].slice(0, maxProblems).map((problem) => problem.trim().replace(/\.$/, ''));
  return problems.length > 0 ? problems.join('; ') : undefined;
}
