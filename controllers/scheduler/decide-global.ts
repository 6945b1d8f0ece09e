/** Decides for global units: on each machine that they suit, each machine for itself. */
import type { Decisions } from './decisions.js';
import type { Finder } from './finder.js';
import { unsuited } from './match.js';
import { idleReason } from './reasons.js';
import type { Slot } from './slots.js';
import type { PlannedUnit } from './types.js';
import type { World } from './world.js';

/** Its verdict, about these machines, joins the decisions; a unit that is to run nowhere is asked about wherever it is. */
export function decideGlobal(world: World, finder: Finder, decisions: Decisions, unit: PlannedUnit, machines: readonly string[]): void {
  const { name } = unit;
  const place: string[] = [];
  const leave = new Map<string, string>();
  const skip = new Map<string, string>();
  decisions.globals.set(name, { place, leave, skip });
  const idle = idleReason(unit);
  for (const id of idle ? [...world.copiesOf(name).keys()].sort() : machines) {
    const slot = world.slot(id);
    if (!slot?.machine) continue;
    const copy = world.copiesOf(name).get(id);
    if (copy?.leaving) {
      skip.set(id, 'still being stopped there');
    } else if (copy) {
      const against = idle?.message ?? mustLeave(world, unit, slot);
      if (against === undefined) continue;
      leave.set(id, against);
      world.setCopy(name, id, { ...copy, leaving: true });
    } else {
      const against = idle?.message ?? unit.broken ?? finder.refusalOf(name, slot);
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

function mustLeave(world: World, unit: PlannedUnit, slot: Slot): string | undefined {
  if (unit.broken !== undefined) return undefined;
  const against = unsuited(unit.constraints, slot.machine!);
  if (against !== undefined) return against;
  const quarrel = world.quarrelOf(unit.name, slot);
  if (quarrel !== undefined) return `conflict with ${quarrel}`;
  const replacer = world.replacerOf(unit.name, slot);
  return replacer && `replaced by ${replacer}`;
}
