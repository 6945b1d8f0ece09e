/** What the door does for owners and their dependents, and the conditions under which controllers write. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Dependents } from '../../../api/objects/dependents.js';
import type { ObjectDoor, StoredObject } from '../../../api/objects/ports.js';
import { finalizersFor } from '../../../api/objects/references.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { as, content, openServer, refused, unit } from './door-rig.js';

const kubectl = as('kubectl');
const machine = (name: string, metadata: object = {}) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Machine',
  metadata: { name, ...metadata },
});
const id = 'a'.repeat(32);

async function ownerWithUnit(door: ObjectDoor): Promise<string> {
  const { object } = await door.create('machines', machine(id), kubectl);
  const { uid } = object.metadata;
  const ownerReferences = [{ apiVersion: 'flotilla.dev/v1', kind: 'Machine', name: id, uid }];
  await door.create('units', unit('of.service', { content: content() }, { ownerReferences }), kubectl);
  return uid;
}

for (const { name, before = [], policy, hasDependents = true, after } of [
  { name: 'nothing asked for: as it was', before: ['orphan', 'x'], after: ['orphan', 'x'] },
  { name: 'foreground', policy: 'Foreground', before: ['x'], after: ['x', 'foregroundDeletion'] },
  { name: 'orphan instead of foreground', policy: 'Orphan', before: ['foregroundDeletion'], after: ['orphan'] },
  { name: 'background takes both back', policy: 'Background', before: ['orphan', 'x', 'foregroundDeletion'], after: ['x'] },
  { name: 'nobody depends on it', policy: 'Orphan', hasDependents: false, after: [] },
] as { name: string; before?: string[]; policy?: 'Orphan'; hasDependents?: boolean; after: string[] }[]) {
  test(`finalizers of a deletion: ${name}`, () => assert.deepEqual(finalizersFor(before, policy, hasDependents), after));
}

test('an object without dependents goes at once, whatever is asked for them', async (t) => {
  const { door } = await openServer(t);
  for (const propagationPolicy of ['Background', 'Foreground', 'Orphan'] as const) {
    await door.create('machines', machine(id), kubectl);
    assert.equal((await door.remove('machines', id, { propagationPolicy }, kubectl)).gone, true, propagationPolicy);
  }
});

const set = {
  apiVersion: 'flotilla.dev/v1',
  kind: 'UnitSet',
  metadata: { name: 'web' },
  spec: { template: { spec: { content: content() } } },
};

test('a set without units goes at once, whatever is asked for them', async (t) => {
  const { door, cache } = await openServer(t);
  for (const propagationPolicy of ['Background', 'Foreground', 'Orphan'] as const) {
    await door.create('unitsets', set, kubectl);
    assert.equal((await door.remove('unitsets', 'web', { propagationPolicy }, kubectl)).gone, true, propagationPolicy);
    assert.equal(cache.object('unitsets', 'web'), undefined);
  }
});

for (const [propagationPolicy, finalizers] of [
  ['Orphan', ['orphan']],
  ['Background', undefined],
] as const) {
  test(`${propagationPolicy}: also units are told that the server has not heard of which is asked to delete their set`, async (t) => {
    const etcd = new MemoryStore();
    const behind = etcd.peer();
    const [leader, other] = [await openServer(t, etcd.peer()), await openServer(t, behind)];
    const { object } = await leader.door.create('unitsets', set, kubectl);
    const { modRevision } = leader.cache.object('unitsets', 'web')!;
    await other.cache.untilRevision(modRevision);
    behind.faults.watchesCut = true;
    const ownerReferences = [{ apiVersion: 'flotilla.dev/v1', kind: 'UnitSet', name: 'web', uid: object.metadata.uid, controller: true }];
    const onlyWhile = { plural: 'unitsets', name: 'web', modRevision };
    const manifest = unit('web@1.service', { content: content() }, { ownerReferences });
    await leader.door.apply('units', 'web@1.service', manifest, as('controller', { onlyWhile }));
    const commit = behind.commit.bind(behind);
    behind.commit = async (...write) => {
      const outcome = await commit(...write);
      behind.faults.watchesCut = false;
      return outcome;
    };
    const { gone, object: marked } = await other.door.remove('unitsets', 'web', { propagationPolicy }, kubectl);
    assert.deepEqual([gone, marked.metadata.finalizers], [false, finalizers]);
    assert.ok(other.cache.object('unitsets', 'web')?.value.metadata.deletionTimestamp);
  });
}

test('an object with dependents is marked, and goes once they have been told', async (t) => {
  const { door, cache } = await openServer(t);
  await ownerWithUnit(door);
  const marked = await door.remove('machines', id, {}, kubectl);
  assert.deepEqual(
    [marked.gone, Boolean(marked.object.metadata.deletionTimestamp), marked.object.metadata.finalizers],
    [false, true, undefined],
  );
  await refused(door.create('machines', machine(id), kubectl), 'AlreadyExists', /it is being deleted/);
  await door.remove('units', 'of.service', {}, kubectl);
  assert.equal((await door.remove('machines', id, {}, kubectl)).gone, true);
  assert.equal(cache.object('machines', id), undefined);
});

test('a dry run of a deletion says what would be, and leaves all as it is', async (t) => {
  const { door, cache } = await openServer(t);
  await ownerWithUnit(door);
  const { gone, object } = await door.remove('machines', id, { propagationPolicy: 'Foreground' }, as('kubectl', { dryRun: true }));
  assert.deepEqual([gone, object.metadata.finalizers], [false, ['foregroundDeletion']]);
  assert.equal(cache.object('machines', id)!.value.metadata.deletionTimestamp, undefined);
});

test('the last finalizer that goes takes a marked owner along, but not before its dependents were told', async (t) => {
  const { door, cache } = await openServer(t);
  const uid = await ownerWithUnit(door);
  await door.remove('machines', id, { propagationPolicy: 'Orphan' }, kubectl);
  const body = { metadata: { finalizers: null } };
  await door.patch('machines', id, { type: 'merge', body }, kubectl);
  assert.ok(cache.object('machines', id), 'a dependent still names it');
  await door.patch('units', 'of.service', { type: 'merge', body: { metadata: { ownerReferences: null } } }, kubectl);
  assert.deepEqual([...cache.dependentsOf(uid)], []);
  assert.equal((await door.remove('machines', id, {}, kubectl)).gone, true);
});

test('onlyWhile: a write about another object holds only at the revision at which that one was seen', async (t) => {
  const { door, cache } = await openServer(t);
  await door.create('machines', machine(id), kubectl);
  const onlyWhile = { plural: 'machines', name: id, modRevision: cache.object('machines', id)!.modRevision };
  const controller = as('controller', { onlyWhile });
  await door.apply('units', 'a.service', unit('a.service'), controller);
  await door.patch('machines', id, { type: 'merge', body: { spec: { unschedulable: true } } }, kubectl);
  await refused(door.apply('units', 'b.service', unit('b.service'), controller), 'Conflict', /machines .* has changed meanwhile/);
  await refused(door.remove('units', 'a.service', {}, controller), 'Conflict', /has changed meanwhile/);
  assert.equal(cache.object('units', 'a.service')!.value.metadata.deletionTimestamp, undefined);
  await door.remove('machines', id, {}, kubectl);
  await refused(door.apply('units', 'b.service', unit('b.service'), controller), 'Conflict');
  assert.equal(cache.object('units', 'b.service'), undefined);
});

test('onlyWhile: also when the change comes between the decision and the write', async (t) => {
  const { door, cache, store } = await openServer(t);
  await door.create('machines', machine(id), kubectl);
  const row = cache.object('machines', id)!;
  const onlyWhile = { plural: 'machines', name: id, modRevision: row.modRevision };
  const value = JSON.stringify({ ...row.value, spec: { unschedulable: true } });
  const outcomes = await Promise.allSettled([
    store.commit({ compares: [{ key: row.key, modRevision: row.modRevision }], operations: [{ do: 'put', key: row.key, value }] }),
    door.apply('units', 'a.service', unit('a.service'), as('controller', { onlyWhile })),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  assert.equal(cache.object('units', 'a.service'), undefined);
});

test('createOnly: an apply that makes an object and never changes one', async (t) => {
  const { door } = await openServer(t);
  const creating = as('controller', { createOnly: true, force: true });
  const { created, ownRevision } = await door.apply('units', 'a.service', unit('a.service'), creating);
  assert.deepEqual([created, typeof ownRevision], [true, 'number']);
  await refused(door.apply('units', 'a.service', unit('a.service', { content: content('/bin/other') }), creating), 'AlreadyExists');
});

test('ownRevision: of the write, of what was found unchanged, and none on a dry run', async (t) => {
  const { door, cache } = await openServer(t);
  const first = await door.apply('units', 'a.service', unit('a.service'), kubectl);
  assert.equal(first.ownRevision, cache.object('units', 'a.service')!.modRevision);
  const again = await door.apply('units', 'a.service', unit('a.service'), kubectl);
  assert.deepEqual([again.changed, again.ownRevision], [false, first.ownRevision]);
  const dry = await door.apply('units', 'a.service', unit('a.service', { content: content('/bin/x') }), as('kubectl', { dryRun: true }));
  assert.equal(dry.ownRevision, undefined);
});

test('dependents are known by the uid that they name, through every change', () => {
  const dependents = new Dependents();
  const naming = (...uids: string[]): StoredObject => ({
    apiVersion: 'flotilla.dev/v1',
    kind: 'Unit',
    metadata: { name: 'x', ownerReferences: uids.map((uid) => ({ apiVersion: 'v', kind: 'K', name: 'n', uid })) },
  });
  const of = (uid: string) => [...dependents.of(uid)].map(({ plural, name }) => `${plural}/${name}`);
  dependents.note('units', 'a', naming('1', '2'));
  dependents.note('units', 'b', naming('2'));
  dependents.note('units', 'c', naming());
  assert.deepEqual([of('1'), of('2'), of('3')], [['units/a'], ['units/a', 'units/b'], []]);
  dependents.note('units', 'a', naming('3'));
  dependents.note('units', 'b', undefined);
  assert.deepEqual([of('1'), of('2'), of('3')], [[], [], ['units/a']]);
});

test('an object has one controller at most', async (t) => {
  const { door } = await openServer(t);
  const owner = (name: string, controller?: boolean) => ({
    apiVersion: 'flotilla.dev/v1',
    kind: 'UnitSet',
    name,
    uid: name,
    ...(controller ? { controller } : {}),
  });
  const owned = (...ownerReferences: readonly object[]) => unit('of.service', { content: content() }, { ownerReferences });
  await refused(
    door.create('units', owned(owner('a', true), owner('b'), owner('c', true)), kubectl),
    'Invalid',
    /metadata\.ownerReferences: .*one controller at most, and here are UnitSet a and UnitSet c/,
  );
  await door.create('units', owned(owner('a', true), owner('b')), kubectl);
});
