/** Directories that `flotilla dev` made and that others may use by now. */
import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Removes a directory and those in it, as far as they hold nothing; one that is not there is fine. */
export async function removeEmptyDirectories(path: string): Promise<void> {
  try {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isDirectory()) await removeEmptyDirectories(join(path, entry.name));
    }
    await rmdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}
