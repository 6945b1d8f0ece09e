/** Machines that are being drained, which goes one unit or group at a time: who is on the way, and what keeps the others. */
import type { Verdict } from '../scheduler/types.js';
import type { World } from '../scheduler/world.js';
import type { Marks } from './dirty.js';

export class Drains {
  /** Units on their way off a drained machine, until they have settled elsewhere. */
  readonly #moves = new Map<string, string>();
  /** What is said of units that are to leave a drained machine. */
  readonly #notes = new Map<string, string>();

  constructor(
    private readonly world: World,
    private readonly marks: Pick<Marks, 'markMachine'>,
  ) {}

  /** The store says that the unit's copy is on its way off the machine, whoever decided it. */
  noteLeaving(unit: string, machine: string): void {
    if (this.world.machine(machine)?.draining && !this.#moves.has(unit)) this.#moves.set(unit, machine);
  }

  /** Keeps what was decided for a unit that is not global. */
  note(name: string, verdict: Verdict | undefined): void {
    if (verdict?.go === 'stay' && verdict.reason === 'Draining') {
      const note = verdict.message.replace(/^.*, but /, '');
      if (this.#notes.get(name) !== note) this.marks.markMachine(verdict.machine);
      this.#notes.set(name, note);
    } else this.#notes.delete(name);
    if (verdict?.go === 'leave' && this.world.machine(verdict.machine)?.draining) {
      this.#moves.set(name, verdict.machine);
      this.marks.markMachine(verdict.machine);
    }
  }

  /** There is no such unit any more: nothing is said of it. */
  forget(name: string): void {
    this.#notes.delete(name);
  }

  /** The unit that is on its way off the machine now, if any. */
  busyOn(machine: string): string | undefined {
    let busy: string | undefined;
    for (const [unit, from] of this.#moves) if (from === machine && (busy === undefined || unit < busy)) busy = unit;
    return busy;
  }

  /** Units that are still to leave the machine, and those that do not leave it, each with what there is to say of it. */
  stateOf(machine: string): { moving: Map<string, string>; staying: Map<string, string> } {
    const moving = new Map<string, string>();
    const staying = new Map<string, string>();
    for (const unit of this.world.slot(machine)?.units ?? []) {
      const constraints = this.world.unit(unit)?.constraints;
      if (constraints?.global) staying.set(unit, 'global');
      else if (constraints?.machineID !== undefined) staying.set(unit, 'pinned by machineID');
      else moving.set(unit, this.#notes.get(unit) ?? '');
    }
    return { moving, staying };
  }

  /** A unit that left a drained machine has arrived when it has settled elsewhere, or is not going anywhere: then the next one leaves. */
  settle(isPending: (unit: string) => boolean): void {
    const { world } = this;
    for (const [unit, from] of this.#moves) {
      const planned = world.unit(unit);
      const isLeaving = world.copiesOf(unit).has(from);
      const place = world.placeOf(unit);
      const isArrived = place !== undefined && place.machine !== from && place.copy.settled;
      const isStuck = place === undefined && isPending(unit);
      if (planned && (isLeaving || !(isArrived || isStuck || planned.wanted === 'inactive' || planned.deleting))) continue;
      this.#moves.delete(unit);
      this.marks.markMachine(from);
    }
  }
}
