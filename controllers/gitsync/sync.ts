/**
 * One look at one GitSync: what its repository says now, what the cluster has, and what is to be done about it. A sync that finds nothing
 * new asks the repository for one ref and compares revisions in memory.
 */
import type { ClusterCache, ObjectDoor } from '../../api/objects/ports.js';
import { confirmPruneAnnotation, reconcileRequestedAnnotation } from '../../api/resources/annotations.js';
import { conditionOf } from '../../api/resources/conditions.js';
import type { GitSync, GitSyncSpec, GitSyncStatus } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import { backoffMs } from '../../runtime/backoff.js';
import type { Clock, Random } from '../../runtime/clock.js';
import { type Revision, revisionText } from '../../runtime/git/refs.js';
import type { Logger } from '../../runtime/log.js';
import type { Fence, Store } from '../../runtime/store/store.js';
import { type Outcome as QueueOutcome, settled } from '../../runtime/work-queue.js';
import type { EventRecorder } from '../events.js';
import { type Applied, carryOut, liveIn, ownedBy } from './apply.js';
import { documentId, parseId, type SyncDocument } from './documents.js';
import { unhealthyBecause } from './health.js';
import { ensureFinalizer, finish } from './leaving.js';
import { templatesNeeded } from './load.js';
import type { SyncMemory } from './memory.js';
import type { GitSyncMetrics } from './metrics.js';
import { planSync, type SyncPlan } from './plan.js';
import type { GitSources } from './ports.js';
import { type SyncSettings, settingsOf } from './settings.js';
import { loadRevision, openSource, resolveRevision, SourceError } from './source.js';
import { appliedVerdict, changeOf, countsText, isConsentTo, someOf, troubleOf, type Verdict } from './status.js';
import { type JoinedGitSync, Teller } from './telling.js';

export const syncLimits = {
  /** The interval is drawn out by up to this share, so that many GitSyncs do not ask together. */
  jitter: 0.1,
  /** After a sync that failed and may come right by itself. */
  retry: { baseMs: 2_000, capMs: 300_000 },
  /** While something is held by caution, or waits for another GitSync that no event tells of. */
  againMs: 5_000,
  /** Bytes of an inventory: it is stored in one value, with room for the rest of the status. */
  maxInventoryBytes: 150_000,
};

export interface SyncOptions extends GitSources {
  readonly door: ObjectDoor;
  readonly store: Pick<Store, 'commit'>;
  readonly cache: ClusterCache;
  readonly fence: Fence;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly metrics: GitSyncMetrics;
  readonly isCautious: () => boolean;
}

/** What came of a sync, before it is told. */
interface Ended {
  readonly verdict: Verdict;
  readonly status: GitSyncStatus;
  readonly memory: Partial<Pick<SyncMemory, 'commit' | 'revisions' | 'waiting'>>;
}

export class Syncs {
  readonly #options: SyncOptions;
  readonly #teller: Teller;
  readonly #memories = new Map<string, SyncMemory>();
  /** What they depend on has changed since they were looked at. */
  readonly #hurried = new Set<string>();

  constructor(options: SyncOptions) {
    this.#options = options;
    this.#teller = new Teller(options);
  }

  /** GitSyncs that wait for this object to become healthy. */
  *waitingFor(id: string): Generator<string> {
    for (const [name, { waiting }] of this.#memories) if (waiting?.ids.includes(id)) yield name;
  }

  /** What it depends on has changed: the next look asks the repository. */
  hurry(name: string): void {
    this.#hurried.add(name);
  }

  async look(name: string, signal: AbortSignal): Promise<QueueOutcome> {
    const { cache, clock } = this.#options;
    const sync = cache.joined('gitsyncs', name) as JoinedGitSync | undefined;
    if (sync === undefined) {
      this.#memories.delete(name);
      this.#options.metrics.forget(name);
      return settled;
    }
    if (sync.metadata.deletionTimestamp) {
      this.#memories.delete(name);
      return finish(sync, this.#teller, this.#options);
    }
    const { spec = {}, status = {}, metadata } = sync;
    await ensureFinalizer(sync, this.#options);
    if (spec.suspend) {
      this.#memories.delete(name);
      return settled;
    }
    // A key that is another one now may verify, or open, what it did not: nothing is taken for known.
    const isHurried = this.#hurried.delete(name);
    const memory = isHurried ? undefined : this.#memories.get(name);
    const nowMs = clock.monotonicMs();
    if (memory !== undefined && memory.generation === metadata.generation && nowMs < memory.dueMs && !isAsked(sync)) {
      return this.#between(sync, memory, nowMs);
    }
    const startedMs = nowMs;
    const ended = await this.#sync(sync, spec, status, memory, signal).catch((error: unknown) => {
      // It is tried again, and what made it hurry would be forgotten by then.
      if (isHurried) this.hurry(name);
      throw error;
    });
    const next = this.#remember(sync, spec, ended);
    // What was asked for before it began is carried out now; what was asked for since is not.
    await this.#teller.tell(sync, { ...ended.status, ...handledRequest(sync) });
    this.#options.metrics.ended(name, ended.verdict.is, clock.monotonicMs() - startedMs);
    return { next: 'again', afterMs: Math.max(0, next.dueMs - clock.monotonicMs()), why: ended.verdict.message };
  }

  /** Nothing is due: only what it waits for is looked at. */
  async #between(sync: JoinedGitSync, memory: SyncMemory, nowMs: number): Promise<QueueOutcome> {
    const { waiting } = memory;
    const { name } = sync.metadata;
    let dueMs = memory.dueMs;
    if (waiting !== undefined) {
      const verdict = this.#healthVerdict(waiting.revision, waiting.ids, nowMs < waiting.untilMs);
      if (verdict.is === 'ready') this.#memories.set(name, { ...memory, waiting: undefined });
      else if (nowMs < waiting.untilMs) dueMs = Math.min(dueMs, waiting.untilMs);
      const { status = {} } = sync;
      const isNews = conditionOf(sync, 'Ready')?.reason !== verdict.reason;
      await this.#teller.tell(
        sync,
        this.#teller.statusFor(sync, verdict.is === 'ready' ? { ...status, lastAppliedRevision: waiting.revision } : status, verdict),
      );
      if (isNews) this.#teller.announce(sync, verdict);
      if (verdict.is === 'ready') this.#options.metrics.ended(name, 'ready', undefined);
    }
    return { next: 'again', afterMs: Math.max(0, dueMs - nowMs), why: 'the repository is asked again then' };
  }

  async #sync(
    sync: JoinedGitSync,
    spec: GitSyncSpec,
    status: GitSyncStatus,
    memory: SyncMemory | undefined,
    signal: AbortSignal,
  ): Promise<Ended> {
    const failed = (verdict: Verdict, more = status): Ended => {
      this.#teller.announce(sync, verdict);
      return { verdict, status: this.#teller.statusFor(sync, more, verdict), memory: {} };
    };
    const settings = settingsOf(spec);
    if ('problem' in settings) return failed({ is: 'stalled', reason: 'InvalidSpec', message: settings.problem });
    const waitsFor = this.#unreadyDependency(spec);
    if (waitsFor !== undefined) return failed({ is: 'failing', reason: 'DependencyNotReady', message: waitsFor });
    let attempted = status;
    try {
      const source = await openSource(spec, settings, this.#options, signal);
      const revision = await resolveRevision(source, this.#options);
      if (this.#isQuiet(sync, status, memory, revision)) return this.#nothingNew(sync, status, memory!, revision);
      attempted = await this.#attempting(sync, status, revision);
      const documents = await loadRevision(source, revision, this.#options);
      return await this.#apply(sync, spec, settings, attempted, revision, documents);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      return failed({ is: error.isFinal ? 'stalled' : 'failing', reason: error.reason, message: error.message } as Verdict, attempted);
    }
  }

  /** The commit is the one of the last complete sync, and nobody has touched what that one wrote. */
  #isQuiet({ metadata }: JoinedGitSync, status: GitSyncStatus, memory: SyncMemory | undefined, { commit }: Revision): boolean {
    const { cache } = this.#options;
    if (memory?.commit !== commit || memory.generation !== metadata.generation) return false;
    if ((status.inventory ?? []).length !== memory.revisions.size) return false;
    for (const [id, revision] of memory.revisions) {
      const parsed = parseId(id);
      if (parsed === undefined || cache.object(parsed.kind.plural, parsed.name)?.modRevision !== revision) return false;
    }
    return true;
  }

  #nothingNew(sync: JoinedGitSync, status: GitSyncStatus, memory: SyncMemory, revision: Revision): Ended {
    const text = revisionText(revision);
    const { waiting, commit, revisions } = memory;
    const isInTime = waiting !== undefined && this.#options.clock.monotonicMs() < waiting.untilMs;
    const verdict = waiting === undefined ? appliedVerdict(text) : this.#healthVerdict(text, waiting.ids, isInTime);
    const isReady = verdict.is === 'ready';
    return {
      verdict,
      // Tags and branches may name the same commit by turns.
      status: this.#teller.statusFor(
        sync,
        isReady ? { ...status, lastAttemptedRevision: text, lastAppliedRevision: text } : status,
        verdict,
      ),
      memory: { commit, revisions, waiting: isReady ? undefined : waiting },
    };
  }

  /** Says that a new revision is on its way before the long part begins. */
  async #attempting(sync: JoinedGitSync, status: GitSyncStatus, revision: Revision): Promise<GitSyncStatus> {
    const text = revisionText(revision);
    if (status.lastAttemptedRevision === text) return status;
    const verdict: Verdict = { is: 'working', reason: 'Progressing', message: `applying ${shortRevision(text)}` };
    const attempted = this.#teller.statusFor(sync, { ...status, lastAttemptedRevision: text }, verdict);
    await this.#teller.tell(sync, attempted);
    return attempted;
  }

  async #apply(
    sync: JoinedGitSync,
    spec: GitSyncSpec,
    { maxDeletePercent, timeoutMs }: SyncSettings,
    status: GitSyncStatus,
    revision: Revision,
    documents: readonly SyncDocument[] | undefined,
  ): Promise<Ended> {
    const { cache, door, fence, isCautious, clock } = this.#options;
    const { name, annotations = {} } = sync.metadata;
    const text = revisionText(revision);
    const consent = annotations[confirmPruneAnnotation];
    const isConfirmed = consent !== undefined && consent !== status.lastHandledConfirmation && isConsentTo(consent, text);
    const inventory = status.inventory ?? ownedBy(cache, name);
    const plan = planSync({
      name,
      documents,
      inventory,
      live: liveIn(cache),
      isGitSync: (other) => cache.object('gitsyncs', other) !== undefined,
      prune: spec.prune ?? false,
      maxDeletePercent,
      isConfirmed,
      isCautious: isCautious(),
    });
    this.#checkTemplates(plan, documents ?? []);
    if (Buffer.byteLength(JSON.stringify(plan.inventory)) > syncLimits.maxInventoryBytes) {
      throw new SourceError(
        'InvalidManifests',
        true,
        `nothing of ${shortRevision(text)} is applied: the path describes more objects than one GitSync can keep count of; split it`,
      );
    }
    if (spec.mode === 'detect') return this.#detected(sync, status, text, plan, await carryOut(plan, name, { door, cache, dryRun: true }));

    // Objects that are new are noted before they are made: a leader that dies in between leaves none behind that nobody answers for.
    const noted = [...new Set([...inventory, ...plan.inventory])].sort();
    if (noted.length > inventory.length) await this.#teller.tell(sync, { ...(this.#teller.current(name) ?? status), inventory: noted });
    const applied = await carryOut(plan, name, { door, cache, fence });
    this.#teller.tellOfObjects(sync, text, applied);
    const failedToGo = applied.failures.map(({ id }) => id).filter((id) => inventory.includes(id));
    const kept =
      applied.failures.length === 0 ? plan.inventory : [...new Set([...plan.inventory, ...plan.prune.flat(), ...failedToGo])].sort();
    const didSomething = applied.created.length + applied.changed.length + applied.pruned.length > 0;
    const isKnown = status.lastAppliedRevision === text && sync.status?.observedGeneration === sync.metadata.generation;
    const isDrift = isKnown && applied.changed.length + applied.created.length > 0;
    if (isDrift)
      this.#teller.record(
        sync,
        'Warning',
        'DriftCorrected',
        `${someOf([...applied.changed, ...applied.created])} differed from ${shortRevision(text)} and was set right.`,
      );
    const next: GitSyncStatus = {
      ...status,
      inventory: [...kept],
      ...(didSomething ? { lastChange: changeOf(text, clock.now().toISOString(), applied) } : {}),
      ...(isConfirmed && applied.failures.length === 0 ? { lastHandledConfirmation: consent } : {}),
    };
    const trouble = troubleOf(name, text, plan, applied.failures, inventory.length, maxDeletePercent);
    for (const { id, owner } of plan.conflicts) {
      const message = `GitSync ${name} claims ${id}, too, and is refused; one of the two has to give it up.`;
      this.#options.events.record({ kind: 'GitSync', name: owner }, 'Warning', 'Conflict', message);
    }
    if (trouble !== undefined) {
      this.#teller.announce(sync, trouble);
      return { verdict: trouble, status: this.#teller.statusFor(sync, next, trouble), memory: {} };
    }
    const untilMs = clock.monotonicMs() + timeoutMs;
    const verdict = spec.wait ? this.#healthVerdict(text, plan.inventory, true) : appliedVerdict(text);
    if (didSomething) this.#teller.record(sync, 'Normal', 'RevisionApplied', `${shortRevision(text)}: ${countsText(applied)}.`);
    return {
      verdict,
      status: this.#teller.statusFor(sync, verdict.is === 'ready' ? { ...next, lastAppliedRevision: text } : next, verdict),
      memory: {
        commit: revision.commit,
        revisions: applied.revisions,
        waiting: verdict.is === 'ready' ? undefined : { revision: text, ids: plan.inventory, untilMs },
      },
    };
  }

  /** An instance that follows a template which is nowhere could not be written, half-way through the revision. */
  #checkTemplates(plan: SyncPlan, documents: readonly SyncDocument[]): void {
    const { cache } = this.#options;
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

  #detected(sync: JoinedGitSync, status: GitSyncStatus, text: string, plan: SyncPlan, would: Applied): Ended {
    const { clock } = this.#options;
    const pruned = plan.prune.flat();
    const leaving = [...pruned, ...plan.held].sort();
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
    this.#teller.announce(sync, verdict);
    const change = changeOf(text, clock.now().toISOString(), outcome);
    // Nothing is its own while it only looks: what it made before stays noted.
    return { verdict, status: this.#teller.statusFor(sync, { ...status, lastChange: change }, verdict), memory: {} };
  }

  #healthVerdict(text: string, ids: readonly string[], isInTime: boolean): Verdict {
    const { cache } = this.#options;
    const sick = ids.flatMap((id) => {
      const parsed = parseId(id);
      const why = parsed && unhealthyBecause(parsed.kind.plural, cache.joined(parsed.kind.plural, parsed.name));
      return why === undefined ? [] : [`${id}: ${why}`];
    });
    if (sick.length === 0) return appliedVerdict(text);
    const message = `${shortRevision(text)} is applied, and ${sick.length} of ${ids.length} objects are not healthy${isInTime ? ' yet' : ''}: ${someOf(sick)}`;
    return isInTime ? { is: 'working', reason: 'WaitingForHealth', message } : { is: 'failing', reason: 'Unhealthy', message };
  }

  #unreadyDependency({ dependsOn = [] }: GitSyncSpec): string | undefined {
    const { cache } = this.#options;
    for (const { name } of dependsOn) {
      const other = cache.joined('gitsyncs', name);
      if (other === undefined) return `it depends on GitSync ${name}, which does not exist`;
      const ready = conditionOf(other, 'Ready');
      if (ready?.status !== 'True' || ready.observedGeneration !== other.metadata.generation)
        return `it waits for GitSync ${name}, which is not ready`;
    }
    return undefined;
  }

  #remember(sync: JoinedGitSync, spec: GitSyncSpec, { verdict, memory }: Ended): SyncMemory {
    const { clock, random } = this.#options;
    const { name, generation = 0 } = sync.metadata;
    const settings = settingsOf(spec);
    const intervalMs = ('problem' in settings ? 60_000 : settings.intervalMs) * (1 + syncLimits.jitter * random());
    const failures = verdict.is === 'failing' && verdict.reason !== 'Unhealthy' ? (this.#memories.get(name)?.failures ?? 0) + 1 : 0;
    const isBrief = verdict.is === 'failing' && (verdict.reason === 'Caution' || verdict.reason === 'DependencyNotReady');
    const retryMs = isBrief ? syncLimits.againMs : backoffMs(syncLimits.retry, Math.max(1, failures), random);
    const waitMs = failures > 0 ? Math.min(retryMs, Math.max(intervalMs, syncLimits.againMs)) : intervalMs;
    const nowMs = clock.monotonicMs();
    const next: SyncMemory = {
      generation,
      commit: memory.commit,
      revisions: memory.revisions ?? new Map(),
      waiting: memory.waiting,
      failures,
      dueMs: nowMs + waitMs,
    };
    this.#memories.set(name, next);
    return memory.waiting === undefined ? next : { ...next, dueMs: Math.min(next.dueMs, Math.max(memory.waiting.untilMs, nowMs)) };
  }
}

/** Whether a human or a webhook asked for a sync that has not been made yet. */
export function isAsked(sync: GitSync): boolean {
  const { annotations = {} } = sync.metadata;
  const requested = annotations[reconcileRequestedAnnotation];
  if (requested !== undefined && requested !== sync.status?.lastHandledReconcileAt) return true;
  const consent = annotations[confirmPruneAnnotation];
  return consent !== undefined && consent !== sync.status?.lastHandledConfirmation && conditionOf(sync, 'Ready')?.reason === 'PruneHeld';
}

function handledRequest({ metadata }: JoinedGitSync): Pick<GitSyncStatus, 'lastHandledReconcileAt'> {
  const requested = metadata.annotations?.[reconcileRequestedAnnotation];
  return requested === undefined ? {} : { lastHandledReconcileAt: requested };
}
