/** Where file:// may read on this server. */
import { realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import type { GitUrl } from '../../api/resources/git-url.js';
import { GitError } from './run.js';

/** What git is given: for file:// the real directory, once it has proved to lie where it may. */
export async function addressOf({ url, directory }: GitUrl, fileRoots: readonly string[] | undefined): Promise<string> {
  if (directory === undefined) return url;
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
