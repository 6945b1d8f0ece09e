/** Annotations by which people tell the controllers something that is no part of a spec. */

/**
 * On a Machine that does not answer: it is really gone, its units may start elsewhere although caution holds them (SEMANTICS 22). The
 * value is the time of the confirmation, ISO 8601; it counts for this absence only.
 */
export const failoverConfirmedAnnotation = 'flotilla.dev/failover-confirmed';

/**
 * On a Unit that is being deleted: do not wait for machines that do not answer, whatever its failover policy (SEMANTICS 8). Any value;
 * a copy that still runs there is stopped when its machine comes back.
 */
export const forceDeleteAnnotation = 'flotilla.dev/force-delete';

/** On a Unit: its change asks for one restart (SEMANTICS 11). The value is the time at which `flotilla restart` asked, ISO 8601. */
export const restartAnnotation = 'flotilla.dev/restarted-at';

/** The same for the copy on one machine, by its id: `restarted-at.flotilla.dev/<id>`. The later one of both counts there. */
export const machineRestartAnnotation = (machine: string): string => `${machineRestartPrefix}${machine}`;
const machineRestartPrefix = 'restarted-at.flotilla.dev/';

/** The restart that the annotations ask for on that machine; undefined when they ask for none. */
export function restartAskedFor(annotations: Readonly<Record<string, string>>, machine: string): string | undefined {
  const [everywhere, there] = [annotations[restartAnnotation], annotations[machineRestartAnnotation(machine)]];
  return there !== undefined && (everywhere === undefined || there > everywhere) ? there : everywhere;
}

/** On a GitSync: sync now. Any new value; its status says which one was carried out last. */
export const reconcileRequestedAnnotation = 'flotilla.dev/reconcile-requested-at';

/**
 * On a GitSync: what this revision deletes may be deleted, however much it is. `REVISION TIME`: the revision (or its hash, or the
 * beginning of that) and the time of the consent, which makes it another one each time. It counts once.
 */
export const confirmPruneAnnotation = 'flotilla.dev/confirm-prune';

/** On every object that a GitSync applies: the GitSync's name. */
export const gitSyncLabel = 'flotilla.dev/gitsync';
