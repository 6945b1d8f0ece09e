/** Runs of a unit, by systemd's InvocationID: how what was started anew is told from what was there before. */
import { assignmentsOf } from '../../assignments.js';
import type { Context } from '../../context.js';
import { followAll } from '../../following.js';
import { escapeSelector } from '../../listing.js';
import type { WireAssignment } from '../../objects.js';

/** Machine → InvocationID of the last run there. */
export type Runs = ReadonlyMap<string, string | undefined>;

export const currentRuns = async (context: Context, unit: string): Promise<Runs> =>
  new Map((await assignmentsOf(context, unit)).map(({ spec, status }) => [spec.machine, status?.invocationID]));

/**
 * Waits until each copy has begun a new run since `restart` was asked for, or says why it cannot. Gives back the machines where neither has
 * happened in time. With `machine` only the copy there counts.
 */
export async function untilNewRuns(
  context: Context,
  unit: string,
  before: Runs,
  restart: string,
  { limitMs, machine }: { readonly limitMs: number; readonly machine?: string | undefined },
): Promise<string[]> {
  let missing: string[] = [];
  await followAll(
    context,
    await context.kind('assignments'),
    { fieldSelector: `spec.unit=${escapeSelector(unit)}` },
    { timeoutMs: limitMs },
    (all) => {
      const copies = (all as readonly WireAssignment[]).filter(
        ({ spec }) => spec.remove === undefined && (machine === undefined || spec.machine === machine),
      );
      missing = copies.filter((copy) => !hasBegun(copy, before, restart)).map(({ spec }) => spec.machine);
      return missing.length === 0;
    },
  );
  return missing;
}

function hasBegun({ spec, status }: WireAssignment, before: Runs, restart: string): boolean {
  if (spec.restart === undefined || spec.restart < restart) return false;
  if (status?.problem) return true;
  return status?.invocationID !== undefined && status.invocationID !== before.get(spec.machine);
}
