/** `spec.mode: detect`: what differs is found by carrying the plan out without storing anything, and said. */
import type { GitSyncStatus } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import { type ApplyOptions, carryOut, ownRevision } from './apply.js';
import { documentId } from './documents.js';
import type { Ended } from './memory.js';
import type { RevisionPlan } from './revision-plan.js';
import type { ReadRevision } from './source.js';
import { changeOf, countsText, someOf, type Verdict } from './status.js';
import type { JoinedGitSync, Teller } from './telling.js';

export async function detectDrift(
  sync: JoinedGitSync,
  status: GitSyncStatus,
  { text, commit, tag }: ReadRevision,
  { plan, inventory }: RevisionPlan,
  { door, cache, teller, now }: Pick<ApplyOptions, 'door' | 'cache'> & { readonly teller: Teller; readonly now: Date },
): Promise<Ended> {
  const ids = [...plan.apply.flat().map(documentId), ...inventory];
  const seen = new Map(ids.map((id) => [id, ownRevision(cache, id)]));
  const would = await carryOut(plan, sync.metadata.name, { door, cache, dryRun: true });
  const leaving = [...plan.prune.flat(), ...plan.held].sort();
  const outcome = { ...would, pruned: leaving };
  const differs = would.created.length + would.changed.length + leaving.length;
  const trouble = [
    ...would.failures.map(({ id, why }) => `${id}: ${why}`),
    ...plan.conflicts.map(({ id, owner }) => `${id} belongs to GitSync ${owner}`),
  ];
  const verdict: Verdict =
    differs === 0 && trouble.length === 0
      ? { is: 'ready', reason: 'InSync', message: `the cluster is as ${shortRevision(text)} says` }
      : {
          is: 'stalled',
          reason: 'OutOfSync',
          message: `the cluster differs from ${shortRevision(text)}: ${countsText(outcome)} if it were applied${trouble.length === 0 ? '' : `; ${someOf(trouble)}`}; spec.mode is detect, so nothing is changed`,
        };
  teller.announce(sync, verdict);
  const change = changeOf(text, now.toISOString(), outcome);
  // Nothing is its own while it only looks: what it made before stays noted.
  const isCertain = trouble.length + plan.blocked.length === 0;
  return {
    verdict,
    status: teller.statusFor(sync, { ...status, lastChange: change }, verdict),
    // What kept an object from being tried may be gone without a trace on the object.
    memory: isCertain ? { settled: { commit, tag, seen, inventory: status.inventory?.length, verdict } } : {},
  };
}
