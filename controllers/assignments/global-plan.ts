/**
 * A global unit's assignments. Those that come and go do so at once, each in a write of its own. A change of text or a restart goes from
 * machine to machine: the next one is touched when all that have it already were seen active, or finished (SEMANTICS 12).
 */
import type { UnitFragment } from '../../api/objects/unit-fragment.js';
import { restartAskedFor } from '../../api/resources/annotations.js';
import type { AssignmentSpec } from '../../api/resources/assignment.js';
import { shortId } from '../scheduler/match.js';
import { inSum, machines } from '../scheduler/reasons.js';
import type { GlobalVerdict } from '../scheduler/types.js';
import { condition } from '../sentences.js';
import { type CopyFacts, isGone, isOutOfReach, isReady, reported } from './facts.js';
import { inStep, marked, newAssignment, sameAssignment } from './plan.js';
import type { UnitSource } from './source.js';

export type PairChange = { readonly put: AssignmentSpec } | { readonly drop: CopyFacts };

/** One machine's copy: placed, marked, or gone. A new text is not given to it here. */
export function planPair(
  source: UnitSource | undefined,
  copy: CopyFacts | undefined,
  verdict: { readonly place: boolean; readonly leave?: string | undefined },
  machine: string,
  now: string,
): PairChange | undefined {
  if (!copy) return source?.text && verdict.place ? { put: newAssignment(source, { machine, start: true }, now) } : undefined;
  const { value } = copy.row;
  const isForeign = source !== undefined && value.unitUid !== source.uid;
  const isEnding = source === undefined || source.planned.deleting || isForeign;
  if (copy.health === 'removed' || (value.remove !== undefined && isGone(copy))) return { drop: copy };
  if (isEnding && isOutOfReach(copy, source?.forced ?? false)) return { drop: copy };
  if (value.remove !== undefined) return undefined;
  if (source === undefined) return { put: marked(value, 'the unit does not exist any more', now) };
  if (isForeign) return { put: marked(value, 'the unit was deleted and made anew', now) };
  if (verdict.leave !== undefined) return { put: marked(value, verdict.leave, now) };
  if (!source.text || isDisruptive(value, source)) return undefined;
  const after = inStep(value, source, true);
  return sameAssignment(value, after) ? undefined : { put: after };
}

/** It would restart what runs there. */
function isDisruptive(before: AssignmentSpec, source: UnitSource): boolean {
  if (!source.text || before.wanted !== 'launched' || source.planned.wanted !== 'launched') return false;
  const restart = restartAskedFor(source.annotations, before.machine);
  return before.textHash !== source.text.hash || (restart !== undefined && restart !== before.restart);
}

export interface Rollout {
  /** The machine whose turn it is. */
  readonly next?: AssignmentSpec;
  readonly outdated: number;
  /** Why nothing goes on, as the end of a sentence. */
  readonly waitsFor?: string;
}

/** Whose turn it is to get the new text. Machines that do not answer are not waited for, and get it when they are back. */
export function planRollout(source: UnitSource, copies: readonly CopyFacts[]): Rollout {
  const staying = copies.filter(
    ({ row, health }) => row.value.remove === undefined && row.value.unitUid === source.uid && health !== 'removed',
  );
  const outdated = staying.filter(({ row }) => isDisruptive(row.value, source));
  if (outdated.length === 0) return { outdated: 0 };
  const unproven = staying.find((copy) => !isDisruptive(copy.row.value, source) && copy.health === 'present' && !isReady(copy));
  if (unproven) return { outdated: outdated.length, waitsFor: `machine ${shortId(unproven.machine)}: ${lookOf(unproven)}` };
  // What is broken anyway goes first: nothing is lost there, and the new text may be the cure.
  const candidates = outdated.filter(({ health }) => health === 'present').sort(byReadiness);
  const next = candidates[0];
  if (!next) return { outdated: outdated.length, waitsFor: `${machines(outdated.length)} that do not answer` };
  return { outdated: outdated.length, next: inStep(next.row.value, source, true) };
}

const byReadiness = (a: CopyFacts, b: CopyFacts): number => Number(isUp(a)) - Number(isUp(b)) || (a.machine < b.machine ? -1 : 1);
const isUp = (copy: CopyFacts): boolean => reported(copy)?.active === 'active';

function lookOf(copy: CopyFacts): string {
  const state = reported(copy);
  if (!state) return 'not reported yet';
  return state.problem?.message ?? `${state.active} (${state.sub})${state.result && state.result !== 'success' ? `, ${state.result}` : ''}`;
}

export interface GlobalFacts {
  readonly source: UnitSource;
  readonly verdict: GlobalVerdict;
  readonly copies: readonly CopyFacts[];
  readonly rollout: Rollout;
  readonly fragment: UnitFragment | undefined;
  readonly now: string;
}

/** Counts and conditions; per-machine detail is in the Assignments (SEMANTICS 3). */
export function globalFragment({ source, verdict, copies, rollout, fragment, now }: GlobalFacts): UnitFragment {
  const { planned, generation, name } = source;
  const staying = copies.filter(({ row }) => row.value.remove === undefined && row.value.unitUid === source.uid);
  const assigned = new Set(staying.map(({ machine }) => machine));
  for (const machine of verdict.leave.keys()) assigned.delete(machine);
  const currentMachines = assigned.size;
  for (const machine of verdict.place) assigned.add(machine);
  const desiredMachines = assigned.size;
  // What is about to be written counts: a copy that is as its old assignment asked says nothing about this generation.
  const coming = (copy: CopyFacts) => planPair(source, copy, { place: false }, copy.machine, now);
  const asWanted = staying.filter((copy) => {
    if (!assigned.has(copy.machine) || copy.health !== 'present' || !isReady(copy)) return false;
    const change = coming(copy);
    return change === undefined || ('put' in change && change.put.wanted === copy.row.value.wanted);
  });
  const readyMachines = asWanted.length;
  const currentCopies = asWanted.filter((copy) => coming(copy) === undefined).length;
  const leaving = copies.filter(({ row }) => row.value.remove !== undefined);

  const skipped = new Map<string, number>();
  for (const reason of verdict.skip.values()) skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
  const elsewhere = skipped.size === 0 ? '' : `; not on ${inSum(skipped)}`;
  const isWanted = planned.wanted !== 'inactive' && !planned.deleting;
  const idle = planned.deleting ? `${name} is being deleted` : `the desired state of ${name} is inactive`;
  const waiting = leaving.length === 0 ? '' : `; waiting for ${someMachines(leaving)} to stop it`;

  const say = (type: string, status: 'True' | 'False', reason: string, message: string) =>
    condition({ type, status, reason, message }, fragment?.conditions, now, generation);
  const wellOff = new Set(asWanted);
  const notReady = staying.find((copy) => assigned.has(copy.machine) && !wellOff.has(copy));
  const scheduled = !isWanted
    ? say('Scheduled', 'False', planned.deleting ? 'Deleting' : 'Inactive', idle + waiting)
    : desiredMachines === 0
      ? say('Scheduled', 'False', 'NoEligibleMachine', planned.broken ?? `no machine suits it: ${inSum(skipped)}`)
      : say('Scheduled', 'True', 'Assigned', `on ${machines(desiredMachines)}${elsewhere}${waiting}`);
  const ready = !isWanted
    ? say(
        'Ready',
        leaving.length === 0 && !planned.deleting ? 'True' : 'False',
        leaving.length === 0 ? 'Inactive' : 'Stopping',
        idle + waiting,
      )
    : readyMachines === desiredMachines && desiredMachines > 0
      ? say('Ready', 'True', 'AllReady', `ready on all ${machines(desiredMachines)} that should run it`)
      : say(
          'Ready',
          'False',
          'NotAllReady',
          `ready on ${readyMachines} of ${machines(desiredMachines)}${notReady ? `; machine ${shortId(notReady.machine)}: ${lookOf(notReady)}` : ''}`,
        );
  const upToDate =
    rollout.outdated > 0
      ? say(
          'UpToDate',
          'False',
          'RollingOut',
          `${machines(rollout.outdated)} still to change, one at a time${rollout.waitsFor ? `; waiting for ${rollout.waitsFor}` : ''}`,
        )
      : currentCopies === desiredMachines || !isWanted
        ? say('UpToDate', 'True', 'UpToDate', `generation ${generation} was carried out on all machines`)
        : say('UpToDate', 'False', 'Pending', `generation ${generation} was seen on ${currentCopies} of ${machines(desiredMachines)}`);
  return { observedGeneration: generation, conditions: [scheduled, ready, upToDate], desiredMachines, currentMachines, readyMachines };
}

/** Machines that are named before the rest is counted. */
const maxNamed = 3;

function someMachines(copies: readonly CopyFacts[]): string {
  const named = copies
    .slice(0, maxNamed)
    .map(({ machine, health }) => `machine ${shortId(machine)}${health === 'present' ? '' : ' (which does not answer)'}`)
    .join(', ');
  return copies.length > maxNamed ? `${named} and ${copies.length - maxNamed} more` : named;
}
