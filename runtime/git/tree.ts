/** What git says about a tree, read without ever writing it to disk: there is no work tree that a symlink or a hook could come alive in. */
import { GitError } from './run.js';

export interface TreeFile {
  /** From the tree that was listed on, steps separated by "/". */
  readonly path: string;
  readonly kind: 'file' | 'symlink' | 'submodule';
  readonly blob: string;
  readonly bytes: number;
}

/** What a file system could hold, with room to spare. Whoever walks the directories of a listing counts on it. */
const maxPathSteps = 100;
const maxPathBytes = 4_096;

/** `git ls-tree -r -l -z`. Throws on what git would not print, and GitError for a tree that only a hostile hand makes. */
export function parseListing(output: Buffer): TreeFile[] {
  return output
    .toString('utf8')
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => {
      const match = /^(\d{6}) (blob|commit|tree) ([0-9a-f]{40,64}) +(\d+|-)\t(.*)$/s.exec(line);
      if (match === null) throw new Error('git ls-tree printed what no version of it should print');
      const [, mode, type, blob, size, path] = match as unknown as [string, string, string, string, string, string];
      const steps = path.split('/');
      if (steps.some((step) => ['', '.', '..'].includes(step))) {
        throw new GitError('refused', `the repository has a path that no file can have: ${JSON.stringify(path.slice(0, 200))}`);
      }
      if (steps.length > maxPathSteps || Buffer.byteLength(path) > maxPathBytes) {
        const most = `at most ${maxPathSteps} directories and ${maxPathBytes} bytes are read`;
        throw new GitError('refused', `the repository has a path that is too long: ${JSON.stringify(path.slice(0, 200))}…; ${most}`);
      }
      const kind = type === 'commit' ? 'submodule' : mode === '120000' ? 'symlink' : 'file';
      return { path, kind, blob, bytes: size === '-' ? 0 : Number(size) };
    });
}

/** `git cat-file --batch` for these blobs, in this order. Throws when one is missing. */
export function parseBlobs(output: Buffer, count: number): Buffer[] {
  const blobs: Buffer[] = [];
  let at = 0;
  while (blobs.length < count) {
    const lineEnd = output.indexOf(0x0a, at);
    const header = lineEnd < 0 ? '' : output.toString('latin1', at, lineEnd);
    const size = /^[0-9a-f]+ blob (\d+)$/.exec(header)?.[1];
    if (size === undefined) throw new Error(`git cat-file did not give blob ${blobs.length + 1} of ${count}`);
    const start = lineEnd + 1;
    const end = start + Number(size);
    blobs.push(output.subarray(start, end));
    at = end + 1;
  }
  return blobs;
}
