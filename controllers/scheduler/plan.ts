/**
 * Where each unit runs. Values in, verdicts out: the world is an index that is told of each verdict at once, so that the next one counts
 * with it. Whatever is placed and still allowed stays where it is; a new machine moves nothing.
 */
import { groupOf, leadersOf } from './groups.js';
import { closed, conflictsWith, replaces, shortId, unsuited } from './match.js';
import type { Slot } from './slots.js';
import type { Copy, GlobalVerdict, PlannedUnit, Verdict } from './types.js';
import type { World } from './world.js';

export interface Plan {
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly globals: ReadonlyMap<string, GlobalVerdict>;
  /** Units that these decisions ask to look at again, once they are stored. */
  readonly again: ReadonlySet<string>;
  /** Faults of ours: one unit that cannot be decided must not keep the others waiting (invariant 7). */
  readonly failed: ReadonlyMap<string, unknown>;
}

/** Decides for the named units (and whoever is in a group with them), and for all global units on the named machines. */
export function plan(world: World, units: Iterable<string>, machines: Iterable<string> = []): Plan {
  world.beginPass();
  const planner = new Planner(world);
  const done = new Set<string>();
  const items: { name: string; changed: boolean; decide: () => void }[] = [];
  const touched = [...machines].sort();

  for (const name of units) {
    const unit = world.unit(name);
    if (!unit || done.has(name)) continue;
    if (unit.constraints.global) {
      done.add(name);
      items.push({ name, changed: isChanged(world, name), decide: () => planner.decideGlobal(unit, world.machineIds()) });
      continue;
    }
    if (isAlone(world, unit)) {
      done.add(name);
      items.push({ name, changed: false, decide: () => planner.placeAlone(unit) });
      continue;
    }
    const group = groupOf(world, name);
    const everyone = [...group.members, ...group.circles.keys()];
    for (const member of everyone) done.add(member);
    items.push({
      name: everyone.reduce((least, other) => (other < least ? other : least)),
      changed: everyone.some((member) => isChanged(world, member)),
      decide: () => planner.decideGroup(group.members, group.circles),
    });
  }
  for (const name of touched.length > 0 ? world.globals() : []) {
    if (!done.has(name)) items.push({ name, changed: false, decide: () => planner.decideGlobal(world.unit(name)!, touched) });
  }

  // Of two that cannot share a machine any more, the one whose spec changed is the one that moves: it goes first.
  items.sort((a, b) => Number(b.changed) - Number(a.changed) || (a.name < b.name ? -1 : 1));
  for (const item of items) {
    try {
      item.decide();
    } catch (error) {
      planner.failed.set(item.name, error);
    }
  }
  return planner;
}

/** Follows nobody, is followed by nobody, and is nowhere: so are most units that are to be placed, and there is little to ask about them. */
const isAlone = (world: World, { name, constraints }: PlannedUnit): boolean =>
  constraints.machineOf.length === 0 && world.followersOf(name).size === 0 && world.copiesOf(name).size === 0;

function isChanged(world: World, name: string): boolean {
  const { generation } = world.unit(name)!;
  for (const copy of world.copiesOf(name).values()) if (!copy.leaving && copy.generation !== generation) return true;
  return false;
}

class Planner implements Plan {
  readonly verdicts = new Map<string, Verdict>();
  readonly globals = new Map<string, GlobalVerdict>();
  readonly again = new Set<string>();
  readonly failed = new Map<string, unknown>();

  constructor(private readonly world: World) {}

  // --- groups, and the group of one that most units are -----------------------------------------------------------------------------

  placeAlone(unit: PlannedUnit): void {
    const { name, broken } = unit;
    const idle = idleReason(unit);
    if (idle) {
      this.#nowhere(name, idle.reason, idle.message);
      return;
    }
    const target = broken === undefined ? this.#find([name]) : { reason: 'Invalid', message: broken };
    if ('slot' in target) this.#place(name, target.slot, { inOrder: false });
    else this.#say(name, { go: 'unschedulable', reason: target.reason, message: target.message });
  }

  decideGroup(members: readonly string[], circles: ReadonlyMap<string, string>): void {
    const { world } = this;
    for (const [name, circle] of circles) this.#cannot(name, 'MachineOfCircle', `machineOf goes in a circle: ${circle}`);

    const staying = new Map<string, string>();
    const leaving = new Map<string, string>();
    const pending: string[] = [];
    for (const name of members) {
      const unit = world.unit(name)!;
      const idle = idleReason(unit);
      if (idle) {
        this.#nowhere(name, idle.reason, idle.message);
        continue;
      }
      const place = world.placeOf(name);
      if (unit.broken !== undefined) {
        if (!place) this.#say(name, { go: 'unschedulable', reason: 'Invalid', message: unit.broken });
        else {
          const message = `${unit.broken}; what runs on machine ${shortId(place.machine)} is left as it is`;
          this.#say(name, { go: 'stay', machine: place.machine, start: place.copy.wanted === 'launched', reason: 'Invalid', message });
          staying.set(name, place.machine);
        }
        continue;
      }
      const orphaned = this.#orphaned(unit);
      if (orphaned !== undefined) {
        this.#cannot(name, 'LeaderMissing', orphaned);
        continue;
      }
      const contradiction = this.#contradiction(unit);
      if (contradiction !== undefined) {
        this.#cannot(name, 'Contradiction', contradiction);
        continue;
      }
      if (!place) {
        const waiting = this.#waitsForStop(unit);
        if (waiting === undefined) pending.push(name);
        else this.#say(name, { go: 'wait', reason: 'Moving', message: waiting });
        continue;
      }
      const why = this.#mustLeave(unit, place.machine, staying, leaving);
      if (why === undefined) staying.set(name, place.machine);
      else leaving.set(name, why);
    }

    this.#moveOff(members, staying, leaving);
    this.#placePending(pending, staying);
    // A leader that found no place on its followers' machine takes them along.
    for (const name of members) {
      const machine = staying.get(name);
      const leader =
        machine === undefined ? undefined : this.#leaders(name).find((other) => leaderElsewhere(this.verdicts.get(other), machine));
      if (leader === undefined || this.verdicts.has(name)) continue;
      staying.delete(name);
      leaving.set(name, `it follows ${leader}`);
    }
    this.#leaveInOrder(members, leaving);
    for (const [name, machine] of staying) if (!this.verdicts.has(name)) this.#stay(name, machine);
  }

  #leaders(name: string): readonly string[] {
    return this.world.unit(name)!.constraints.machineOf;
  }

  /** Why the units that it follows cannot take it along. */
  #orphaned(unit: PlannedUnit): string | undefined {
    for (const name of unit.constraints.machineOf) {
      const leader = this.world.unit(name);
      if (!leader) return `it follows ${name} (machineOf), which does not exist`;
      if (leader.constraints.global) return `it follows ${name} (machineOf), which is a global unit and has no one machine`;
      const idle = idleReason(leader);
      if (idle) return `it follows ${name} (machineOf): ${idle.message}`;
      const verdict = this.verdicts.get(name);
      if (verdict?.reason === 'LeaderMissing' || verdict?.reason === 'MachineOfCircle')
        return `it follows ${name} (machineOf): ${verdict.message}`;
    }
    return undefined;
  }

  /** It would drive away whom it follows: placed, it would have to go at once, and so on for ever. */
  #contradiction({ name, constraints }: PlannedUnit): string | undefined {
    if (constraints.replaces.length === 0 || constraints.machineOf.length === 0) return undefined;
    const leader = sorted(leadersOf(this.world, name)).find((other) => replaces(constraints, name, other));
    return leader && `it replaces ${leader}, which it follows (machineOf)`;
  }

  /** Its last copy has to be gone before the next one starts, unless its machine is lost and a second copy is what it asked for. */
  #waitsForStop(unit: PlannedUnit): string | undefined {
    const copies = this.world.copiesOf(unit.name);
    for (const machine of sorted(copies.keys())) {
      const at = this.world.machine(machine);
      if (!at) continue;
      if (at.health === 'present') return stopping(machine, copies.get(machine)!.why);
      if (at.health === 'held') return `waiting for machine ${shortId(machine)} to stop it: ${at.heldWhy ?? 'it does not answer'}`;
      if (unit.constraints.policy !== 'atLeastOnce') {
        return `waiting for machine ${shortId(machine)} to stop it, which does not answer: failover policy is ${unit.constraints.policy}`;
      }
    }
    return undefined;
  }

  #mustLeave(
    unit: PlannedUnit,
    machine: string,
    staying: ReadonlyMap<string, string>,
    leaving: ReadonlyMap<string, string>,
  ): string | undefined {
    const { world } = this;
    const slot = world.slot(machine)!;
    const { machineID } = unit.constraints;
    if (machineID !== undefined && world.machinesNamed(machineID).length > 1) return ambiguous(machineID);
    const against = unsuited(unit.constraints, slot.machine!);
    if (against !== undefined) return `machine ${shortId(machine)}: ${against}`;
    const quarrel = world.quarrelOf(unit.name, slot);
    if (quarrel !== undefined) return `conflict with ${quarrel}`;
    const replacer = world.replacerOf(unit.name, slot);
    if (replacer !== undefined) return `replaced by ${replacer}`;
    for (const leader of unit.constraints.machineOf) {
      if (leaving.has(leader) || this.verdicts.get(leader)?.go === 'wait') return `it follows ${leader}`;
      const place = staying.get(leader);
      if (place !== undefined && place !== machine) return `it follows ${leader} to machine ${shortId(place)}`;
    }
    return undefined;
  }

  // --- leaving ----------------------------------------------------------------------------------------------------------------------

  /** What nothing forbids but its machine is lost or drained goes as one, and only if there is somewhere to go. */
  #moveOff(members: readonly string[], staying: Map<string, string>, leaving: Map<string, string>): void {
    const { world } = this;
    for (const machine of new Set(staying.values())) {
      const at = world.machine(machine)!;
      if (at.health === 'present' && !at.draining) continue;
      const together = members.filter((name) => staying.get(name) === machine && !this.verdicts.has(name));
      if (together.length === 0) continue;
      const id = shortId(machine);

      if (at.health === 'held') {
        const message = `on machine ${id}: ${at.heldWhy ?? 'it does not answer'}`;
        for (const name of together) this.#stay(name, machine, 'Caution', message);
        continue;
      }
      const bound = together.find((name) => world.unit(name)!.constraints.policy !== 'atLeastOnce');
      if (at.health === 'lost') {
        if (bound !== undefined) {
          const whose = together.length > 1 ? ` of ${bound}` : '';
          const message = `machine ${id} does not answer; it stays there: failover policy${whose} is ${world.unit(bound)!.constraints.policy}`;
          for (const name of together) this.#stay(name, machine, 'MachineLost', message);
          continue;
        }
        const stopping = together.map((name) => this.#waitsForStop(world.unit(name)!)).find((why) => why !== undefined);
        if (stopping !== undefined) {
          for (const name of together)
            this.#stay(name, machine, 'MachineLost', `machine ${id} does not answer; before it runs elsewhere: ${stopping}`);
          continue;
        }
        const target = this.#find(together);
        if ('message' in target) {
          const message = `machine ${id} does not answer, and there is nowhere else to go: ${target.message}`;
          for (const name of together) this.#stay(name, machine, 'MachineLost', message);
          continue;
        }
        for (const name of together) {
          staying.set(name, target.slot.id);
          world.setCopy(name, machine, { ...world.copiesOf(name).get(machine)!, leaving: true });
          this.#place(name, target.slot, { lost: machine, inOrder: true });
        }
        continue;
      }
      this.#drain(together, machine, staying, leaving);
    }
  }

  #drain(together: readonly string[], machine: string, staying: Map<string, string>, leaving: Map<string, string>): void {
    const { world } = this;
    const at = world.machine(machine)!;
    const id = shortId(machine);
    const pinned = together.find((name) => world.unit(name)!.constraints.machineID !== undefined);
    let obstacle: string | undefined;
    if (world.caution !== undefined) obstacle = `nothing is moved: ${world.caution}`;
    else if (pinned !== undefined) obstacle = `${together.length > 1 ? pinned : 'it'} is pinned to it by machineID`;
    else if (at.drainBusy !== undefined && !this.#sameGroup(at.drainBusy, together)) obstacle = `${at.drainBusy} moves first`;
    else {
      const target = this.#find(together);
      if ('message' in target) obstacle = `there is nowhere else to go: ${target.message}`;
    }
    if (obstacle !== undefined) {
      for (const name of together) this.#stay(name, machine, 'Draining', `machine ${id} is being drained, but ${obstacle}`);
      return;
    }
    world.setMachine({ ...at, drainBusy: together[0]! });
    for (const name of together) {
      staying.delete(name);
      leaving.set(name, `machine ${id} is being drained`);
    }
  }

  #sameGroup(busy: string, together: readonly string[]): boolean {
    return together.includes(busy) || (this.world.unit(busy) !== undefined && groupOf(this.world, busy).members.includes(together[0]!));
  }

  /** Followers stop, then who they follow (SEMANTICS 21). */
  #leaveInOrder(members: readonly string[], leaving: ReadonlyMap<string, string>): void {
    const { world } = this;
    for (const name of members.toReversed()) {
      const why = leaving.get(name);
      const place = world.placeOf(name);
      if (why === undefined || !place) continue;
      const id = shortId(place.machine);
      const isPresent = world.machine(place.machine)!.health === 'present';
      const follower = isPresent ? sorted(world.followersOf(name)).find((other) => world.copiesOf(other).has(place.machine)) : undefined;
      if (follower !== undefined) {
        const message = `is to leave machine ${id} (${why}); waiting for its follower ${follower} to stop first`;
        this.#say(name, { go: 'stay', machine: place.machine, start: place.copy.wanted === 'launched', reason: 'Moving', message });
        continue;
      }
      this.#leave(name, place.machine, place.copy, why, 'Moving');
    }
  }

  #leave(name: string, machine: string, copy: Copy, why: string, reason: string): void {
    this.world.setCopy(name, machine, { ...copy, leaving: true, why });
    this.#say(name, { go: 'leave', machine, why, reason, message: stopping(machine, why) });
  }

  /** It cannot run at all: what runs of it stops. */
  #cannot(name: string, reason: string, message: string): void {
    const place = this.world.placeOf(name);
    if (place) this.#leave(name, place.machine, place.copy, message, reason);
    else this.#say(name, { go: 'unschedulable', reason, message });
  }

  #nowhere(name: string, reason: string, message: string): void {
    const waiting = sorted(this.world.copiesOf(name).keys()).map((machine) => {
      const at = this.world.machine(machine);
      return at?.health === 'present' || !at ? shortId(machine) : `${shortId(machine)} (which does not answer)`;
    });
    for (const [machine, copy] of this.world.copiesOf(name)) this.world.setCopy(name, machine, { ...copy, leaving: true });
    const suffix = waiting.length === 0 ? '' : `; waiting for machine ${waiting.join(', ')} to stop it`;
    this.#say(name, { go: 'nowhere', reason, message: message + suffix });
  }

  // --- staying and being placed ----------------------------------------------------------------------------------------------------

  #stay(name: string, machine: string, reason = 'Assigned', message?: string): void {
    const { copy } = this.world.placeOf(name)!;
    const gate = copy.wanted === 'launched' ? undefined : this.#gate(name, this.world.slot(machine)!, true);
    if (gate !== undefined && this.world.unit(name)!.wanted === 'launched') {
      this.#say(name, { go: 'stay', machine, start: false, reason: 'Waiting', message: `on machine ${shortId(machine)}, ${gate}` });
    } else {
      this.#say(name, { go: 'stay', machine, start: true, reason, message: message ?? `on machine ${shortId(machine)}` });
    }
  }

  /** What has to happen on the machine before it is started there. */
  #gate(name: string, slot: Slot, inOrder: boolean): string | undefined {
    if (this.world.unit(name)!.constraints.replaces.length > 0) {
      const victim = sorted(this.world.victimsOf(name, slot))[0];
      if (victim !== undefined) return `waiting for ${victim} to give way`;
    }
    if (!inOrder) return undefined;
    const leader = this.#leaders(name).find((other) => !this.#hasStarted(other, slot));
    return leader === undefined ? undefined : `waiting for ${leader} to start`;
  }

  #hasStarted(name: string, slot: Slot): boolean {
    const copy = this.world.copiesOf(name).get(slot.id);
    return copy?.settled === true && (copy.wanted === 'launched' || this.world.unit(name)!.wanted === 'loaded');
  }

  #place(name: string, slot: Slot, { lost, inOrder }: { lost?: string; inOrder: boolean }): void {
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
    this.#say(name, {
      go: 'place',
      machine: slot.id,
      start,
      ...(lost === undefined ? {} : { lost }),
      reason: start ? 'Assigned' : 'Waiting',
      message: start ? `on machine ${shortId(slot.id)}` : `on machine ${shortId(slot.id)}, ${gate}`,
    });
  }

  #placePending(unplaced: readonly string[], staying: Map<string, string>): void {
    const waiting = new Set<string>();
    for (const name of unplaced) {
      const absent = this.#leaders(name).find((leader) => !staying.has(leader) && !waiting.has(leader));
      if (absent === undefined) waiting.add(name);
      else this.#waitForLeader(name, absent);
    }
    for (const together of this.#clusters([...waiting])) {
      // Leaders that already run somewhere bind their followers to that machine.
      const isBound = together.some((name) => this.#leaders(name).some((leader) => staying.has(leader)));
      const whole = isBound ? undefined : (this.#findWithFollowers(together, staying) ?? this.#find(together));
      if (whole && 'slot' in whole) {
        for (const name of together) this.#settle(name, whole.slot, staying);
      } else if (whole && together.length === 1) {
        this.#say(together[0]!, { go: 'unschedulable', reason: whole.reason, message: whole.message });
      } else this.#placeEach(together, staying);
    }
  }

  /** Not all of a group fit on one machine: one that fits nowhere must not keep the others from running. */
  #placeEach(together: readonly string[], staying: Map<string, string>): void {
    let near: Slot | undefined;
    for (const name of together) {
      const leaders = this.#leaders(name);
      if (leaders.length > 0) {
        this.#follow(name, leaders, staying);
        continue;
      }
      const isGoodNear = near !== undefined && this.#refusal([name], near) === undefined;
      const target = this.#findWithFollowers([name], staying) ?? (isGoodNear ? { slot: near! } : this.#find([name]));
      if ('slot' in target) {
        this.#settle(name, target.slot, staying);
        near ??= target.slot;
      } else this.#say(name, { go: 'unschedulable', reason: target.reason, message: target.message });
    }
  }

  /** A follower goes where its leaders are, or nowhere. */
  #follow(name: string, leaders: readonly string[], staying: Map<string, string>): void {
    const absent = leaders.find((leader) => !staying.has(leader));
    if (absent !== undefined) {
      this.#waitForLeader(name, absent);
      return;
    }
    const machine = staying.get(leaders[0]!)!;
    if (leaders.some((leader) => staying.get(leader) !== machine)) {
      const spelled = leaders.map((leader) => `${leader} on ${shortId(staying.get(leader)!)}`).join(', ');
      this.#say(name, { go: 'unschedulable', reason: 'LeadersApart', message: `the units that it follows run apart: ${spelled}` });
      return;
    }
    const slot = this.world.slot(machine)!;
    const against = this.#refusal([name], slot);
    if (against === undefined) {
      this.#settle(name, slot, staying);
      return;
    }
    const message = `it follows ${leaders.join(', ')} to machine ${shortId(machine)}: ${against}`;
    this.#say(name, { go: 'unschedulable', reason: 'Unschedulable', message });
  }

  /** Pending units that follow each other, in their order. */
  #clusters(pending: readonly string[]): string[][] {
    if (pending.length <= 1) return pending.length === 0 ? [] : [[...pending]];
    const clusterOf = new Map<string, string[]>(pending.map((name) => [name, [name]]));
    for (const name of pending) {
      for (const leader of this.#leaders(name)) {
        const [mine, theirs] = [clusterOf.get(name)!, clusterOf.get(leader)];
        if (!theirs || theirs === mine) continue;
        for (const moved of theirs) clusterOf.set(moved, mine);
        mine.push(...theirs);
      }
    }
    const order = new Map(pending.map((name, index) => [name, index]));
    return [...new Set(clusterOf.values())].map((cluster) => cluster.sort((a, b) => order.get(a)! - order.get(b)!));
  }

  #waitForLeader(name: string, leader: string): void {
    this.#say(name, {
      go: 'wait',
      // Whoever is on the move still is: it has to start after its leader, however long that takes to stop.
      reason: this.world.unit(name)!.moving ? 'Moving' : 'WaitingForLeader',
      message: `waiting for a machine for ${leader}, which it follows (machineOf)`,
    });
  }

  #settle(name: string, slot: Slot, staying: Map<string, string>): void {
    this.#place(name, slot, { inOrder: this.world.unit(name)!.moving });
    staying.set(name, slot.id);
  }

  // --- finding a machine ------------------------------------------------------------------------------------------------------------

  /** A leader that comes back goes where its followers still are, if it fits. */
  #findWithFollowers(together: readonly string[], staying: ReadonlyMap<string, string>): { slot: Slot } | undefined {
    for (const name of together) {
      for (const follower of this.world.followersOf(name)) {
        const machine = staying.get(follower);
        const slot = machine === undefined ? undefined : this.world.slot(machine);
        if (slot?.machine && this.#refusal(together, slot) === undefined) return { slot };
      }
    }
    return undefined;
  }

  /** The least loaded machine that takes all of them. */
  #find(together: readonly string[]): { slot: Slot } | { reason: string; message: string } {
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
      const against = this.#refusal(together, slot);
      if (against === undefined) return { slot };
      return { reason: 'Unschedulable', message: `machine ${shortId(slot.id)}: ${against}` };
    }
    const refuse = (slot: Slot) => this.#refusal(together, slot);
    // What a group is refused for depends on all of it, so only a single unit's refusal is worth remembering.
    const picked = together.length === 1 ? world.pick(together[0]!, refuse) : world.pickForGroup(together[0]!, refuse);
    if ('slot' in picked) return picked;
    return { reason: picked.isEmpty ? 'NoMachines' : 'Unschedulable', message: picked.refused };
  }

  #refusal(together: readonly string[], slot: Slot): string | undefined {
    const { world } = this;
    let cpuMillis = 0;
    let memoryBytes = 0;
    for (const name of together) {
      const against = this.#refusalOf(name, slot);
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

  #refusalOf(name: string, slot: Slot): string | undefined {
    const { constraints } = this.world.unit(name)!;
    return closed(constraints, slot.machine!) ?? this.world.crowded(constraints, name, slot) ?? this.world.unwelcome(name, slot);
  }

  // --- global units -----------------------------------------------------------------------------------------------------------------

  decideGlobal(unit: PlannedUnit, machines: readonly string[]): void {
    const { world } = this;
    const { name } = unit;
    const place: string[] = [];
    const leave = new Map<string, string>();
    const skip = new Map<string, string>();
    this.globals.set(name, { place, leave, skip });
    const idle = idleReason(unit);
    for (const id of idle ? sorted(world.copiesOf(name).keys()) : machines) {
      const slot = world.slot(id);
      if (!slot?.machine) continue;
      const copy = world.copiesOf(name).get(id);
      if (copy?.leaving) {
        skip.set(id, 'still being stopped there');
      } else if (copy) {
        const against = idle?.message ?? this.#globalMustLeave(unit, slot);
        if (against === undefined) continue;
        leave.set(id, against);
        world.setCopy(name, id, { ...copy, leaving: true });
      } else {
        const against = idle?.message ?? unit.broken ?? this.#refusalOf(name, slot);
        if (against !== undefined) {
          skip.set(id, against);
          continue;
        }
        place.push(id);
        world.setCopy(name, id, {
          leaving: false,
          generation: unit.generation,
          wanted: unit.wanted === 'launched' ? 'launched' : 'loaded',
          settled: false,
        });
      }
    }
  }

  #globalMustLeave(unit: PlannedUnit, slot: Slot): string | undefined {
    if (unit.broken !== undefined) return undefined;
    const against = unsuited(unit.constraints, slot.machine!);
    if (against !== undefined) return against;
    const quarrel = this.world.quarrelOf(unit.name, slot);
    if (quarrel !== undefined) return `conflict with ${quarrel}`;
    const replacer = this.world.replacerOf(unit.name, slot);
    return replacer && `replaced by ${replacer}`;
  }

  #say(name: string, verdict: Verdict): void {
    this.verdicts.set(name, verdict);
  }
}

function idleReason(unit: PlannedUnit): { reason: string; message: string } | undefined {
  if (unit.deleting) return { reason: 'Deleting', message: `${unit.name} is being deleted` };
  if (unit.template) return { reason: 'Template', message: `${unit.name} is a template: its instances are placed, not it` };
  return unit.wanted === 'inactive' ? { reason: 'Inactive', message: `the desired state of ${unit.name} is inactive` } : undefined;
}

/** Whether the leader was decided to be anywhere but on this machine. */
function leaderElsewhere(verdict: Verdict | undefined, machine: string): boolean {
  if (!verdict || verdict.go === 'wait' || verdict.go === 'unschedulable') return verdict !== undefined;
  return (verdict.go === 'place' || verdict.go === 'stay') && verdict.machine !== machine;
}

const stopping = (machine: string, why: string | undefined): string =>
  `waiting for machine ${shortId(machine)} to stop it${why === undefined ? '' : `: ${why}`}`;

const ambiguous = (machineID: string): string => `more than one machine id begins with ${machineID}: name it in full`;

const sorted = (names: Iterable<string>): string[] => [...names].sort();
