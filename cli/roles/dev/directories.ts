/** Directories that `flotilla dev` made and that others may use by now. */
import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Removes a directory that holds nothing; one that is not there is fine. */
export async function removeIfEmpty(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

/** The same with all directories in it. Only for those whose inside is ours: in a machine's files, an empty directory has its reason. */
export async function removeEmptyTree(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  for (const entry of entries) if (entry.isDirectory()) await removeEmptyTree(join(path, entry.name));
  await removeIfEmpty(path);
}
