/** Machines by the names that people use: their hostnames. */

import { CliError } from './exit.js';
import type { Reader } from './kinds.js';
import { listAll } from './listing.js';
import type { WireMachine } from './objects.js';

export const listMachines = async (context: Reader): Promise<WireMachine[]> =>
  (await listAll(context, await context.kind('machines'))) as WireMachine[];

/** Those that a word names: by the whole id or the hostname, else by the beginning of the id. */
export function machinesNamed(machines: readonly WireMachine[], word: string): WireMachine[] {
  const exact = machines.filter((machine) => machine.metadata.name === word || machine.status?.info?.hostname === word);
  return exact.length > 0 ? exact : machines.filter((machine) => word.length > 0 && machine.metadata.name.startsWith(word));
}

/** A machine by its id, the beginning of its id, or its hostname. */
export async function resolveMachine(context: Reader, word: string): Promise<WireMachine> {
  const found = machinesNamed(await listMachines(context), word);
  const [machine, ...more] = found;
  if (!machine) throw new CliError(`machine "${word}" is not known; "flotilla get machines" lists those that are`);
  if (more.length > 0)
    throw new CliError(`machine "${word}" could be ${found.map(({ metadata }) => metadata.name).join(' or ')}; give more of the id`);
  return machine;
}

/** What a person calls it: its hostname, or the beginning of its id while it has never told one. */
export const machineLabel = (machine: WireMachine): string => machine.status?.info?.hostname ?? machine.metadata.name.slice(0, 8);

/** Labels by id, for objects that name a machine by its id. */
export async function machineLabels(context: Reader): Promise<(id: string) => string> {
  const labels = new Map((await listMachines(context)).map((machine) => [machine.metadata.name, machineLabel(machine)]));
  return (id) => labels.get(id) ?? id.slice(0, 8);
}
