/**
 * The planner's index of the cluster: kept up change by change, so that a placement costs the same on ten machines and on ten thousand.
 * The planner writes what it decides into it at once; what then was not stored is put right from the cache.
 */
import { Candidates, type Picked } from './candidates.js';
import { closed, conflictsWith, globMatches, isLiteral, replaces, selectionKey, shortId } from './match.js';
import { type Constraints, type Copy, type PlannedMachine, type PlannedUnit, unconstrained } from './types.js';

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
  cpuMillis: number;
  memoryBytes: number;
}

interface UnitEntry {
  readonly unit: PlannedUnit;
  readonly selection: string;
  /** Everything but its name that decides where it fits: units of one class are told "no" by a machine for the same reasons. */
  readonly klass: string;
}

export const worldLimits = {
  /** At most this many ways of selecting machines are indexed at a time; the least recently used one goes first. */
  queues: 256,
  /** A class of units that skipped more machines than this gets an index of its own. */
  manySkips: 32,
  /** Units that may look at all machines again in one pass only to say why they still find none. */
  sumsPerPass: 200,
};

export class World {
  readonly slots: Slot[] = [];
  /** While caution lasts (SEMANTICS 22), the end of a sentence that says why: nothing moves that can wait. */
  caution: string | undefined;
  readonly #byId = new Map<string, Slot>();
  readonly #byShortId = new Map<string, Set<string>>();
  readonly #units = new Map<string, UnitEntry>();
  readonly #copies = new Map<string, Map<string, Copy>>();
  readonly #followers = new Map<string, Set<string>>();
  readonly #globals = new Set<string>();
  readonly #queues = new Map<string, Candidates>();
  /** Classes of units that had to skip many machines. */
  readonly #crowdedClasses = new Set<string>();
  /** Units that found no machine, and when. */
  readonly #refused = new Map<string, { readonly entry: UnitEntry; readonly version: number; readonly picked: Picked }>();
  readonly #limits: typeof worldLimits;
  #sumsLeft: number;
  /** Slots where something became possible that was not before: each queue reads on from where it stopped. */
  #changes: number[] = [];
  #firstChange = 0;

  constructor(limits: Partial<typeof worldLimits> = {}) {
    this.#limits = { ...worldLimits, ...limits };
    this.#sumsLeft = this.#limits.sumsPerPass;
  }

  // --- machines -------------------------------------------------------------------------------------------------------------------

  setMachine(machine: PlannedMachine): void {
    const slot = this.#slot(machine.id);
    slot.machine = machine;
    setOf(this.#byShortId, shortId(machine.id)).add(machine.id);
    this.#changed(slot);
  }

  removeMachine(id: string): void {
    const slot = this.#byId.get(id);
    if (!slot?.machine) return;
    slot.machine = undefined;
    const sharing = this.#byShortId.get(shortId(id));
    sharing?.delete(id);
    if (sharing?.size === 0) this.#byShortId.delete(shortId(id));
    this.#changed(slot);
  }

  machine(id: string): PlannedMachine | undefined {
    return this.#byId.get(id)?.machine;
  }

  slot(id: string): Slot | undefined {
    return this.#byId.get(id);
  }

  /** Ids of the machines that a `machineID` can mean. */
  machinesNamed(machineID: string): string[] {
    if (this.machine(machineID)) return [machineID];
    return machineID.length === 8 ? [...(this.#byShortId.get(machineID) ?? [])].sort() : [];
  }

  machineIds(): string[] {
    return this.slots.filter((slot) => slot.machine).map((slot) => slot.id);
  }

  // --- units ----------------------------------------------------------------------------------------------------------------------

  setUnit(unit: PlannedUnit): void {
    const before = this.#units.get(unit.name)?.unit;
    if (before) this.#forget(before);
    const { constraints } = unit;
    const selection = selectionKey(constraints);
    const { cpuMillis, memoryBytes } = constraints.requests;
    const plain = constraints.conflicts.length === 0 && cpuMillis === 0 && memoryBytes === 0;
    const klass = plain ? selection : `${selection} ${JSON.stringify([constraints.conflicts, cpuMillis, memoryBytes])}`;
    this.#units.set(unit.name, { unit, selection, klass });
    for (const leader of constraints.machineOf) setOf(this.#followers, leader).add(unit.name);
    if (constraints.global) this.#globals.add(unit.name);
    for (const machine of this.copiesOf(unit.name).keys()) this.#enter(this.#slot(machine), unit.name, constraints);
  }

  removeUnit(name: string): void {
    const before = this.#units.get(name)?.unit;
    if (!before) return;
    this.#forget(before);
    this.#units.delete(name);
    this.#refused.delete(name);
    for (const machine of this.copiesOf(name).keys()) this.#enter(this.#slot(machine), name, unconstrained);
  }

  unit(name: string): PlannedUnit | undefined {
    return this.#units.get(name)?.unit;
  }

  unitNames(): Iterable<string> {
    return this.#units.keys();
  }

  globals(): ReadonlySet<string> {
    return this.#globals;
  }

  /** Units that name this one in `machineOf`. */
  followersOf(name: string): ReadonlySet<string> {
    return this.#followers.get(name) ?? none;
  }

  #forget(unit: PlannedUnit): void {
    for (const machine of this.copiesOf(unit.name).keys()) this.#exit(this.#slot(machine), unit.name, unit.constraints);
    for (const leader of unit.constraints.machineOf) {
      const followers = this.#followers.get(leader);
      followers?.delete(unit.name);
      if (followers?.size === 0) this.#followers.delete(leader);
    }
    this.#globals.delete(unit.name);
  }

  // --- copies ---------------------------------------------------------------------------------------------------------------------

  setCopy(unit: string, machine: string, copy: Copy): void {
    let copies = this.#copies.get(unit);
    if (!copies) {
      copies = new Map();
      this.#copies.set(unit, copies);
    }
    const isNew = !copies.has(machine);
    copies.set(machine, copy);
    if (isNew) this.#enter(this.#slot(machine), unit, this.#constraints(unit));
  }

  removeCopy(unit: string, machine: string): void {
    const copies = this.#copies.get(unit);
    if (!copies?.delete(machine)) return;
    if (copies.size === 0) this.#copies.delete(unit);
    this.#exit(this.#slot(machine), unit, this.#constraints(unit));
  }

  copiesOf(unit: string): ReadonlyMap<string, Copy> {
    return this.#copies.get(unit) ?? noCopies;
  }

  /** Where it is assigned and not on its way out, on a machine that exists. */
  placeOf(unit: string): { readonly machine: string; readonly copy: Copy } | undefined {
    for (const [machine, copy] of this.copiesOf(unit)) if (!copy.leaving && this.machine(machine)) return { machine, copy };
    return undefined;
  }

  #enter(slot: Slot, name: string, constraints: Constraints): void {
    slot.units.add(name);
    if (constraints.conflicts.length > 0) slot.conflicting.add(name);
    if (constraints.replaces.length > 0) slot.replacing.add(name);
    slot.cpuMillis += constraints.requests.cpuMillis;
    slot.memoryBytes += constraints.requests.memoryBytes;
  }

  #exit(slot: Slot, name: string, constraints: Constraints): void {
    slot.units.delete(name);
    slot.conflicting.delete(name);
    slot.replacing.delete(name);
    slot.cpuMillis -= constraints.requests.cpuMillis;
    slot.memoryBytes -= constraints.requests.memoryBytes;
    this.#changed(slot);
  }

  #slot(id: string): Slot {
    let slot = this.#byId.get(id);
    if (!slot) {
      slot = {
        index: this.slots.length,
        id,
        machine: undefined,
        units: new Set(),
        conflicting: new Set(),
        replacing: new Set(),
        cpuMillis: 0,
        memoryBytes: 0,
      };
      this.slots.push(slot);
      this.#byId.set(id, slot);
    }
    return slot;
  }

  // --- what stands against a unit on a machine -----------------------------------------------------------------------------------

  /** Against any unit of these constraints, whatever its name: what it conflicts with there, and room. */
  crowded(constraints: Constraints, self: string, slot: Slot): string | undefined {
    for (const pattern of constraints.conflicts) {
      if (isLiteral(pattern)) {
        if (pattern !== self && slot.units.has(pattern)) return `conflict with ${pattern}`;
        continue;
      }
      const other = first(slot.units, (name) => name !== self && globMatches(pattern, name));
      if (other !== undefined) return `conflict with ${other}`;
    }
    const { cpuMillis, memoryBytes } = constraints.requests;
    if (cpuMillis === 0 && memoryBytes === 0) return undefined;
    const capacity = slot.machine?.capacity;
    if (!capacity) return 'capacity not known';
    if (slot.cpuMillis + cpuMillis > capacity.cpuMillis) return 'too little cpu';
    return slot.memoryBytes + memoryBytes > capacity.memoryBytes ? 'too little memory' : undefined;
  }

  /** Against this very unit: others that do not want it there, and a copy of its own that has not gone yet. */
  unwelcome(name: string, slot: Slot): string | undefined {
    if (slot.units.has(name)) return `${name} is still being stopped there`;
    if (slot.conflicting.size > 0) {
      const other = first(slot.conflicting, (theirs) => conflictsWith(this.#constraints(theirs), theirs, name));
      if (other !== undefined) return `conflict with ${other}`;
    }
    if (slot.replacing.size === 0) return undefined;
    const replacer = this.replacerOf(name, slot);
    return replacer && `replaced by ${replacer}`;
  }

  /** Who there has asked this unit to give way. Two that replace each other are both left alone. */
  replacerOf(name: string, slot: Slot): string | undefined {
    const own = this.#constraints(name);
    return first(slot.replacing, (other) => {
      const isStaying = this.copiesOf(other).get(slot.id)?.leaving === false;
      return isStaying && replaces(this.#constraints(other), other, name) && !replaces(own, name, other);
    });
  }

  /** With whom it cannot go on sharing the machine; those on their way out do not count. */
  quarrelOf(name: string, slot: Slot): string | undefined {
    const own = this.#constraints(name);
    const isStaying = (other: string) => other !== name && this.copiesOf(other).get(slot.id)?.leaving === false;
    const among = own.conflicts.length > 0 ? slot.units : slot.conflicting;
    return first(
      among,
      (other) => isStaying(other) && (conflictsWith(own, name, other) || conflictsWith(this.#constraints(other), other, name)),
    );
  }

  #constraints(name: string): Constraints {
    return this.#units.get(name)?.unit.constraints ?? unconstrained;
  }

  /** Units there that give way to this one. */
  *victimsOf(name: string, slot: Slot): Generator<string> {
    const own = this.#constraints(name);
    if (own.replaces.length === 0) return;
    for (const other of slot.units) {
      if (replaces(own, name, other) && !replaces(this.#constraints(other), other, name)) yield other;
    }
  }

  // --- the queues -----------------------------------------------------------------------------------------------------------------

  /** Grows with each change that may make room for something. */
  get version(): number {
    return this.#firstChange + this.#changes.length;
  }

  #changed(slot: Slot): void {
    if (this.#changes.length > Math.max(4_096, 4 * this.slots.length)) {
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

  /** A pass begins: so many units that still find no machine may have the reasons summed up anew. */
  beginPass(): void {
    this.#sumsLeft = this.#limits.sumsPerPass;
  }

  /**
   * The least loaded machine for this unit against which `refuse` has nothing to say. A unit that found none looks only at what has changed
   * since: thousands of them may be waiting.
   */
  pick(name: string, refuse: (slot: Slot) => string | undefined): Picked {
    const entry = this.#units.get(name)!;
    const memo = this.#refused.get(name);
    if (memo?.entry === entry) {
      const changes = this.changesSince(memo.version);
      if (changes?.length === 0) return memo.picked;
      const isPossible = (index: number) => this.slots[index]!.machine !== undefined && refuse(this.slots[index]!) === undefined;
      if (changes && this.#sumsLeft <= 0 && ![...new Set(changes)].some(isPossible)) {
        // The sum is a little old; a later pass says it anew.
        this.#refused.set(name, { ...memo, version: this.version });
        return memo.picked;
      }
      this.#sumsLeft--;
    }
    const queue = this.#queue(entry);
    const picked = queue.pick(refuse);
    if (picked.skipped > this.#limits.manySkips) this.#crowdedClasses.add(entry.klass);
    if ('slot' in picked) this.#refused.delete(name);
    else this.#refused.set(name, { entry, version: this.version, picked });
    return picked;
  }

  /** The least loaded machine among those that suit the first of a group. */
  pickForGroup(first: string, refuse: (slot: Slot) => string | undefined): Picked {
    return this.#queue(this.#units.get(first)!).pick(refuse);
  }

  #queue({ unit: { constraints }, selection, klass }: UnitEntry): Candidates {
    // An index by what units conflict with is worth its price only where many machines are in their way.
    const key = this.#crowdedClasses.has(klass) ? klass : selection;
    let queue = this.#queues.get(key);
    if (queue) this.#queues.delete(key);
    else {
      // No name here: nobody is called '', and a class answers for all its units.
      const isCrowded = key === selection ? undefined : (slot: Slot) => this.crowded(constraints, '', slot);
      queue = new Candidates(this, (slot) => closed(constraints, slot.machine!), isCrowded);
      if (this.#queues.size >= this.#limits.queues) this.#queues.delete(this.#queues.keys().next().value!);
    }
    this.#queues.set(key, queue);
    return queue;
  }
}

/** The smallest name that matches: whatever order things came in, the answer is the same. */
function first(names: Iterable<string>, matches: (name: string) => boolean): string | undefined {
  let least: string | undefined;
  for (const name of names) if ((least === undefined || name < least) && matches(name)) least = name;
  return least;
}

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  let set = sets.get(key);
  if (!set) {
    set = new Set();
    sets.set(key, set);
  }
  return set;
}

const nothingChanged: readonly number[] = [];
const none: ReadonlySet<string> = new Set();
const noCopies: ReadonlyMap<string, Copy> = new Map();
