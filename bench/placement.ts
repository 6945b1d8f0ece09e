/**
 * What one placement costs, on a small and on a large cluster: with an index it must not grow with the number of machines. Conflicts,
 * selectors and requests as a mixed cluster has them; a scan of all machines for comparison.
 */

import { closed } from '../controllers/scheduler/match.js';
import { plan } from '../controllers/scheduler/plan.js';
import type { PlannedMachine, PlannedUnit } from '../controllers/scheduler/types.js';
import { unconstrained } from '../controllers/scheduler/types.js';
import { World } from '../controllers/scheduler/world.js';
import type { Row } from './row.js';

const unitCount = 20_000;
/** Units of one pass, as the reconciler plans them. */
const perPass = 4_000;
const rounds = 3;
/** A scan is measured on this many units only: on the large cluster it takes its time. */
const scanned = 500;

const zones = ['a', 'b', 'c', 'd'];

const machineOf = (at: number): PlannedMachine => ({
  id: at.toString(16).padStart(32, '0').replace(/^0{8}/, at.toString(16).padStart(8, '0')),
  labels: { zone: zones[at % 4]!, disk: at % 2 === 0 ? 'ssd' : 'hdd' },
  health: 'present',
  cordoned: at % 50 === 49,
  draining: false,
  taints: [],
  capacity: { cpuMillis: 64_000, memoryBytes: 2 ** 38 },
});

const base = { generation: 1, wanted: 'launched', template: false, deleting: false, moving: false } as const;

/** A third without wishes, a third tied to a zone and with requests, a third in sets of 10 that spread over machines. */
function unitOf(at: number): PlannedUnit {
  const set = Math.floor(at / 30);
  if (at % 3 === 0) return { ...base, name: `plain-${at}.service`, constraints: unconstrained };
  if (at % 3 === 1) {
    const metadata = new Map([['zone', [zones[at % 4]!]]]);
    return {
      ...base,
      name: `zoned-${at}.service`,
      constraints: { ...unconstrained, metadata, requests: { cpuMillis: 250, memoryBytes: 2 ** 27 } },
    };
  }
  return { ...base, name: `spread-${set}@${at}.service`, constraints: { ...unconstrained, conflicts: [`spread-${set}@*.service`] } };
}

/** Units of a set keep apart by themselves: sets of 10, and one in four of a thousand. */
function memberOf(at: number): PlannedUnit {
  const set = at % 4 === 0 ? `large-${Math.floor(at / 4_000)}` : `small-${Math.floor(at / 40)}-${at % 4}`;
  return { ...base, name: `${set}@${at}.service`, constraints: { ...unconstrained, spread: set } };
}

function clusterOf(machines: number, make = unitOf): World {
  const world = new World();
  for (let at = 0; at < machines; at++) world.setMachine(machineOf(at));
  for (let at = 0; at < unitCount; at++) world.setUnit(make(at));
  return world;
}

/** Microseconds per placement, index building included. */
function planned(machines: number, make = unitOf): number {
  const world = clusterOf(machines, make);
  const names = [...world.unitNames()];
  const startedMs = performance.now();
  let placed = 0;
  for (let from = 0; from < names.length; from += perPass) {
    const { verdicts } = plan(world, names.slice(from, from + perPass));
    for (const verdict of verdicts.values()) if (verdict.go === 'place') placed++;
  }
  const tookMs = performance.now() - startedMs;
  if (placed !== unitCount) throw new Error(`only ${placed} of ${unitCount} units were placed on ${machines} machines`);
  return (tookMs * 1_000) / placed;
}

/** The same question put to every machine. */
function scan(machines: number): number {
  const world = clusterOf(machines);
  const names = [...world.unitNames()].slice(0, scanned);
  const startedMs = performance.now();
  for (const name of names) {
    const { constraints } = world.unit(name)!;
    let best: (typeof world.slots)[number] | undefined;
    for (const slot of world.slots) {
      const isBetter =
        best === undefined || slot.units.size < best.units.size || (slot.units.size === best.units.size && slot.id < best.id);
      if (isBetter && closed(constraints, slot.machine!) === undefined && world.crowded(constraints, name, slot) === undefined) best = slot;
    }
    world.setCopy(name, best!.id, { leaving: false, generation: 1, wanted: 'launched', settled: false });
  }
  return ((performance.now() - startedMs) * 1_000) / names.length;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

export async function benchPlacement(): Promise<Row[]> {
  planned(100); // warms the compiler up
  const small: number[] = [];
  const large: number[] = [];
  const smallSets: number[] = [];
  const largeSets: number[] = [];
  for (let round = 0; round < rounds; round++) {
    small.push(planned(1_000));
    large.push(planned(10_000));
    smallSets.push(planned(1_000, memberOf));
    largeSets.push(planned(10_000, memberOf));
  }
  const [at1k, at10k, naive] = [median(small), median(large), scan(10_000)];
  return [
    { name: 'placement, 1k machines, 20k units', value: at1k, unit: 'µs each' },
    {
      name: 'placement, 10k machines, 20k units',
      value: at10k,
      unit: 'µs each',
      reference: 'the same on 1k machines',
      ratio: at10k / at1k,
      aim: '≤ 1.5',
    },
    { name: 'placement of sets, 1k machines, 20k units', value: median(smallSets), unit: 'µs each' },
    {
      name: 'placement of sets, 10k machines, 20k units',
      value: median(largeSets),
      unit: 'µs each',
      reference: 'the same on 1k machines',
      ratio: median(largeSets) / median(smallSets),
      aim: '≤ 1.5',
    },
    {
      name: 'placement, 10k machines: how much faster than a scan',
      value: naive / at10k,
      unit: 'times',
      reference: `a scan of all machines, ${naive.toFixed(0)} µs each`,
      aim: '≥ 50',
    },
  ];
}
