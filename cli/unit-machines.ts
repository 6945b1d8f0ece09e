/** The machines that a unit is on. */
import { assignmentsOf } from './assignments.js';
import { type Context, objectPath } from './context.js';
import { CliError } from './exit.js';

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
