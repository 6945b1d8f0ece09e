/** Units as fleet's users name them: with or without their type, by the path of their file, or by a glob. */
import { globMatcher } from '../../../api/resources/glob.js';
import { CliError, usageError } from '../../exit.js';
import { withType } from '../../unit-word.js';

export interface Named {
  readonly name: string;
  /** Where its file would lie, the type added where it was left out. */
  readonly path: string;
}

const isGlob = (word: string): boolean => /[*?[]/.test(word);
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** `./units/web` → web.service at ./units/web.service */
export function named(word: string): Named {
  const path = withType(word);
  return { name: baseName(path), path };
}

/**
 * What the words mean, each unit once, in the order of the words. A glob stands for names in the cluster; `known` is asked for them only
 * when there is one.
 * @throws CliError for a glob that nothing matches, so that a slip of the pen does not look like success
 */
export async function unitsNamed(words: readonly string[], known: () => Promise<readonly string[]>): Promise<Named[]> {
  if (words.length === 0) throw usageError('No units given');
  const found = new Map<string, Named>();
  for (const word of words) {
    if (word === '' || word.endsWith('/')) throw usageError(`${JSON.stringify(word)} is no name of a unit`);
    if (/\.(ya?ml|json)$/.test(word)) throw usageError(`${word} is a manifest and no unit file: flotilla apply -f ${word}`);
    if (!isGlob(baseName(word))) {
      const one = named(word);
      if (!found.has(one.name)) found.set(one.name, one);
      continue;
    }
    const pattern = named(word).name;
    const matches = globMatcher(pattern);
    if (!matches) throw usageError(`${JSON.stringify(word)}: this glob is malformed (an open [ or a backslash at the end)`);
    const names = (await known()).filter(matches);
    if (names.length === 0) throw new CliError(`no unit in the cluster matches ${JSON.stringify(pattern)}`);
    for (const name of names) if (!found.has(name)) found.set(name, { name, path: name });
  }
  return [...found.values()];
}
