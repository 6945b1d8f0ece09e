/** A clock that stands still until the test moves it: timers fire in the order of their due times, each at its own moment. */
import type { Clock } from '../../runtime/clock.js';

interface Timer {
  readonly dueMs: number;
  /** Timers of one moment fire in the order in which they were set. */
  readonly order: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #elapsedMs = 0;
  #order = 0;
  #wallMs: number;
  readonly #timers = new Set<Timer>();

  constructor(start = new Date('2026-01-01T00:00:00.000Z')) {
    this.#wallMs = start.getTime();
  }

  now(): Date {
    return new Date(this.#wallMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { dueMs: this.#elapsedMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** How many timers are set: a test that leaks none ends at 0. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer fires; undefined when none is set. */
  get nextInMs(): number | undefined {
    const next = this.#next();
    return next && next.dueMs - this.#elapsedMs;
  }

  /** Moves time on and lets everything that became due run to rest, promises included, before the next timer fires. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + byMs;
    await settle();
    for (let next = this.#next(); next && next.dueMs <= untilMs; next = this.#next()) {
      this.#fire(next);
      await settle();
    }
    this.#moveTo(untilMs);
    await settle();
  }

  /** As `advance`, for code without promises. */
  advanceSync(byMs: number): void {
    const untilMs = this.#elapsedMs + byMs;
    for (let next = this.#next(); next && next.dueMs <= untilMs; next = this.#next()) this.#fire(next);
    this.#moveTo(untilMs);
  }

  /** Someone sets the wall clock; the monotonic one does not notice. */
  stepWallClock(byMs: number): void {
    this.#wallMs += byMs;
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (!next || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order)) next = timer;
    }
    return next;
  }

  #fire(timer: Timer): void {
    this.#timers.delete(timer);
    this.#moveTo(timer.dueMs);
    timer.run();
  }

  #moveTo(elapsedMs: number): void {
    if (elapsedMs <= this.#elapsedMs) return;
    this.#wallMs += elapsedMs - this.#elapsedMs;
    this.#elapsedMs = elapsedMs;
  }
}

/** Lets every promise that can settle now do so. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
