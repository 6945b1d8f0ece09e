/** MachineOf groups: units that share a machine, leaders before followers. */
import type { World } from './world.js';

export interface Group {
  /** All units that are connected by `machineOf`, each after the units that it follows; those in a circle are left out. */
  readonly members: readonly string[];
  /** Members of a circle → the circle, as `a → b → a`. */
  readonly circles: ReadonlyMap<string, string>;
}

export function groupOf(world: World, name: string): Group {
  const unit = world.unit(name);
  if (!unit) return { members: [], circles: new Map() };
  if (unit.constraints.machineOf.length === 0 && world.followersOf(name).size === 0) return { members: [name], circles: new Map() };

  const found = new Set<string>([name]);
  for (const member of found) {
    for (const leader of world.unit(member)?.constraints.machineOf ?? []) {
      // A global unit is no leader: those who name it are told so, and it ties nobody together.
      if (world.unit(leader)?.constraints.global === false) found.add(leader);
    }
    for (const follower of world.followersOf(member)) found.add(follower);
  }

  const waitsFor = new Map<string, Set<string>>();
  for (const member of found) {
    const leaders = world.unit(member)?.constraints.machineOf ?? [];
    waitsFor.set(member, new Set(leaders.filter((leader) => found.has(leader))));
  }
  const members: string[] = [];
  let ready = [...found].filter((member) => waitsFor.get(member)!.size === 0).sort();
  while (ready.length > 0) {
    const next: string[] = [];
    for (const member of ready) {
      members.push(member);
      for (const follower of world.followersOf(member)) {
        const open = waitsFor.get(follower);
        if (open?.delete(member) && open.size === 0) next.push(follower);
      }
    }
    ready = next.sort();
  }

  const circles = new Map<string, string>();
  const placed = new Set(members);
  for (const member of [...found].filter((other) => !placed.has(other)).sort()) circles.set(member, circleFrom(member, waitsFor));
  return { members, circles };
}

/** All that it follows, directly or through others. */
export function leadersOf(world: World, name: string): Set<string> {
  const leaders = new Set(world.unit(name)?.constraints.machineOf);
  for (const leader of leaders) for (const next of world.unit(leader)?.constraints.machineOf ?? []) leaders.add(next);
  return leaders;
}

/** Follows one leader after another until one comes up again. */
function circleFrom(start: string, waitsFor: ReadonlyMap<string, ReadonlySet<string>>): string {
  const path = [start];
  for (;;) {
    const next = [...waitsFor.get(path.at(-1)!)!].sort()[0]!;
    const again = path.indexOf(next);
    if (again >= 0) return [...path.slice(again), next].join(' → ');
    path.push(next);
  }
}
