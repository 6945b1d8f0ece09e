/**
 * Group commit (SEMANTICS 4): writes of many callers travel in one transaction, and each succeeds or fails alone.
 *
 * When an answer is lost, nothing is guessed. First the lost attempt is shut out: every transaction compares the revision of one key, the
 * seal, and writing that key makes every attempt that is still under way fail. From then on its fate is fixed, and the history up to the
 * sealing tells it, for every write leaves its id there. What was applied is answered as applied; the rest, now certainly not applied, is sent again.
 */
import { setMaxListeners } from 'node:events';
import { type Clock, type Random, sleep } from '../clock.js';
import type { Logger } from '../log.js';
import { type Fence, Fenced, OutcomeUnknown, StoreUnavailable, type Write, type WriteOptions, type WriteOutcome } from './store.js';
import { checkWrite } from './write-rules.js';

export interface Item {
  readonly write: Write;
  /** Stands in every value that the write puts. */
  readonly id: string;
}

export type BatchAnswer =
  /** Applied as one transaction; one outcome per item, in order. */
  | { readonly kind: 'done'; readonly outcomes: readonly WriteOutcome[] }
  | { readonly kind: 'fenced' }
  /** Somebody has replaced the seal: nothing was applied, this one is valid now. */
  | { readonly kind: 'sealed off'; readonly seal: number };

/** What became of a request that did not end with an answer. */
export type Failure =
  /** Nothing happened; it may work later or elsewhere. */
  | { readonly effect: 'none'; readonly error: Error }
  /** etcd refuses the request. `alone`: because of one write in it or because of its size, so it may be told apart by splitting. */
  | { readonly effect: 'refused'; readonly error: Error; readonly alone: boolean }
  /** etcd says no, to all or to one in it, and may have carried it out before: at any rate it is over. */
  | { readonly effect: 'doubtful'; readonly error: Error; readonly alone: true }
  | { readonly effect: 'unknown'; readonly error: Error };

/** What group commit needs of etcd. Each call is one attempt of at most `timeoutMs`; `failure` explains what it rejects with. */
export interface BatchWire {
  send(items: readonly Item[], fence: Fence | undefined, seal: number, timeoutMs: number): Promise<BatchAnswer>;
  readSeal(timeoutMs: number): Promise<number>;
  /** Replaces `seal`; resolves to the valid one and the revision at which the old one was certainly history. */
  replaceSeal(seal: number, timeoutMs: number): Promise<{ seal: number; revision: number }>;
  /** The ids among `ids` that were applied in `(after, upTo]`, with their revisions. */
  findApplied(ids: ReadonlySet<string>, after: number, upTo: number, timeoutMs: number): Promise<ReadonlyMap<string, number>>;
  /** Every write sent from now on gets a revision above this one. */
  lastRevision(): number;
  failure(error: unknown): Failure;
  /** How many of the transaction's operations the item needs for itself. */
  breadth(item: Item): number;
}

export interface GroupCommitOptions {
  readonly wire: BatchWire;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger | undefined;
  readonly newId: () => string;
  /** From the call to its answer, attempts and finding out included. */
  readonly timeoutMs: number;
  /** One attempt. */
  readonly attemptTimeoutMs: number;
}

const MAX_ITEMS = 120;
const MAX_BYTES = 1024 * 1024;
/** Bytes that each key costs beside its text. */
const FRAMING_BYTES = 64;
/**
 * etcd's default for operations in a transaction is 128; a nested one shares them with what surrounds it, and one is the store's own.
 */
const MAX_OPERATIONS = 127;
const MAX_IN_FLIGHT = 4;
/** How far a batch looks past writes that do not fit into it. */
const MAX_LOOK_AHEAD = 4 * MAX_ITEMS;
/** Beyond this etcd is so slow that waiting longer helps nobody. */
const MAX_WAITING = 50_000;
const BACKOFF_MS = { first: 20, longest: 500 };

interface Waiting extends Item {
  readonly fence: Fence | undefined;
  readonly bytes: number;
  readonly breadth: number;
  readonly deadlineMs: number;
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #inFlight = new Set<Promise<void>>();
  #waiting: Waiting[] = [];
  #scheduled = false;
  #cancelSweep: (() => void) | undefined;
  #seal: number | undefined;
  #closed = false;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  commit(write: Write, { fence, signal }: WriteOptions = {}): Promise<WriteOutcome> {
    const { clock, wire, newId, timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const bytes = checkWrite(write);
      signal?.throwIfAborted();
      if (this.#closed) throw new StoreUnavailable('the store is closed');
      if (this.#waiting.length >= MAX_WAITING) throw new StoreUnavailable(`${MAX_WAITING} writes are waiting already; nothing was written`);
      const id = newId();
      // Once sent, its outcome is awaited: an abort could only make it unknown.
      const withdraw = () => this.#withdraw(waiting, signal?.reason);
      const waiting: Waiting = {
        write,
        id,
        fence,
        bytes: bytes + (write.compares.length + write.operations.length) * FRAMING_BYTES,
        breadth: wire.breadth({ write, id }),
        deadlineMs: clock.monotonicMs() + timeoutMs,
        resolve: (outcome) => {
          signal?.removeEventListener('abort', withdraw);
          resolve(outcome);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', withdraw);
          reject(error);
        },
      };
      // One signal may end any number of writes.
      if (signal) setMaxListeners(0, signal);
      signal?.addEventListener('abort', withdraw);
      this.#waiting.push(waiting);
      this.#schedule();
    });
  }

  /** Refuses what waits and everything later, and resolves when what is in flight has ended; nothing is tried again from now on. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelSweep?.();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(new StoreUnavailable('the store is closed'));
    await Promise.all(this.#inFlight);
  }

  #withdraw(waiting: Waiting, reason: unknown): void {
    const at = this.#waiting.indexOf(waiting);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    waiting.reject(reason);
  }

  /** At the end of this turn of the event loop, so that all who were heard in it travel together, each from a connection of its own. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#waiting.length > 0 && this.#inFlight.size < MAX_IN_FLIGHT) this.#start(this.#takeBatch());
      this.#sweepLater();
    });
  }

  /** Refuses in time what cannot be sent because everything in flight hangs. */
  #sweepLater(): void {
    const [oldest] = this.#waiting;
    if (this.#cancelSweep || !oldest) return;
    const { clock } = this.#options;
    this.#cancelSweep = clock.after(Math.max(1, oldest.deadlineMs - clock.monotonicMs()), () => {
      this.#cancelSweep = undefined;
      const nowMs = clock.monotonicMs();
      while (this.#waiting[0] && this.#waiting[0].deadlineMs <= nowMs) {
        this.#waiting.shift()?.reject(new StoreUnavailable('etcd did not answer in time; the write was not sent'));
      }
      this.#sweepLater();
    });
  }

  /**
   * The oldest write and what may travel with it: under the same fence, and no key that one of them writes may be written or compared
   * by another. (etcd evaluates all compares first: two writes that each compare what the other one writes would both succeed.)
   */
  #takeBatch(): Waiting[] {
    const batch: Waiting[] = [];
    const passedOver: Waiting[] = [];
    const written = new Set<string>();
    const touched = new Set<string>();
    let bytes = 0;
    let broadest = 0;
    let looked = 0;
    for (const waiting of this.#waiting) {
      if (batch.length === MAX_ITEMS || looked === MAX_LOOK_AHEAD) break;
      looked++;
      const { operations, compares } = waiting.write;
      const fits =
        batch.length === 0 ||
        (batch.length + 1 + Math.max(broadest, waiting.breadth) <= MAX_OPERATIONS &&
          bytes + waiting.bytes <= MAX_BYTES &&
          sameFence(waiting.fence, batch[0]?.fence) &&
          !operations.some(({ key }) => touched.has(key)) &&
          !compares.some(({ key }) => written.has(key)));
      if (fits) {
        batch.push(waiting);
        bytes += waiting.bytes;
        broadest = Math.max(broadest, waiting.breadth);
      } else {
        passedOver.push(waiting);
      }
      // Those passed over count too: a later write of the same key does not overtake them.
      for (const { key } of operations) written.add(key);
      for (const { key } of [...operations, ...compares]) touched.add(key);
    }
    this.#waiting = [...passedOver, ...this.#waiting.slice(looked)];
    return batch;
  }

  #start(batch: readonly Waiting[]): void {
    const settled = this.#settle(batch)
      .catch((error: unknown) => {
        for (const waiting of batch) waiting.reject(error);
      })
      .finally(() => {
        this.#inFlight.delete(settled);
        if (this.#waiting.length > 0) this.#schedule();
      });
    this.#inFlight.add(settled);
  }

  /** Sends until every write of the batch has its outcome; rejects with what is true of all that have none. */
  async #settle(batch: readonly Waiting[]): Promise<void> {
    let unsettled = batch;
    for (let failures = 0; unsettled.length > 0; ) {
      const [first] = unsettled as readonly [Waiting];
      const attempt = await this.#attempt(unsettled, first);
      if (attempt.kind === 'done') {
        for (const [i, waiting] of unsettled.entries()) waiting.resolve(attempt.outcomes[i] as WriteOutcome);
        return;
      }
      if (attempt.kind === 'fenced') throw new Fenced(`no longer the holder of ${first.fence?.key}; nothing was written`);
      if (attempt.kind === 'sealed off') {
        if (this.#options.clock.monotonicMs() >= first.deadlineMs) throw new StoreUnavailable('nothing was written: the time was up');
      } else {
        const { failure } = attempt;
        if (failure.effect === 'doubtful') {
          unsettled = await this.#lookUp(unsettled, attempt, first.deadlineMs, failure.error);
          if (unsettled.length === 0) return;
        }
        if (failure.effect === 'refused' || failure.effect === 'doubtful') {
          if (!failure.alone || unsettled.length === 1) throw failure.error;
          const half = unsettled.length / 2;
          await Promise.all([this.#settleAlone(unsettled.slice(0, half)), this.#settleAlone(unsettled.slice(half))]);
          return;
        }
        this.#options.log?.warn('a batch of writes got no answer', {
          writes: unsettled.length,
          effect: failure.effect,
          error: failure.error.message,
        });
        if (failure.effect === 'unknown') unsettled = await this.#findOut(unsettled, attempt, first.deadlineMs, failure.error);
        if (unsettled.length === 0) return;
        if (!(await this.#pause(failures++, first.deadlineMs))) {
          throw new StoreUnavailable(`nothing was written: ${failure.error.message}`, { cause: failure.error });
        }
      }
    }
  }

  /** As `#settle` for a part of a batch, whose failure is its own. */
  async #settleAlone(part: readonly Waiting[]): Promise<void> {
    await this.#settle(part).catch((error: unknown) => {
      for (const waiting of part) waiting.reject(error);
    });
  }

  async #attempt(items: readonly Waiting[], { fence, deadlineMs }: Waiting): Promise<BatchAnswer | FailedAttempt> {
    const { wire } = this.#options;
    try {
      this.#seal ??= await wire.readSeal(this.#attemptMs(deadlineMs));
    } catch (error) {
      const failure = wire.failure(error);
      // Reading changes nothing, whatever became of the answer.
      return { kind: 'failed', failure: { effect: 'none', error: failure.error }, seal: 0, floor: 0 };
    }
    const seal = this.#seal;
    const floor = wire.lastRevision();
    try {
      const answer = await wire.send(items, fence, seal, this.#attemptMs(deadlineMs));
      if (answer.kind === 'sealed off') this.#replaced(seal, answer.seal);
      return answer;
    } catch (error) {
      return { kind: 'failed', failure: wire.failure(error), seal, floor };
    }
  }

  /** After an answer that leaves a doubt: resolves what was applied, returns what was not. */
  async #lookUp(items: readonly Waiting[], { floor }: FailedAttempt, deadlineMs: number, cause: Error): Promise<readonly Waiting[]> {
    const { wire } = this.#options;
    for (let failures = 0; ; failures++) {
      try {
        // Its answer carries the present revision, and that attempt is over.
        await wire.readSeal(this.#attemptMs(deadlineMs));
        return await this.#resolveApplied(items, floor, wire.lastRevision(), deadlineMs);
      } catch (error) {
        const failure = wire.failure(error);
        if (failure.effect !== 'refused' && (await this.#pause(failures, deadlineMs))) continue;
        throw new OutcomeUnknown(`the write may have been applied: ${cause.message}; finding out failed: ${failure.error.message}`, {
          cause,
        });
      }
    }
  }

  async #resolveApplied(items: readonly Waiting[], after: number, upTo: number, deadlineMs: number): Promise<readonly Waiting[]> {
    const ids = new Set(items.map((item) => item.id));
    const applied = await this.#options.wire.findApplied(ids, after, upTo, this.#attemptMs(deadlineMs));
    return items.filter((item) => {
      const revision = applied.get(item.id);
      if (revision !== undefined) item.resolve({ ok: true, revision });
      return revision === undefined;
    });
  }

  /** After a lost answer: resolves what was applied, returns what certainly was not and never will be by that attempt. */
  async #findOut(items: readonly Waiting[], lost: FailedAttempt, deadlineMs: number, cause: Error): Promise<readonly Waiting[]> {
    const { wire } = this.#options;
    for (let failures = 0; ; failures++) {
      try {
        const sealing = await wire.replaceSeal(lost.seal, this.#attemptMs(deadlineMs));
        this.#replaced(lost.seal, sealing.seal);
        return await this.#resolveApplied(items, lost.floor, sealing.revision, deadlineMs);
      } catch (error) {
        const failure = wire.failure(error);
        if (failure.effect === 'refused' || !(await this.#pause(failures, deadlineMs))) {
          throw new OutcomeUnknown(`the write may have been applied: ${cause.message}; finding out failed: ${failure.error.message}`, {
            cause,
          });
        }
      }
    }
  }

  /** Unless another batch has learned better meanwhile. */
  #replaced(old: number, seal: number): void {
    if (this.#seal === old) this.#seal = seal;
  }

  #attemptMs(deadlineMs: number): number {
    const { clock, attemptTimeoutMs } = this.#options;
    return Math.max(1, Math.min(attemptTimeoutMs, deadlineMs - clock.monotonicMs()));
  }

  /** Waits a little before the next try; false when there is no time for one. */
  async #pause(failures: number, deadlineMs: number): Promise<boolean> {
    const { clock, random } = this.#options;
    const delayMs = Math.min(BACKOFF_MS.longest, BACKOFF_MS.first * 2 ** failures) * (0.5 + random() / 2);
    if (this.#closed || clock.monotonicMs() + delayMs >= deadlineMs) return false;
    await sleep(clock, delayMs);
    return true;
  }
}

interface FailedAttempt {
  readonly kind: 'failed';
  readonly failure: Failure;
  /** The seal that the attempt carried, and the revision above which it would have been applied. */
  readonly seal: number;
  readonly floor: number;
}

const sameFence = (a: Fence | undefined, b: Fence | undefined): boolean => a?.key === b?.key && a?.createRevision === b?.createRevision;
