/** Finds a machine for units that are to run together, or says why there is none. */
import { closed, conflictsWith, shortId } from './match.js';
import { ambiguous } from './reasons.js';
import type { Slot } from './slots.js';
import type { World } from './world.js';

export type Found = { readonly slot: Slot } | { readonly reason: string; readonly message: string };

export class Finder {
  constructor(private readonly world: World) {}

  /** A leader that comes back goes where its followers still are, if it fits. */
  findWithFollowers(together: readonly string[], staying: ReadonlyMap<string, string>): { slot: Slot } | undefined {
    for (const name of together) {
      for (const follower of this.world.followersOf(name)) {
        const machine = staying.get(follower);
        const slot = machine === undefined ? undefined : this.world.slot(machine);
        if (slot?.machine && this.refusal(together, slot) === undefined) return { slot };
      }
    }
    return undefined;
  }

  /** The least loaded machine that takes all of them. */
  find(together: readonly string[]): Found {
    const { world } = this;
    for (const name of together) {
      const { constraints } = world.unit(name)!;
      const inner = together.length === 1 ? undefined : together.find((other) => conflictsWith(constraints, name, other));
      if (inner !== undefined)
        return { reason: 'Unschedulable', message: `${name} conflicts with ${inner}, with which it shares its machine` };
      const { machineID } = constraints;
      if (machineID === undefined) continue;
      const named = world.machinesNamed(machineID);
      if (named.length > 1) return { reason: 'AmbiguousMachine', message: ambiguous(machineID) };
      if (named.length === 0) return { reason: 'UnknownMachine', message: `there is no machine ${machineID}` };
      const slot = world.slot(named[0]!)!;
      const against = this.refusal(together, slot);
      if (against === undefined) return { slot };
      return { reason: 'Unschedulable', message: `machine ${shortId(slot.id)}: ${against}` };
    }
    const refuse = (slot: Slot) => this.refusal(together, slot);
    // What a group is refused for depends on all of it, so only a single unit's refusal is worth remembering.
    const picked = together.length === 1 ? world.pick(together[0]!, refuse) : world.pickForGroup(together[0]!, refuse);
    if ('slot' in picked) return picked;
    return { reason: picked.isEmpty ? 'NoMachines' : 'Unschedulable', message: picked.refused };
  }

  /** Why the machine does not take all of them. */
  refusal(together: readonly string[], slot: Slot): string | undefined {
    const { world } = this;
    let cpuMillis = 0;
    let memoryBytes = 0;
    for (const name of together) {
      const against = this.refusalOf(name, slot);
      if (against !== undefined) return together.length > 1 ? `${name}: ${against}` : against;
      const { requests } = world.unit(name)!.constraints;
      cpuMillis += requests.cpuMillis;
      memoryBytes += requests.memoryBytes;
    }
    if (together.length === 1) return undefined;
    const capacity = slot.machine!.capacity;
    if (cpuMillis > 0 && (!capacity || slot.cpuMillis + cpuMillis > capacity.cpuMillis)) return 'too little cpu for the whole group';
    return memoryBytes > 0 && (!capacity || slot.memoryBytes + memoryBytes > capacity.memoryBytes)
      ? 'too little memory for the whole group'
      : undefined;
  }

  /** Why the machine does not take this one unit. */
  refusalOf(name: string, slot: Slot): string | undefined {
    const { constraints } = this.world.unit(name)!;
    return closed(constraints, slot.machine!) ?? this.world.crowded(constraints, name, slot) ?? this.world.unwelcome(name, slot);
  }
}
