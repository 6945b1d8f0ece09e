/**
 * The planner's index of the cluster: kept up change by change, so that a placement costs the same on ten machines and on ten thousand.
 * The planner writes what it decides into it at once; what then was not stored is put right from the cache.
 */
import type { Picked } from './candidates.js';
import { conflictsWith, globMatches, isLiteral, replaces, shortId } from './match.js';
import { Picker, type pickerLimits, type Seeker, seekerOf } from './picker.js';
import { type Slot, Slots } from './slots.js';
import { type Constraints, type Copy, type PlannedMachine, type PlannedUnit, unconstrained } from './types.js';

export class World {
  /** While caution lasts (SEMANTICS 22), the end of a sentence that says why: nothing moves that can wait. */
  caution: string | undefined;
  /** Units that are there and cannot be read, or whose assignment cannot: absent from the index, and not absent (invariants 7, 13). */
  readonly unreadable = new Set<string>();
  readonly #slots = new Slots();
  readonly #byShortId = new Map<string, Set<string>>();
  readonly #units = new Map<string, Seeker>();
  readonly #copies = new Map<string, Map<string, Copy>>();
  readonly #followers = new Map<string, Set<string>>();
  readonly #globals = new Set<string>();
  readonly #picker: Picker;

  constructor(limits: Partial<typeof pickerLimits> = {}) {
    const crowded = (constraints: Constraints, self: string, slot: Slot) => this.crowded(constraints, self, slot);
    this.#picker = new Picker(this.#slots, crowded, (spread, slot) => slot.siblings.get(spread) ?? 0, limits);
  }

  // --- machines -------------------------------------------------------------------------------------------------------------------

  setMachine(machine: PlannedMachine): void {
    const slot = this.#slots.findOrMake(machine.id);
    slot.machine = machine;
    setOf(this.#byShortId, shortId(machine.id)).add(machine.id);
    this.#slots.changed(slot);
  }

  removeMachine(id: string): void {
    const slot = this.#slots.find(id);
    if (!slot?.machine) return;
    slot.machine = undefined;
    const sharing = this.#byShortId.get(shortId(id));
    sharing?.delete(id);
    if (sharing?.size === 0) this.#byShortId.delete(shortId(id));
    this.#slots.changed(slot);
  }

  machine(id: string): PlannedMachine | undefined {
    return this.#slots.find(id)?.machine;
  }

  get slots(): readonly Slot[] {
    return this.#slots.all;
  }

  slot(id: string): Slot | undefined {
    return this.#slots.find(id);
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
    this.#units.set(unit.name, seekerOf(unit));
    for (const leader of constraints.machineOf) setOf(this.#followers, leader).add(unit.name);
    if (constraints.global) this.#globals.add(unit.name);
    for (const machine of this.copiesOf(unit.name).keys()) this.#enter(this.#slots.findOrMake(machine), unit.name, constraints);
  }

  removeUnit(name: string): void {
    const before = this.#units.get(name)?.unit;
    if (!before) return;
    this.#forget(before);
    this.#units.delete(name);
    this.#picker.forget(name);
    for (const machine of this.copiesOf(name).keys()) this.#enter(this.#slots.findOrMake(machine), name, unconstrained);
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
    for (const machine of this.copiesOf(unit.name).keys()) this.#exit(this.#slots.findOrMake(machine), unit.name, unit.constraints);
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
    if (isNew) this.#enter(this.#slots.findOrMake(machine), unit, this.#constraints(unit));
  }

  removeCopy(unit: string, machine: string): void {
    const copies = this.#copies.get(unit);
    if (!copies?.delete(machine)) return;
    if (copies.size === 0) this.#copies.delete(unit);
    this.#exit(this.#slots.findOrMake(machine), unit, this.#constraints(unit));
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
    if (constraints.spread !== undefined) slot.siblings.set(constraints.spread, (slot.siblings.get(constraints.spread) ?? 0) + 1);
    slot.cpuMillis += constraints.requests.cpuMillis;
    slot.memoryBytes += constraints.requests.memoryBytes;
  }

  #exit(slot: Slot, name: string, constraints: Constraints): void {
    slot.units.delete(name);
    slot.conflicting.delete(name);
    slot.replacing.delete(name);
    if (constraints.spread !== undefined) {
      const left = (slot.siblings.get(constraints.spread) ?? 0) - 1;
      if (left > 0) slot.siblings.set(constraints.spread, left);
      else slot.siblings.delete(constraints.spread);
    }
    slot.cpuMillis -= constraints.requests.cpuMillis;
    slot.memoryBytes -= constraints.requests.memoryBytes;
    this.#slots.changed(slot);
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

  // --- finding a machine ----------------------------------------------------------------------------------------------------------

  /** Grows with each change that may make room for something. */
  get version(): number {
    return this.#slots.version;
  }

  /** A pass begins: so many units that still find no machine may have the reasons summed up anew. */
  beginPass(): void {
    this.#picker.beginPass();
  }

  /** The least loaded machine for this unit against which `refuse` has nothing to say; units of a set prefer one without siblings. */
  pick(name: string, refuse: (slot: Slot) => string | undefined): Picked {
    return this.#picker.pick(this.#units.get(name)!, refuse);
  }

  /** The least loaded machine among those that suit the first of a group. */
  pickForGroup(first: string, refuse: (slot: Slot) => string | undefined): Picked {
    return this.#picker.pickForGroup(this.#units.get(first)!, refuse);
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

const none: ReadonlySet<string> = new Set();
const noCopies: ReadonlyMap<string, Copy> = new Map();
