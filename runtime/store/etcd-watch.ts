/**
 * Watches, spoken directly on etcd's Watch stream. etcd3's own Watcher is not used: it resumes at the store's revision instead of the
 * last delivered event's and so loses what lay between, its manager jams after one refused watch, and it hides why it was cancelled.
 */
import type { IEvent, IKeyValue, IWatchResponse } from 'etcd3';
import type { Clock, Random } from '../clock.js';
import { type Endpoint, type Endpoints, prefixEnd, revisionOf, type WatchStream } from './etcd-client.js';
import { isReserved } from './reserved-keys.js';
import type { Entry, Watch, WatchEvent, WatchHandler } from './store.js';
import { withoutWriteId } from './write-id.js';

/** A stream that is not created in this time is given up for another. */
const CREATE_TIMEOUT_MS = 3000;
/** After this long without a message we ask the stream for one; after twice as long it counts as dead. */
const SILENCE_MS = 5000;
const BACKOFF_MS = { first: 50, longest: 2000 };

export interface SessionHandler {
  /** The watch stands; `revision` is where the member that serves it was at that moment. */
  created?(revision: number): void;
  /** Whole revisions. */
  events(events: readonly IEvent[]): void;
  progress?(revision: number): void;
  compacted(): void;
  /** The session is over; called once, and not after `compacted` or `close()`. */
  broken(error: Error): void;
}

/** One watch on one stream to one member, until it breaks. Every way in which a stream can die in silence ends in `broken`. */
export class WatchSession {
  readonly #cancels = new Set<() => void>();
  #stream: WatchStream | undefined;
  #over = false;
  #created = false;
  #heardAtMs: number;
  #fragments: IEvent[] = [];

  constructor(
    endpoint: Endpoint,
    range: { readonly key: Buffer; readonly end: Buffer },
    startRevision: number,
    private readonly clock: Clock,
    private readonly handler: SessionHandler,
  ) {
    this.#heardAtMs = clock.monotonicMs();
    this.#after(CREATE_TIMEOUT_MS, () => {
      if (!this.#created) this.#break(new Error(`no watch within ${CREATE_TIMEOUT_MS} ms`));
    });
    this.#listen(SILENCE_MS);
    endpoint.openWatch().then(
      (stream) => {
        // Nothing is awaited between here and the last listener, so no message can come in between.
        stream.on('error', (error) => this.#break(error));
        stream.on('end', () => this.#break(new Error('etcd ended the stream')));
        if (this.#over) {
          stream.cancel();
          return;
        }
        this.#stream = stream;
        stream.on('data', (response) => this.#receive(response));
        stream.write({
          create_request: {
            key: range.key,
            range_end: range.end,
            start_revision: startRevision,
            progress_notify: true,
            // Otherwise a backlog is one message of any size.
            fragment: true,
          },
        });
      },
      (error: Error) => this.#break(error),
    );
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    for (const cancel of this.#cancels) cancel();
    this.#stream?.cancel();
  }

  #receive(response: IWatchResponse): void {
    if (this.#over) return;
    this.#heardAtMs = this.clock.monotonicMs();
    if (response.canceled) {
      this.#cancelled(response);
      return;
    }
    const revision = revisionOf(response.header.revision);
    if (response.created) {
      this.#created = true;
      this.handler.created?.(revision);
      return;
    }
    const events = this.#fragments.length === 0 ? response.events : this.#fragments.concat(response.events);
    this.#fragments = response.fragment ? events : [];
    if (response.fragment) return;
    if (events.length > 0) this.handler.events(events);
    // An answer to a request for progress has no watch id. Until 3.4.25 it can overtake events, so it only proves that the stream lives;
    // etcd's periodic notification goes through the watch's own queue and can be believed.
    else if (response.watch_id === '0') this.handler.progress?.(revision);
  }

  #cancelled(response: IWatchResponse): void {
    if (response.compact_revision === '0') {
      this.#break(new Error(`etcd cancelled the watch: ${response.cancel_reason || 'no reason given'}`));
    } else {
      this.close();
      this.handler.compacted();
    }
  }

  /** Asks for a sign of life after a silence, and gives up when none comes. */
  #listen(delayMs: number): void {
    this.#after(delayMs, () => {
      const silentMs = this.clock.monotonicMs() - this.#heardAtMs;
      if (silentMs >= 2 * SILENCE_MS) {
        this.#break(new Error(`nothing heard for ${Math.round(silentMs)} ms`));
        return;
      }
      if (silentMs >= SILENCE_MS) this.#stream?.write({ progress_request: {} });
      this.#listen(silentMs < SILENCE_MS ? SILENCE_MS - silentMs : SILENCE_MS);
    });
  }

  #break(error: Error): void {
    if (this.#over) return;
    this.close();
    this.handler.broken(error);
  }

  #after(delayMs: number, run: () => void): void {
    const cancel = this.clock.after(delayMs, () => {
      this.#cancels.delete(cancel);
      run();
    });
    this.#cancels.add(cancel);
  }
}

export interface EtcdWatchOptions {
  readonly endpoints: Endpoints;
  readonly clock: Clock;
  readonly random: Random;
  readonly prefix: string;
  readonly after: number;
  readonly handler: WatchHandler;
  /** A linearizable read of the current revision. */
  readonly currentRevision: () => Promise<number>;
  /** The last revision in `(after, upTo]` that touched a key of the range; `after` when none did. */
  readonly lastChange: (prefix: string, after: number, upTo: number) => Promise<number>;
  readonly closed: (watch: EtcdWatch) => void;
}

/**
 * A watch that outlives its sessions. Its cursor is the revision of the last event that was handed over, and nothing else moves it but
 * a believable progress notification; what a new session repeats is dropped by it.
 */
export class EtcdWatch implements Watch {
  readonly #options: EtcdWatchOptions;
  readonly #range: { key: Buffer; end: Buffer };
  #session: WatchSession | undefined;
  #cancelRetry: (() => void) | undefined;
  #endpoint: Endpoint;
  #cursor: number;
  #closed = false;
  /** Sessions in a row that did not come to stand. */
  #failures = 0;
  /** An earlier session broke, and none stands since. */
  #broken = false;
  /** Proven by reading the history: nothing is missing up to `upTo` once `needs` has been delivered. */
  #proven: { needs: number; upTo: number } | undefined;
  #proving = false;

  constructor(options: EtcdWatchOptions) {
    this.#options = options;
    this.#range = { key: options.prefix === '' ? Buffer.from([0]) : Buffer.from(options.prefix), end: prefixEnd(options.prefix) };
    this.#cursor = options.after;
    this.#endpoint = options.endpoints.preferred;
    this.#open();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    this.#session?.close();
    this.#options.closed(this);
  }

  /**
   * Proves from the history that nothing is missing, instead of asking the stream: until etcd 3.4.25 the answer to a progress request
   * can overtake events.
   */
  requestProgress(): void {
    if (this.#proving || this.#closed) return;
    this.#proving = true;
    const after = this.#cursor;
    const prove = async () => {
      const upTo = await this.#options.currentRevision();
      const needs = upTo <= after ? after : await this.#options.lastChange(this.#options.prefix, after, upTo);
      this.#proven = { needs, upTo: Math.max(upTo, after) };
    };
    prove()
      .then(
        () => this.#reportProven(),
        (error: Error) => this.#interrupted(error),
      )
      .finally(() => {
        this.#proving = false;
      });
  }

  #reportProven(): void {
    const proven = this.#proven;
    if (!proven || this.#closed || this.#cursor < proven.needs) return;
    this.#proven = undefined;
    this.#progress(proven.upTo);
  }

  #progress(revision: number): void {
    this.#cursor = Math.max(this.#cursor, revision);
    this.#options.handler.progress?.(this.#cursor);
  }

  #interrupted(error: Error): void {
    if (!this.#closed) this.#options.handler.interrupted?.(error);
  }

  #open(): void {
    const { clock, handler } = this.#options;
    // From the cursor and not from the revision after it: a compaction of exactly that next revision is then refused by etcd, which
    // would otherwise leave out the deletions in it without a word. The repeated revision is dropped below.
    this.#session = new WatchSession(this.#endpoint, this.#range, Math.max(1, this.#cursor), clock, {
      created: () => {
        this.#failures = 0;
        if (this.#broken) this.#checkForRestore();
        this.#broken = false;
      },
      events: (events) => this.#deliver(events),
      progress: (revision) => {
        if (revision >= this.#cursor) this.#progress(revision);
      },
      compacted: () => {
        this.close();
        handler.compacted();
      },
      broken: (error) => this.#retry(error),
    });
  }

  #deliver(received: readonly IEvent[]): void {
    const events: WatchEvent[] = [];
    const after = this.#cursor;
    for (const event of received) {
      const revision = revisionOf(event.kv.mod_revision);
      if (revision <= after) continue;
      this.#cursor = revision;
      const key = event.kv.key.toString();
      if (!isReserved(key)) events.push(watchEventOf(key, event));
    }
    if (events.length > 0) this.#options.handler.events(events, this.#cursor);
    this.#reportProven();
  }

  #retry(error: Error): void {
    const { clock, random, endpoints } = this.#options;
    if (this.#closed) return;
    if (!this.#broken) this.#interrupted(error);
    this.#broken = true;
    const delayMs = Math.min(BACKOFF_MS.longest, BACKOFF_MS.first * 2 ** this.#failures) * (0.5 + random() / 2);
    this.#failures++;
    this.#endpoint = endpoints.after(this.#endpoint);
    this.#cancelRetry = clock.after(delayMs, () => this.#open());
  }

  /** etcd may have come back from a backup that is older than what we delivered: then our view is of a world that is gone. */
  #checkForRestore(): void {
    // Where we were when the question was asked: while the answer is on its way, events take the cursor past it.
    const delivered = this.#cursor;
    this.#options.currentRevision().then(
      (revision) => {
        if (this.#closed || revision >= delivered) return;
        this.close();
        this.#options.handler.compacted();
      },
      (error: Error) => this.#interrupted(error),
    );
  }
}

export function entryOf(kv: IKeyValue): Entry {
  return {
    key: kv.key.toString(),
    value: withoutWriteId(kv.value),
    createRevision: revisionOf(kv.create_revision),
    modRevision: revisionOf(kv.mod_revision),
    ...(kv.lease === '0' ? {} : { lease: kv.lease }),
  };
}

function watchEventOf(key: string, event: IEvent): WatchEvent {
  if (event.type === 'Put') return { type: 'put', entry: entryOf(event.kv) };
  return { type: 'delete', key, revision: revisionOf(event.kv.mod_revision) };
}
