/** Decides for units that share a machine (`machineOf`), and for the group of one that most units are. */
import type { Decisions } from './decisions.js';
import type { Finder } from './finder.js';
import { leadersOf } from './groups.js';
import { Leaving, waitsForStop } from './leaving.js';
import { replaces, shortId, unsuited } from './match.js';
import { Placing } from './placing.js';
import { ambiguous, idleReason } from './reasons.js';
import type { PlannedUnit, Verdict } from './types.js';
import type { World } from './world.js';

export class GroupPlanner {
  readonly #leaving: Leaving;
  readonly #placing: Placing;

  constructor(
    private readonly world: World,
    private readonly finder: Finder,
    private readonly decisions: Decisions,
  ) {
    this.#leaving = new Leaving(world, finder, decisions);
    this.#placing = new Placing(world, finder, decisions);
  }

  /** A unit that follows nobody, is followed by nobody, and is nowhere. */
  placeAlone(unit: PlannedUnit): void {
    const { name, broken } = unit;
    const idle = idleReason(unit);
    if (idle) {
      this.decisions.nowhere(name, idle.reason, idle.message);
      return;
    }
    const target = broken === undefined ? this.finder.find([name]) : { reason: 'Invalid', message: broken };
    if ('slot' in target) this.decisions.place(name, target.slot, { inOrder: false });
    else this.decisions.say(name, { go: 'unschedulable', reason: target.reason, message: target.message });
  }

  /** @param members leaders first; `circles` names those that are in a circle, as `groupOf` finds them */
  decide(members: readonly string[], circles: ReadonlyMap<string, string>): void {
    const { world } = this;
    for (const [name, circle] of circles) this.decisions.cannot(name, 'MachineOfCircle', `machineOf goes in a circle: ${circle}`);

    const staying = new Map<string, string>();
    const leaving = new Map<string, string>();
    const pending: string[] = [];
    for (const name of members) {
      const unit = world.unit(name)!;
      const idle = idleReason(unit);
      if (idle) {
        this.decisions.nowhere(name, idle.reason, idle.message);
        continue;
      }
      const place = world.placeOf(name);
      const broken = unit.broken ?? this.#followsUnreadable(unit);
      if (broken !== undefined) {
        if (!place) this.decisions.say(name, { go: 'unschedulable', reason: 'Invalid', message: broken });
        else {
          const message = `${broken}; what runs on machine ${shortId(place.machine)} is left as it is`;
          this.decisions.say(name, {
            go: 'stay',
            machine: place.machine,
            start: place.copy.wanted === 'launched',
            reason: 'Invalid',
            message,
          });
          staying.set(name, place.machine);
        }
        continue;
      }
      const orphaned = this.#orphaned(unit);
      if (orphaned !== undefined) {
        this.decisions.cannot(name, 'LeaderMissing', orphaned);
        continue;
      }
      const contradiction = this.#contradiction(unit);
      if (contradiction !== undefined) {
        this.decisions.cannot(name, 'Contradiction', contradiction);
        continue;
      }
      if (!place) {
        const waiting = waitsForStop(world, unit);
        if (waiting === undefined) pending.push(name);
        else this.decisions.say(name, { go: 'wait', reason: 'Moving', message: waiting });
        continue;
      }
      const why = this.#mustLeave(unit, place.machine, staying, leaving);
      if (why === undefined) staying.set(name, place.machine);
      else leaving.set(name, why);
    }

    this.#leaving.moveOff(members, staying, leaving);
    this.#placing.placePending(pending, staying);
    // A leader that found no place on its followers' machine takes them along.
    for (const name of members) {
      const machine = staying.get(name);
      if (machine === undefined || this.decisions.verdicts.has(name)) continue;
      const isElsewhere = (leader: string) => leaderElsewhere(this.decisions.verdicts.get(leader), machine);
      const leader = world.unit(name)!.constraints.machineOf.find(isElsewhere);
      if (leader === undefined) continue;
      staying.delete(name);
      leaving.set(name, `it follows ${leader}`);
    }
    this.#leaving.leaveInOrder(members, leaving);
    for (const [name, machine] of staying) if (!this.decisions.verdicts.has(name)) this.decisions.stay(name, machine);
  }

  /** Where such a leader belongs is not known, so its follower is neither placed nor stopped. */
  #followsUnreadable({ constraints }: PlannedUnit): string | undefined {
    const leader = constraints.machineOf.find((name) => this.world.unreadable.has(name) && !this.world.unit(name));
    return leader && `it follows ${leader} (machineOf), which cannot be read`;
  }

  /** Why the units that it follows cannot take it along. */
  #orphaned(unit: PlannedUnit): string | undefined {
    for (const name of unit.constraints.machineOf) {
      const leader = this.world.unit(name);
      if (!leader) return `it follows ${name} (machineOf), which does not exist`;
      if (leader.constraints.global) return `it follows ${name} (machineOf), which is a global unit and has no one machine`;
      const idle = idleReason(leader);
      if (idle) return `it follows ${name} (machineOf): ${idle.message}`;
      const verdict = this.decisions.verdicts.get(name);
      if (verdict?.reason === 'LeaderMissing' || verdict?.reason === 'MachineOfCircle')
        return `it follows ${name} (machineOf): ${verdict.message}`;
    }
    return undefined;
  }

  /** It would drive away whom it follows: placed, it would have to go at once, and so on for ever. */
  #contradiction({ name, constraints }: PlannedUnit): string | undefined {
    if (constraints.replaces.length === 0 || constraints.machineOf.length === 0) return undefined;
    const leader = [...leadersOf(this.world, name)].sort().find((other) => replaces(constraints, name, other));
    return leader && `it replaces ${leader}, which it follows (machineOf)`;
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
      if (leaving.has(leader) || this.decisions.verdicts.get(leader)?.go === 'wait') return `it follows ${leader}`;
      const place = staying.get(leader);
      if (place !== undefined && place !== machine) return `it follows ${leader} to machine ${shortId(place)}`;
    }
    return undefined;
  }
}

/** Whether the leader was decided to be anywhere but on this machine. */
function leaderElsewhere(verdict: Verdict | undefined, machine: string): boolean {
  if (!verdict || verdict.go === 'wait' || verdict.go === 'unschedulable') return verdict !== undefined;
  return (verdict.go === 'place' || verdict.go === 'stay') && verdict.machine !== machine;
}
