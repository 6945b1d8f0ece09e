/**
 * What one machine's agent saw, on its way into the store. Every write compares the machine's presence, the assignment and the state
 * itself, so that neither another server's stream nor a removed assignment is ever written over (SEMANTICS 17).
 */
import { type Backoff, backoffMs } from '../../../runtime/backoff.js';
import { type Clock, type Random, sleep } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import type { Compare, Store } from '../../../runtime/store/store.js';
import { InvalidWrite } from '../../../runtime/store/write-rules.js';
import type { ClusterCache } from '../../objects/ports.js';
import type { UnitState } from '../../resources/assignment.js';
import type { Keys } from '../../resources/keys.js';
import type { HeldPresence } from './presence.js';

export type StateResult = 'stored' | 'unchanged' | 'not-assigned' | 'too-large';

export interface StateWriterOptions {
  readonly store: Pick<Store, 'commit'>;
  readonly keys: Keys;
  readonly cache: Pick<ClusterCache, 'assignment' | 'state' | 'revision'>;
  readonly machine: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly maxStateBytes: number;
  readonly retry: Backoff;
  readonly presence: Pick<HeldPresence, 'revision' | 'isOurs'>;
  /** All states of that batch, or newer ones, are durable or were refused. */
  readonly onStored: (batch: number) => void;
  /** Another stream holds the machine: nothing more can be written. */
  readonly onSuperseded: () => void;
  readonly count: (result: StateResult) => void;
}

export class StateWriter {
  readonly #options: StateWriterOptions;
  readonly #stop = new AbortController();
  /** The newest state of each unit that is not in a write yet: bounded by the units assigned here. */
  #pending = new Map<string, UnitState>();
  #batches: number[] = [];
  #writing = false;
  /** Revisions of our own writes that the cache has not shown yet. */
  readonly #written = new Map<string, number>();

  constructor(options: StateWriterOptions) {
    this.#options = options;
  }

  /** Batches that are not stored yet. */
  get waiting(): number {
    return this.#batches.length;
  }

  accept(batch: number, states: Readonly<Record<string, UnitState>>): void {
    const { cache, machine, maxStateBytes, count } = this.#options;
    for (const [unit, state] of Object.entries(states)) {
      if (!cache.assignment(machine, unit)) count('not-assigned');
      else if (Buffer.byteLength(JSON.stringify(state)) > maxStateBytes) count('too-large');
      else this.#pending.set(unit, state);
    }
    this.#batches.push(batch);
    if (!this.#writing) void this.#write();
  }

  /** Nothing is written any more; what is under way may still arrive. */
  stop(): void {
    this.#stop.abort();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    const { onStored, log } = this.#options;
    try {
      while (this.#batches.length > 0 && !this.#stop.signal.aborted) {
        const [states, batches] = [this.#pending, this.#batches.length];
        this.#pending = new Map();
        await Promise.all([...states].map(([unit, state]) => this.#writeOne(unit, state)));
        if (this.#stop.signal.aborted) return;
        for (const batch of this.#batches.splice(0, batches)) onStored(batch);
      }
    } catch (error) {
      log.error('states could not be written', { error });
    } finally {
      this.#writing = false;
    }
  }

  /** Tries until the state is stored, a newer one waits, the unit is not assigned here any more, or the stream has lost the machine. */
  async #writeOne(unit: string, state: UnitState): Promise<void> {
    const { store, keys, cache, machine, presence, log, count, onSuperseded } = this.#options;
    const key = keys.state(machine, unit);
    const value = JSON.stringify(state);
    let modRevision = this.#revisionOf(unit);
    const known = cache.state(machine, unit);
    if (known?.modRevision === modRevision && JSON.stringify(known.value) === value) return count('unchanged');
    for (let failures = 0; !this.#stop.signal.aborted && !this.#pending.has(unit); failures++) {
      if (failures > 0) await this.#pause(failures);
      const assignment = cache.assignment(machine, unit);
      if (!assignment) return count('not-assigned');
      const held = presence.revision;
      const compares: Compare[] = [
        { key, modRevision },
        { key: keys.presence(machine), modRevision: held },
        { key: assignment.key, createRevision: assignment.createRevision },
      ];
      try {
        const outcome = await store.commit({ compares, operations: [{ do: 'put', key, value }] });
        if (outcome.ok) {
          this.#written.set(unit, outcome.revision);
          return count('stored');
        }
        const holder = outcome.current.get(keys.presence(machine));
        if (holder && holder.modRevision !== held && !presence.isOurs(holder.value)) return onSuperseded();
        // Else the lease was just replaced or is about to be, the assignment is on its way out, or a first write's answer was lost.
        modRevision = outcome.current.get(key)?.modRevision ?? 0;
      } catch (error) {
        if (error instanceof InvalidWrite) {
          log.error('a state cannot be stored', { unit, error });
          return count('too-large');
        }
        log.warn('a state is not stored yet', { unit, error });
      }
    }
  }

  #pause(failures: number): Promise<void> {
    const { clock, random, retry } = this.#options;
    return sleep(clock, backoffMs(retry, failures, random), this.#stop.signal);
  }

  /** What the state's key is at, as far as we know: our own last write, or what the cache shows. */
  #revisionOf(unit: string): number {
    const { cache, machine } = this.#options;
    const written = this.#written.get(unit) ?? 0;
    if (cache.revision < written) return written;
    this.#written.delete(unit);
    return cache.state(machine, unit)?.modRevision ?? 0;
  }
}
