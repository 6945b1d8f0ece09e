/** What is known of one unit's copies, and what can be said of a copy from it. */
import type { Row } from '../../api/objects/ports.js';
import type { AssignmentSpec, UnitState } from '../../api/resources/assignment.js';
import type { Health } from '../scheduler/types.js';

export interface CopyFacts {
  readonly machine: string;
  readonly row: Row<AssignmentSpec>;
  readonly state: Row<UnitState> | undefined;
  /** `removed`: there is no such Machine object any more. */
  readonly health: Health | 'removed';
}

/**
 * Process and file are gone, says the agent. It has to have said so in this life of the assignment: a word about an earlier one of the
 * same name on the same machine does not count.
 */
export function isGone({ row, state }: CopyFacts): boolean {
  return state?.value.gone === true && state.value.unitUid === row.value.unitUid && state.modRevision > row.createRevision;
}

/** No copy can run there any more, or none that has to be waited for (SEMANTICS 8), although its agent has not said so. */
export function isOutOfReach({ row, health }: CopyFacts, forced: boolean): boolean {
  if (health === 'removed') return true;
  if (health === 'present') return false;
  return forced || (health === 'lost' && row.value.failover === 'atLeastOnce');
}

/** Reported about this very assignment. */
export function reported({ row, state }: CopyFacts): UnitState | undefined {
  return state?.value.unitUid === row.value.unitUid && !state.value.gone ? state.value : undefined;
}

/** What was asked for has been carried out, or cannot be, and systemd is not in the middle of starting or stopping it. */
export function isSettled(copy: CopyFacts): boolean {
  const state = reported(copy);
  if (!state || state.active === 'activating' || state.active === 'deactivating') return false;
  return state.problem !== undefined || isCarriedOut(copy, state);
}

/** What was asked for is so, and with the newest text: the same judgement as the Unit's Ready and UpToDate. */
export function isReady(copy: CopyFacts): boolean {
  const { row, state } = copy;
  const seen = reported(copy);
  if (!seen || !state || row.value.remove !== undefined) return false;
  const { textHash, wanted, restart } = row.value;
  if (seen.textHash !== textHash || !isCarriedOut(copy, seen)) return false;
  // A restart leaves no mark but a new report.
  if (restart !== undefined && state.modRevision < row.modRevision) return false;
  if (wanted === 'loaded') return seen.load === 'loaded';
  if (seen.active === 'active' || seen.active === 'reloading') return true;
  return seen.active === 'inactive' && seen.type === 'oneshot' && seen.result === 'success' && hasRun(seen);
}

/**
 * The agent names a generation, of the unit and of its template, once its last step for it is done, the start included. The hash that runs is
 * not compared: a change of comments is carried out without a restart, and leaves it as it was.
 */
function isCarriedOut({ row }: CopyFacts, state: UnitState): boolean {
  const { generation, template } = row.value;
  if (state.generation < generation) return false;
  return !template || (state.template?.uid === template.uid && state.template.generation >= template.generation);
}

/** systemd forgets a unit that has ended; what the agent still knows of the run proves that there was one. */
const hasRun = ({ runningHash, exitStatus, invocationID }: UnitState): boolean =>
  runningHash !== undefined || exitStatus !== undefined || Boolean(invocationID);
