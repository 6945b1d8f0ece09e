/**
 * fleetctl's `restart` asks for loaded, waits until it is told launched, and asks for launched: it relied on fleet stopping units so slowly
 * that the first look, a quarter of a second later, still found the old state. A unit that has stopped by then would have it wait for ever,
 * stopped. So fleetctl is told launched once after each stop, and from its second look on what is so.
 */
import type { Clock } from '../../../runtime/clock.js';

/** fleetctl looks four times a second. */
const echoMs = 2_000;
/** Stops that are remembered; the oldest go first. */
const maxEchoes = 1_000;

export class RecentStops {
  /** By uid: until when. */
  readonly #untilMs = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  /** The unit was launched, and has just been asked to stop and stay. */
  note(uid: string): void {
    this.#untilMs.delete(uid);
    this.#untilMs.set(uid, this.clock.monotonicMs() + echoMs);
    const [oldest] = this.#untilMs.keys();
    if (this.#untilMs.size > maxEchoes && oldest !== undefined) this.#untilMs.delete(oldest);
  }

  /** Whether this is the first look since the unit was asked to stop. */
  firstLook(uid: string): boolean {
    const untilMs = this.#untilMs.get(uid);
    return this.#untilMs.delete(uid) && this.clock.monotonicMs() < untilMs!;
  }
}

/** The library that fleetctl is made with; whoever else calls is told what is so. */
export const isFleetctl = (userAgent: string | undefined): boolean => userAgent?.startsWith('google-api-go-client/') ?? false;
