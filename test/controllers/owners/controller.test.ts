/** Deletion and what it means for dependents: the three ways, users' own references, and owners that are not there. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DeleteOptions } from '../../../api/objects/ports.js';
import { SimCluster } from '../../sim/cluster.js';
import { applySet, content, door, unitNames } from '../unitsets/rig.js';

async function cluster(t: TestContext, servers = 1): Promise<SimCluster> {
  const sim = await new SimCluster().start(['a', 'b', 'c'], servers);
  t.after(() => sim.end());
  await sim.advance(25_000);
  return sim;
}

const asUser = { manager: 'kubectl' };
const web = (...numbers: number[]) => numbers.map((number) => `web@${number}.service`);
const isThere = (sim: SimCluster, plural: string, name: string) => sim.cache.object(plural, name) !== undefined;
const remove = async (sim: SimCluster, plural: string, name: string, propagationPolicy?: DeleteOptions['propagationPolicy']) => {
  const outcome = await door(sim).remove(plural, name, propagationPolicy ? { propagationPolicy } : {}, asUser);
  await sim.rest();
  return outcome;
};
const uidOf = (sim: SimCluster, plural: string, name: string) => sim.cache.object(plural, name)!.value.metadata.uid!;

async function ownedUnit(sim: SimCluster, name: string, owners: readonly { kind: string; name: string; uid: string }[], more: object = {}) {
  const ownerReferences = owners.map((owner) => ({ apiVersion: 'flotilla.dev/v1', ...owner, ...more }));
  const manifest = { apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name, ownerReferences }, spec: { content: content() } };
  await door(sim).apply('units', name, manifest, asUser);
  await sim.rest();
}

for (const policy of [undefined, 'Background'] as const) {
  test(`background (${policy ?? 'the default'}): the owner goes although its units take their time, and they go after it`, async (t) => {
    const sim = await cluster(t);
    await applySet(sim, 'web', 3);
    await sim.advance(2_000);
    for (const agent of sim.agents.values()) agent.stopTakesMs = 5_000;
    await remove(sim, 'unitsets', 'web', policy);
    assert.equal(isThere(sim, 'unitsets', 'web'), false);
    assert.deepEqual(unitNames(sim), web(1, 2, 3), 'they are still being stopped');
    await sim.advance(10_000);
    assert.deepEqual(unitNames(sim), []);
  });
}

test('foreground: the units go first, then the owner', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  for (const agent of sim.agents.values()) agent.stopTakesMs = 5_000;
  const { gone, object } = await remove(sim, 'unitsets', 'web', 'Foreground');
  assert.deepEqual([gone, object.metadata.finalizers], [false, ['foregroundDeletion']]);
  assert.ok(object.metadata.deletionTimestamp);
  await sim.advance(2_000);
  assert.deepEqual([isThere(sim, 'unitsets', 'web'), unitNames(sim)], [true, web(1, 2, 3)]);
  assert.match(sim.condition('unitsets', 'web', 'Available')?.message ?? '', /being deleted; 3 units left/);
  await sim.advance(10_000);
  assert.deepEqual([isThere(sim, 'unitsets', 'web'), unitNames(sim)], [false, []]);
});

test('orphan: the owner goes, its units run on without it', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  await remove(sim, 'unitsets', 'web', 'Orphan');
  await sim.advance(90_000);
  assert.equal(isThere(sim, 'unitsets', 'web'), false);
  for (const name of web(1, 2, 3)) {
    assert.equal(sim.running(name).length, 1, name);
    assert.equal(sim.cache.object('units', name)!.value.metadata.ownerReferences, undefined);
  }
  for (const agent of sim.agents.values()) assert.equal(agent.history.length, 1, 'nothing was stopped or started');
  // A new set of the same name is another one.
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  assert.match(sim.condition('unitsets', 'web', 'Progressing')?.message ?? '', /web@1\.service exists and is not a unit of this set/);
});

test('whoever thinks better of it is heard as long as the owner is there', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 2);
  await sim.advance(2_000);
  const hold = { metadata: { finalizers: ['example.org/hold'] } };
  await door(sim).patch('unitsets', 'web', { type: 'merge', body: hold }, asUser);
  for (const server of sim.servers.splice(0)) await server.end(sim);
  const server = sim.addServer();
  await sim.rest();
  const first = await server.door.remove('unitsets', 'web', { propagationPolicy: 'Foreground' }, asUser);
  assert.deepEqual(first.object.metadata.finalizers, ['example.org/hold', 'foregroundDeletion']);
  const second = await server.door.remove('unitsets', 'web', { propagationPolicy: 'Orphan' }, asUser);
  assert.deepEqual(second.object.metadata.finalizers, ['example.org/hold', 'orphan']);
});

test("users' own references: a unit goes with the unit that owns it, and one with two owners with the last", async (t) => {
  const sim = await cluster(t);
  for (const name of ['a.service', 'b.service']) await sim.apply(name);
  await sim.rest();
  const [a, b] = ['a.service', 'b.service'].map((name) => ({ kind: 'Unit', name, uid: uidOf(sim, 'units', name) }));
  await ownedUnit(sim, 'of-a.service', [a!]);
  await ownedUnit(sim, 'of-both.service', [a!, b!]);
  await sim.advance(2_000);
  await remove(sim, 'units', 'a.service');
  await sim.advance(5_000);
  assert.deepEqual(unitNames(sim), ['b.service', 'of-both.service']);
  assert.deepEqual(
    sim.cache.object('units', 'of-both.service')!.value.metadata.ownerReferences?.map(({ name }) => name),
    ['b.service'],
  );
  await remove(sim, 'units', 'b.service');
  await sim.advance(5_000);
  assert.deepEqual(unitNames(sim), []);
});

test('foreground through generations: the grandchild goes first', async (t) => {
  const sim = await cluster(t);
  await sim.apply('a.service');
  await sim.rest();
  const owner = (name: string) => ({ kind: 'Unit', name, uid: uidOf(sim, 'units', name) });
  await ownedUnit(sim, 'b.service', [owner('a.service')], { blockOwnerDeletion: true });
  await ownedUnit(sim, 'c.service', [owner('b.service')], { blockOwnerDeletion: true });
  await sim.advance(2_000);
  const gone: string[] = [];
  sim.cache.subscribe(({ changes }) => {
    for (const change of changes) if (change.table === 'object' && !change.row) gone.push(change.name);
  });
  await remove(sim, 'units', 'a.service', 'Foreground');
  await sim.advance(10_000);
  assert.deepEqual(gone, ['c.service', 'b.service', 'a.service']);
});

test('an owner is known by its uid: one of the same name made anew owns nothing of the old one', async (t) => {
  const sim = await cluster(t);
  await sim.apply('a.service');
  await sim.rest();
  await ownedUnit(sim, 'stray.service', [{ kind: 'Unit', name: 'a.service', uid: 'of-an-earlier-one' }]);
  await sim.advance(55_000);
  assert.equal(sim.running('stray.service').length, 1, 'who is missing has a minute to come back');
  await sim.advance(15_000);
  assert.deepEqual(unitNames(sim), ['a.service']);
});

test('an owner of a kind that is not known here, or that cannot be read, is one that is there', async (t) => {
  const sim = await cluster(t);
  await sim.apply('a.service');
  await sim.rest();
  await ownedUnit(sim, 'of-pod.service', [{ kind: 'Pod', name: 'x', uid: 'pod' }]);
  await ownedUnit(sim, 'of-a.service', [{ kind: 'Unit', name: 'a.service', uid: uidOf(sim, 'units', 'a.service') }]);
  await sim.damage('units', 'a.service');
  await sim.advance(130_000);
  assert.deepEqual(unitNames(sim), ['of-a.service', 'of-pod.service']);
});

test('invariant 13: owners that are missing together stop nothing, and their units say so', async (t) => {
  const sim = await cluster(t);
  for (const name of ['web', 'api', 'db']) await applySet(sim, name, 1);
  await sim.advance(2_000);
  for (const server of sim.servers.splice(0)) await server.end(sim);
  // Not a deletion that anybody asked for: the table is lost.
  for (const name of ['web', 'api', 'db']) {
    const key = sim.keys.object('unitsets', name);
    const { entry } = await sim.store.get(key);
    await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'delete', key }] });
  }
  sim.addServer();
  await sim.advance(200_000);
  assert.deepEqual(unitNames(sim), ['api@1.service', 'db@1.service', 'web@1.service']);
  for (const name of unitNames(sim)) assert.equal(sim.running(name).length, 1, name);
  assert.match(
    sim.said('OwnersMissing', 'Unit')[0] ?? '',
    /UnitSet \w+, which controls it, is missing though nobody deleted it.*left as it is/,
  );
});

test('invariant 13: a set that is lost alone stops none of its units either', async (t) => {
  const sim = await cluster(t);
  await applySet(sim, 'web', 3);
  await sim.advance(2_000);
  const key = sim.keys.object('unitsets', 'web');
  const { entry } = await sim.store.get(key);
  await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'delete', key }] });
  await sim.advance(200_000);
  assert.deepEqual(unitNames(sim), ['web@1.service', 'web@2.service', 'web@3.service']);
  for (const name of unitNames(sim)) assert.equal(sim.running(name).length, 1, name);
});

test('invariant 13: owners of no controller that are missing together are left alone, too', async (t) => {
  const sim = await cluster(t);
  await sim.apply('a.service');
  for (const index of [1, 2])
    await ownedUnit(sim, `of-${index}.service`, [{ kind: 'Unit', name: `gone-${index}.service`, uid: `u${index}` }]);
  await sim.advance(130_000);
  assert.deepEqual(unitNames(sim), ['a.service', 'of-1.service', 'of-2.service']);
  assert.match(sim.said('OwnersMissing', 'Unit')[0] ?? '', /2 of 2 owners of objects are missing together.*left as it is/);
});

test('a deletion that was asked for while nobody led is carried out by whoever leads next', async (t) => {
  const sim = await cluster(t);
  for (const name of ['web', 'api']) await applySet(sim, name, 2);
  await sim.advance(2_000);
  for (const server of sim.servers.splice(0)) await server.end(sim);
  const server = sim.addServer();
  await sim.rest();
  for (const name of ['web', 'api']) await server.door.remove('unitsets', name, {}, asUser);
  await sim.advance(40_000);
  assert.deepEqual([unitNames(sim), [...sim.cache.objects('unitsets').keys()]], [[], []]);
});
