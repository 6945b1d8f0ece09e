/** Keeps the planner's index of the cluster in step with the cache, for whatever is marked dirty. */
import type { ClusterCache } from '../../api/objects/ports.js';
import type { MachineHealth } from '../machines/health.js';
import { plannedMachine } from '../machines/planned.js';
import type { World } from '../scheduler/world.js';
import type { Dirty } from './dirty.js';
import type { Drains } from './drains.js';
import { isSettled } from './facts.js';
import type { Pace } from './pace.js';
import type { FactsReader } from './read.js';
import type { UnitSources } from './source.js';
import type { WaitingUnits } from './waiting.js';

export interface WorldSyncOptions {
  readonly cache: ClusterCache;
  readonly world: World;
  readonly sources: UnitSources;
  readonly reader: FactsReader;
  readonly health: MachineHealth;
  readonly dirty: Dirty;
  readonly waiting: WaitingUnits;
  readonly drains: Drains;
  readonly pace: Pace;
  /** Assignments were found whose Unit has been missing for a while. */
  readonly isOrphan: (unit: string) => boolean;
  readonly limits: { readonly unitsPerPass: number; readonly countsEveryMs: number };
}

export class WorldSync {
  readonly #options: WorldSyncOptions;

  constructor(options: WorldSyncOptions) {
    this.#options = options;
  }

  /** Judges all machines anew; those that are another now are marked. */
  health(nowMs: number): void {
    const { dirty, health, world } = this.#options;
    if (!dirty.health) return;
    dirty.health = false;
    for (const machine of health.update()) dirty.markMachine(machine);
    const { againInMs, active } = health.caution;
    dirty.healthDueMs = againInMs === undefined ? Number.POSITIVE_INFINITY : nowMs + againInMs;
    if (world.caution === active?.why) return;
    world.caution = active?.why;
    for (const slot of world.slots) if (slot.machine?.draining) this.#markUnitsOn(slot.id);
  }

  machine(id: string): 'gone' | 'changed' | 'same' {
    const { cache, health, world, drains } = this.#options;
    const before = world.machine(id);
    const after = plannedMachine(cache, health, id, before, drains.busyOn(id));
    if (after === undefined) {
      if (before) world.removeMachine(id);
      this.#markUnitsOn(id);
      return 'gone';
    }
    if (JSON.stringify(before) === JSON.stringify(after)) return 'same';
    world.setMachine(after);
    // Whether it is lost alone is known in a moment: until then there is nothing to say to its units.
    if (after.health !== 'held' || after.heldWhy !== undefined) this.#markUnitsOn(id);
    return 'changed';
  }

  #markUnitsOn(machine: string): void {
    const { world, dirty } = this.#options;
    for (const unit of world.slot(machine)?.units ?? []) {
      if (world.unit(unit)?.constraints.global) dirty.markCopy(unit, machine);
      else dirty.markUnit(unit);
    }
  }

  /** All copies that are marked. Adds to `touched` the machines where global units have to be looked at. */
  copies(touched: Set<string>, nowMs: number): void {
    const { cache, world, dirty, pace, limits } = this.#options;
    for (const [unit, machines] of dirty.copies) {
      for (const machine of machines) this.#copy(unit, machine);
      const planned = world.unit(unit);
      if (!planned?.constraints.global) {
        dirty.markUnit(unit);
        continue;
      }
      for (const machine of machines) touched.add(machine);
      const isDone = planned.deleting && cache.assignmentsOf(unit).size === 0;
      if (isDone) dirty.markUnit(unit);
      else dirty.ensureUnitDue(unit, Math.max(nowMs, pace.dueMs('units', unit, limits.countsEveryMs)));
    }
    for (const machines of dirty.copies.values()) {
      for (const machine of machines) {
        dirty.ensureMachineDue(machine, Math.max(nowMs, pace.dueMs('machines', machine, limits.countsEveryMs)));
      }
    }
    dirty.copies.clear();
  }

  #copy(unit: string, machine: string): void {
    const { cache, world, reader, dirty, drains } = this.#options;
    const facts = reader.copy(unit, machine);
    if (!facts) {
      world.removeCopy(unit, machine);
      return;
    }
    const { generation, wanted, remove: why, unitUid, assignedAt } = facts.row.value;
    const uid = cache.object('units', unit)?.value.metadata.uid;
    const leaving = why !== undefined || (uid !== undefined && unitUid !== uid);
    const settled = isSettled(facts);
    const before = world.copiesOf(unit).get(machine);
    if (before?.settled !== settled) for (const follower of world.followersOf(unit)) dirty.markUnit(follower);
    world.setCopy(unit, machine, { leaving, why, generation, assignedAt, wanted, settled });
    if (leaving) drains.noteLeaving(unit, machine);
  }

  /** All units that are marked, and those that have waited for a change; returns what to decide for in this pass. */
  units(): { units: Set<string>; globals: Set<string> } {
    const { world, dirty, waiting, limits } = this.#options;
    for (const name of waiting.toAskAgain(world.version)) dirty.markUnit(name);
    for (const name of dirty.units) this.#unit(name);
    dirty.units.clear();

    const units = new Set<string>();
    const globals = new Set<string>();
    let left = limits.unitsPerPass;
    for (const name of dirty.undecided) {
      if (left-- === 0) break;
      dirty.undecided.delete(name);
      (world.unit(name)?.constraints.global ? globals : units).add(name);
    }
    return { units, globals };
  }

  #unit(name: string): void {
    const { world, sources, reader, dirty, waiting, isOrphan } = this.#options;
    if (reader.isUnreadable(name)) {
      world.unreadable.add(name);
      return;
    }
    // Its followers may have waited for somebody to be able to read it.
    if (world.unreadable.delete(name)) for (const follower of world.followersOf(name)) dirty.markUnit(follower);
    const source = sources.read(name);
    if (!source) {
      if (world.unit(name)) world.removeUnit(name);
      this.#forget(name);
      if (isOrphan(name)) dirty.undecided.add(name);
      return;
    }
    const { planned } = source;
    if (world.unit(name) !== planned) world.setUnit(planned);
    waiting.noteBroken(name, planned.broken !== undefined);
    dirty.undecided.add(name);
  }

  #forget(name: string): void {
    const { dirty, waiting, drains, pace } = this.#options;
    waiting.forget(name);
    drains.forget(name);
    pace.forget('units', name);
    dirty.dropUnitDue(name);
  }
}
