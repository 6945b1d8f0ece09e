import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { globMatch } from '../../../api/resources/glob.js';
import { plan } from '../../../controllers/scheduler/plan.js';
import type { PlannedMachine, PlannedUnit, Verdict } from '../../../controllers/scheduler/types.js';
import { World } from '../../../controllers/scheduler/world.js';
import { id, machine, unit } from './worlds.js';

const names = ['a', 'b', 'c', 'd', 'e', 'web@1', 'web@2', 'web@3'];
const maybe = <T>(what: fc.Arbitrary<T>, weight = 4) =>
  fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: what });
const some = (from: readonly string[]) => fc.subarray([...from], { maxLength: 2 });

const anyMachine = (name: string): fc.Arbitrary<PlannedMachine> =>
  fc
    .record({
      zone: fc.constantFrom('x', 'y', undefined),
      health: fc.constantFrom('present', 'present', 'present', 'held', 'lost'),
      cordoned: fc.constantFrom(false, false, true),
      draining: fc.constantFrom(false, false, false, true),
      tainted: fc.constantFrom(undefined, undefined, 'NoSchedule', 'NoExecute'),
      cpuMillis: fc.constantFrom(1_000, 4_000),
    })
    .map(({ zone, health, cordoned, draining, tainted, cpuMillis }) =>
      machine(name, {
        labels: zone ? { zone } : {},
        health: health as PlannedMachine['health'],
        cordoned,
        draining,
        taints: tainted ? [{ key: 't', effect: tainted as 'NoSchedule' | 'NoExecute' }] : [],
        capacity: { cpuMillis, memoryBytes: 1_000 },
      }),
    );

const anyUnit = (name: string): fc.Arbitrary<PlannedUnit> =>
  fc
    .record({
      wanted: fc.constantFrom('launched', 'launched', 'loaded', 'inactive'),
      generation: fc.constantFrom(1, 2),
      zone: maybe(fc.constantFrom(['x'], ['y'], ['x', 'y'])),
      conflicts: maybe(some(['web@*', 'a', '[bc]', '?']), 2),
      replaces: maybe(some(['d', 'web@1', 'e'])),
      machineOf: maybe(some(['a', 'b', 'c', 'web@1'])),
      machineID: maybe(fc.constantFrom(id('m1'), id('m2').slice(0, 8), id('m9'))),
      isGlobal: fc.constantFrom(false, false, false, false, true),
      tolerant: fc.boolean(),
      cpuMillis: fc.constantFrom(0, 0, 600),
      policy: fc.constantFrom('atLeastOnce', 'atLeastOnce', 'stay'),
      set: fc.constantFrom(undefined, 's', 't'),
    })
    .map(({ wanted, generation, zone, conflicts, replaces, machineOf, machineID, isGlobal, tolerant, cpuMillis, policy, set }) =>
      unit(name, {
        wanted: wanted as PlannedUnit['wanted'],
        generation,
        ...(zone ? { metadata: { zone } } : {}),
        // As validation has it: a unit does not conflict with whom it follows.
        conflicts: (conflicts ?? []).filter((glob) => !(machineOf ?? []).some((peer) => globMatch(glob, peer))),
        replaces: isGlobal ? [] : (replaces ?? []),
        machineOf: isGlobal ? [] : (machineOf ?? []),
        ...(machineID && !isGlobal ? { machineID } : {}),
        global: isGlobal,
        tolerations: tolerant ? [{ key: 't', operator: 'Exists' }] : [],
        requests: { cpuMillis, memoryBytes: 0 },
        policy: policy as 'atLeastOnce' | 'stay',
        ...(set ? { spread: set } : {}),
      }),
    );

interface Scene {
  readonly machines: readonly PlannedMachine[];
  readonly units: readonly PlannedUnit[];
}

const anyScene: fc.Arbitrary<Scene> = fc.record({
  machines: fc.integer({ min: 0, max: 4 }).chain((count) => fc.tuple(...['m1', 'm2', 'm3', 'm4'].slice(0, count).map(anyMachine))),
  units: fc.subarray(names, { minLength: 1 }).chain((chosen) => fc.tuple(...chosen.map(anyUnit))),
});

const worldOf = ({ machines, units }: Scene): World => {
  const world = new World();
  for (const one of machines) world.setMachine(one);
  for (const one of units) world.setUnit(one);
  return world;
};

/** What the cluster makes of a plan: leaving copies go where their machine answers, what was placed starts, drained machines move on. */
function live(world: World, { units, machines }: Scene): boolean {
  let changed = false;
  for (const one of machines) {
    const at = world.machine(one.id)!;
    if (at.drainBusy !== undefined) world.setMachine(one);
  }
  for (const { name } of units) {
    for (const [at, copy] of [...world.copiesOf(name)]) {
      const health = world.machine(at)?.health;
      if (health !== 'present') continue;
      if (copy.leaving) {
        world.removeCopy(name, at);
        changed = true;
      } else if (!copy.settled) {
        world.setCopy(name, at, { ...copy, settled: true });
        changed = true;
      }
    }
  }
  return changed;
}

const decideAll = (world: World) => plan(world, [...world.unitNames()], world.machineIds());
const isMove = (verdict: Verdict) => verdict.go === 'place' || verdict.go === 'leave';

/** Plans and lets the cluster follow until nothing changes any more. */
function settleDown(scene: Scene, world: World, check: (world: World) => void = () => {}): void {
  for (let round = 0; round < 60; round++) {
    const { verdicts, globals, failed } = decideAll(world);
    assert.deepEqual([...failed], []);
    check(world);
    const moved = [...verdicts.values()].some(isMove) || [...globals.values()].some(({ place, leave }) => place.length + leave.size > 0);
    for (const [name, verdict] of verdicts) {
      if (verdict.go !== 'stay') continue;
      // What the leader would write: in step with the spec, and started when it may.
      const copy = world.copiesOf(name).get(verdict.machine)!;
      const planned = world.unit(name)!;
      world.setCopy(name, verdict.machine, {
        ...copy,
        generation: planned.generation,
        wanted: planned.wanted === 'launched' && verdict.start ? 'launched' : 'loaded',
      });
    }
    if (!live(world, scene) && !moved) return;
  }
  assert.fail('it never comes to rest');
}

const conflict = (world: World, one: string, other: string): boolean =>
  one !== other &&
  (world.unit(one)!.constraints.conflicts.some((glob) => globMatch(glob, other)) ||
    world.unit(other)!.constraints.conflicts.some((glob) => globMatch(glob, one)));

const runs = { numRuns: 400 };

test('property: it comes to rest, and then a second look decides nothing', () => {
  fc.assert(
    fc.property(anyScene, (scene) => {
      const world = worldOf(scene);
      settleDown(scene, world);
      const { verdicts, globals } = decideAll(world);
      assert.deepEqual(
        [...verdicts].filter(([, verdict]) => isMove(verdict)),
        [],
      );
      for (const { place, leave } of globals.values()) assert.equal(place.length + leave.size, 0);
    }),
    runs,
  );
});

test('property: units that conflict never share a machine, not even while one of them leaves', () => {
  fc.assert(
    fc.property(anyScene, (scene) => {
      settleDown(scene, worldOf(scene), (world) => {
        for (const slot of world.slots) {
          for (const one of slot.units)
            for (const other of slot.units) assert.ok(!conflict(world, one, other), `${one} and ${other} on ${slot.id}`);
        }
      });
    }),
    runs,
  );
});

test('property: no second copy, but of a unit that may fail over from a machine that is lost', () => {
  fc.assert(
    fc.property(
      anyScene,
      fc.array(fc.record({ at: fc.nat(3), health: fc.constantFrom('present', 'held', 'lost') }), { maxLength: 5 }),
      (scene, weather) => {
        const world = worldOf(scene);
        let now = scene;
        for (const { at, health } of [{ at: 0, health: scene.machines[0]?.health ?? 'present' }, ...weather]) {
          const machines = now.machines.map((one, index) => (index === at ? { ...one, health: health as PlannedMachine['health'] } : one));
          now = { ...now, machines };
          for (const one of machines) world.setMachine(one);
          settleDown(now, world, () => {
            for (const { name, constraints } of scene.units) {
              if (constraints.global) continue;
              const copies = [...world.copiesOf(name)];
              const staying = copies.filter(([, copy]) => !copy.leaving);
              assert.ok(staying.length <= 1, `${name} is assigned twice`);
              // While a machine that answers stops its copy, nothing else starts; what failed over earlier may be being stopped meanwhile.
              if (copies.length > 1) assert.equal(constraints.policy, 'atLeastOnce');
            }
          });
        }
      },
    ),
    runs,
  );
});

test('property: the order in which things become known changes nothing', () => {
  const shuffled = anyScene.chain((scene) =>
    fc.record({
      scene: fc.constant(scene),
      machines: fc.shuffledSubarray([...scene.machines], { minLength: scene.machines.length }),
      units: fc.shuffledSubarray([...scene.units], { minLength: scene.units.length }),
    }),
  );
  fc.assert(
    fc.property(shuffled, ({ scene, machines, units }) => {
      const look = (world: World) => {
        const { verdicts, globals } = decideAll(world);
        const sort = <T>(all: ReadonlyMap<string, T>) => [...all].sort(([a], [b]) => (a < b ? -1 : 1));
        return {
          verdicts: sort(verdicts),
          globals: sort(globals).map(([name, { place, leave, skip }]) => [name, [...place].sort(), sort(leave), sort(skip)]),
        };
      };
      assert.deepEqual(look(worldOf({ machines, units })), look(worldOf(scene)));
    }),
    runs,
  );
});

test('property: a machine more moves nothing that has a place', () => {
  fc.assert(
    fc.property(anyScene, anyMachine('m5'), (scene, newcomer) => {
      // A machine that is drained or lost is a need: whoever waits there for somewhere to go has waited for this one.
      const calm = { ...scene, machines: scene.machines.map((one) => ({ ...one, draining: false, health: 'present' as const })) };
      const world = worldOf(calm);
      settleDown(calm, world);
      // Nor does it matter to a unit whose replacer had no machine until now.
      if (calm.units.some(({ constraints }) => constraints.replaces.length > 0)) return;
      const before = new Map(calm.units.map(({ name }) => [name, world.placeOf(name)?.machine]));
      world.setMachine(newcomer);
      const { verdicts } = decideAll(world);
      for (const [name, verdict] of verdicts) {
        if (before.get(name) !== undefined) assert.equal(verdict.go, 'stay', `${name}: ${verdict.message}`);
      }
    }),
    runs,
  );
});

test('property: the same machine as a scan of all machines would find, or none like it', () => {
  fc.assert(
    fc.property(anyScene, anyUnit('new'), (scene, newcomer) => {
      const world = worldOf(scene);
      settleDown(scene, world);
      const single = { ...newcomer, wanted: 'launched' as const, constraints: { ...newcomer.constraints, machineOf: [], global: false } };
      world.setUnit(single);
      const expected = scan(world, scene.machines, single);
      const verdict = plan(world, ['new']).verdicts.get('new')!;
      assert.equal('machine' in verdict ? verdict.machine : undefined, expected);
    }),
    { numRuns: 1_000 },
  );
});

test('property: an index that has seen many changes knows what one made afresh knows, also of units that wait', () => {
  const change = fc.oneof(
    fc.record({ machine: fc.constantFrom('m1', 'm2', 'm3', 'm4').chain(anyMachine) }),
    fc.record({ without: fc.constantFrom('m1', 'm2', 'm3', 'm4') }),
    fc.record({ unit: fc.constantFrom(...names).chain(anyUnit) }),
    fc.record({ gone: fc.constantFrom(...names) }),
  );
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 40 }),
      fc.record({ sumsPerPass: fc.constantFrom(0, 200), manySkips: fc.constantFrom(0, 32), queues: fc.constantFrom(2, 256) }),
      (changes, limits) => {
        const world = new World(limits);
        const machines = new Map<string, PlannedMachine>();
        for (const step of changes) {
          if ('machine' in step) {
            machines.set(step.machine.id, step.machine);
            world.setMachine(step.machine);
          } else if ('without' in step) {
            machines.delete(id(step.without));
            world.removeMachine(id(step.without));
            for (const name of [...world.unitNames()]) world.removeCopy(name, id(step.without));
          } else if ('unit' in step)
            world.setUnit({ ...step.unit, constraints: { ...step.unit.constraints, machineOf: [], global: false } });
          else {
            world.removeUnit(step.gone);
            for (const at of [...world.copiesOf(step.gone).keys()]) world.removeCopy(step.gone, at);
          }
          for (const name of [...world.unitNames()].sort()) {
            const planned = world.unit(name)!;
            if (planned.wanted === 'inactive' || world.copiesOf(name).size > 0) continue;
            const expected = scan(world, [...machines.values()], planned);
            const verdict = plan(world, [name]).verdicts.get(name)!;
            assert.equal('machine' in verdict ? verdict.machine : undefined, expected, `${name}: ${verdict.message}`);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

/** The reference: no index, no queue, each machine asked each thing. */
function scan(world: World, machines: readonly PlannedMachine[], { name, constraints }: PlannedUnit): string | undefined {
  const fits = machines.filter((at) => {
    const there = [...world.unitNames()].filter((other) => world.copiesOf(other).has(at.id));
    const zone = constraints.metadata.get('zone');
    const sum = there.reduce((all, other) => all + world.unit(other)!.constraints.requests.cpuMillis, 0);
    const isReplaced = there.some((other) => {
      const theirs = world.unit(other)!.constraints.replaces.some((glob) => globMatch(glob, name));
      const mine = constraints.replaces.some((glob) => globMatch(glob, other));
      return theirs && !mine && world.copiesOf(other).get(at.id)!.leaving === false;
    });
    return (
      at.health === 'present' &&
      !at.cordoned &&
      !at.draining &&
      (constraints.machineID === undefined || constraints.machineID === at.id || constraints.machineID === at.id.slice(0, 8)) &&
      (zone === undefined || zone.includes(at.labels.zone ?? '')) &&
      (at.taints.length === 0 || constraints.tolerations.length > 0) &&
      !there.some((other) => conflict(world, name, other)) &&
      !isReplaced &&
      (constraints.requests.cpuMillis === 0 || sum + constraints.requests.cpuMillis <= at.capacity!.cpuMillis)
    );
  });
  const there = (at: PlannedMachine) => [...world.unitNames()].filter((other) => world.copiesOf(other).has(at.id));
  const load = (at: PlannedMachine) => there(at).length;
  const siblings = (at: PlannedMachine) =>
    constraints.spread === undefined ? 0 : there(at).filter((other) => world.unit(other)!.constraints.spread === constraints.spread).length;
  return fits.sort((a, b) => siblings(a) - siblings(b) || load(a) - load(b) || (a.id < b.id ? -1 : 1))[0]?.id;
}
