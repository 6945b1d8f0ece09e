/**
 * Events: what happened to objects, for people (SEMANTICS 10). Recording one costs its caller nothing and cannot fail; what cannot be
 * written is counted and logged. All events of five minutes hang on one lease, so they cost the store one lease and vanish together.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../runtime/clock.js';
import { type Logger, silentLogger } from '../../runtime/log.js';
import { type Lease, LeaseGone, type Store, type Write } from '../../runtime/store/store.js';
import type { Event } from '../resources/event.js';
import type { Keys } from '../resources/keys.js';
import { apiVersionOf, kinds } from '../resources/registry.js';
import type { ClusterCache } from './ports.js';

/** The object that an event is about. */
export interface EventSubject {
  readonly kind: string;
  readonly name: string;
  readonly uid?: string | undefined;
}

export interface EventRecorder {
  /**
   * @param reason one CamelCase word, for programs
   * @param message a sentence, for people; no secrets
   * @param source who says it, when it is not the recorder's own component
   */
  record(about: EventSubject, type: 'Normal' | 'Warning', reason: string, message: string, source?: Event['source']): void;
  /** Writes what waits, for as long as `stopMs` allows, and takes no more. */
  stop(): Promise<void>;
}

export interface EventRecorderOptions {
  readonly store: Pick<Store, 'commit' | 'lease'>;
  readonly cache: Pick<ClusterCache, 'eventsAbout' | 'untilRevision'>;
  readonly keys: Keys;
  readonly clock: Clock;
  /** Who says it: `scheduler`, `server`... */
  readonly component: string;
  readonly host?: string;
  readonly log?: Logger;
}

export const eventLimits = {
  /** Events of one bucket share a lease. */
  bucketMs: 300_000,
  /** An event is kept this long at least, a bucket longer at most. */
  keptMs: 3_600_000,
  /** The same event is written again at most this often; in between it is counted. */
  repeatMs: 10_000,
  maxPerObject: 100,
  /** Different events of one object that one recorder writes in one bucket: who says more has found a way to say the same differently. */
  maxNewPerObject: 25,
  /** Events that wait to be written. */
  maxWaiting: 1_000,
  /** Written at a time. */
  batch: 50,
  maxMessageLength: 1_024,
  retryMs: 1_000,
  /** Races that one event may lose against other writers. */
  maxTries: 10,
  stopMs: 2_000,
};

export const openEventRecorder = (options: EventRecorderOptions): EventRecorder => new Recorder(options);

interface Waiting {
  readonly key: string;
  readonly plural: string;
  readonly id: string;
  readonly event: Omit<Event, 'count' | 'firstTimestamp' | 'lastTimestamp'>;
  readonly first: string;
  last: string;
  /** How often it happened since it was last written. */
  count: number;
  /** Not to be written before. */
  readonly dueMs: number;
  /** What was tried when the answer was lost: seen in the cache later, it is known to have been written. */
  attempt?: { readonly count: number; readonly lastTimestamp: string };
  tries: number;
}

class Recorder implements EventRecorder {
  private readonly log: Logger;
  private readonly waiting = new Map<string, Waiting>();
  /** When each event was last written, while that still matters. */
  private readonly writtenMs = new Map<string, number>();
  private readonly newInBucket = new Map<string, number>();
  private bucket = 0;
  private lease: { readonly bucket: number; readonly granted: Promise<Lease> } | undefined;
  private dropped = 0;
  private timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;
  /** Until then the store is left alone: it could not take the last batch. */
  private notBeforeMs = 0;
  private flushing: Promise<void> | undefined;
  private stopped = false;

  constructor(private readonly options: EventRecorderOptions) {
    this.log = options.log ?? silentLogger;
  }

  record(about: EventSubject, type: 'Normal' | 'Warning', reason: string, message: string, from?: Event['source']): void {
    if (this.stopped) return;
    const kind = kinds.find((candidate) => candidate.kind === about.kind);
    if (!kind) {
      this.drop('unknown kind');
      return;
    }
    const { keys, clock, component, host } = { ...this.options, ...from };
    const now = clock
      .now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z');
    const told = message.length > eventLimits.maxMessageLength ? `${message.slice(0, eventLimits.maxMessageLength - 1)}…` : message;
    // The same event has the same key on every server and after every restart.
    const id = createHash('sha256')
      .update(JSON.stringify([about.uid, component, type, reason, told, ...(from?.host === undefined ? [] : [from.host])]))
      .digest('hex')
      .slice(0, 16);
    const key = keys.event(kind.plural, about.name, id);
    const same = this.waiting.get(key);
    if (same) {
      same.count++;
      same.last = now;
      return;
    }
    if (this.waiting.size >= eventLimits.maxWaiting || !this.allow(`${kind.plural}/${about.name}`, key)) {
      this.drop(this.waiting.size >= eventLimits.maxWaiting ? 'too many wait' : 'too many about one object');
      return;
    }
    this.waiting.set(key, {
      key,
      plural: kind.plural,
      id,
      event: {
        apiVersion: 'v1',
        kind: 'Event',
        // 256 characters are allowed: the id alone makes the name unique.
        metadata: { name: `${about.name.slice(0, 230)}.${id}`, creationTimestamp: now },
        involvedObject: { apiVersion: apiVersionOf(kind), kind: about.kind, name: about.name, ...(about.uid ? { uid: about.uid } : {}) },
        reason,
        message: told,
        type,
        source: { component, ...(host === undefined ? {} : { host }) },
      },
      first: now,
      last: now,
      count: 1,
      tries: 0,
      dueMs: Math.max(clock.monotonicMs(), (this.writtenMs.get(key) ?? Number.NEGATIVE_INFINITY) + eventLimits.repeatMs),
    });
    if (this.timer === undefined || this.timer.dueMs > this.waiting.get(key)!.dueMs) this.schedule();
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.timer?.cancel();
    const { clock } = this.options;
    let cancelLate = () => {};
    const late = new Promise<void>((resolve) => {
      cancelLate = clock.after(eventLimits.stopMs, resolve);
    });
    const rest = async () => {
      await this.flushing;
      await this.flush(Number.POSITIVE_INFINITY);
    };
    await Promise.race([rest().catch((error: unknown) => this.log.warn('events could not be written', { error })), late]);
    cancelLate();
    if (this.waiting.size > 0) this.log.warn('events were not written before the end', { count: this.waiting.size });
  }

  private drop(why: string): void {
    this.dropped++;
    this.log.debug('event dropped', { why });
  }

  /** Counts different events of an object; those that were written lately are repetitions and free. */
  private allow(object: string, key: string): boolean {
    this.enterBucket();
    if (this.writtenMs.has(key)) return true;
    const used = this.newInBucket.get(object) ?? 0;
    if (used >= eventLimits.maxNewPerObject) return false;
    this.newInBucket.set(object, used + 1);
    return true;
  }

  private enterBucket(): number {
    const bucket = Math.floor(this.options.clock.monotonicMs() / eventLimits.bucketMs);
    if (bucket === this.bucket) return bucket;
    this.bucket = bucket;
    this.newInBucket.clear();
    const oldestMs = this.options.clock.monotonicMs() - eventLimits.repeatMs;
    for (const [key, atMs] of this.writtenMs) if (atMs < oldestMs) this.writtenMs.delete(key);
    if (this.dropped > 0) this.log.warn('events were dropped', { count: this.dropped });
    this.dropped = 0;
    return bucket;
  }

  /** Sets the timer for the event that is due first, or for later when the store needs a rest. */
  private schedule(): void {
    if (this.flushing || this.stopped || this.waiting.size === 0) return;
    const { clock } = this.options;
    const dueMs = Math.max(this.notBeforeMs, Math.min(...[...this.waiting.values()].map((waiting) => waiting.dueMs)));
    this.timer?.cancel();
    const cancel = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      this.timer = undefined;
      this.flushing = this.flush(clock.monotonicMs()).then(
        () => this.afterFlush(0),
        (error: unknown) => {
          this.log.warn('events could not be written', { error, waiting: this.waiting.size });
          this.afterFlush(clock.monotonicMs() + eventLimits.retryMs);
        },
      );
    });
    this.timer = { dueMs, cancel };
  }

  private afterFlush(notBeforeMs: number): void {
    this.flushing = undefined;
    this.notBeforeMs = notBeforeMs;
    this.schedule();
  }

  /** Writes what is due, batch by batch; the next batch is decided on what the cache shows of the one before. */
  private async flush(nowMs: number): Promise<void> {
    for (;;) {
      const batch = [...this.waiting.values()].filter(({ dueMs }) => dueMs <= nowMs).slice(0, eventLimits.batch);
      if (batch.length === 0) return;
      const lease = await this.currentLease();
      const doomed = this.doomed(batch);
      const outcomes = await Promise.allSettled(batch.map((waiting) => this.write(waiting, lease, doomed.get(waiting.key) ?? [])));
      const revision = Math.max(0, ...outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : 0)));
      await this.options.cache.untilRevision(revision);
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed) throw failed.reason;
    }
  }

  /** For each event to be written, the oldest ones of its object that have to make room for it. */
  private doomed(batch: readonly Waiting[]): ReadonlyMap<string, string[]> {
    const doomed = new Map<string, string[]>();
    const byObject = new Map<string, Waiting[]>();
    for (const waiting of batch) {
      const object = `${waiting.plural}/${waiting.event.involvedObject.name}`;
      byObject.set(object, [...(byObject.get(object) ?? []), waiting]);
    }
    for (const events of byObject.values()) {
      const { plural, event } = events[0]!;
      const stored = this.options.cache.eventsAbout(plural, event.involvedObject.name);
      const added = events.filter(({ id }) => !stored.has(id));
      const written = new Set(events.map(({ key }) => key));
      const oldest = [...stored.values()].filter(({ key }) => !written.has(key)).sort((a, b) => a.modRevision - b.modRevision);
      const excess = oldest.slice(0, Math.max(0, stored.size + added.length - eventLimits.maxPerObject)).map(({ key }) => key);
      for (const [index, { key }] of added.entries()) {
        const share = Math.ceil(excess.length / added.length);
        doomed.set(key, excess.slice(index * share, (index + 1) * share).slice(0, maxDoomed));
      }
    }
    return doomed;
  }

  /** Resolves to the revision; what was counted meanwhile stays waiting for its turn. */
  private async write(waiting: Waiting, lease: Lease, doomed: readonly string[]): Promise<number> {
    const { key, plural, event, first, last, count, attempt } = waiting;
    const row = this.options.cache.eventsAbout(plural, event.involvedObject.name).get(waiting.id);
    if (attempt && row?.value.count === attempt.count && row.value.lastTimestamp === attempt.lastTimestamp) {
      this.settled(waiting, count);
      return row.modRevision;
    }
    const value: Event = {
      ...event,
      count: (row?.value.count ?? 0) + count,
      firstTimestamp: row?.value.firstTimestamp ?? first,
      lastTimestamp: last,
    };
    waiting.attempt = { count: value.count, lastTimestamp: last };
    const write: Write = {
      compares: [{ key, modRevision: row?.modRevision ?? 0 }],
      operations: [
        { do: 'put', key, value: JSON.stringify(value), lease: lease.id },
        ...doomed.map((old) => ({ do: 'delete', key: old }) as const),
      ],
    };
    try {
      const outcome = await this.options.store.commit(write);
      // Another server was faster with the same event: the next round counts on from there.
      if (outcome.ok) this.settled(waiting, count);
      else if (++waiting.tries >= eventLimits.maxTries) {
        this.waiting.delete(key);
        this.drop('lost too many races');
      }
      return outcome.revision;
    } catch (error) {
      if (error instanceof LeaseGone) this.lease = undefined;
      throw error;
    }
  }

  private settled(waiting: Waiting, count: number): void {
    const { key } = waiting;
    this.waiting.delete(key);
    const nowMs = this.options.clock.monotonicMs();
    this.writtenMs.set(key, nowMs);
    if (waiting.count === count) return;
    const { attempt: _done, ...rest } = waiting;
    this.waiting.set(key, { ...rest, count: waiting.count - count, tries: 0, dueMs: nowMs + eventLimits.repeatMs });
  }

  private async currentLease(): Promise<Lease> {
    const bucket = this.enterBucket();
    if (this.lease?.bucket !== bucket) {
      const granted = this.options.store.lease(eventLimits.keptMs + eventLimits.bucketMs, { keepAlive: 'manual' });
      this.lease = { bucket, granted };
    }
    try {
      return await this.lease.granted;
    } catch (error) {
      this.lease = undefined;
      throw error;
    }
  }
}

/** Keys deleted beside one put, so that a write stays small; the next one goes on. */
const maxDoomed = 20;
