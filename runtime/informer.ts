/**
 * An informer: list, then watch, then list again when the store's history is gone, and once in a while to make sure. It turns a prefix of
 * the store into batches, one per revision, that a cache applies. It never takes an outage for emptiness: only a list that succeeded can
 * remove a key (invariant 13).
 */
import { backoffMs } from './backoff.js';
import { type Clock, type Random, sleep } from './clock.js';
import type { Logger } from './log.js';
import { type Metrics, noMetrics } from './metrics.js';
import type { Entry, Store, Watch, WatchEvent } from './store/store.js';

/** One key's change; `entry` is absent when the key was deleted. */
export interface KeyChange {
  readonly key: string;
  readonly entry?: Entry;
}

export interface KeyBatch {
  readonly revision: number;
  readonly changes: readonly KeyChange[];
  /** From a list, not from the watch: deletions are concluded from absence, and what lay between is not known. The first batch is one. */
  readonly relisted: boolean;
}

export interface InformerHandler {
  /** Called synchronously, in the order of revisions. A throw is logged and counted; the informer goes on. */
  batch(batch: KeyBatch): void;
  /** `revision` grew, with or without a batch. */
  progress?(revision: number): void;
}

export interface InformerOptions {
  /** For logs and metrics. */
  readonly name: string;
  readonly store: Pick<Store, 'list' | 'watch'>;
  readonly prefix: string;
  readonly handler: InformerHandler;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly limits?: Partial<typeof informerLimits>;
}

export const informerLimits = {
  /** How often a fresh list is compared with what the watch has told; ±10 %. */
  verifyEveryMs: 300_000,
  /** How long the watch may take to reach the revision of that list before it is replaced. */
  catchUpMs: 15_000,
  /** Wait between attempts while the store does not answer, and between lists that follow one another. */
  retry: { baseMs: 100, capMs: 5_000 },
  /** A watch that lived this long was a good one: the back-off starts anew. */
  healthyAfterMs: 10_000,
};

/** What must be remembered of a key to see later that it changed. Values are the handler's business. */
export interface KeyStamp {
  readonly createRevision: number;
  readonly modRevision: number;
}

export interface Informer {
  readonly keys: ReadonlyMap<string, KeyStamp>;
  /** Everything up to and including this revision has been handed over; 0 before the first list. */
  readonly revision: number;
  /** Asks the store to say how far the watch is, for a caller who waits for a revision. Best effort. */
  requestProgress(): void;
  /** Nothing is handed over after this returns. */
  stop(): void;
}

export const startInformer = (options: InformerOptions): Informer => new ListWatch(options);

type WatchEnd = 'compacted' | 'difference' | 'stalled' | 'stopped';

class ListWatch implements Informer {
  readonly keys = new Map<string, KeyStamp>();
  revision = 0;

  readonly #options: InformerOptions;
  readonly #limits: typeof informerLimits;
  readonly #stop = new AbortController();
  readonly #count: ReturnType<typeof countersOf>;
  #watch: Watch | undefined;
  #wakeCaughtUp: (() => void) | undefined;
  /** While a list is being compared: keys that were deleted meanwhile, and when. */
  #deletions: Map<string, number> | undefined;

  constructor(options: InformerOptions) {
    this.#options = options;
    this.#limits = { ...informerLimits, ...options.limits };
    this.#count = countersOf(options.metrics ?? noMetrics, options.name);
    this.#run().catch((error: unknown) => options.log.error('informer ended', { informer: options.name, error }));
  }

  requestProgress(): void {
    this.#watch?.requestProgress?.();
  }

  stop(): void {
    this.#stop.abort();
    this.#closeWatch();
  }

  async #run(): Promise<void> {
    const { clock, random, log, name } = this.#options;
    let shortLived = 0;
    let why: WatchEnd | 'start' = 'start';
    for (;;) {
      const listed = await this.#listUntilAnswered();
      if (!listed) return;
      this.#count.relists(why);
      this.#adopt(listed);

      const sinceMs = clock.monotonicMs();
      why = await this.#follow(listed.revision);
      if (why === 'stopped') return;
      shortLived = clock.monotonicMs() - sinceMs < this.#limits.healthyAfterMs ? shortLived + 1 : 0;
      log.info('listing again', { informer: name, why, revision: this.revision });
      // The first time at once; a store that compacts faster than we list must not be answered by a storm of lists.
      if (shortLived > 1) await sleep(clock, backoffMs(this.#limits.retry, shortLived - 1, random), this.#stop.signal);
    }
  }

  /** Keeps what is known while the store is away. Undefined once stopped. */
  async #listUntilAnswered(): Promise<{ entries: Entry[]; revision: number } | undefined> {
    const { store, prefix, clock, random, log, name } = this.#options;
    for (let failures = 1; !this.#stop.signal.aborted; failures++) {
      try {
        const listed = await store.list(prefix, this.#stop.signal);
        if (this.#stop.signal.aborted) return undefined;
        if (failures > 1) log.info('store answers again', { informer: name, failures: failures - 1 });
        return listed;
      } catch (error) {
        if (this.#stop.signal.aborted) return undefined;
        this.#count.listFailures();
        if (failures === 1) log.warn('cannot list, trying again', { informer: name, error });
        await sleep(clock, backoffMs(this.#limits.retry, failures, random), this.#stop.signal);
      }
    }
    return undefined;
  }

  /** Takes a complete list over what is known, and hands over the difference. */
  #adopt({ entries, revision }: { entries: readonly Entry[]; revision: number }): void {
    const changes: KeyChange[] = [];
    const gone = new Set(this.keys.keys());
    for (const entry of entries) {
      gone.delete(entry.key);
      const known = this.keys.get(entry.key);
      if (known?.modRevision === entry.modRevision && known.createRevision === entry.createRevision) continue;
      this.keys.set(entry.key, stampOf(entry));
      changes.push({ key: entry.key, entry });
    }
    for (const key of gone) {
      this.keys.delete(key);
      changes.push({ key });
    }
    if (revision < this.revision) {
      this.#options.log.error('the store went back in time, as after a restore from a backup: taking over what it holds now', {
        informer: this.#options.name,
        from: this.revision,
        to: revision,
      });
    }
    this.revision = revision;
    this.#handOver({ revision, changes, relisted: true });
  }

  /** Watches from `revision` on until the watch has to be replaced; says why. */
  #follow(revision: number): Promise<WatchEnd> {
    const { store, prefix, log, name } = this.#options;
    return new Promise<WatchEnd>((resolve) => {
      const ended = new AbortController();
      const end = (why: WatchEnd) => {
        if (ended.signal.aborted) return;
        ended.abort();
        this.#stop.signal.removeEventListener('abort', stopped);
        this.#closeWatch();
        resolve(why);
      };
      const stopped = () => end('stopped');
      if (this.#stop.signal.aborted) return resolve('stopped');
      this.#stop.signal.addEventListener('abort', stopped);

      this.#watch = store.watch(prefix, revision, {
        events: (events, last) => {
          if (!ended.signal.aborted) this.#onEvents(events, last);
        },
        progress: (at) => {
          if (!ended.signal.aborted) this.#reach(at);
        },
        compacted: () => end('compacted'),
        interrupted: (error) => {
          this.#count.interruptions();
          log.warn('watch interrupted', { informer: name, error });
        },
      });
      // A watch may end while it is being opened, before there was anything to close.
      if (ended.signal.aborted) this.#closeWatch();
      this.#verifyEachPeriod(ended.signal, end).catch((error: unknown) => {
        log.error('comparing with a fresh list failed', { informer: name, error });
        end('stalled');
      });
    });
  }

  #onEvents(events: readonly WatchEvent[], last: number): void {
    let changes: KeyChange[] = [];
    let current = 0;
    const flush = () => {
      if (changes.length === 0) return;
      this.revision = current;
      this.#handOver({ revision: current, changes, relisted: false });
      changes = [];
    };
    for (const event of events) {
      const at = event.type === 'put' ? event.entry.modRevision : event.revision;
      if (at !== current) flush();
      current = at;
      if (event.type === 'put') {
        this.keys.set(event.entry.key, stampOf(event.entry));
        changes.push({ key: event.entry.key, entry: event.entry });
      } else {
        this.keys.delete(event.key);
        this.#deletions?.set(event.key, at);
        changes.push({ key: event.key });
      }
    }
    flush();
    this.#reach(last);
  }

  #reach(revision: number): void {
    if (revision > this.revision) {
      this.revision = revision;
      this.#guarded(() => this.#options.handler.progress?.(revision));
    }
    this.#wakeCaughtUp?.();
  }

  #handOver(batch: KeyBatch): void {
    this.#guarded(() => {
      this.#options.handler.batch(batch);
      this.#options.handler.progress?.(batch.revision);
    });
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#count.handlerErrors();
      this.#options.log.error('informer handler failed', { informer: this.#options.name, revision: this.revision, error });
    }
  }

  // A watch that silently lost something is the one fault that nothing else would show, so a fresh list is compared now and then.
  async #verifyEachPeriod(ended: AbortSignal, end: (why: WatchEnd) => void): Promise<void> {
    const { store, prefix, clock, random, log, name } = this.#options;
    for (;;) {
      await sleep(clock, this.#limits.verifyEveryMs * (0.9 + 0.2 * random()), ended);
      if (ended.aborted) return;
      const deletions = new Map<string, number>();
      this.#deletions = deletions;
      let listed: { entries: Entry[]; revision: number };
      try {
        listed = await store.list(prefix, ended);
      } catch (error) {
        if (ended.aborted) return;
        this.#count.listFailures();
        log.warn('cannot list to compare, trying again later', { informer: name, error });
        continue;
      }
      if (ended.aborted) return;
      if (!(await this.#caughtUpWith(listed.revision, ended))) {
        if (!ended.aborted) end('stalled');
        return;
      }
      this.#deletions = undefined;
      const different = this.#differences(listed, deletions);
      if (different.length > 0) {
        this.#count.differences(different.length);
        log.error('the watch had lost changes', { informer: name, count: different.length, keys: different.slice(0, 10) });
        return end('difference');
      }
    }
  }

  async #caughtUpWith(revision: number, ended: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + this.#limits.catchUpMs;
    while (this.revision < revision && !ended.aborted) {
      const leftMs = untilMs - clock.monotonicMs();
      if (leftMs <= 0) return false;
      const woken = new AbortController();
      const wake = () => woken.abort();
      this.#wakeCaughtUp = wake;
      ended.addEventListener('abort', wake);
      this.requestProgress();
      await sleep(clock, Math.min(1_000, leftMs), woken.signal);
      ended.removeEventListener('abort', wake);
      this.#wakeCaughtUp = undefined;
    }
    return !ended.aborted;
  }

  /** Keys on which a list of an earlier (or this) revision and the watch disagree. What the watch has moved on since is no difference. */
  #differences({ entries, revision }: { entries: readonly Entry[]; revision: number }, deletions: ReadonlyMap<string, number>): string[] {
    const different: string[] = [];
    const unseen = new Set(this.keys.keys());
    for (const entry of entries) {
      unseen.delete(entry.key);
      const known = this.keys.get(entry.key);
      const agrees = known
        ? known.modRevision === entry.modRevision || known.modRevision > revision
        : (deletions.get(entry.key) ?? 0) > revision;
      if (!agrees) different.push(entry.key);
    }
    for (const key of unseen) if ((this.keys.get(key)?.createRevision ?? 0) <= revision) different.push(key);
    return different;
  }

  #closeWatch(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#deletions = undefined;
  }
}

const stampOf = ({ createRevision, modRevision }: Entry): KeyStamp => ({ createRevision, modRevision });

function countersOf(metrics: Metrics, name: string) {
  const relists = metrics.counter('flotilla_informer_relists_total', 'Complete lists taken over, by reason.', ['name', 'reason']);
  const failures = metrics.counter('flotilla_informer_list_failures_total', 'Lists that the store did not answer.', ['name']);
  const differences = metrics.counter(
    'flotilla_informer_lost_changes_total',
    'Keys on which the watch and a fresh list disagreed. Anything but 0 is a bug.',
    ['name'],
  );
  const interruptions = metrics.counter('flotilla_informer_watch_interruptions_total', 'Times a watch had to be re-established.', ['name']);
  const handlerErrors = metrics.counter('flotilla_informer_handler_errors_total', 'Batches whose handler threw. Anything but 0 is a bug.', [
    'name',
  ]);
  differences.inc({ name }, 0);
  handlerErrors.inc({ name }, 0);
  return {
    relists: (reason: string) => relists.inc({ name, reason }),
    listFailures: () => failures.inc({ name }),
    differences: (count: number) => differences.inc({ name }, count),
    interruptions: () => interruptions.inc({ name }),
    handlerErrors: () => handlerErrors.inc({ name }),
  };
}
