/**
 * Faults from a seed, then quiet: it has to come to rest, at the right place, and then write nothing more (ESR: eventually stable
 * reconciliation). A failing seed replays exactly: SIM_SEED=n.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimCluster } from './cluster.js';

/** mulberry32: small, and the same numbers everywhere. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const seeds = process.env.SIM_SEED ? [Number(process.env.SIM_SEED)] : Array.from({ length: 30 }, (_, at) => at + 1);
const machines = ['a', 'b', 'c', 'd', 'e'];
const placements = [
  {},
  {},
  { conflicts: ['web@*'] },
  { global: true },
  { machineOf: ['u0.service'] },
  { replaces: ['u1.service'] },
  { machineMetadata: ['disk=ssd'] },
  { machineMetadata: ['disk=hdd'] },
];

for (const seed of seeds) {
  test(`seed ${seed}: whatever happens, it converges, and then writes nothing`, async () => {
    const random = seeded(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
    const sim = await new SimCluster({ random }).start([], 2);
    for (const name of machines) await sim.addMachine(name, {}, { disk: name < 'c' ? 'ssd' : 'hdd' });
    await sim.advance(25_000);

    const names = ['u0.service', 'u1.service', 'u2.service', 'u3.service', 'web@1.service', 'web@2.service'];
    // A second copy may start only because a machine that does not answer may still run the first one.
    const everGlobal = new Set<string>();
    const doubles: string[] = [];
    for (const agent of sim.agents.values()) agent.stopTakesMs = pick([0, 1_000, 5_000]);
    sim.onStart = (agent, unit) => {
      const others = sim.running(unit).filter((machine) => machine !== agent.name && sim.agent(machine).connected);
      if (others.length > 0 && !everGlobal.has(unit)) doubles.push(`${unit} starts on ${agent.name} while it runs on ${others.join()}`);
    };
    for (let step = 0; step < 40; step++) {
      const name = pick(names);
      const machine = pick(machines);
      const agent = sim.agent(machine);
      const server = pick(sim.servers);
      const act = Math.floor(random() * 12);
      try {
        if (act <= 2) {
          const placement = name.startsWith('u0') ? {} : pick(placements);
          // A unit that is global now and not later leaves many machines at once: two copies of it are no fault.
          if (!('global' in placement) || everGlobal.has(name) || !sim.cache.object('units', name)) {
            if ('global' in placement) everGlobal.add(name);
            else if (everGlobal.has(name)) continue;
            await sim.apply(name, {
              placement,
              desiredState: pick(['launched', 'launched', 'loaded', 'inactive']),
              content: `[Service]\nExecStart=/bin/${step % 3}\n`,
            });
          }
        } else if (act === 3 && sim.cache.object('units', name)) await sim.remove(name);
        else if (act === 4) {
          if (agent.connected) agent.cutOff();
        } else if (act === 5) {
          if (agent.connected) agent.kill();
        } else if (act === 6) {
          if (!agent.connected) await agent.connect();
        } else if (act === 7) server.store.faults.loseAnswers = 1 + Math.floor(random() * 3);
        else if (act === 8) server.store.faults.frozen = random() < 0.5;
        else if (act === 9) server.store.faults.watchesCut = random() < 0.5;
        else await sim.machine(machine, pick([{}, { drain: true }, { unschedulable: true }]));
      } catch (error) {
        // A create after a delete that is not through yet: a user would hear of the conflict and try again.
        assert.match(String(error), /exists|lease/);
      }
      await sim.advance(250 * Math.floor(random() * 30));
    }

    for (const server of sim.servers) {
      server.store.faults.frozen = false;
      server.store.faults.watchesCut = false;
      server.store.faults.loseAnswers = 0;
    }
    for (const agent of sim.agents.values()) if (!agent.connected) await agent.connect();
    for (const machine of machines) await sim.machine(machine, {});
    await sim.advance(120_000);

    for (const name of names) {
      const object = sim.cache.object('units', name);
      const said = sim.condition('units', name, 'Scheduled');
      const copies = sim.assigned(name);
      const note = `${name}: ${JSON.stringify({ copies, said, spec: object?.value.spec })}`;
      assert.ok(
        copies.every((copy) => !copy.startsWith('leaving')),
        note,
      );
      const spec = object?.value.spec as
        | { desiredState?: string; placement?: { global?: boolean; machineMetadata?: string[] } }
        | undefined;
      if (!object) assert.deepEqual([copies, sim.running(name)], [[], []], note);
      else if (object.value.metadata.deletionTimestamp) assert.fail(`still being deleted: ${note}`);
      else if (spec?.desiredState === 'inactive') assert.deepEqual([copies, sim.running(name)], [[], []], note);
      else {
        assert.deepEqual(sim.running(name).sort(), spec?.desiredState === 'loaded' ? [] : copies, note);
        if (!spec?.placement?.global) assert.ok(copies.length === 1 || said?.status === 'False', note);
        if (copies.length === 0 && !spec?.placement?.global) assert.ok((said?.message ?? '').length > 10, note);
        const disk = spec?.placement?.machineMetadata?.[0];
        for (const machine of copies) if (disk) assert.equal(disk, machine < 'c' ? 'disk=ssd' : 'disk=hdd', note);
      }
    }
    assert.deepEqual(doubles, []);
    const before = await sim.store.revision();
    await sim.advance(60_000);
    assert.equal(await sim.store.revision(), before, 'it still writes');
    await sim.end();
  });
}
