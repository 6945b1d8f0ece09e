/** Worlds for tests, in few words. */
import { plan } from '../../../controllers/scheduler/plan.js';
import { type Constraints, type Copy, type PlannedMachine, type PlannedUnit, unconstrained } from '../../../controllers/scheduler/types.js';
import { World } from '../../../controllers/scheduler/world.js';

export type MachineWords = Partial<Omit<PlannedMachine, 'id'>>;
export type UnitWords = Partial<Omit<PlannedUnit, 'name' | 'constraints'>> &
  Partial<Omit<Constraints, 'metadata'>> & { metadata?: Record<string, readonly string[]> };
/** `m1` = settled there; `leaving m1` = on its way out; `loaded m1` = there, not started; `new m1` = not reported yet; `old m1` = of an earlier spec. */
export type Places = Readonly<Record<string, string | readonly string[]>>;

export interface Words {
  readonly machines?: Readonly<Record<string, MachineWords>>;
  readonly units?: Readonly<Record<string, UnitWords>>;
  readonly on?: Places;
  readonly caution?: string;
}

/** `m1` becomes a machine id that can be told apart by its first 8 characters. */
export const id = (name: string): string => name.padEnd(8, '0').padEnd(32, 'f');
const nameOf = (machine: string): string => machine.replace(/0*f*$/, '');

export const machine = (name: string, words: MachineWords = {}): PlannedMachine => ({
  id: id(name),
  labels: {},
  health: 'present',
  cordoned: false,
  draining: false,
  taints: [],
  ...words,
});

export function unit(name: string, words: UnitWords = {}): PlannedUnit {
  const {
    generation = 1,
    wanted = 'launched',
    template = false,
    deleting = false,
    moving = false,
    broken,
    metadata,
    ...constraints
  } = words;
  return {
    name,
    generation,
    wanted,
    template,
    deleting,
    moving,
    ...(broken === undefined ? {} : { broken }),
    constraints: { ...unconstrained, ...constraints, metadata: new Map(Object.entries(metadata ?? {})) },
  };
}

export function copy(words: string): { machine: string; copy: Copy } {
  const machine = words.split(' ').at(-1)!;
  return {
    machine: id(machine),
    copy: {
      leaving: words.includes('leaving'),
      generation: words.includes('old') ? 0 : 1,
      wanted: words.includes('loaded') ? 'loaded' : 'launched',
      settled: !words.includes('new'),
    },
  };
}

export function world({ machines = {}, units = {}, on = {}, caution }: Words): World {
  const made = new World();
  made.caution = caution;
  for (const [name, words] of Object.entries(machines)) made.setMachine(machine(name, words));
  for (const [name, words] of Object.entries(units)) made.setUnit(unit(name, words));
  for (const [name, places] of Object.entries(on)) {
    for (const words of [places].flat()) made.setCopy(name, copy(words).machine, copy(words).copy);
  }
  return made;
}

/** Verdicts as words: `place m1`, `stay m1`, `leave m1`, with `wait` and `unschedulable` as they are; `, not started` while it may not. */
export function decide(words: Words): { readonly says: Record<string, string>; readonly why: Record<string, string> } {
  const made = world(words);
  const says: Record<string, string> = {};
  const why: Record<string, string> = {};
  const { verdicts, globals } = plan(made, [...made.unitNames()]);
  for (const [name, verdict] of [...verdicts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const where = 'machine' in verdict ? ` ${nameOf(verdict.machine)}` : '';
    const gated = 'start' in verdict && !verdict.start ? ', not started' : '';
    const lost = verdict.go === 'place' && verdict.lost !== undefined ? `, given up on ${nameOf(verdict.lost)}` : '';
    says[name] = `${verdict.go}${where}${gated}${lost}`;
    why[name] = verdict.message;
  }
  for (const [name, { place, leave, skip }] of globals) {
    const words = [
      place.length > 0 ? `place ${place.map(nameOf).join(' ')}` : '',
      leave.size > 0 ? `leave ${[...leave.keys()].map(nameOf).join(' ')}` : '',
      skip.size > 0 ? `not ${[...skip.keys()].map(nameOf).join(' ')}` : '',
    ];
    says[name] = words.filter(Boolean).join('; ') || 'nothing';
    why[name] = [...leave, ...skip].map(([at, reason]) => `${nameOf(at)}: ${reason}`).join(', ');
  }
  return { says, why };
}
