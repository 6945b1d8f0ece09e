/** What humans and webhooks ask of a GitSync by its annotations, and what of it has been carried out. Pure. */
import { confirmPruneAnnotation, reconcileRequestedAnnotation } from '../../api/resources/annotations.js';
import { conditionOf } from '../../api/resources/conditions.js';
import type { GitSync, GitSyncStatus } from '../../api/resources/gitsync.js';

/** Whether a sync was asked for that has not been made yet. */
export function isAsked(sync: GitSync): boolean {
  const { annotations = {} } = sync.metadata;
  const requested = annotations[reconcileRequestedAnnotation];
  if (requested !== undefined && requested !== sync.status?.lastHandledReconcileAt) return true;
  return unusedConsent(sync, sync.status) !== undefined && conditionOf(sync, 'Ready')?.reason === 'PruneHeld';
}

export function handledRequest({ metadata }: GitSync): Pick<GitSyncStatus, 'lastHandledReconcileAt'> {
  const requested = metadata.annotations?.[reconcileRequestedAnnotation];
  return requested === undefined ? {} : { lastHandledReconcileAt: requested };
}

/** A human's consent to deletions, `REVISION TIME`, as long as it was not used up. */
export function unusedConsent({ metadata }: GitSync, status: GitSyncStatus | undefined): string | undefined {
  const consent = metadata.annotations?.[confirmPruneAnnotation];
  return consent === status?.lastHandledConfirmation ? undefined : consent;
}

/** Whether a consent is about this revision: whole, its hash, or at least seven digits of that. */
export function isConsentTo(consent: string | undefined, revision: string): boolean {
  const [given = ''] = consent?.trim().split(/\s+/) ?? [];
  const hash = revision.slice(revision.lastIndexOf(':') + 1);
  const [name = '', digits = given] = given.includes(':') ? splitLast(given) : ['', given];
  if (!/^[0-9a-f]{7,64}$/.test(digits) || !hash.startsWith(digits)) return false;
  return name === '' || revision.startsWith(`${name}:`);
}

const splitLast = (text: string): [string, string] => [text.slice(0, text.lastIndexOf(':')), text.slice(text.lastIndexOf(':') + 1)];
