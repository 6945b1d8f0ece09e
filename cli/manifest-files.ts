/** Manifests from files, directories and stdin, parsed and checked before anything is sent. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { checkIdentity, checkObject, type ManifestDocument, type ManifestError, parseManifests } from '../api/resources/manifests.js';
import { unitTypes } from '../api/resources/unit-name.js';
import { CliError, usageError } from './exit.js';
import { isUnitFile, readStdin } from './standard-input.js';

export interface Loaded {
  readonly documents: readonly ManifestDocument[];
  readonly errors: readonly ManifestError[];
}

const yamlSuffixes = ['.yaml', '.yml', '.json'];
const isManifest = (file: string) => [...yamlSuffixes, ...unitTypes.map((type) => `.${type}`)].includes(extname(file));

export interface LoadOptions {
  readonly recursive?: boolean | undefined;
  /** Only which objects they are about matters, not what they say of them. */
  readonly identityOnly?: boolean;
}

export async function loadManifests(paths: readonly string[], options: LoadOptions = {}): Promise<Loaded> {
  if (paths.length === 0) throw usageError('-f FILE is missing: a manifest, a unit file, a directory of them, or - for standard input');
  const documents: ManifestDocument[] = [];
  const errors: ManifestError[] = [];
  for (const path of paths) {
    for (const file of await filesOf(path, options.recursive ?? false)) {
      const text = file === '-' ? await readStdin() : await readFile(file, 'utf8').catch(unreadable(file));
      if (file === '-' && isUnitFile(text))
        throw usageError(
          'standard input is a unit file, which has its name from its file: -f web.service, or a manifest with the text in spec.content',
        );
      const parsed = parseManifests(file === '-' ? 'standard input' : file, text, options.identityOnly ? checkIdentity : checkObject);
      documents.push(...parsed.documents);
      errors.push(...parsed.errors);
    }
  }
  return { documents, errors };
}

/** `web.yaml:12`, where an object of the user's begins. */
export const sourceText = ({ source }: ManifestDocument): string => `${source.file}:${source.line}`;

async function filesOf(path: string, recursive: boolean): Promise<string[]> {
  if (path === '-') return ['-'];
  const info = await stat(path).catch(unreadable(path));
  if (!info.isDirectory()) return [path];
  const files: string[] = [];
  for (const entry of (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const inside = join(path, entry.name);
    if (entry.isDirectory() && recursive) files.push(...(await filesOf(inside, true)));
    else if (entry.isFile() && isManifest(inside) && !basename(inside).startsWith('.')) files.push(inside);
  }
  if (files.length === 0 && !recursive)
    throw new CliError(`${path}: no manifests there (${yamlSuffixes.join(', ')} or unit files); -R looks into folders too`);
  return files;
}

const unreadable = (file: string) => (error: NodeJS.ErrnoException) => {
  const why = error.code === 'ENOENT' ? 'no such file or directory' : error.code === 'EACCES' ? 'no permission to read it' : error.message;
  throw new CliError(`${file}: ${why}`);
};
