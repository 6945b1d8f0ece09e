/** Units of a group that get a machine: all of them the same one where that is possible. */
import type { Decisions } from './decisions.js';
import type { Finder } from './finder.js';
import { shortId } from './match.js';
import type { Slot } from './slots.js';
import type { World } from './world.js';

export class Placing {
  constructor(
    private readonly world: World,
    private readonly finder: Finder,
    private readonly decisions: Decisions,
  ) {}

  /** Places units that are nowhere yet: those that follow each other together, or else each where it can be. Adds them to `staying`. */
  placePending(unplaced: readonly string[], staying: Map<string, string>): void {
    const waiting = new Set<string>();
    for (const name of unplaced) {
      const absent = this.#leaders(name).find((leader) => !staying.has(leader) && !waiting.has(leader));
      if (absent === undefined) waiting.add(name);
      else this.#waitForLeader(name, absent);
    }
    for (const together of this.#clusters([...waiting])) {
      // Leaders that already run somewhere bind their followers to that machine.
      const isBound = together.some((name) => this.#leaders(name).some((leader) => staying.has(leader)));
      const whole = isBound ? undefined : (this.finder.findWithFollowers(together, staying) ?? this.finder.find(together));
      if (whole && 'slot' in whole) {
        for (const name of together) this.#settle(name, whole.slot, staying);
      } else if (whole && together.length === 1) {
        this.decisions.say(together[0]!, { go: 'unschedulable', reason: whole.reason, message: whole.message });
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
      const isGoodNear = near !== undefined && this.finder.refusal([name], near) === undefined;
      const target = this.finder.findWithFollowers([name], staying) ?? (isGoodNear ? { slot: near! } : this.finder.find([name]));
      if ('slot' in target) {
        this.#settle(name, target.slot, staying);
        near ??= target.slot;
      } else this.decisions.say(name, { go: 'unschedulable', reason: target.reason, message: target.message });
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
      this.decisions.say(name, { go: 'unschedulable', reason: 'LeadersApart', message: `the units that it follows run apart: ${spelled}` });
      return;
    }
    const slot = this.world.slot(machine)!;
    const against = this.finder.refusal([name], slot);
    if (against === undefined) {
      this.#settle(name, slot, staying);
      return;
    }
    const message = `it follows ${leaders.join(', ')} to machine ${shortId(machine)}: ${against}`;
    this.decisions.say(name, { go: 'unschedulable', reason: 'Unschedulable', message });
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

  #leaders(name: string): readonly string[] {
    return this.world.unit(name)!.constraints.machineOf;
  }

  #waitForLeader(name: string, leader: string): void {
    this.decisions.say(name, {
      go: 'wait',
      // Whoever is on the move still is: it has to start after its leader, however long that takes to stop.
      reason: this.world.unit(name)!.moving ? 'Moving' : 'WaitingForLeader',
      message: `waiting for a machine for ${leader}, which it follows (machineOf)`,
    });
  }

  #settle(name: string, slot: Slot, staying: Map<string, string>): void {
    this.decisions.place(name, slot, { inOrder: this.world.unit(name)!.moving });
    staying.set(name, slot.id);
  }
}
