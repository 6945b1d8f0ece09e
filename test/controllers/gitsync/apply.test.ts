import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectDoor } from '../../../api/objects/ports.js';
import { gitSyncLabel } from '../../../api/resources/gitsync.js';
import { kindByPlural } from '../../../api/resources/registry.js';
import { carryOut } from '../../../controllers/gitsync/apply.js';
import type { SyncPlan } from '../../../controllers/gitsync/plan.js';
import { as, content, openServer, unit } from '../../api/objects/door-rig.js';

test('what somebody writes just after the apply is not taken for what the apply left', async (t) => {
  const { door, cache } = await openServer(t);
  let own = 0;
  const raced = {
    apply: async (...given: Parameters<ObjectDoor['apply']>) => {
      const written = await door.apply(...given);
      own = cache.object('units', 'a.service')!.modRevision;
      const spec = { content: content('/bin/other') };
      await door.patch('units', 'a.service', { type: 'merge', body: { spec } }, as('somebody'));
      return written;
    },
  } as ObjectDoor;
  const document = { kind: kindByPlural('units')!, object: unit('a.service'), file: 'a.yaml' };
  const plan: SyncPlan = { apply: [[document]], inventory: [], conflicts: [], blocked: [], prune: [], release: [], held: [] };
  const { written } = await carryOut(plan, 'prod', { door: raced, cache });
  assert.deepEqual(
    [...written].map(([id, { revision }]) => [id, revision]),
    [['unit/a.service', own]],
  );
  assert.notEqual(cache.object('units', 'a.service')!.modRevision, own);
});

test('what has become somebody else’s since the plan was made is not pruned', async (t) => {
  const { door, cache } = await openServer(t);
  const owned = (name: string, gitSync?: string) =>
    unit(name, undefined, gitSync === undefined ? {} : { labels: { [gitSyncLabel]: gitSync } });
  await door.create('units', owned('ours.service', 'prod'), as('somebody'));
  await door.create('units', owned('theirs.service', 'other'), as('somebody'));
  await door.create('units', owned('nobodys.service'), as('somebody'));
  const prune = [['unit/ours.service', 'unit/theirs.service', 'unit/nobodys.service']];
  const plan: SyncPlan = { apply: [], inventory: [], conflicts: [], blocked: [], prune, release: [], held: [] };
  const { pruned, failures } = await carryOut(plan, 'prod', { door, cache });
  assert.deepEqual([pruned, failures], [['unit/ours.service'], []]);
  assert.deepEqual([...cache.objects('units').keys()].sort(), ['nobodys.service', 'theirs.service']);
});

/** A GitSync that claims the unit with a text of its own, by a plan that was made before anybody had claimed it. */
const claiming = (name: string): SyncPlan => {
  const object = unit('a.service', { content: content(`/bin/${name}`) });
  const document = { kind: kindByPlural('units')!, object, file: 'a.yaml' };
  return { apply: [[document]], inventory: [], conflicts: [], blocked: [], prune: [], release: [], held: [] };
};

for (const { what, before } of [
  { what: 'a new object', before: undefined },
  { what: 'an object that belongs to nobody', before: unit('a.service', undefined, { labels: { mine: 'yes' } }) },
  { what: 'an object of a GitSync that is gone', before: unit('a.service', undefined, { labels: { [gitSyncLabel]: 'gone' } }) },
]) {
  test(`of two GitSyncs that claim ${what} at the same time exactly one gets it, and the other is told whose it is`, async (t) => {
    const { door, cache } = await openServer(t);
    const spec = { url: 'https://git.example/a' };
    for (const name of ['one', 'two']) {
      await door.create('gitsyncs', { apiVersion: 'flotilla.dev/v1', kind: 'GitSync', metadata: { name }, spec }, as('somebody'));
    }
    if (before) await door.create('units', before, as('somebody'));
    const names = ['one', 'two'];
    const outcomes = await Promise.all(names.map((name) => carryOut(claiming(name), name, { door, cache })));
    const owner: string | undefined = cache.object('units', 'a.service')?.value.metadata.labels?.[gitSyncLabel];
    assert.ok(owner === 'one' || owner === 'two');
    assert.equal((cache.joined('units', 'a.service')!.spec as { content: string }).content, content(`/bin/${owner}`));
    for (const [at, { created, changed, conflicts, failures, written }] of outcomes.entries()) {
      const isOwner: boolean = names[at] === owner;
      assert.deepEqual([...created, ...changed], isOwner ? ['unit/a.service'] : []);
      assert.deepEqual(conflicts, isOwner ? [] : [{ id: 'unit/a.service', owner }]);
      assert.equal(written.has('unit/a.service'), isOwner);
      assert.deepEqual(failures, []);
    }
  });
}

test('what neither the repository nor anybody else has changed is not written again, nor asked about', async (t) => {
  const { door, cache } = await openServer(t);
  const applied: string[] = [];
  const watched = {
    apply(...given: Parameters<ObjectDoor['apply']>) {
      applied.push(given[1]);
      return door.apply(...given);
    },
  } as ObjectDoor;
  const planOf = (texts: Record<string, string>): SyncPlan => {
    const documents = Object.entries(texts).map(([name, text]) => ({
      kind: kindByPlural('units')!,
      object: unit(name, { content: content(text) }),
      file: name,
    }));
    return { apply: [documents], inventory: [], conflicts: [], blocked: [], prune: [], release: [], held: [] };
  };
  const texts = { 'a.service': '/bin/a', 'b.service': '/bin/b', 'c.service': '/bin/c' };
  const first = await carryOut(planOf(texts), 'prod', { door: watched, cache });
  applied.length = 0;
  await door.patch('units', 'b.service', { type: 'merge', body: { spec: { content: content('/bin/drift') } } }, as('somebody'));
  const second = await carryOut(planOf({ ...texts, 'c.service': '/bin/new' }), 'prod', { door: watched, cache, known: first.written });
  assert.deepEqual(applied, ['b.service', 'c.service']);
  assert.deepEqual([second.changed, second.unchanged], [['unit/b.service', 'unit/c.service'], 1]);
  const third = await carryOut(planOf({ ...texts, 'c.service': '/bin/new' }), 'prod', { door: watched, cache, known: second.written });
  assert.deepEqual([applied.length, third.unchanged], [2, 3]);
});
