/**
 * Finds the least loaded machine for a unit without asking all of them: units that select machines in the same way share a queue, and a
 * unit that found none looks only at what has changed since.
 */
import { Candidates, loadOf, type Picked } from './candidates.js';
import { closed, selectionKey } from './match.js';
import type { Slot, Slots } from './slots.js';
import type { Constraints, PlannedUnit } from './types.js';

/** A unit and what its search for a machine can share with others'. */
export interface Seeker {
  readonly unit: PlannedUnit;
  readonly selection: string;
  /** Everything but its name that decides where it fits: units of one class are told "no" by a machine for the same reasons. */
  readonly klass: string;
}

export function seekerOf(unit: PlannedUnit): Seeker {
  const { constraints } = unit;
  const selection = selectionKey(constraints);
  const { conflicts, requests, spread } = constraints;
  const { cpuMillis, memoryBytes } = requests;
  const plain = conflicts.length === 0 && cpuMillis === 0 && memoryBytes === 0 && spread === undefined;
  const klass = plain ? selection : `${selection} ${JSON.stringify([conflicts, cpuMillis, memoryBytes, spread ?? null])}`;
  return { unit, selection, klass };
}

export const pickerLimits = {
  /** At most this many ways of selecting machines are indexed at a time; the least recently used one goes first. */
  queues: 256,
  /** A class of units that skipped more machines than this gets an index of its own. */
  manySkips: 32,
  /** Units that may look at all machines again in one pass only to say why they still find none. */
  sumsPerPass: 200,
};

/** One sibling weighs more than all units that a machine can have. */
const siblingWeight = 2 ** 24;

export class Picker {
  readonly #queues = new Map<string, Candidates>();
  /** Classes of units that had to skip many machines. */
  readonly #crowdedClasses = new Set<string>();
  /** Units that found no machine, and when. */
  readonly #refused = new Map<string, { readonly seeker: Seeker; readonly version: number; readonly picked: Picked }>();
  readonly #limits: typeof pickerLimits;
  #sumsLeft: number;

  constructor(
    private readonly slots: Slots,
    /** What stands against any unit of these constraints there, whatever its name. */
    private readonly crowded: (constraints: Constraints, self: string, slot: Slot) => string | undefined,
    /** How many units of a set are there. */
    private readonly siblings: (spread: string, slot: Slot) => number,
    limits: Partial<typeof pickerLimits>,
  ) {
    this.#limits = { ...pickerLimits, ...limits };
    this.#sumsLeft = this.#limits.sumsPerPass;
  }

  /** A pass begins: so many units that still find no machine may have the reasons summed up anew. */
  beginPass(): void {
    this.#sumsLeft = this.#limits.sumsPerPass;
  }

  forget(unit: string): void {
    this.#refused.delete(unit);
  }

  /**
   * The least loaded machine for this unit against which `refuse` has nothing to say. A unit that found none looks only at what has changed
   * since: thousands of them may be waiting.
   */
  pick(seeker: Seeker, refuse: (slot: Slot) => string | undefined): Picked {
    const { name } = seeker.unit;
    const memo = this.#refused.get(name);
    if (memo?.seeker === seeker) {
      const changes = this.slots.changesSince(memo.version);
      if (changes?.length === 0) return memo.picked;
      const isPossible = (index: number) => this.slots.all[index]!.machine !== undefined && refuse(this.slots.all[index]!) === undefined;
      if (changes && this.#sumsLeft <= 0 && ![...new Set(changes)].some(isPossible)) {
        // The sum is a little old; a later pass says it anew.
        this.#refused.set(name, { ...memo, version: this.slots.version });
        return memo.picked;
      }
      this.#sumsLeft--;
    }
    const picked = this.#pick(seeker, refuse);
    if (picked.skipped > this.#limits.manySkips) this.#giveOwnIndex(seeker.klass);
    if ('slot' in picked) this.#refused.delete(name);
    else this.#refused.set(name, { seeker, version: this.slots.version, picked });
    return picked;
  }

  /** The least loaded machine among those that suit the first of a group. */
  pickForGroup(first: Seeker, refuse: (slot: Slot) => string | undefined): Picked {
    return this.#pick(first, refuse);
  }

  #pick(seeker: Seeker, refuse: (slot: Slot) => string | undefined): Picked {
    const { spread } = seeker.unit.constraints;
    // In an index of the set's own the lightest machine is the one with the fewest siblings.
    if (spread === undefined || this.#crowdedClasses.has(seeker.klass)) return this.#queue(seeker).pick(refuse);
    return this.#queue(seeker).pick(refuse, (slot) => this.siblings(spread, slot));
  }

  #giveOwnIndex(klass: string): void {
    this.#crowdedClasses.delete(klass);
    this.#crowdedClasses.add(klass);
    if (this.#crowdedClasses.size > this.#limits.queues) this.#crowdedClasses.delete(this.#crowdedClasses.values().next().value!);
  }

  #queue({ unit: { constraints }, selection, klass }: Seeker): Candidates {
    // An index by what units conflict with, or by where their siblings are, is worth its price only where many machines are in their way.
    const key = this.#crowdedClasses.has(klass) ? klass : selection;
    let queue = this.#queues.get(key);
    if (queue) this.#queues.delete(key);
    else {
      // No name here: nobody is called '', and a class answers for all its units.
      const isCrowded = key === selection ? undefined : (slot: Slot) => this.crowded(constraints, '', slot);
      const { spread } = constraints;
      const weigh =
        key === selection || spread === undefined ? loadOf : (slot: Slot) => this.siblings(spread, slot) * siblingWeight + loadOf(slot);
      queue = new Candidates(this.slots, (slot) => closed(constraints, slot.machine!), isCrowded, weigh);
      if (this.#queues.size >= this.#limits.queues) this.#queues.delete(this.#queues.keys().next().value!);
    }
    this.#queues.set(key, queue);
    return queue;
  }
}
