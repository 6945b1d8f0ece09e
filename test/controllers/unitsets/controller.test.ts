/** The controller of sets over a store in memory, the real cache, door and scheduler, and simulated machines. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { UnitSpec } from '../../../api/resources/unit.js';
import { SimCluster } from '../../sim/cluster.js';
import { applySet, conditionOf, content, counts, door, machinesOf, scale, setManifest, statusOf, unitNames } from './rig.js';

async function cluster(t: TestContext, machines = ['a', 'b', 'c'], servers = 1): Promise<SimCluster> {
  const sim = await new SimCluster().start(machines, servers);
  t.after(() => sim.end());
  await sim.advance(25_000);
  return sim;
}

const web = (...numbers: number[]) => numbers.map((number) => `web@${number}.service`);
const asUser = { manager: 'kubectl' };
const unitOf = (sim: SimCluster, name: string) => sim.cache.joined('units', name)!;
const starts = (sim: SimCluster) =>
  [...sim.agents.values()].flatMap(({ history }) => history).filter((line) => line.startsWith('start web'));

test('a set makes its units, and says when all of them are ready', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), web(1, 2, 3));
  assert.deepEqual(counts(sim, 'web'), [3, 3, 3]);
  assert.equal(conditionOf(sim, 'web', 'Available'), 'True AllReady: 3 of 3 units are ready.');
  assert.equal(conditionOf(sim, 'web', 'Progressing'), 'True Complete: All 3 units exist and have carried out the newest template.');
  assert.deepEqual([statusOf(sim, 'web').observedGeneration, statusOf(sim, 'web').selector], [1, 'flotilla.dev/unitset=web']);
  const unit = unitOf(sim, 'web@2.service');
  assert.equal(unit.metadata.labels?.['flotilla.dev/unitset'], 'web');
  assert.equal((unit.spec as UnitSpec).content, content(), 'the text is its own');
  assert.deepEqual(
    unit.metadata.ownerReferences?.map(({ kind, name, controller }) => [kind, name, controller]),
    [['UnitSet', 'web', true]],
  );
  assert.deepEqual(sim.said('Created', 'UnitSet'), ['web: Created 3 units: web@1.service to web@3.service.']);
});

test('its units keep apart, whatever else runs there', async (t) => {
  const sim = await cluster(t);
  for (const number of [1, 2, 3, 4]) {
    await sim.apply(`other${number}.service`, { placement: { machineID: [...sim.agents.values()][0]!.id } });
  }
  await sim.rest();
  await applySet(sim, 'web', 6);
  const counted = Object.values(machinesOf(sim)).map((units) => units.filter((name) => name.startsWith('web')).length);
  assert.deepEqual(counted, [2, 2, 2]);
});

test('scaled down, the highest numbers go; scaled up, they come back', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 4);
  await scale(sim, 'web', 2);
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), web(1, 2));
  assert.deepEqual(counts(sim, 'web'), [2, 2, 2]);
  assert.deepEqual(sim.said('Removed', 'UnitSet'), ['web: Removed 2 units: web@3.service to web@4.service.']);
  await scale(sim, 'web', 3);
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), web(1, 2, 3));
  await scale(sim, 'web', 0);
  await sim.advance(2_000);
  assert.deepEqual([unitNames(sim), conditionOf(sim, 'web', 'Available')], [[], 'True NoneWanted: No units are wanted.']);
});

test('SEMANTICS 12: a changed text restarts each unit once, changed labels and placement none', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  assert.equal(starts(sim).length, 3);
  await applySet(sim, 'web', 3, { content: content(), placement: { conflicts: ['db*'] } }, { labels: { tier: 'front' } });
  await sim.advance(2_000);
  assert.deepEqual([starts(sim).length, counts(sim, 'web')], [3, [3, 3, 3]]);
  assert.equal(unitOf(sim, 'web@3.service').metadata.labels?.tier, 'front');
  await applySet(sim, 'web', 3, { content: content(2) });
  await sim.advance(2_000);
  assert.deepEqual([starts(sim).length, counts(sim, 'web')], [6, [3, 3, 3]]);
  const { spec, metadata } = unitOf(sim, 'web@3.service');
  assert.deepEqual(
    [(spec as UnitSpec).placement, metadata.labels?.tier],
    [undefined, undefined],
    'what the template names no more is gone',
  );
});

test("users' own labels survive, what the template says is put right again", async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 2);
  const body = { metadata: { labels: { mine: 'yes' } }, spec: { content: content(9) } };
  await door(sim).patch('units', 'web@1.service', { type: 'merge', body }, asUser);
  await sim.advance(2_000);
  const { metadata, spec } = unitOf(sim, 'web@1.service');
  assert.deepEqual([metadata.labels?.mine, (spec as UnitSpec).content], ['yes', content()]);
  // The template says nothing about the desired state: that is whoever's who sets it.
  await door(sim).patch('units', 'web@2.service', { type: 'merge', body: { spec: { desiredState: 'loaded' } } }, asUser);
  await applySet(sim, 'web', 2, { content: content(2) });
  await sim.advance(2_000);
  assert.equal((unitOf(sim, 'web@2.service').spec as UnitSpec).desiredState, 'loaded');
});

test('a unit that is deleted by hand is made anew', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 2);
  const before = unitOf(sim, 'web@1.service').metadata.uid;
  await door(sim).remove('units', 'web@1.service', {}, asUser);
  await sim.advance(3_000);
  assert.deepEqual(unitNames(sim), web(1, 2));
  assert.notEqual(unitOf(sim, 'web@1.service').metadata.uid, before);
  assert.deepEqual(counts(sim, 'web'), [2, 2, 2]);
});

test("somebody else's unit is never written over: the set says its name, and takes it over once it is free", async (t) => {
  const sim = await cluster(t);
  await sim.apply('web@1.service');
  await applySet(sim, 'web', 2);
  await sim.advance(2_000);
  assert.equal(unitOf(sim, 'web@1.service').metadata.ownerReferences, undefined);
  assert.match(conditionOf(sim, 'web', 'Progressing'), /^False NameTaken: .*web@1\.service exists and is not a unit of this set/);
  assert.match(conditionOf(sim, 'web', 'Available'), /^False NotAllReady: 1 of 2 units is ready; web@1\.service exists/);
  assert.equal(sim.said('NameTaken', 'UnitSet').length, 1);
  await door(sim).remove('units', 'web@1.service', {}, asUser);
  await sim.advance(3_000);
  assert.match(conditionOf(sim, 'web', 'Available'), /^True/);
});

test('of two sets that want the same names the first has them, and the other one says whose they are', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 2);
  await applySet(sim, 'web.service', 3);
  await sim.advance(2_000);
  assert.deepEqual(
    unitOf(sim, 'web@1.service').metadata.ownerReferences?.map(({ name }) => name),
    ['web'],
  );
  assert.deepEqual(
    unitOf(sim, 'web@3.service').metadata.ownerReferences?.map(({ name }) => name),
    ['web.service'],
  );
  assert.match(conditionOf(sim, 'web.service', 'Progressing'), /web@1\.service belongs to UnitSet web; it is left as it is/);
  await scale(sim, 'web', 0);
  await sim.advance(3_000);
  assert.match(conditionOf(sim, 'web.service', 'Available'), /^True/, 'who waits for a name gets it when it is free');
});

test('a template unit of the same name is no business of the set: its units have their own text', async (t) => {
  const sim = await cluster(t);
  await sim.apply('web@.service', { content: '[Service]\nExecStart=/bin/other\n' });
  await applySet(sim, 'web', 1);
  await sim.advance(1_000);
  assert.equal((unitOf(sim, 'web@1.service').spec as UnitSpec).content, content());
  await door(sim).remove('units', 'web@.service', {}, asUser);
  await sim.advance(1_000);
  assert.deepEqual(unitNames(sim), web(1));
});

test('a unit that the rules for units refuse hurts no other one, and the set says which and why', async (t) => {
  const sim = await cluster(t);
  const placement = { machineOf: ['db@%i.service'], conflicts: ['db@2.service'] };
  await applySet(sim, 'web', 3, { content: content(), placement });
  await sim.advance(2_000);
  assert.deepEqual(unitNames(sim), web(1, 3));
  const why = /^False Refused: .*web@2\.service is refused: .*unresolvable requirements: peer "db@2\.service" matches conflict/;
  assert.match(conditionOf(sim, 'web', 'Progressing'), why);
  const before = await sim.store.revision();
  await sim.advance(90_000);
  assert.equal(await sim.store.revision(), before, 'what is refused is tried again now and then, and not written about each time');
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  assert.match(conditionOf(sim, 'web', 'Available'), /^True/);
});

test('once nothing changes nothing is written', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 5);
  await sim.advance(5_000);
  const before = await sim.store.revision();
  await sim.advance(120_000);
  assert.equal(await sim.store.revision(), before);
});

test('units that fit nowhere: the set says why, in the words of the scheduler', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 2, { content: content(), placement: { machineMetadata: ['zone=mars'] } });
  await sim.advance(2_000);
  assert.match(
    conditionOf(sim, 'web', 'Available'),
    /^False NotAllReady: 0 of 2 units are ready; web@1\.service: 3 machines: no metadata zone=mars;/,
  );
  assert.match(conditionOf(sim, 'web', 'Progressing'), /^True Updating/);
});

test('a leader that dies half way leaves nothing that the next one does twice, or forgets', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c'], 2);
  const [first] = sim.servers;
  await door(sim).apply('unitsets', 'web', setManifest('web', 40), asUser);
  for (let turn = 0; turn < 6 && unitNames(sim).length < 40; turn++) await new Promise((resolve) => setImmediate(resolve));
  await first!.end(sim);
  await sim.advance(40_000);
  assert.deepEqual(counts(sim, 'web'), [40, 40, 40]);
  assert.equal(unitNames(sim).length, 40);
  const uids = new Set(unitNames(sim).map((name) => unitOf(sim, name).metadata.uid));
  await scale(sim, 'web', 10);
  await sim.advance(5_000);
  assert.equal(unitNames(sim).length, 10);
  assert.ok(unitNames(sim).every((name) => uids.has(unitOf(sim, name).metadata.uid)));
  assert.equal(starts(sim).length, 40, 'each was started once');
});

test('invariant 7: a unit that nobody can read is neither made anew nor deleted, and holds up no other one', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  await sim.damage('units', 'web@2.service');
  await sim.advance(35_000);
  assert.deepEqual(sim.running('web@2.service').length, 1);
  assert.match(conditionOf(sim, 'web', 'Progressing'), /web@2\.service is there and cannot be read/);
  await scale(sim, 'web', 5);
  await sim.advance(2_000);
  assert.equal(sim.running('web@5.service').length, 1);
  await scale(sim, 'web', 1);
  await sim.advance(2_000);
  assert.deepEqual([sim.running('web@2.service').length, sim.running('web@3.service').length], [1, 0]);
});

test('invariant 13: a set that nobody can read stops nothing', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  await sim.damage('unitsets', 'web');
  await sim.advance(200_000);
  assert.equal(web(1, 2, 3).filter((name) => sim.running(name).length === 1).length, 3);
});

test('deleted while it is being scaled up, a set leaves nothing behind', async (t) => {
  const sim = await cluster(t);
  await door(sim).apply('unitsets', 'web', setManifest('web', 60), asUser);
  await door(sim).remove('unitsets', 'web', { propagationPolicy: 'Background' }, asUser);
  await sim.advance(10_000);
  assert.deepEqual([unitNames(sim), sim.cache.object('unitsets', 'web')], [[], undefined]);
});

/** Carries out `change` when the set is about to write to `unit`: after its look at all of its units. */
function meanwhile(sim: SimCluster, unit: string, change: () => Promise<unknown>): void {
  const { door: through } = sim.servers.at(-1)!;
  const { apply, remove } = through;
  const once = async (name: string) => {
    if (name !== unit) return;
    Object.assign(through, { apply, remove });
    await change();
  };
  Object.assign(through, {
    apply: async (...args: Parameters<typeof apply>) => {
      await once(args[1]);
      return apply.apply(through, args);
    },
    remove: async (...args: Parameters<typeof remove>) => {
      await once(args[1]);
      return remove.apply(through, args);
    },
  });
}

for (const [what, written, act] of [
  // The new unit is made first.
  ['changed', 'web@3.service', (sim: SimCluster) => applySet(sim, 'web', 3, { content: content(2) })],
  ['scaled away', 'web@2.service', (sim: SimCluster) => scale(sim, 'web', 1)],
] as const) {
  test(`a unit that is taken out of its set just before it is ${what} is left as it is`, async (t) => {
    const sim = await cluster(t);
    await applySet(sim, 'web', 2);
    await sim.advance(2_000);
    const released = { type: 'merge', body: { metadata: { ownerReferences: null } } } as const;
    meanwhile(sim, written, () => door(sim).patch('units', 'web@2.service', released, asUser));
    await act(sim);
    await sim.advance(5_000);
    const { metadata, spec } = unitOf(sim, 'web@2.service');
    assert.deepEqual([metadata.ownerReferences, metadata.deletionTimestamp], [undefined, undefined]);
    assert.equal((spec as UnitSpec).content, content());
  });
}
