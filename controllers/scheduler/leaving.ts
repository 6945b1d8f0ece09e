/** Units that have to go from where they are: off lost and drained machines, or since somebody asked, as one where they belong together, and in their order. */
import { evictionReason } from '../../api/resources/eviction.js';
import type { Decisions } from './decisions.js';
import type { Finder } from './finder.js';
import { groupOf } from './groups.js';
import { shortId } from './match.js';
import { stopping } from './reasons.js';
import type { PlannedMachine, PlannedUnit } from './types.js';
import type { World } from './world.js';

export class Leaving {
  constructor(
    private readonly world: World,
    private readonly finder: Finder,
    private readonly decisions: Decisions,
  ) {}

  /** What nothing forbids but its machine is lost or drained, or what was asked to leave, goes as one, and only if there is somewhere to go. */
  moveOff(members: readonly string[], staying: Map<string, string>, leaving: Map<string, string>): void {
    const { world } = this;
    for (const machine of new Set(staying.values())) {
      const at = world.machine(machine)!;
      const together = members.filter((name) => staying.get(name) === machine && !this.decisions.verdicts.has(name));
      if (together.length === 0) continue;
      const evicted = together.find((name) => this.#isEvicted(name, at));
      if (at.health === 'present' && !at.draining && evicted === undefined) continue;
      const id = shortId(machine);

      if (at.health === 'held') {
        const message = `on machine ${id}: ${at.heldWhy ?? 'it does not answer'}`;
        for (const name of together) this.decisions.stay(name, machine, 'Caution', message);
        continue;
      }
      const bound = together.find((name) => world.unit(name)!.constraints.policy !== 'atLeastOnce');
      if (at.health === 'lost') {
        if (bound !== undefined) {
          const whose = together.length > 1 ? ` of ${bound}` : '';
          const message = `machine ${id} does not answer; it stays there: failover policy${whose} is ${world.unit(bound)!.constraints.policy}`;
          for (const name of together) this.decisions.stay(name, machine, 'MachineLost', message);
          continue;
        }
        const wait = together.map((name) => waitsForStop(world, world.unit(name)!)).find((why) => why !== undefined);
        if (wait !== undefined) {
          for (const name of together)
            this.decisions.stay(name, machine, 'MachineLost', `machine ${id} does not answer; before it runs elsewhere: ${wait}`);
          continue;
        }
        const target = this.finder.find(together);
        if ('message' in target) {
          const message = `machine ${id} does not answer, and there is nowhere else to go: ${target.message}`;
          for (const name of together) this.decisions.stay(name, machine, 'MachineLost', message);
          continue;
        }
        for (const name of together) {
          staying.set(name, target.slot.id);
          world.setCopy(name, machine, { ...world.copiesOf(name).get(machine)!, leaving: true });
          this.decisions.place(name, target.slot, { lost: machine, inOrder: true });
        }
        continue;
      }
      if (evicted !== undefined) this.#evict(evicted, together, machine, staying, leaving);
      else this.#drain(together, machine, staying, leaving);
    }
  }

  /** Whether somebody wants this very copy to leave, and the machine still takes nothing new, as when that was asked. */
  #isEvicted(name: string, at: PlannedMachine): boolean {
    const { eviction } = this.world.unit(name)!;
    if (eviction === undefined || eviction.machine !== at.id || !(at.cordoned || at.draining)) return false;
    return eviction.machineGeneration === at.generation && eviction.assignedAt === this.world.copiesOf(name).get(at.id)?.assignedAt;
  }

  /** At once, whoever else is on the way: whoever asks for one unit after the other sets the pace. */
  #evict(asked: string, together: readonly string[], machine: string, staying: Map<string, string>, leaving: Map<string, string>): void {
    const id = shortId(machine);
    const obstacle = this.#boundBy(together) ?? this.#nowhereToGo(together);
    for (const name of together) {
      const who = name === asked ? 'it' : `${asked}, which runs together with it,`;
      if (obstacle !== undefined)
        this.decisions.stay(name, machine, evictionReason, `${who} was asked to leave machine ${id}, but ${obstacle}`);
      else {
        staying.delete(name);
        leaving.set(name, `${who} was asked to leave machine ${id}`);
      }
    }
  }

  #boundBy(together: readonly string[]): string | undefined {
    const { world } = this;
    if (world.caution !== undefined) return `nothing is moved: ${world.caution}`;
    const pinned = together.find((name) => world.unit(name)!.constraints.machineID !== undefined);
    return pinned && `${together.length > 1 ? pinned : 'it'} is pinned to it by machineID`;
  }

  #nowhereToGo(together: readonly string[]): string | undefined {
    const target = this.finder.find(together);
    return 'message' in target ? `there is nowhere else to go: ${target.message}` : undefined;
  }

  #drain(together: readonly string[], machine: string, staying: Map<string, string>, leaving: Map<string, string>): void {
    const { world } = this;
    const at = world.machine(machine)!;
    const id = shortId(machine);
    const isBusy = at.drainBusy !== undefined && !this.#sameGroup(at.drainBusy, together);
    const obstacle = this.#boundBy(together) ?? (isBusy ? `${at.drainBusy} moves first` : this.#nowhereToGo(together));
    if (obstacle !== undefined) {
      for (const name of together) this.decisions.stay(name, machine, 'Draining', `machine ${id} is being drained, but ${obstacle}`);
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
  leaveInOrder(members: readonly string[], leaving: ReadonlyMap<string, string>): void {
    const { world } = this;
    for (const name of members.toReversed()) {
      const why = leaving.get(name);
      const place = world.placeOf(name);
      if (why === undefined || !place) continue;
      const id = shortId(place.machine);
      const isPresent = world.machine(place.machine)!.health === 'present';
      const follower = isPresent
        ? [...world.followersOf(name)].sort().find((other) => world.copiesOf(other).has(place.machine))
        : undefined;
      if (follower !== undefined) {
        const message = `is to leave machine ${id} (${why}); waiting for its follower ${follower} to stop first`;
        this.decisions.say(name, {
          go: 'stay',
          machine: place.machine,
          start: place.copy.wanted === 'launched',
          reason: 'Moving',
          message,
        });
        continue;
      }
      this.decisions.leave(name, place.machine, place.copy, why, 'Moving');
    }
  }
}

/** Its last copy has to be gone before the next one starts, unless its machine is lost and a second copy is what it asked for. */
export function waitsForStop(world: World, unit: PlannedUnit): string | undefined {
  const copies = world.copiesOf(unit.name);
  for (const machine of [...copies.keys()].sort()) {
    const at = world.machine(machine);
    if (!at) continue;
    if (at.health === 'present') return stopping(machine, copies.get(machine)!.why);
    if (at.health === 'held') return `waiting for machine ${shortId(machine)} to stop it: ${at.heldWhy ?? 'it does not answer'}`;
    if (unit.constraints.policy !== 'atLeastOnce') {
      return `waiting for machine ${shortId(machine)} to stop it, which does not answer: failover policy is ${unit.constraints.policy}`;
    }
  }
  return undefined;
}
