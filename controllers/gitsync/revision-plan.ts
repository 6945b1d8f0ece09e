/** What a revision asks of the cluster as it is now: one answer for the sync that carries it out and for whoever asks what it would do. */
import type { ClusterCache } from '../../api/objects/ports.js';
import type { GitSync, GitSyncStatus } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import { liveIn, ownedBy } from './apply.js';
import { documentId, type SyncDocument } from './documents.js';
import { templatesNeeded } from './load.js';
import { planSync, type SyncPlan } from './plan.js';
import { isConsentTo, unusedConsent } from './requests.js';
import type { SyncSettings } from './settings.js';
import { type ReadRevision, SourceError } from './source.js';
import { someOf } from './status.js';

export const planLimits = {
  /** Bytes of an inventory: it is stored in one value, with room for the rest of the status. */
  maxInventoryBytes: 150_000,
};

export interface RevisionPlan {
  readonly plan: SyncPlan;
  /** What the GitSync answered for before: as its status says, or as the labels do when that was lost. */
  readonly inventory: readonly string[];
  /** The human's word that counts for this revision. */
  readonly consent: string | undefined;
}

/** @throws SourceError when the revision cannot be applied at all */
export function planRevision(
  sync: GitSync,
  status: GitSyncStatus,
  { text, documents }: ReadRevision,
  { maxDeletePercent }: Pick<SyncSettings, 'maxDeletePercent'>,
  { cache, isCautious }: { readonly cache: ClusterCache; readonly isCautious: () => boolean },
): RevisionPlan {
  const { name } = sync.metadata;
  const unused = unusedConsent(sync, status);
  const consent = isConsentTo(unused, text) ? unused : undefined;
  const inventory = status.inventory ?? ownedBy(cache, name);
  const plan = planSync({
    name,
    documents,
    inventory,
    live: liveIn(cache),
    isGitSync: (other) => cache.object('gitsyncs', other) !== undefined,
    prune: sync.spec?.prune ?? false,
    maxDeletePercent,
    isConfirmed: consent !== undefined,
    isCautious: isCautious(),
  });
  checkTemplates(plan, documents ?? [], cache);
  if (Buffer.byteLength(JSON.stringify(plan.inventory)) > planLimits.maxInventoryBytes) {
    throw new SourceError(
      'InvalidManifests',
      true,
      `nothing of ${shortRevision(text)} is applied: the path describes more objects than one GitSync can keep count of; split it`,
    );
  }
  return { plan, inventory, consent };
}

/** An instance that follows a template which is nowhere could not be written, half-way through the revision. */
function checkTemplates(plan: SyncPlan, documents: readonly SyncDocument[], cache: Pick<ClusterCache, 'object'>): void {
  const described = new Set(documents.map(documentId));
  const missing = [...templatesNeeded(plan.apply.flat())].filter(
    ([, template]) => !described.has(`unit/${template}`) && cache.object('units', template) === undefined,
  );
  if (missing.length === 0) return;
  const told = missing.map(
    ([document, template]) => `${document.file}: ${documentId(document)} follows its template ${template}, which does not exist`,
  );
  throw new SourceError('InvalidManifests', true, `nothing is applied: ${someOf(told)}`);
}
