/** What a GitSync says of itself. Pure. */
import type { GitSyncChange, GitSyncStatus } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import type { Condition } from '../../api/resources/meta.js';
import { condition } from '../sentences.js';
import type { SyncPlan } from './plan.js';

/** How a sync ended. */
export type Verdict =
  /** The cluster was told what the repository says. */
  | { readonly is: 'ready'; readonly reason: 'Applied' | 'InSync'; readonly message: string }
  /** It goes on by itself. */
  | { readonly is: 'working'; readonly reason: 'Progressing' | 'WaitingForHealth'; readonly message: string }
  /** It is tried again, and may well come right without anybody's help. */
  | { readonly is: 'failing'; readonly reason: FailureReason; readonly message: string }
  /** Somebody has to do something first. */
  | { readonly is: 'stalled'; readonly reason: StallReason; readonly message: string };

export type FailureReason = 'FetchFailed' | 'DependencyNotReady' | 'ApplyFailed' | 'Caution' | 'Unhealthy';
export type StallReason =
  | 'InvalidSpec'
  | 'AccessRefused'
  | 'SecretMissing'
  | 'VerificationFailed'
  | 'InvalidManifests'
  | 'PruneHeld'
  | 'Conflict'
  | 'OutOfSync';

/** Ready, Reconciling and Stalled, as kstatus reads them: at most one of them is true. */
export function conditionsFor(verdict: Verdict, before: readonly Condition[] | undefined, now: string, generation: number): Condition[] {
  const { is, reason, message } = verdict;
  const ready = is === 'ready' ? 'True' : is === 'working' ? 'Unknown' : 'False';
  const isReconciling = is === 'working' || is === 'failing';
  const quiet = is === 'ready' ? 'There is nothing to do.' : message;
  return [
    condition({ type: 'Ready', status: ready, reason, message }, before, now, generation),
    condition(
      {
        type: 'Reconciling',
        status: isReconciling ? 'True' : 'False',
        reason: is === 'failing' ? 'Retrying' : reason,
        message: isReconciling ? message : quiet,
      },
      before,
      now,
      generation,
    ),
    condition(
      {
        type: 'Stalled',
        status: is === 'stalled' ? 'True' : 'False',
        reason,
        message: is === 'stalled' ? message : 'Nothing keeps it from going on.',
      },
      before,
      now,
      generation,
    ),
  ];
}

/** Whether nothing but times differs: then nothing is written. */
export function saysTheSame(a: GitSyncStatus, b: GitSyncStatus): boolean {
  // Thousands of names, which are most often the very ones that were read.
  const isSameInventory = a.inventory === b.inventory;
  const timeless = (status: GitSyncStatus) =>
    JSON.stringify({
      ...status,
      ...(isSameInventory ? { inventory: [] } : {}),
      conditions: status.conditions?.map(({ lastTransitionTime: _, ...said }) => said),
      lastChange: status.lastChange && { ...status.lastChange, time: '' },
    });
  return timeless(a) === timeless(b);
}

/** Names in a change that are kept. */
export const maxChangeNames = 20;

export interface Outcome {
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly pruned: readonly string[];
  readonly unchanged: number;
}

export function changeOf(revision: string, time: string, { created, changed, pruned, unchanged }: Outcome): GitSyncChange {
  const names = Object.entries({ created, changed, pruned }).flatMap(([what, ids]) =>
    ids.length === 0 ? [] : [[what, ids.slice(0, maxChangeNames)]],
  );
  return {
    revision,
    time,
    created: created.length,
    changed: changed.length,
    pruned: pruned.length,
    unchanged,
    names: Object.fromEntries(names),
  };
}

export function countsText({ created, changed, pruned, unchanged }: Outcome): string {
  const parts = [
    [created.length, 'created'],
    [changed.length, 'changed'],
    [pruned.length, 'pruned'],
    [unchanged, 'unchanged'],
  ] as const;
  const told = parts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  return told.length === 0 ? 'no objects' : told.join(', ');
}

const maxNamed = 5;

/** `a, b and 3 more` */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, maxNamed).join(', ');
  return names.length > maxNamed ? `${shown} and ${names.length - maxNamed} more` : shown;
}

/** Why objects that should go stay, and what makes them go. */
export function heldMessage(name: string, revision: string, plan: SyncPlan, inventory: number, maxDeletePercent: number): string {
  const { held } = plan;
  const what = `${held.length} of ${inventory} objects would be deleted (${someOf(held)})`;
  const consent = `nothing is deleted until: flotilla sync ${name} --confirm-prune ${shortRevision(revision)}`;
  switch (plan.heldBecause) {
    case 'caution':
      return `${what}; while machines are missing nothing is`;
    case 'empty':
      return `the path is missing or holds no manifest, so ${what}; ${consent}`;
    default:
      return `${what}, more than limits.maxDeletePercent of ${maxDeletePercent} allows; ${consent}`;
  }
}

/** A path with a slip of the pen describes nothing, and that is no mistake that could be known for one: it is said. */
export const appliedVerdict = (text: string, objects: number): Verdict => ({
  is: 'ready',
  reason: 'Applied',
  message: `${shortRevision(text)} is applied${objects === 0 ? ', and describes no object below spec.path' : ''}`,
});

/** What keeps the revision from counting as applied, the gravest first. */
export function troubleOf(
  name: string,
  text: string,
  plan: SyncPlan,
  failures: readonly { readonly id: string; readonly why: string }[],
  inventory: number,
  maxDeletePercent: number,
): Verdict | undefined {
  if (failures.length > 0) {
    return {
      is: 'failing',
      reason: 'ApplyFailed',
      message: `${shortRevision(text)}: ${someOf(failures.map(({ id, why }) => `${id}: ${why}`))}`,
    };
  }
  if (plan.conflicts.length > 0) {
    const told = plan.conflicts.map(({ id, owner }) => `${id} belongs to GitSync ${owner}`);
    return { is: 'stalled', reason: 'Conflict', message: `${shortRevision(text)}: ${someOf(told)}; one of the two has to give it up` };
  }
  if (plan.blocked.length > 0) {
    return {
      is: 'failing',
      reason: 'ApplyFailed',
      message: `${shortRevision(text)}: ${someOf(plan.blocked.map(({ id, why }) => `${id}: ${why}`))}`,
    };
  }
  if (plan.held.length > 0) {
    const message = heldMessage(name, text, plan, inventory, maxDeletePercent);
    return plan.heldBecause === 'caution' ? { is: 'failing', reason: 'Caution', message } : { is: 'stalled', reason: 'PruneHeld', message };
  }
  return undefined;
}
