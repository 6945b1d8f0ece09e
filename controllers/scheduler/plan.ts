/**
 * Where each unit runs. Values in, verdicts out: the world is an index that is told of each verdict at once, so that the next one counts
 * with it. Whatever is placed and still allowed stays where it is; a new machine moves nothing.
 */

import { decideGlobal } from './decide-global.js';
import { GroupPlanner } from './decide-group.js';
import { Decisions } from './decisions.js';
import { Finder } from './finder.js';
import { groupOf } from './groups.js';
import type { Plan, PlannedUnit } from './types.js';
import type { World } from './world.js';

/** Decides for the named units (and whoever is in a group with them), and for all global units on the named machines. */
export function plan(world: World, units: Iterable<string>, machines: Iterable<string> = []): Plan {
  world.beginPass();
  const finder = new Finder(world);
  const decisions = new Decisions(world);
  const groups = new GroupPlanner(world, finder, decisions);
  const done = new Set<string>();
  const items: { name: string; changed: boolean; decide: () => void }[] = [];
  const touched = [...machines].sort();

  for (const name of units) {
    const unit = world.unit(name);
    if (!unit || done.has(name)) continue;
    if (unit.constraints.global) {
      done.add(name);
      items.push({ name, changed: isChanged(world, name), decide: () => decideGlobal(world, finder, decisions, unit, world.machineIds()) });
      continue;
    }
    if (isAlone(world, unit)) {
      done.add(name);
      items.push({ name, changed: false, decide: () => groups.placeAlone(unit) });
      continue;
    }
    const group = groupOf(world, name);
    const everyone = [...group.members, ...group.circles.keys()];
    for (const member of everyone) done.add(member);
    items.push({
      name: everyone.reduce((least, other) => (other < least ? other : least)),
      changed: everyone.some((member) => isChanged(world, member)),
      decide: () => groups.decide(group.members, group.circles),
    });
  }
  for (const name of touched.length > 0 ? world.globals() : []) {
    if (!done.has(name))
      items.push({ name, changed: false, decide: () => decideGlobal(world, finder, decisions, world.unit(name)!, touched) });
  }

  // Of two that cannot share a machine any more, the one whose spec changed is the one that moves: it goes first.
  items.sort((a, b) => Number(b.changed) - Number(a.changed) || (a.name < b.name ? -1 : 1));
  for (const item of items) {
    try {
      item.decide();
    } catch (error) {
      decisions.failed.set(item.name, error);
    }
  }
  return decisions;
}

/** Follows nobody, is followed by nobody, and is nowhere: so are most units that are to be placed, and there is little to ask about them. */
const isAlone = (world: World, { name, constraints }: PlannedUnit): boolean =>
  constraints.machineOf.length === 0 && world.followersOf(name).size === 0 && world.copiesOf(name).size === 0;

function isChanged(world: World, name: string): boolean {
  const { generation } = world.unit(name)!;
  for (const copy of world.copiesOf(name).values()) if (!copy.leaving && copy.generation !== generation) return true;
  return false;
}
