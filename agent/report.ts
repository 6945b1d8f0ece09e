/**
 * Tells the server what was seen: differences only, in batches, one on its way at a time, so that a busy machine's reports grow together
 * instead of queueing up. A unit that flaps is told of at a rate of its own.
 */
import { isDeepStrictEqual } from 'node:util';
import type { UnitState } from '../api/resources/assignment.js';
import type { Clock } from '../runtime/clock.js';

export interface ReporterOptions {
  readonly clock: Clock;
  /** What is to be told of the unit now; undefined when nothing is. */
  readonly state: (name: string) => UnitState | undefined;
  /** Whether the agent is in the middle of changing it: what is in between is not worth a report of its own. */
  readonly isMoving?: (name: string) => boolean;
}

export type StatesBatch = { readonly batch: number; readonly states: Readonly<Record<string, UnitState>> };

/** What systemd sends together is read together, and a unit that is being changed is told of at the end: nothing is worth a longer wait. */
const gatherMs = 0;
/** When one report follows another. */
const gatherBusyMs = 10;
/** A change that takes longer than this is told of while it goes on. */
const movingPatienceMs = 150;
const maxBatch = 200;
/** So many changes of one unit are told at once, then one per refill. */
const burst = 10;
const refillMs = 1_000;

interface Allowance {
  left: number;
  /** Monotonic milliseconds. */
  since: number;
}

export class Reporter {
  readonly #options: ReporterOptions;
  /** Unit → monotonic milliseconds since when there is something to tell. */
  readonly #dirty = new Map<string, number>();
  #sentAtMs = Number.NEGATIVE_INFINITY;
  readonly #allowances = new Map<string, Allowance>();
  #known = new Map<string, UnitState>();
  #send: ((batch: StatesBatch) => void) | undefined;
  #onItsWay: StatesBatch | undefined;
  #batch = 0;
  #timer: { readonly dueMs: number; cancel(): void } | undefined;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** Something about the unit may be different. */
  changed(name: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (!this.#dirty.has(name)) this.#dirty.set(name, nowMs);
    if (this.#options.isMoving?.(name)) this.#flushIn(movingPatienceMs);
    else this.#flushIn(nowMs - this.#sentAtMs < gatherBusyMs ? gatherBusyMs : gatherMs);
  }

  /** A stream is open: `known` is what the server has, `names` is all that there is to tell of. */
  connected(send: (batch: StatesBatch) => void, known: Readonly<Record<string, UnitState>>, names: Iterable<string>): void {
    this.#send = send;
    this.#onItsWay = undefined;
    this.#known = new Map(Object.entries(known));
    for (const name of names) this.#dirty.set(name, this.#options.clock.monotonicMs());
    this.#flushIn(gatherMs);
  }

  disconnected(): void {
    this.#send = undefined;
    this.#onItsWay = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** The server has stored that batch. */
  stored(batch: number): void {
    if (this.#onItsWay?.batch !== batch) return;
    for (const [name, state] of Object.entries(this.#onItsWay.states)) this.#known.set(name, state);
    this.#onItsWay = undefined;
    if (this.#dirty.size > 0) this.#flushIn(0);
  }

  #flushIn(delayMs: number): void {
    if (!this.#send || this.#onItsWay) return;
    const dueMs = this.#options.clock.monotonicMs() + delayMs;
    if (this.#timer && this.#timer.dueMs <= dueMs) return;
    this.#timer?.cancel();
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#flush();
    });
    this.#timer = { dueMs, cancel };
  }

  #flush(): void {
    if (!this.#send || this.#onItsWay) return;
    const states: Record<string, UnitState> = {};
    let told = 0;
    let waitMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#options.clock.monotonicMs();
    for (const [name, sinceMs] of this.#dirty) {
      if (told === maxBatch) break;
      const patienceMs = sinceMs + movingPatienceMs - nowMs;
      if (patienceMs > 0 && this.#options.isMoving?.(name)) {
        waitMs = Math.min(waitMs, patienceMs);
        continue;
      }
      const state = this.#options.state(name);
      if (state === undefined || isDeepStrictEqual(state, this.#known.get(name))) {
        this.#dirty.delete(name);
        continue;
      }
      const heldMs = this.#spend(name);
      if (heldMs > 0) {
        waitMs = Math.min(waitMs, heldMs);
        continue;
      }
      this.#dirty.delete(name);
      states[name] = state;
      told += 1;
    }
    if (told > 0) {
      this.#batch += 1;
      this.#onItsWay = { batch: this.#batch, states };
      this.#sentAtMs = nowMs;
      this.#send(this.#onItsWay);
    } else if (waitMs < Number.POSITIVE_INFINITY) this.#flushIn(waitMs);
  }

  /** Takes one from the unit's allowance; milliseconds to wait when it is used up. */
  #spend(name: string): number {
    const nowMs = this.#options.clock.monotonicMs();
    const allowance = this.#allowances.get(name) ?? { left: burst, since: nowMs };
    this.#allowances.set(name, allowance);
    const refills = Math.floor((nowMs - allowance.since) / refillMs);
    allowance.left = Math.min(burst, allowance.left + refills);
    allowance.since = allowance.left === burst ? nowMs : allowance.since + refills * refillMs;
    if (allowance.left === 0) return allowance.since + refillMs - nowMs;
    allowance.left -= 1;
    return 0;
  }

  /** The unit is no longer assigned here. */
  forget(name: string): void {
    this.#dirty.delete(name);
    this.#allowances.delete(name);
    this.#known.delete(name);
  }
}
