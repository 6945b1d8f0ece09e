/** Runs of a unit, by systemd's InvocationID: how what was started anew is told from what was there before. */
import { machineRestartAnnotation, restartAnnotation } from '../../../api/resources/annotations.js';
import { assignmentsOf } from '../../assignments.js';
import type { Context } from '../../context.js';
import { followAll } from '../../following.js';
import { escapeSelector } from '../../listing.js';
import type { WireAssignment, WireObject } from '../../objects.js';
import { patchUnit } from './units.js';

/** Machine → InvocationID of the last run there. */
export type Runs = ReadonlyMap<string, string | undefined>;

/** A restart that was asked for: of which unit, when, on which machines (all, when absent), and what ran before. */
export interface Restart {
  readonly unit: WireObject;
  readonly at: string;
  readonly machines?: readonly string[] | undefined;
  readonly before: Runs;
}

/** Asks for a new run on these machines, or wherever the unit is. */
export async function askRestart(context: Context, unit: WireObject, machines?: readonly string[]): Promise<Restart> {
  const { name, annotations = {} } = unit.metadata;
  const before = new Map((await assignmentsOf(context, name)).map(({ spec, status }) => [spec.machine, status?.invocationID]));
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
 * Waits until each copy that was to begin a new run has, or says why it cannot. Gives back the machines where neither has happened in time.
 */
export async function untilNewRuns(context: Context, restart: Restart, limitMs: number): Promise<string[]> {
  const { unit, machines } = restart;
  let missing: string[] = [];
  await followAll(
    context,
    await context.kind('assignments'),
    { fieldSelector: `spec.unit=${escapeSelector(unit.metadata.name)}` },
    { timeoutMs: limitMs },
    (all) => {
      const copies = (all as readonly WireAssignment[]).filter(
        ({ spec }) => spec.remove === undefined && (machines === undefined || machines.includes(spec.machine)),
      );
      missing = copies.filter((copy) => !hasBegun(copy, restart)).map(({ spec }) => spec.machine);
      return missing.length === 0;
    },
  );
  return missing;
}

function hasBegun({ spec, status }: WireAssignment, { at, before }: Restart): boolean {
  if (spec.restart === undefined || spec.restart < at) return false;
  if (status?.problem) return true;
  return status?.invocationID !== undefined && status.invocationID !== before.get(spec.machine);
}
