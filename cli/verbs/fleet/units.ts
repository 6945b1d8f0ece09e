/** Reading and writing the units that a verb is about. */

import { nearest } from '../../../api/resources/suggest.js';
import { type Context, objectPath } from '../../context.js';
import { CliError } from '../../exit.js';
import { imperativeManager } from '../../field-managers.js';
import { fleetMachine } from '../../fleet-words.js';
import { mapParallel } from '../../in-parallel.js';
import { listAll } from '../../listing.js';
import { listMachines } from '../../machines.js';
import type { WireMachine, WireObject } from '../../objects.js';
import { complain, say } from '../../output.js';

/** Up to so many units are asked for by name; more are found in one list. */
const maxAskedByName = 8;
/** Writes under way at a time; the server groups them into few transactions. */
const parallel = 32;

/** The units of these names, those that there are. */
export async function readUnits(context: Context, names: readonly string[]): Promise<Map<string, WireObject>> {
  const kind = await context.kind('units');
  const wanted = new Set(names);
  const found: (WireObject | undefined)[] =
    wanted.size > maxAskedByName
      ? (await listAll(context, kind)).filter(({ metadata }) => wanted.has(metadata.name))
      : await mapParallel([...wanted], parallel, async (name) => {
          const reply = await context.client.fetch(objectPath(kind, name));
          if (reply.status === 404) return undefined;
          if (reply.status >= 400) throw context.client.refusal(reply);
          return JSON.parse(reply.text) as WireObject;
        });
  return new Map(found.filter((unit) => unit !== undefined).map((unit) => [unit.metadata.name, unit]));
}

export const allNames = async (context: Context): Promise<string[]> =>
  (await listAll(context, await context.kind('units'))).map(({ metadata }) => metadata.name);

export async function createUnit(context: Context, name: string, spec: unknown): Promise<WireObject> {
  const kind = await context.kind('units');
  return context.client.json<WireObject>(kind.path, {
    method: 'POST',
    query: { fieldManager: imperativeManager },
    body: { apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name }, spec },
  });
}

export async function patchUnit(context: Context, name: string, body: unknown): Promise<WireObject> {
  return context.client.json<WireObject>(objectPath(await context.kind('units'), name), {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    query: { fieldManager: imperativeManager },
    body,
  });
}

/** Does each of them, some at a time, and gives back what became of each in their order: a refusal of one keeps no other from being done. */
export function eachOf<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<(Result | CliError)[]> {
  return mapParallel(items, parallel, (item) =>
    work(item).catch((error: unknown) => {
      if (error instanceof CliError) return error;
      throw error;
    }),
  );
}

/** `abcd1234.../10.0.0.1` for a machine's id; machines are asked for once, and only when one is named. */
export function machineWords(context: Context): (id: string) => Promise<string> {
  let machines: Promise<ReadonlyMap<string, WireMachine>> | undefined;
  return async (id) => {
    machines ??= listMachines(context).then((all) => new Map(all.map((machine) => [machine.metadata.name, machine])));
    return fleetMachine((await machines).get(id), id);
  };
}

/** `Unit hello.service launched on abcd1234.../10.0.0.1`, as fleet says it. */
export async function unitLine(unit: WireObject, state: string, machine: (id: string) => Promise<string>): Promise<string> {
  const where = unit.status?.machine as string | undefined;
  return `Unit ${unit.metadata.name} ${state}${where === undefined ? '' : ` on ${await machine(where)}`}`;
}

/** Says of each name that there is no such unit, with the nearest that there is; true when there was one to say. */
export async function missingUnits(context: Context, names: readonly string[], units: ReadonlyMap<string, WireObject>): Promise<boolean> {
  const missing = names.filter((name) => !units.has(name));
  if (missing.length === 0) return false;
  const known = await allNames(context);
  if (units.size === 0) say('Units not found in registry');
  for (const name of missing) complain(`there is no unit ${name}${nearestUnit(name, known)}`);
  return true;
}

/** Of the same type, which is no part of the likeness: `a.service` is not nearly `b.service`. */
function nearestUnit(name: string, known: readonly string[]): string {
  const type = name.slice(name.lastIndexOf('.'));
  const stem = (other: string) => other.slice(0, -type.length);
  const near = nearest(stem(name), known.filter((other) => other.endsWith(type)).map(stem));
  return near === undefined ? '' : `; did you mean "${near}${type}"?`;
}
