/** Calls that were refused, told to the log without letting strangers fill it: one line a minute for each GitSync, and one for all others. */
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';

const quietMs = 60_000;

export class Refusals {
  /** By GitSync; '' for all names that are none. */
  readonly #told = new Map<string, { readonly atMs: number; since: number }>();

  constructor(
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /** `known`: the GitSync that was called, if there is one; there are as many lines as those, whatever names strangers think of. */
  refused(known: string | undefined, fields: Readonly<Record<string, unknown>>): void {
    const nowMs = this.clock.monotonicMs();
    const key = known ?? '';
    const last = this.#told.get(key);
    if (last !== undefined && nowMs - last.atMs < quietMs) {
      last.since++;
      return;
    }
    // Of GitSyncs that are gone nothing is kept.
    for (const [name, { atMs }] of this.#told) if (nowMs - atMs >= quietMs) this.#told.delete(name);
    this.#told.set(key, { atMs: nowMs, since: 0 });
    this.log.warn('a webhook was refused', { ...fields, ...(last === undefined || last.since === 0 ? {} : { untold: last.since }) });
  }
}
