/** `cat`: the text of units, as it was written. */
import { templateNameOf } from '../../../api/resources/unit-name.js';
import type { Context } from '../../context.js';
import { CliError, exitCode } from '../../exit.js';
import { print, printLine } from '../../output.js';
import { unitsNamed } from './names.js';
import { withStandardInput } from './standard-input.js';
import { clusterText } from './unit-texts.js';
import { allNames, missingUnits, readUnits } from './units.js';

export async function cat(context: Context, given: readonly string[]): Promise<number> {
  const { words } = await withStandardInput(given, false);
  const names = (await unitsNamed(words, () => allNames(context))).map(({ name }) => name);
  const units = await readUnits(context, [...names, ...names.flatMap((name) => templateNameOf(name) ?? [])]);
  const wanted = names.flatMap((name) => units.get(name) ?? []);
  const isMissing = await missingUnits(context, names, units);
  for (const [at, unit] of wanted.entries()) {
    const { name } = unit.metadata;
    const text = clusterText(unit, units.get(templateNameOf(name) ?? ''));
    if (text === undefined) throw new CliError(`${name} has no text: its template is not in the cluster`);
    if (wanted.length > 1) printLine(`${at > 0 ? '\n' : ''}# ${name}`);
    print(text.endsWith('\n') ? text : `${text}\n`);
  }
  return isMissing ? exitCode.failed : exitCode.ok;
}
