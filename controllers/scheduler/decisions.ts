/** What a pass has decided so far. Each decision is put into the index at once, so that the next one counts with it. */
import { shortId } from './match.js';
import { stopping } from './reasons.js';
import type { Slot } from './slots.js';
import type { Copy, GlobalVerdict, Plan, Verdict } from './types.js';
import type { World } from './world.js';

export class Decisions implements Plan {
  readonly verdicts = new Map<string, Verdict>();
  readonly globals = new Map<string, GlobalVerdict>();
  readonly again = new Set<string>();
  readonly failed = new Map<string, unknown>();

  constructor(private readonly world: World) {}

  /** It stays where it is: started, unless something has to happen there before. */
  stay(name: string, machine: string, reason = 'Assigned', message?: string): void {
    const { copy } = this.world.placeOf(name)!;
    const gate = copy.wanted === 'launched' ? undefined : this.#gate(name, this.world.slot(machine)!, true);
    if (gate !== undefined && this.world.unit(name)!.wanted === 'launched') {
      this.say(name, { go: 'stay', machine, start: false, reason: 'Waiting', message: `on machine ${shortId(machine)}, ${gate}` });
    } else {
      this.say(name, { go: 'stay', machine, start: true, reason, message: message ?? `on machine ${shortId(machine)}` });
    }
  }

  /** What has to happen on the machine before it is started there. */
  #gate(name: string, slot: Slot, inOrder: boolean): string | undefined {
    if (this.world.unit(name)!.constraints.replaces.length > 0) {
      const victim = [...this.world.victimsOf(name, slot)].sort()[0];
      if (victim !== undefined) return `waiting for ${victim} to give way`;
    }
    if (!inOrder) return undefined;
    const leader = this.world.unit(name)!.constraints.machineOf.find((other) => !this.#hasStarted(other, slot));
    return leader === undefined ? undefined : `waiting for ${leader} to start`;
  }

  #hasStarted(name: string, slot: Slot): boolean {
    const copy = this.world.copiesOf(name).get(slot.id);
    return copy?.settled === true && (copy.wanted === 'launched' || this.world.unit(name)!.wanted === 'loaded');
  }

  /** It gets that machine; `lost` is the one that it is given up on, `inOrder` lets it wait for the start of whom it follows. */
  place(name: string, slot: Slot, { lost, inOrder }: { lost?: string; inOrder: boolean }): void {
    const { world } = this;
    const unit = world.unit(name)!;
    if (unit.constraints.replaces.length > 0) for (const victim of world.victimsOf(name, slot)) this.again.add(victim);
    const gate = unit.wanted === 'launched' ? this.#gate(name, slot, inOrder) : undefined;
    const start = gate === undefined;
    world.setCopy(name, slot.id, {
      leaving: false,
      generation: unit.generation,
      wanted: unit.wanted === 'launched' && start ? 'launched' : 'loaded',
      settled: false,
    });
    this.say(name, {
      go: 'place',
      machine: slot.id,
      start,
      ...(lost === undefined ? {} : { lost }),
      reason: start ? 'Assigned' : 'Waiting',
      message: start ? `on machine ${shortId(slot.id)}` : `on machine ${shortId(slot.id)}, ${gate}`,
    });
  }

  /** It stops there first. */
  leave(name: string, machine: string, copy: Copy, why: string, reason: string): void {
    this.world.setCopy(name, machine, { ...copy, leaving: true, why });
    this.say(name, { go: 'leave', machine, why, reason, message: stopping(machine, why) });
  }

  /** It cannot run at all: what runs of it stops. */
  cannot(name: string, reason: string, message: string): void {
    const place = this.world.placeOf(name);
    if (place) this.leave(name, place.machine, place.copy, message, reason);
    else this.say(name, { go: 'unschedulable', reason, message });
  }

  /** It is to run nowhere, and need not. */
  nowhere(name: string, reason: string, message: string): void {
    const waiting = [...this.world.copiesOf(name).keys()].sort().map((machine) => {
      const at = this.world.machine(machine);
      return at?.health === 'present' || !at ? shortId(machine) : `${shortId(machine)} (which does not answer)`;
    });
    for (const [machine, copy] of this.world.copiesOf(name)) this.world.setCopy(name, machine, { ...copy, leaving: true });
    const suffix = waiting.length === 0 ? '' : `; waiting for machine ${waiting.join(', ')} to stop it`;
    this.say(name, { go: 'nowhere', reason, message: message + suffix });
  }

  say(name: string, verdict: Verdict): void {
    this.verdicts.set(name, verdict);
  }
}
