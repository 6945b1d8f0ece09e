/**
 * `?watch=true`: one JSON line per change, from a resourceVersion on (SEMANTICS 1). The current state first where the client has none;
 * then what the hub says, as seen through the client's selectors; bookmarks; and 410 as an ERROR line when history was lost.
 */
import type { Clock, Random } from '../../runtime/clock.js';
import type { Joined, ObjectEvent, WatchHub } from '../objects/ports.js';
import { listVersion } from '../objects/resource-version.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import type { ServerLimits } from './limits.js';
import type { Representation } from './negotiation.js';
import type { WatchOptions } from './query.js';
import type { ReadableCache } from './readable-cache.js';
import { formKey, renderBookmark, renderEventObject, viewOf } from './representation.js';

type EventType = ObjectEvent['type'];
export type Matches = (object: Joined) => boolean;

/** What a change is to somebody who only sees the objects that match; undefined when it is nothing to them. */
export function seenThrough(event: ObjectEvent, matches: Matches | undefined): { type: EventType; object: Joined } | undefined {
  const { type, object, previous } = event;
  if (matches === undefined) return { type, object };
  const was = previous === undefined ? type !== 'ADDED' : matches(previous);
  const is = type !== 'DELETED' && matches(object);
  if (was && is) return { type: 'MODIFIED', object };
  if (is) return { type: 'ADDED', object };
  if (!was) return undefined;
  if (type === 'DELETED') return previous !== undefined || matches(object) ? { type, object } : undefined;
  // It still exists but left the selection: what the watcher knew of it, dated by the change that took it away.
  const last = previous ?? object;
  return { type: 'DELETED', object: { ...last, metadata: { ...last.metadata, resourceVersion: object.metadata.resourceVersion } } };
}

interface Frame {
  readonly second: number;
  readonly bytes: Buffer;
}

/**
 * The lines of events, each made once per form however many watch it. What was made first is forgotten first when all of them together
 * become too many bytes: a line is then made again for whoever still wants it. A Table shows ages, so its lines are good for the second
 * in which they were made.
 */
export class EventFrames {
  readonly #frames = new Map<ObjectEvent, Map<string, Frame>>();
  #bytes = 0;

  constructor(private readonly ports: Pick<WatchPorts, 'cache' | 'clock'> & { readonly limits: Pick<ServerLimits, 'maxFrameBytes'> }) {}

  of(kind: Kind, event: ObjectEvent, seen: { type: EventType; object: Joined }, as: Representation, withColumns: boolean): Buffer {
    const key = `${seen.type} ${formKey(as)} ${withColumns}`;
    const second = as.form === 'table' ? Math.floor(this.ports.clock.monotonicMs() / 1000) : 0;
    const known = this.#frames.get(event)?.get(key);
    if (known?.second === second) return known.bytes;
    const bytes = Buffer.from(eventLine(seen.type, renderEventObject(kind, seen.object, as, viewOf(this.ports), withColumns)));
    this.#keep(event, key, { second, bytes });
    return bytes;
  }

  #keep(event: ObjectEvent, key: string, frame: Frame): void {
    const ofEvent = this.#frames.get(event) ?? new Map<string, Frame>();
    this.#bytes += frame.bytes.length - (ofEvent.get(key)?.bytes.length ?? 0);
    ofEvent.set(key, frame);
    this.#frames.set(event, ofEvent);
    for (const [oldest, frames] of this.#frames) {
      if (this.#bytes <= this.ports.limits.maxFrameBytes) return;
      this.#frames.delete(oldest);
      for (const { bytes } of frames.values()) this.#bytes -= bytes.length;
    }
  }
}

const eventLine = (type: EventType | 'BOOKMARK' | 'ERROR', objectJson: string): string => `{"type":"${type}","object":${objectJson}}\n`;

/** Where the lines go. */
export interface WatchSink {
  write(chunks: readonly (Buffer | string)[]): void;
  /** Bytes written that the client has not taken yet. */
  readonly backlogBytes: number;
  /** Resolves once the client has taken what was written, or is gone. */
  drained(): Promise<void>;
  /** Ends the answer after what was written. */
  end(): void;
  /** Drops the connection and what was written. */
  cut(): void;
}

/** Why a watch ended, for the metrics. */
export type WatchEnd = 'timeout' | 'client' | 'slow' | 'expired' | 'closing';

export interface WatchPorts {
  readonly cache: ReadableCache;
  readonly hub: Pick<WatchHub, 'watch'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: ServerLimits;
  readonly frames: EventFrames;
}

export interface WatchRequest {
  readonly kind: Kind;
  readonly as: Representation;
  readonly matches: Matches | undefined;
  readonly options: WatchOptions;
}

/** How the watch begins: decided before the answer's head is sent, so that a bad start is still a plain HTTP error. */
export interface WatchStart {
  readonly initial: readonly Joined[] | undefined;
  /** Wire resourceVersion to follow from. */
  readonly from: number;
}

/** From one look at the cache, so that state and changes meet without a gap. The cache holds the asked revision already. */
export function startWatch(cache: ReadableCache, kind: Kind, options: WatchOptions): WatchStart {
  const asked = options.resourceVersion ?? 0;
  const now = Number(listVersion(cache.revision));
  if (options.sendInitialEvents ?? asked === 0) return { initial: cache.joinedAll(kind.plural), from: now };
  return { initial: undefined, from: asked === 0 ? now : asked };
}

/**
 * Runs one watch to its end.
 * @param gone aborts when the client has closed the connection
 * @param closing aborts when the server goes down
 */
export async function runWatch(
  ports: WatchPorts,
  request: WatchRequest,
  start: WatchStart,
  sink: WatchSink,
  gone: AbortSignal,
  closing: AbortSignal,
): Promise<WatchEnd> {
  const { cache, hub, clock, random, limits, frames } = ports;
  const { kind, as, matches, options } = request;
  let withColumns = true;

  // The initial state goes out at the client's pace; what changes meanwhile waits in the hub's memory, not in ours.
  for (const object of start.initial ?? []) {
    if (matches && !matches(object)) continue;
    sink.write([eventLine('ADDED', renderEventObject(kind, object, as, viewOf(ports), withColumns))]);
    withColumns = false;
    if (sink.backlogBytes > initialHighWaterBytes) {
      const wait = await untilTaken(sink, clock, limits.maxInitialStallMs, closing);
      if (gone.aborted) return 'client';
      // Half a state must not be followed by the bookmark that ends a whole one, nor by changes to objects that were never shown.
      if (wait === 'slow') sink.cut();
      else if (wait === 'closing') sink.end();
      if (wait !== 'taken') return wait;
    }
  }
  if (start.initial && options.sendInitialEvents === true && options.allowWatchBookmarks) {
    sink.write([eventLine('BOOKMARK', renderBookmark(kind, String(start.from), as, true))]);
  }

  return new Promise((resolve) => {
    let ended = false;
    const cleanUp: (() => void)[] = [];
    const end = (why: WatchEnd, last?: string): void => {
      if (ended) return;
      ended = true;
      for (const undo of cleanUp) undo();
      if (last !== undefined) sink.write([last]);
      if (why === 'slow' || why === 'client') sink.cut();
      else sink.end();
      resolve(why);
    };
    const expired = (message: string): void =>
      end('expired', eventLine('ERROR', JSON.stringify(new StatusError('Expired', message).toStatus())));

    // What the hub replays at once is bounded by its own memory; only what gathers after that tells a slow client.
    let allowedBytes = Number.POSITIVE_INFINITY;
    const onEvents = (events: readonly ObjectEvent[]): void => {
      if (ended) return;
      const lines: Buffer[] = [];
      for (const event of events) {
        const seen = seenThrough(event, matches);
        if (seen === undefined) continue;
        lines.push(frames.of(kind, event, seen, as, withColumns));
        withColumns = false;
      }
      if (lines.length === 0) return;
      sink.write(lines);
      if (sink.backlogBytes > allowedBytes) end('slow');
    };

    const onAbort = (signal: AbortSignal, why: WatchEnd): void => {
      const listener = () => end(why);
      signal.addEventListener('abort', listener);
      cleanUp.push(() => signal.removeEventListener('abort', listener));
      if (signal.aborted) listener();
    };
    onAbort(gone, 'client');
    onAbort(closing, 'closing');
    if (ended) return;

    try {
      const unsubscribe = hub.watch(kind.plural, start.from, {
        onEvents,
        onExpired: () => expired('the history of changes was lost: list again and watch from there'),
      });
      if (ended) unsubscribe();
      else cleanUp.push(unsubscribe);
    } catch (error) {
      if (!(error instanceof StatusError) || error.reason !== 'Expired') throw error;
      return expired(error.message);
    }
    if (ended) return;
    allowedBytes = sink.backlogBytes + limits.maxWatchBacklogBytes;

    // Without a timeout of the client's own, watches end spread out, so that they do not all come back in one moment.
    const timeoutMs = options.timeoutSeconds ? options.timeoutSeconds * 1000 : limits.watchTimeoutMs * (1 + random());
    cleanUp.push(clock.after(timeoutMs, () => end('timeout')));

    if (!options.allowWatchBookmarks) return;
    let cancelBookmark = () => {};
    const bookmarkLater = (): void => {
      cancelBookmark = clock.after(limits.bookmarkEveryMs, () => {
        sink.write([eventLine('BOOKMARK', renderBookmark(kind, listVersion(cache.revision), as, false))]);
        if (sink.backlogBytes > allowedBytes) end('slow');
        else bookmarkLater();
      });
    };
    cleanUp.push(() => cancelBookmark());
    bookmarkLater();
  });
}

/** The initial state waits for the client beyond this. */
const initialHighWaterBytes = 1024 * 1024;

/** Resolves once the client has taken what was written; says why when nobody waits for that any longer. */
const untilTaken = (sink: WatchSink, clock: Clock, limitMs: number, closing: AbortSignal): Promise<'taken' | 'slow' | 'closing'> =>
  new Promise((resolve) => {
    const done = (how: 'taken' | 'slow' | 'closing'): void => {
      cancel();
      closing.removeEventListener('abort', onClosing);
      resolve(how);
    };
    const onClosing = () => done('closing');
    const cancel = clock.after(limitMs, () => done('slow'));
    closing.addEventListener('abort', onClosing);
    if (closing.aborted) onClosing();
    void sink.drained().then(() => done('taken'));
  });
