/** Ordered start and stop of a program's parts: each starts after the ones that it needs and stops before them, within a limit. */
import { type Clock, sleep, systemClock } from './clock.js';
import type { Logger } from './log.js';

/** Stops a part. `signal` aborts when its time is up, after which nobody waits for it. */
export type Stop = (signal: AbortSignal) => Promise<void> | void;
/** Starts a part; resolves when it is ready for those that need it. `signal` aborts when the program is to stop before that. */
export type Start = (signal: AbortSignal) => Promise<Stop | undefined> | Stop | undefined;

export interface LifecycleOptions {
  readonly log: Logger;
  readonly clock?: Clock;
}

export const lifecycleLimits = {
  /** How long one part may take to stop, and one that is still starting to give up. */
  stopMs: 10_000,
};

/** A part did not start. What had started has been stopped again. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed';

  constructor(
    readonly part: string,
    cause: unknown,
  ) {
    super(`${part} did not start: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

interface Part {
  readonly name: string;
  readonly start: Start;
  readonly stopMs: number;
}

export class Lifecycle {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #parts: Part[] = [];
  readonly #running: { name: string; stop: Stop; stopMs: number }[] = [];
  readonly #stopping = new AbortController();
  #started: Promise<void> | undefined;
  /** Nobody waits any more for the part that is starting. */
  #abandoned = false;
  #stopped: Promise<boolean> | undefined;

  constructor({ log, clock = systemClock }: LifecycleOptions) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Parts start in the order in which they were added. */
  add(name: string, start: Start, options: { readonly stopMs?: number } = {}): this {
    if (this.#started) throw new Error(`${name} was added after the start`);
    this.#parts.push({ name, start, stopMs: options.stopMs ?? lifecycleLimits.stopMs });
    return this;
  }

  /** Starts all parts. Throws StartFailed, with everything stopped again; resolves early, with everything stopped, when stop() comes first. */
  async start(): Promise<void> {
    this.#started ??= this.#startAll();
    await this.#started;
  }

  /** Stops in reverse order what has started. Resolves to false when a part failed to stop or took too long. */
  stop(why: string): Promise<boolean> {
    this.#stopped ??= this.#stopAll(why);
    return this.#stopped;
  }

  async #startAll(): Promise<void> {
    for (const { name, start, stopMs } of this.#parts) {
      if (this.#stopping.signal.aborted) return;
      const sinceMs = this.#clock.monotonicMs();
      try {
        const stop = await start(this.#stopping.signal);
        if (stop) this.#running.push({ name, stop, stopMs });
        if (this.#abandoned) await this.#stopRunning();
        this.#log.debug('part started', { part: name, took_ms: this.#tookMs(sinceMs) });
      } catch (error) {
        // A part that gave up because the program stops did what it was asked for.
        if (this.#stopping.signal.aborted) return;
        await this.#stopRunning();
        this.#stopped = Promise.resolve(true);
        throw new StartFailed(name, error);
      }
    }
  }

  async #stopAll(why: string): Promise<boolean> {
    this.#log.info('stopping', { why });
    this.#stopping.abort();
    const gaveUp = await this.#untilStarted();
    const clean = (await this.#stopRunning()) && gaveUp;
    this.#log.info('stopped', { clean });
    return clean;
  }

  /** The part that is starting now has been told to give up; false when it does not within the limit. */
  async #untilStarted(): Promise<boolean> {
    if (!this.#started) return true;
    const ended = new AbortController();
    const gaveUp = await Promise.race([
      // Whoever asked for start() hears of a failure; here it only matters that it is over.
      this.#started.then(
        () => true,
        () => true,
      ),
      sleep(this.#clock, lifecycleLimits.stopMs, ended.signal).then(() => false),
    ]);
    ended.abort();
    if (!gaveUp) {
      this.#abandoned = true;
      this.#log.error('a part neither started nor gave up in time', { limit_ms: lifecycleLimits.stopMs });
    }
    return gaveUp;
  }

  async #stopRunning(): Promise<boolean> {
    let clean = true;
    for (let part = this.#running.pop(); part; part = this.#running.pop()) clean = (await this.#stopPart(part)) && clean;
    return clean;
  }

  async #stopPart({ name, stop, stopMs }: { name: string; stop: Stop; stopMs: number }): Promise<boolean> {
    const sinceMs = this.#clock.monotonicMs();
    const overdue = new AbortController();
    const ended = new AbortController();
    const inTime = await Promise.race([
      Promise.resolve()
        .then(() => stop(overdue.signal))
        .then(
          () => true,
          (error: unknown) => {
            this.#log.error('part failed to stop', { part: name, error });
            return false;
          },
        ),
      sleep(this.#clock, stopMs, ended.signal).then(() => {
        if (!ended.signal.aborted) this.#log.error('part did not stop in time', { part: name, limit_ms: stopMs });
        return false;
      }),
    ]);
    ended.abort();
    overdue.abort();
    this.#log.debug('part stopped', { part: name, took_ms: this.#tookMs(sinceMs) });
    return inTime;
  }

  #tookMs(sinceMs: number): number {
    return Math.round(this.#clock.monotonicMs() - sinceMs);
  }
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** What of `process` is needed, so that a test need not signal itself. */
export interface SignalSource {
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  off(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  exit(code: number): unknown;
}

const signalNumber: Record<StopSignal, number> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

/**
 * Resolves with the first of these signals. The second one ends the process at once with 128 + its number, for whoever does not want to
 * wait for an orderly stop. The returned `forget` gives the signals their default meaning back.
 */
export function stopSignal(
  signals: readonly StopSignal[] = ['SIGINT', 'SIGTERM'],
  source: SignalSource = process,
): { received: Promise<StopSignal>; forget: () => void } {
  let first: StopSignal | undefined;
  let receive: (signal: StopSignal) => void = () => {};
  const received = new Promise<StopSignal>((resolve) => {
    receive = resolve;
  });
  const listener = (signal: StopSignal) => {
    if (first !== undefined) return source.exit(128 + signalNumber[signal]);
    first = signal;
    return receive(signal);
  };
  for (const signal of signals) source.on(signal, listener);
  return {
    received,
    forget: () => {
      for (const signal of signals) source.off(signal, listener);
    },
  };
}
