/** The planner's machines by number, and a list of those where something has become possible that was not before. */
import type { PlannedMachine } from './types.js';

/** A machine and what runs there. Slots are reused by index, so that queues can hold numbers. */
export interface Slot {
  readonly index: number;
  readonly id: string;
  /** Undefined while there are assignments to a machine whose object does not exist (any more). */
  machine: PlannedMachine | undefined;
  /** Names of all units that have a copy here, those on their way out included. */
  readonly units: Set<string>;
  /** Those of them with `conflicts`, and with `replaces`. */
  readonly conflicting: Set<string>;
  readonly replacing: Set<string>;
  /** Set that keeps apart → how many of its units are here. */
  readonly siblings: Map<string, number>;
  cpuMillis: number;
  memoryBytes: number;
}

export class Slots {
  readonly all: Slot[] = [];
  readonly #byId = new Map<string, Slot>();
  /** Slots where something became possible: whoever follows the list reads on from where it stopped. */
  #changes: number[] = [];
  #firstChange = 0;

  find(id: string): Slot | undefined {
    return this.#byId.get(id);
  }

  findOrMake(id: string): Slot {
    let slot = this.#byId.get(id);
    if (!slot) {
      slot = {
        index: this.all.length,
        id,
        machine: undefined,
        units: new Set(),
        conflicting: new Set(),
        replacing: new Set(),
        siblings: new Map(),
        cpuMillis: 0,
        memoryBytes: 0,
      };
      this.all.push(slot);
      this.#byId.set(id, slot);
    }
    return slot;
  }

  /** Grows with each change that may make room for something. */
  get version(): number {
    return this.#firstChange + this.#changes.length;
  }

  changed(slot: Slot): void {
    if (this.#changes.length > Math.max(4_096, 4 * this.all.length)) {
      this.#firstChange += this.#changes.length;
      this.#changes = [];
    }
    this.#changes.push(slot.index);
  }

  /** Slots changed since `version`; undefined when that is longer ago than is remembered. */
  changesSince(version: number): readonly number[] | undefined {
    if (version === this.version) return nothingChanged;
    return version < this.#firstChange ? undefined : this.#changes.slice(version - this.#firstChange);
  }
}

const nothingChanged: readonly number[] = [];
