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
import { ownRevision } from './apply.js';
import { applyRevision } from './apply-revision.js';
import { unreadyDependency } from './dependencies.js';
import { healthVerdict } from './health.js';
import { ensureFinalizer, finish } from './leaving.js';
import type { Ended, Settled, SyncMemory } from './memory.js';
import type { GitSyncMetrics } from './metrics.js';
import { ParsedFiles } from './parsed-files.js';
import type { GitSources } from './ports.js';
import { handledRequest, isAsked } from './requests.js';
import { nextLook } from './schedule.js';
import { settingsOf } from './settings.js';
import { mayBegin, slotLimits } from './slots.js';
import { fetchRevision, openSource, readRevision, resolveRevision, SourceError } from './source.js';
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
  readonly #parsed = new ParsedFiles();
  #slowUnderWay = 0;

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
    const isSlow = this.#memories.get(name)?.isSlow ?? false;
    if (!mayBegin(isSlow, this.#slowUnderWay)) {
      if (isHurried) this.hurry(name);
      return { next: 'again', afterMs: slotLimits.againMs, why: 'its repository is slow, and others that are have begun' };
    }
    const startedMs = nowMs;
    this.#slowUnderWay += Number(isSlow);
    const ended = await this.#sync(sync, spec, status, memory, signal)
      .catch((error: unknown) => {
        // It is tried again, and what made it hurry would be forgotten by then.
        if (isHurried) this.hurry(name);
        throw error;
      })
      .finally(() => {
        this.#slowUnderWay -= Number(isSlow);
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
    const { clock } = this.#options;
    let attempted = status;
    const startedMs = clock.monotonicMs();
    let hasItAtMs = Number.POSITIVE_INFINITY;
    const wasSlow = () => ({ isSlow: Math.min(hasItAtMs, clock.monotonicMs()) - startedMs > slotLimits.slowMs });
    try {
      const source = await openSource(spec, settings, this.#options, signal);
      const revision = await resolveRevision(source, this.#options);
      const text = revisionText(revision);
      if (memory?.settled !== undefined && this.#isQuiet(sync, memory, memory.settled, revision)) {
        const ended = this.#nothingNew(sync, status, memory, memory.settled, text);
        return { ...ended, memory: { ...ended.memory, ...wasSlow() } };
      }
      attempted = this.#attempting(sync, status, text);
      const reading = fetchRevision(source, revision, this.#options).then((fetched) => {
        hasItAtMs = clock.monotonicMs();
        return readRevision(fetched, this.#options, this.#parsed);
      });
      // What is on its way is said meanwhile; what is written after that relies on its having been.
      const [told, read] = await Promise.allSettled([this.#teller.tell(sync, attempted), reading]);
      if (told.status === 'rejected') throw told.reason;
      if (read.status === 'rejected') throw read.reason;
      const known = memory?.written ?? new Map();
      const ended = await applyRevision(sync, spec, settings, attempted, read.value, known, { ...this.#options, teller: this.#teller });
      return { ...ended, memory: { ...ended.memory, ...wasSlow() } };
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      const { reason, isFinal, message } = error;
      const ended = failed({ is: isFinal ? 'stalled' : 'failing', reason, message } as Verdict, attempted);
      return { ...ended, memory: { isSlow: reason === 'FetchFailed' } };
    }
  }

  /** The revision is the one of the last look that came to its end, and nobody has touched what that one saw. */
  #isQuiet({ metadata, spec, status }: JoinedGitSync, { generation }: SyncMemory, settled: Settled, revision: Revision): boolean {
    const { cache } = this.#options;
    if (settled.commit !== revision.commit || settled.tag !== revision.tag || generation !== metadata.generation) return false;
    // What was found is said with the revision's name.
    if (spec?.mode === 'detect' && status?.lastAttemptedRevision !== revisionText(revision)) return false;
    // A status that was lost is made anew.
    if (settled.inventory !== status?.inventory?.length) return false;
    for (const [id, own] of settled.seen) if (ownRevision(cache, id) !== own) return false;
    return true;
  }

  #nothingNew(sync: JoinedGitSync, status: GitSyncStatus, { waiting, written }: SyncMemory, settled: Settled, text: string): Ended {
    const { cache, clock } = this.#options;
    const isDetecting = sync.spec?.mode === 'detect';
    const isInTime = waiting !== undefined && clock.monotonicMs() < waiting.untilMs;
    const verdict = isDetecting
      ? settled.verdict
      : waiting === undefined
        ? appliedVerdict(text, settled.inventory ?? 0)
        : healthVerdict(cache, text, waiting.ids, isInTime);
    const isApplied = verdict.is === 'ready' && !isDetecting;
    return {
      verdict,
      // Tags and branches may name the same commit by turns.
      status: this.#teller.statusFor(
        sync,
        isApplied ? { ...status, lastAttemptedRevision: text, lastAppliedRevision: text } : status,
        verdict,
      ),
      memory: { settled, written, waiting: verdict.is === 'ready' ? undefined : waiting },
    };
  }

  /** Says that a new revision is on its way before the long part begins. */
  #attempting(sync: JoinedGitSync, status: GitSyncStatus, text: string): GitSyncStatus {
    if (status.lastAttemptedRevision === text) return status;
    const verdict: Verdict = { is: 'working', reason: 'Progressing', message: `applying ${shortRevision(text)}` };
    return this.#teller.statusFor(sync, { ...status, lastAttemptedRevision: text }, verdict);
  }

  #remember({ metadata }: JoinedGitSync, spec: GitSyncSpec, { verdict, memory }: Ended): SyncMemory {
    const { clock, random } = this.#options;
    const { name, generation = 0 } = metadata;
    const before = this.#memories.get(name);
    const settings = settingsOf(spec);
    const intervalMs = 'problem' in settings ? gitSyncDefaults.intervalMs : settings.intervalMs;
    const { waitMs, failures } = nextLook(verdict, before?.failures ?? 0, intervalMs, random);
    const nowMs = clock.monotonicMs();
    const { settled: ended, written = before?.written ?? new Map(), waiting, isSlow = false } = memory;
    const next: SyncMemory = { generation, settled: ended, written, waiting, failures, isSlow, dueMs: nowMs + waitMs };
    this.#memories.set(name, next);
    return waiting === undefined ? next : { ...next, dueMs: Math.min(next.dueMs, Math.max(waiting.untilMs, nowMs)) };
  }
}
