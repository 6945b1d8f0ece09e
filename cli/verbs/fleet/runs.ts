/** Runs of a unit, by systemd's InvocationID: how what was started anew is told from what was there before. */
import { machineRestartAnnotation, restartAnnotation } from '../../../api/resources/annotations.js';
import type { Context } from '../../context.js';
import { followAll } from '../../following.js';
import { escapeSelector, listAll, type Selection } from '../../listing.js';
import type { WireAssignment, WireObject } from '../../objects.js';
import { say } from '../../output.js';
import { patchUnit } from './units.js';
import { maxSaid, sayWhyAfterMs } from './waiting.js';

/** Machine → InvocationID of the last run there. */
export type Runs = ReadonlyMap<string, string | undefined>;

/** A restart that was asked for: of which unit, when, on which machines (all, when absent), and what ran before. */
export interface Restart {
  readonly unit: WireObject;
  readonly at: string;
  readonly machines?: readonly string[] | undefined;
  readonly before: Runs;
}

/** What runs now of each of these units. */
export async function currentRuns(context: Context, names: readonly string[]): Promise<(unit: string) => Runs> {
  const runs = new Map<string, Map<string, string | undefined>>(names.map((name) => [name, new Map()]));
  if (names.length > 0) {
    const all = await listAll(context, await context.kind('assignments'), selectionOf(names));
    for (const { spec, status } of all as WireAssignment[]) runs.get(spec.unit)?.set(spec.machine, status?.invocationID);
  }
  return (unit) => runs.get(unit) ?? new Map();
}

/** Asks for a new run on these machines, or wherever the unit is. */
export async function askRestart(context: Context, unit: WireObject, before: Runs, machines?: readonly string[]): Promise<Restart> {
  const { name, annotations = {} } = unit.metadata;
  const at = new Date().toISOString();
  // One for all takes the place of those for single machines.
  const asked = machines
    ? Object.fromEntries(machines.map((machine) => [machineRestartAnnotation(machine), at]))
    : {
        ...Object.fromEntries(
          Object.keys(annotations).flatMap((key) => (key.startsWith(machineRestartAnnotation('')) ? [[key, null]] : [])),
        ),
        [restartAnnotation]: at,
      };
  return { unit: await patchUnit(context, name, { metadata: { annotations: asked } }), at, machines, before };
}

/**
 * Waits until each copy that was to begin a new run has, or says why it cannot. Gives back the machines where neither has happened in time,
 * by unit; units of which all have are not in it.
 */
export async function untilNewRuns(
  context: Context,
  restarts: readonly Restart[],
  limitMs: number,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const waiting = new Map<string, string[]>();
  if (restarts.length === 0) return waiting;
  const asked = new Map(restarts.map((restart) => [restart.unit.metadata.name, restart]));
  const talk = setTimeout(() => {
    for (const [name, machines] of [...waiting].slice(0, maxSaid))
      say(`${name}: not restarted yet on ${machines.map((machine) => `machine ${machine.slice(0, 8)}`).join(', ')}`);
  }, sayWhyAfterMs);
  const look = (copies: readonly WireObject[]) => {
    waiting.clear();
    for (const copy of copies as readonly WireAssignment[]) {
      const { unit, machine, remove } = copy.spec;
      const restart = asked.get(unit);
      if (!restart || remove !== undefined || restart.machines?.includes(machine) === false || hasBegun(copy, restart)) continue;
      waiting.set(unit, [...(waiting.get(unit) ?? []), machine]);
    }
    return waiting.size === 0;
  };
  await followAll(context, await context.kind('assignments'), selectionOf([...asked.keys()]), { timeoutMs: limitMs }, look);
  clearTimeout(talk);
  return waiting;
}

/** One list and one watch, however many units. */
const selectionOf = ([only, ...more]: readonly string[]): Selection =>
  only === undefined || more.length > 0 ? {} : { fieldSelector: `spec.unit=${escapeSelector(only)}` };

function hasBegun({ spec, status }: WireAssignment, { at, before }: Restart): boolean {
  if (spec.restart === undefined || spec.restart < at) return false;
  if (status?.problem) return true;
  return status?.invocationID !== undefined && status.invocationID !== before.get(spec.machine);
}
