/**
 * One look at one GitSync: what its repository says now, what the cluster has, and what is to be done about it. A sync that finds nothing
 * new asks the repository for one ref and compares revisions in memory.
 */
import type { ClusterCache, ObjectDoor } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import { type GitSyncSpec, type GitSyncStatus, gitSyncDefaults } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import type { Clock, Random } from '../../runtime/clock.js';
import { type Revision, revisionText } from '../../runtime/git/refs.js';
import type { Logger } from '../../runtime/log.js';
import type { Fence, Store } from '../../runtime/store/store.js';
import { type Outcome as QueueOutcome, settled } from '../../runtime/work-queue.js';
import type { EventRecorder } from '../events.js';
import { applyRevision } from './apply-revision.js';
import { unreadyDependency } from './dependencies.js';
import { parseId } from './documents.js';
import { healthVerdict } from './health.js';
import { ensureFinalizer, finish } from './leaving.js';
import type { Ended, SyncMemory } from './memory.js';
import type { GitSyncMetrics } from './metrics.js';
import type { GitSources } from './ports.js';
import { handledRequest, isAsked } from './requests.js';
import { nextLook } from './schedule.js';
import { settingsOf } from './settings.js';
import { loadRevision, openSource, resolveRevision, SourceError } from './source.js';
import { appliedVerdict, type Verdict } from './status.js';
import { type JoinedGitSync, Teller } from './telling.js';

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
      const verdict = healthVerdict(this.#options.cache, waiting.revision, waiting.ids, nowMs < waiting.untilMs);
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
    const waitsFor = unreadyDependency(spec, this.#options.cache);
    if (waitsFor !== undefined) return failed({ is: 'failing', reason: 'DependencyNotReady', message: waitsFor });
    let attempted = status;
    try {
      const source = await openSource(spec, settings, this.#options, signal);
      const revision = await resolveRevision(source, this.#options);
      if (this.#isQuiet(sync, status, memory, revision)) return this.#nothingNew(sync, status, memory!, revision);
      attempted = await this.#attempting(sync, status, revision);
      const documents = await loadRevision(source, revision, this.#options);
      const read = { text: revisionText(revision), commit: revision.commit, documents };
      return await applyRevision(sync, spec, settings, attempted, read, { ...this.#options, teller: this.#teller });
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
    const verdict = waiting === undefined ? appliedVerdict(text) : healthVerdict(this.#options.cache, text, waiting.ids, isInTime);
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

  #remember({ metadata }: JoinedGitSync, spec: GitSyncSpec, { verdict, memory }: Ended): SyncMemory {
    const { clock, random } = this.#options;
    const { name, generation = 0 } = metadata;
    const settings = settingsOf(spec);
    const intervalMs = 'problem' in settings ? gitSyncDefaults.intervalMs : settings.intervalMs;
    const { waitMs, failures } = nextLook(verdict, this.#memories.get(name)?.failures ?? 0, intervalMs, random);
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
