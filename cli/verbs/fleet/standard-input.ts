/** `-` among the units: standard input, which is one unit file for the units named beside it, or else the names of units. */
import { usageError } from '../../exit.js';
import { isUnitFile, readStdin } from '../../standard-input.js';

export interface Words {
  readonly words: readonly string[];
  /** The unit file that came in, for all of them. */
  readonly text?: string;
}

/** More names than this are taken for something that is no list of names. */
const maxNames = 10_000;

export async function withStandardInput(words: readonly string[], takesText: boolean): Promise<Words> {
  if (!words.includes('-')) return { words };
  const text = await readStdin();
  const others = words.filter((word) => word !== '-');
  if (isUnitFile(text)) {
    if (!takesText) throw usageError('standard input is a unit file; here it may only hold names of units');
    if (others.length === 0)
      throw usageError('standard input is a unit file, which has no name: give one beside it, as in "start - web.service"');
    return { words: others, text };
  }
  const names = text.split(/\s+/).filter((word) => word !== '');
  if (names.length > maxNames)
    throw usageError(`standard input has ${names.length} words, at most ${maxNames} are taken for names of units`);
  return { words: words.flatMap((word) => (word === '-' ? names : [word])) };
}
