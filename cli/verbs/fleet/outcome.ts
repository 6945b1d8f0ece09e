/** Whether what a verb asked for has come true, from the unit as the server shows it. Pure; the sentences are those of the conditions. */
import { effectivePlacement } from '../../../api/resources/placement.js';
import { isStartResultReason } from '../../../api/resources/start-results.js';
import type { DesiredState, Unit, UnitSpec } from '../../../api/resources/unit.js';
import { desiredStateOf, isTemplateName, unitText } from '../../../api/resources/unit-text.js';
import { conditionOf, type WireAssignment, type WireCondition, type WireObject } from '../../objects.js';

export type Outcome =
  | { readonly is: 'so' }
  | { readonly is: 'not so'; readonly why: string }
  /** Not so yet. With `patienceMs` it is given up when nothing else is said for so long; with `againMs` it is looked at anew even without news. */
  | { readonly is: 'pending'; readonly why: string; readonly patienceMs?: number; readonly againMs?: number };

/** A failed run is shown for a moment while the next one is about to begin. */
const failurePatienceMs = 1_500;
/** What nobody will change by itself, unless something else in the cluster is just changing: a unit that fits nowhere, a text that systemd refuses. */
const stuckPatienceMs = 5_000;

/** Why a unit without a machine may have one in a moment. */
const passing = ['Pending', 'Moving', 'Waiting', 'Inactive', 'Deleting'];
/** Problems that an agent does not get over by itself. */
const isLasting = (reason: string): boolean =>
  ['LoadFailed', 'NotLoaded', 'NameTaken', 'Invalid'].includes(reason) || isStartResultReason(reason);

/** Whether it runs on every machine that suits it: said by its status as soon as the leader has looked at it, and before that by its text. */
export function isGlobal({ metadata: { name }, spec, status }: WireObject): boolean {
  if (status?.desiredMachines !== undefined) return true;
  if (status?.machine !== undefined || isTemplateName(name)) return false;
  const text = unitText({ spec: spec as UnitSpec });
  return effectivePlacement({ name, spec: (spec ?? {}) as UnitSpec, text }).global;
}

/** `generation`: of the unit when the verb had written it. */
export function outcomeOf(unit: WireObject | undefined, wanted: DesiredState, generation: number): Outcome {
  if (unit === undefined) return { is: 'not so', why: 'somebody deleted it meanwhile' };
  if (unit.metadata.deletionTimestamp) return { is: 'not so', why: 'it is being deleted' };
  const desired = desiredStateOf(unit as Unit);
  if (desired !== wanted) return { is: 'not so', why: `somebody else has set its desired state to ${desired}` };
  const conditions = {
    scheduled: conditionOf(unit, 'Scheduled'),
    ready: conditionOf(unit, 'Ready'),
    upToDate: conditionOf(unit, 'UpToDate'),
  };
  const isCurrent = (unit.status?.observedGeneration ?? 0) >= generation;
  if (wanted === 'inactive') return isCurrent && !isAnywhere(unit) ? { is: 'so' } : { is: 'pending', why: messageOf(conditions.ready) };
  return isGlobal(unit) ? ofGlobal(conditions, isCurrent) : ofPlaced(unit, wanted, conditions, isCurrent);
}

interface Conditions {
  readonly scheduled: WireCondition | undefined;
  readonly ready: WireCondition | undefined;
  readonly upToDate: WireCondition | undefined;
}

function ofPlaced(
  unit: WireObject,
  wanted: 'loaded' | 'launched',
  { scheduled, ready, upToDate }: Conditions,
  isCurrent: boolean,
): Outcome {
  if (unit.status?.machine === undefined) {
    const isStuck = isCurrent && scheduled?.status === 'False' && !passing.includes(scheduled.reason);
    return { is: 'pending', why: messageOf(scheduled), ...(isStuck ? { patienceMs: stuckPatienceMs } : {}) };
  }
  const behind = upToDate?.status === 'True' ? ready : upToDate;
  // An agent that cannot carry out a generation never reports it.
  if (behind && isLasting(behind.reason)) return { is: 'pending', why: behind.message, patienceMs: stuckPatienceMs };
  if (!isCurrent || upToDate?.status !== 'True') return { is: 'pending', why: messageOf(upToDate) };
  if (ready?.status === 'True') return { is: 'so' };
  if (wanted === 'launched' && ready?.status === 'False' && ['Failed', 'Ended'].includes(ready.reason)) {
    return { is: 'pending', why: ready.message, patienceMs: failurePatienceMs };
  }
  return { is: 'pending', why: messageOf(ready) };
}

function ofGlobal({ scheduled, ready, upToDate }: Conditions, isCurrent: boolean): Outcome {
  if (!isCurrent) return { is: 'pending', why: messageOf(scheduled) };
  if (scheduled?.status === 'False') return { is: 'pending', why: scheduled.message, patienceMs: stuckPatienceMs };
  if (ready?.status === 'True' && upToDate?.status === 'True') return { is: 'so' };
  return { is: 'pending', why: messageOf(ready?.status === 'True' ? upToDate : ready) };
}

const isAnywhere = (unit: WireObject): boolean =>
  unit.status?.machine !== undefined || ((unit.status?.currentMachines as number | undefined) ?? 0) > 0 || isStopping(unit);

/** A global unit has no machine of its own to name; its condition says whether some still stop it. */
const isStopping = (unit: WireObject): boolean => isGlobal(unit) && conditionOf(unit, 'Ready')?.status !== 'True';

const messageOf = (condition: WireCondition | undefined): string => condition?.message ?? 'the controllers have not looked at it yet';

/** Other copies may still be starting. */
const copyFailurePatienceMs = 3_000;
/** A global unit's counts are written once a second at most, and may be older than what its copies say. */
const countsAgeMs = 1_000;

/**
 * What the copies of a global unit say beside its own status, which counts them and does not tell one that failed from one that is still
 * starting. `label` names a machine.
 */
export function outcomeOfCopies(
  own: Outcome,
  copies: readonly WireAssignment[],
  wanted: DesiredState,
  generation: number,
  label: (machine: string) => string,
): Outcome {
  if (own.is === 'not so' || wanted === 'inactive' || (own.is === 'pending' && own.patienceMs !== undefined)) return own;
  const current = copies.filter(({ spec }) => spec.remove === undefined);
  const hasCarriedOut = ({ spec, status }: WireAssignment) => spec.generation >= generation && (status?.generation ?? 0) >= generation;
  const failed = wanted === 'launched' && current.find((copy) => hasCarriedOut(copy) && copy.status?.active === 'failed');
  if (failed)
    return {
      is: 'pending',
      why: `failed on machine ${label(failed.spec.machine)}`,
      patienceMs: copyFailurePatienceMs,
      againMs: countsAgeMs,
    };
  const behind = current.find((copy) => !hasCarriedOut(copy) || !isAsWanted(copy, wanted));
  if (own.is === 'pending' || !behind) return own;
  return { is: 'pending', why: `machine ${label(behind.spec.machine)} is not there yet`, againMs: countsAgeMs };
}

function isAsWanted({ status }: WireAssignment, wanted: 'loaded' | 'launched'): boolean {
  if (wanted === 'loaded') return status?.load === 'loaded';
  if (status?.active === 'active' || status?.active === 'reloading') return true;
  return status?.active === 'inactive' && status.type === 'oneshot' && status.result === 'success' && status.invocationID !== undefined;
}
