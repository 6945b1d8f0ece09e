/**
 * The joined changes of the recent past, for HTTP watches (SEMANTICS 1, 2). Each kind remembers its own, so that a busy kind does not
 * push a quiet one's history out. A watcher costs a call per revision of its kind, never a join.
 */
import type { Logger } from '../../runtime/log.js';
import { type Metrics, noMetrics } from '../../runtime/metrics.js';
import { StatusError } from '../resources/errors.js';
import type { Joined, ObjectEvent, WatchHub } from './ports.js';
import { firstRevisionAfter } from './resource-version.js';

export const hubLimits = {
  /** Joined changes that one kind remembers. */
  eventsPerKind: 10_000,
  /** And how much memory they may take, roughly. */
  bytesPerKind: 32 * 1024 * 1024,
};

type Listener = Parameters<WatchHub['watch']>[2];

interface Watcher {
  /** Revisions below are known to the client. */
  readonly first: number;
  readonly listener: Listener;
}

interface Revision {
  readonly revision: number;
  readonly events: readonly ObjectEvent[];
  readonly bytes: number;
}

export class Hub implements WatchHub {
  readonly #kinds = new Map<string, KindHistory>();
  readonly #limits: typeof hubLimits;
  /** Every change of this revision and later ones is or will be known; infinite until the first list. */
  #startsAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly log: Logger,
    metrics: Metrics = noMetrics,
    limits: Partial<typeof hubLimits> = {},
  ) {
    this.#limits = { ...hubLimits, ...limits };
    const perKind = (value: (kind: KindHistory) => number) => () =>
      [...this.#kinds].map(([plural, kind]) => ({ labels: { plural }, value: value(kind) }));
    metrics.observe(
      'gauge',
      'flotilla_watch_hub_watchers',
      'Watches that are open.',
      ['plural'],
      perKind((kind) => kind.watchers.size),
    );
    metrics.observe(
      'gauge',
      'flotilla_watch_hub_events',
      'Changes remembered.',
      ['plural'],
      perKind((kind) => kind.size),
    );
    metrics.observe(
      'gauge',
      'flotilla_watch_hub_bytes',
      'Memory that they take, roughly.',
      ['plural'],
      perKind((kind) => kind.bytes),
    );
  }

  watch(plural: string, from: number, listener: Listener): () => void {
    const kind = this.#kind(plural);
    const first = firstRevisionAfter(from);
    if (first < kind.startsAt) {
      const why = Number.isFinite(kind.startsAt) ? `the oldest one remembered is ${2 * kind.startsAt - 1}` : 'this server has just started';
      throw new StatusError('Expired', `too old resource version: ${from}: ${why}`);
    }
    const watcher = { first, listener };
    kind.watchers.add(watcher);
    for (const { events, revision } of kind.since(first)) {
      // The listener may have had enough in the middle of the replay; it cannot unsubscribe before this returns.
      this.#guarded(() => listener.onEvents(events, revision));
    }
    return () => void kind.watchers.delete(watcher);
  }

  rewound(plural: string, revision: number, now: readonly Joined[]): readonly Joined[] | undefined {
    const kind = this.#kind(plural);
    if (revision + 1 < kind.startsAt) return undefined;
    const objects = new Map(now.map((object) => [object.metadata.uid, object]));
    for (const { events } of kind.since(revision + 1).reverse()) {
      for (const { object, previous } of events) {
        objects.delete(object.metadata.uid);
        if (previous) objects.set(previous.metadata.uid, previous);
      }
    }
    return [...objects.values()].sort(({ metadata: a }, { metadata: b }) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /** Takes what one revision changed, by plural, and tells the watchers. */
  publish(revision: number, changes: ReadonlyMap<string, readonly ObjectEvent[]>): void {
    for (const [plural, events] of changes) {
      const kind = this.#kind(plural);
      kind.remember({ revision, events, bytes: events.reduce((sum, { object }) => sum + roughBytes(object), 0) }, this.#limits);
      for (const { first, listener } of kind.watchers) {
        if (revision >= first) this.#guarded(() => listener.onEvents(events, revision));
      }
    }
  }

  /** The cache was listed anew at `revision`: what happened before it is not known change by change, so every watch ends. */
  restart(revision: number): void {
    this.#startsAt = revision + 1;
    const watchers = [...this.#kinds.values()].flatMap((kind) => [...kind.watchers]);
    this.#kinds.clear();
    for (const { listener } of watchers) this.#guarded(() => listener.onExpired());
  }

  #kind(plural: string): KindHistory {
    const known = this.#kinds.get(plural);
    if (known) return known;
    const kind = new KindHistory(this.#startsAt);
    this.#kinds.set(plural, kind);
    return kind;
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.log.error('a watcher failed', { error });
    }
  }
}

/** A queue of revisions with an end that forgets. */
class KindHistory {
  readonly watchers = new Set<Watcher>();
  size = 0;
  bytes = 0;
  #revisions: Revision[] = [];
  /** What lies before this index has been forgotten. */
  #head = 0;

  constructor(public startsAt: number) {}

  remember(revision: Revision, limits: typeof hubLimits): void {
    this.#revisions.push(revision);
    this.size += revision.events.length;
    this.bytes += revision.bytes;
    while (this.size > limits.eventsPerKind || this.bytes > limits.bytesPerKind) {
      const oldest = this.#revisions[this.#head];
      if (!oldest) break;
      this.#head++;
      this.size -= oldest.events.length;
      this.bytes -= oldest.bytes;
      this.startsAt = oldest.revision + 1;
    }
    if (this.#head > 1_000 && this.#head > this.#revisions.length / 2) {
      this.#revisions = this.#revisions.slice(this.#head);
      this.#head = 0;
    }
  }

  since(first: number): Revision[] {
    let low = this.#head;
    let high = this.#revisions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#revisions[middle] as Revision).revision < first) low = middle + 1;
      else high = middle;
    }
    return this.#revisions.slice(low);
  }
}

/** About what a value takes in memory. */
function roughBytes(value: unknown): number {
  if (typeof value === 'string') return 16 + value.length;
  if (typeof value !== 'object' || value === null) return 8;
  let bytes = 32;
  if (Array.isArray(value)) for (const item of value) bytes += 8 + roughBytes(item);
  else for (const key in value) bytes += 16 + roughBytes((value as Record<string, unknown>)[key]);
  return bytes;
}
