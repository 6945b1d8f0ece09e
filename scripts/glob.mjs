import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Every file below `dir`, packages left out, whose name ends in `suffix`, sorted. */
export const globSync = (dir, suffix) =>
  readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => !file.includes('/node_modules/'))
    .sort();
