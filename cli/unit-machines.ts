/** Units by the words that people use for them, and the machines that they are on. */
import { globMatch } from '../api/resources/glob.js';
import { unitTypes } from '../api/resources/unit-name.js';
import { assignmentsOf } from './assignments.js';
import { type Context, objectPath } from './context.js';
import { CliError } from './exit.js';
import { listAll } from './listing.js';

/** As fleet read it: the last part of a path, and `.service` behind a name that ends in no type. */
export function unitName(word: string): string {
  const name = word.slice(word.lastIndexOf('/') + 1);
  return unitTypes.some((type) => name.endsWith(`.${type}`)) ? name : `${name}.service`;
}

/** Names of the units that words mean: a glob, those that match it, in the order of their names. Throws CliError when none does. */
export async function unitNames(context: Context, words: readonly string[]): Promise<string[]> {
  const wanted = words.map(unitName);
  const isGlob = (name: string) => /[*?[]/.test(name);
  if (!wanted.some(isGlob)) return wanted;
  const all = (await listAll(context, await context.kind('units'))).map(({ metadata }) => metadata.name).sort();
  const found = wanted.flatMap((name) => {
    const matching = isGlob(name) ? all.filter((one) => globMatch(name, one)) : [name];
    if (matching.length === 0) throw new CliError(`no unit matches ${name}`);
    return matching;
  });
  return [...new Set(found)];
}

/**
 * Full ids of the machines that a unit is on: one, or several for a global unit; first those that keep it. Throws CliError when there are
 * none, with the reason.
 *
 * @param has what a unit on a machine has, for the message: `journal`
 */
export async function machinesOf(context: Context, unit: string, has: string): Promise<string[]> {
  const all = await assignmentsOf(context, unit);
  const staying = all.filter(({ spec }) => spec.remove === undefined);
  const machines = (staying.length > 0 ? staying : all).map(({ spec }) => spec.machine);
  if (machines.length > 0) return machines;
  // Not there at all is the server's to say, in its words.
  await context.client.json(objectPath(await context.kind('units'), unit));
  if (/@\.[a-z]+$/.test(unit)) throw new CliError(`${unit} is a template: its instances may have a ${has}, it has none`);
  throw new CliError(`${unit} is on no machine, so it has no ${has}; "flotilla describe unit ${unit}" says why`);
}
