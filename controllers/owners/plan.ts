/**
 * What becomes of objects whose owner goes, or is not there (any more). Pure. An owner is known by its uid: a new one of the same name owns
 * nothing of the old one's.
 */
import type { ObjectId } from '../../api/objects/ports.js';
import { foregroundFinalizer, orphanFinalizer } from '../../api/objects/references.js';

/**
 * How an owner stands that an object names. unknown: nobody can tell, because its kind is not known here or it cannot be read; then it
 * counts as one that is there (invariants 7, 13).
 */
export type Standing = 'there' | 'going' | 'absent' | 'unknown';

export interface OwnerFacts {
  readonly uid: string;
  readonly finalizers: readonly string[];
  readonly dependents: readonly DependentFacts[];
}

export interface DependentFacts extends ObjectId {
  readonly uid: string;
  readonly deleting: boolean;
  /** Its owner waits for it in a foreground deletion. */
  readonly blocks: boolean;
  /** Somebody else owns it too, and stays. */
  readonly hasOtherOwner: boolean;
  readonly hasDependents: boolean;
}

export type OwnerStep =
  /** It goes with its owner; `foreground`: after its own dependents. */
  | { readonly do: 'delete'; readonly dependent: DependentFacts; readonly foreground: boolean }
  /** It stays, and names this owner no more. */
  | { readonly do: 'release'; readonly dependent: DependentFacts }
  /** All that had to happen to the dependents has happened: the finalizer that waits for it goes. */
  | { readonly do: 'unfinalize'; readonly finalizer: string }
  /** Everybody has been told: the owner itself can go. */
  | { readonly do: 'remove' };

/** An object that is being deleted: what has to be done about its dependents now. Empty while there is only waiting left. */
export function planOwner({ finalizers, dependents }: OwnerFacts): OwnerStep[] {
  const isOrphaning = finalizers.includes(orphanFinalizer);
  const isForeground = !isOrphaning && finalizers.includes(foregroundFinalizer);
  const steps = dependents.flatMap((dependent): OwnerStep[] => {
    if (isOrphaning || (dependent.hasOtherOwner && !dependent.deleting)) return [{ do: 'release', dependent }];
    if (dependent.deleting) return [];
    return [{ do: 'delete', dependent, foreground: isForeground && dependent.hasDependents }];
  });
  if (steps.length > 0) return steps;
  if (isOrphaning) return [{ do: 'unfinalize', finalizer: orphanFinalizer }];
  if (isForeground) return dependents.some(({ blocks }) => blocks) ? [] : [{ do: 'unfinalize', finalizer: foregroundFinalizer }];
  return finalizers.length === 0 ? [{ do: 'remove' }] : [];
}

/** What becomes of an object for the sake of owners that are not there: it goes when they were all it had. */
export function planDependent(
  owners: readonly { readonly uid: string; readonly standing: Standing }[],
): 'keep' | 'delete' | readonly string[] {
  const absent = owners.filter(({ standing }) => standing === 'absent');
  if (absent.length === 0) return 'keep';
  return absent.length === owners.length ? 'delete' : absent.map(({ uid }) => uid);
}

/**
 * Owners that are missing all at once are a table that was lost rather than a wish to delete what they owned: then their dependents are
 * left as they are (invariant 13).
 */
export const areTooMany = (absent: number, all: number): boolean => absent > Math.max(1, all / 3);
