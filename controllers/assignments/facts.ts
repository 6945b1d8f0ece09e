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

/** Its agent has reported on it, and systemd is not in the middle of starting or stopping it. */
export function isSettled(copy: CopyFacts): boolean {
  const state = reported(copy);
  if (!state || state.active === 'activating' || state.active === 'deactivating') return false;
  // Started is what the agent does after it has taken the assignment in.
  return state.generation >= copy.row.value.generation && (state.active !== 'inactive' || !isToStart(copy, state));
}

const isToStart = ({ row }: CopyFacts, state: UnitState): boolean =>
  row.value.wanted === 'launched' && state.problem === undefined && state.runningHash === undefined && state.exitStatus === undefined;

/** What was asked for is so, and with the newest text: the same judgement as the Unit's Ready and UpToDate. */
export function isReady(copy: CopyFacts): boolean {
  const { row, state } = copy;
  const seen = reported(copy);
  if (!seen || !state || row.value.remove !== undefined) return false;
  const { textHash, generation, wanted, restart } = row.value;
  if (seen.textHash !== textHash || seen.generation < generation) return false;
  // A restart leaves no mark but a new report.
  if (restart !== undefined && state.modRevision < row.modRevision) return false;
  if (wanted === 'loaded') return seen.load === 'loaded';
  if (seen.active === 'active' || seen.active === 'reloading') return seen.runningHash === undefined || seen.runningHash === textHash;
  return seen.active === 'inactive' && seen.type === 'oneshot' && seen.result === 'success' && seen.runningHash === textHash;
}
