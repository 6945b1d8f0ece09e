/** Units that wait for something to happen elsewhere: for a place, for another unit before they start, or for their text. */
import { evictionReason } from '../../api/resources/eviction.js';
import type { Verdict } from '../scheduler/types.js';

export class WaitingUnits {
  /** Units without a place, and why in one word: asked again when something became possible. */
  readonly #pending = new Map<string, string>();
  #versionSeen = 0;
  /** Units that were asked to leave and have nowhere to go: asked again like those without a place. */
  readonly #evicting = new Set<string>();
  /** Units that are where they belong and may not start yet. */
  readonly #gated = new Set<string>();
  /** Units whose text or placement is not known yet. */
  readonly #broken = new Set<string>();

  /** Keeps what was decided for a unit that is not global. */
  note(name: string, verdict: Verdict | undefined): void {
    const isPending = verdict?.go === 'unschedulable' || (verdict?.go === 'wait' && verdict.reason !== 'Moving');
    if (isPending) this.#pending.set(name, verdict.reason);
    else this.#pending.delete(name);
    if (verdict?.go === 'stay' && verdict.reason === evictionReason) this.#evicting.add(name);
    else this.#evicting.delete(name);
    if (verdict && 'start' in verdict && !verdict.start) this.#gated.add(name);
    else this.#gated.delete(name);
  }

  noteBroken(name: string, isBroken: boolean): void {
    if (isBroken) this.#broken.add(name);
    else this.#broken.delete(name);
  }

  /** A global unit has no one place to wait for. */
  dropPending(name: string): void {
    this.#pending.delete(name);
  }

  forget(name: string): void {
    this.#pending.delete(name);
    this.#evicting.delete(name);
    this.#gated.delete(name);
    this.#broken.delete(name);
  }

  isPending(name: string): boolean {
    return this.#pending.has(name);
  }

  broken(): Iterable<string> {
    return this.#broken;
  }

  /** Those to decide for again: the ones without a place only when the index of machines has changed since they were asked about. */
  *toAskAgain(version: number): Generator<string> {
    if (version !== this.#versionSeen) {
      yield* this.#pending.keys();
      yield* this.#evicting;
    }
    this.#versionSeen = version;
    yield* this.#gated;
  }

  /** How many have no place, by reason. */
  pendingByReason(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const reason of this.#pending.values()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    return counts;
  }
}
