/** Brings the cluster to a revision, and finds out how that ended. */
import type { GitSyncSpec, GitSyncStatus } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import type { Clock } from '../../runtime/clock.js';
import type { Fence } from '../../runtime/store/store.js';
import type { EventRecorder } from '../events.js';
import { type Applied, type ApplyOptions, carryOut } from './apply.js';
import { detectDrift } from './detect.js';
import { healthVerdict } from './health.js';
import type { Ended, SyncMemory } from './memory.js';
import { type SyncPlan, withConflicts } from './plan.js';
import { planRevision } from './revision-plan.js';
import type { SyncSettings } from './settings.js';
import type { ReadRevision } from './source.js';
import { appliedVerdict, changeOf, countsText, someOf, troubleOf } from './status.js';
import type { JoinedGitSync, Teller } from './telling.js';

export interface ApplyRevisionOptions extends Pick<ApplyOptions, 'door' | 'cache'> {
  readonly fence: Fence;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly teller: Teller;
  readonly isCautious: () => boolean;
}

/** @throws SourceError when the revision cannot be applied at all */
export async function applyRevision(
  sync: JoinedGitSync,
  spec: GitSyncSpec,
  settings: SyncSettings,
  status: GitSyncStatus,
  revision: ReadRevision,
  known: SyncMemory['written'],
  options: ApplyRevisionOptions,
): Promise<Ended> {
  const { door, cache, fence, clock, teller } = options;
  const { name } = sync.metadata;
  const { text, commit, tag } = revision;
  const planned = planRevision(sync, status, revision, settings, options);
  if (spec.mode === 'detect') return detectDrift(sync, status, revision, planned, { door, cache, teller, now: clock.now() });
  const { inventory, consent } = planned;

  // Objects that are new are noted before they are made: a leader that dies in between leaves none behind that nobody answers for.
  const noted = [...new Set([...inventory, ...planned.plan.inventory])].sort();
  if (noted.length > inventory.length) await teller.tell(sync, { ...(teller.current(name) ?? status), inventory: noted });
  const applied = await carryOut(planned.plan, name, { door, cache, fence, known });
  const plan = withConflicts(planned.plan, applied.conflicts);
  tellOf(applied, plan, sync, status, text, options);

  const next: GitSyncStatus = {
    ...status,
    inventory: keptOf(plan, applied, inventory),
    ...(didSomething(applied) ? { lastChange: changeOf(text, clock.now().toISOString(), applied) } : {}),
    ...(consent !== undefined && applied.failures.length === 0 ? { lastHandledConfirmation: consent } : {}),
  };
  const trouble = troubleOf(name, text, plan, applied.failures, inventory.length, settings.maxDeletePercent);
  if (trouble !== undefined) {
    teller.announce(sync, trouble);
    return { verdict: trouble, status: teller.statusFor(sync, next, trouble), memory: { written: applied.written } };
  }
  const untilMs = clock.monotonicMs() + settings.timeoutMs;
  const verdict = spec.wait ? healthVerdict(cache, text, plan.inventory, true) : appliedVerdict(text, plan.inventory.length);
  const isReady = verdict.is === 'ready';
  if (didSomething(applied)) teller.record(sync, 'Normal', 'RevisionApplied', `${shortRevision(text)}: ${countsText(applied)}.`);
  return {
    verdict,
    status: teller.statusFor(sync, isReady ? { ...next, lastAppliedRevision: text } : next, verdict),
    memory: {
      settled: { commit, tag, seen: seenIn(applied), inventory: next.inventory?.length, verdict },
      written: applied.written,
      waiting: isReady ? undefined : { revision: text, ids: plan.inventory, untilMs },
    },
  };
}

const seenIn = ({ written }: Applied): Map<string, number> => new Map([...written].map(([id, { revision }]) => [id, revision]));

const didSomething = ({ created, changed, pruned }: Applied): boolean => created.length + changed.length + pruned.length > 0;

/** What it answers for from now on: what could not be deleted, or let go of, stays noted. */
function keptOf(plan: SyncPlan, { failures }: Applied, inventory: readonly string[]): string[] {
  if (failures.length === 0) return [...plan.inventory];
  const failedToGo = failures.map(({ id }) => id).filter((id) => inventory.includes(id));
  return [...new Set([...plan.inventory, ...plan.prune.flat(), ...failedToGo])].sort();
}

function tellOf(
  applied: Applied,
  plan: SyncPlan,
  sync: JoinedGitSync,
  status: GitSyncStatus,
  text: string,
  { teller, events }: ApplyRevisionOptions,
): void {
  const { name, generation } = sync.metadata;
  teller.tellOfObjects(sync, text, applied);
  const isKnown = status.lastAppliedRevision === text && sync.status?.observedGeneration === generation;
  const drifted = [...applied.changed, ...applied.created];
  if (isKnown && drifted.length > 0) {
    teller.record(sync, 'Warning', 'DriftCorrected', `${someOf(drifted)} differed from ${shortRevision(text)} and was set right.`);
  }
  for (const { id, owner } of plan.conflicts) {
    const message = `GitSync ${name} claims ${id}, too, and is refused; one of the two has to give it up.`;
    events.record({ kind: 'GitSync', name: owner }, 'Warning', 'Conflict', message);
  }
}
