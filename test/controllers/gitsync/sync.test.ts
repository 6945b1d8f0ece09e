import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { confirmPruneAnnotation } from '../../../api/resources/annotations.js';
import { conditionOf } from '../../../api/resources/conditions.js';
import { type GitSync, gitSyncFinalizer, gitSyncLabel } from '../../../api/resources/gitsync.js';
import { parseManifests } from '../../../api/resources/manifests.js';
import { as, unit } from '../../api/objects/door-rig.js';
import { GitRepository, unitFile } from '../../rigs/git-repository.js';
import { SyncRig } from './rig.js';

test('what is committed is applied, what is changed is changed, what is deleted is pruned, and nothing else', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  const first = repository.write('prod/web.service', unitFile()).write('prod/db.service', unitFile()).commit();
  await rig.server.door.apply('units', 'mine.service', unit('mine.service'), as('ann'));
  await rig.apply('prod', { url: repository.url, ref: { branch: 'main' }, path: 'prod', prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  assert.deepEqual(rig.units(), ['db.service', 'mine.service', 'web.service']);
  assert.equal(rig.get('prod')?.status?.lastAppliedRevision, `main@sha1:${first}`);
  assert.deepEqual(rig.get('prod')?.status?.inventory, ['unit/db.service', 'unit/web.service']);
  assert.equal(rig.get('prod')?.status?.lastChange?.created, 2);

  repository.write('prod/web.service', unitFile('/bin/sleep 1000')).remove('prod/db.service').commit();
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.deepEqual(rig.units(), ['mine.service', 'web.service']);
  assert.deepEqual(rig.get('prod')?.status?.lastChange?.names, { changed: ['unit/web.service'], pruned: ['unit/db.service'] });
  assert.equal(rig.said('RevisionApplied').length, 2);
  assert.deepEqual(rig.said('Pruned').length, 1);
});

test('a sync that finds nothing new writes only that it was asked for', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  const [own, before] = [rig.server.cache.object('units', 'web.service')?.modRevision, rig.get('prod')?.status?.lastChange];
  const read = rig.treesRead;
  await rig.sync('prod');
  assert.equal(rig.treesRead, read);
  assert.equal(rig.server.cache.object('units', 'web.service')?.modRevision, own);
  assert.deepEqual(rig.get('prod')?.status?.lastChange, before);
});

test('one bad file names itself and fails the revision whole; the last good one stays', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  const good = repository.write('web.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');

  const bad = repository
    .write('web.service', unitFile('/bin/sleep 2'))
    .write('new.service', unitFile())
    .write('deep/er/broken.yaml', 'apiVersion: flotilla.dev/v1\nkind: Unitt\n')
    .commit();
  assert.equal(await rig.sync('prod'), 'InvalidManifests');
  assert.match(rig.message('prod'), /deep\/er\/broken\.yaml:2.*did you mean "Unit"/);
  assert.deepEqual(rig.units(), ['web.service']);
  assert.equal(rig.get('prod')?.status?.lastAppliedRevision, `main@sha1:${good}`);
  assert.equal(rig.get('prod')?.status?.lastAttemptedRevision, `main@sha1:${bad}`);
  assert.equal(conditionOf(rig.get('prod')!, 'Stalled')?.status, 'True');
});

test('drift made by hand is set right at the next sync, and told', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  repository.write('gone.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  await rig.server.door.patch(
    'units',
    'web.service',
    { type: 'merge', body: { spec: { content: unitFile('/bin/false') } } },
    as('by-hand'),
  );
  await rig.server.door.remove('units', 'gone.service', {}, as('by-hand'));
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.equal(rig.text('web.service'), unitFile());
  assert.match(rig.said('DriftCorrected')[0]!, /unit\/web\.service/);

  // What a manifest does not say means its default, and that is kept, too.
  await rig.server.door.patch('units', 'web.service', { type: 'merge', body: { spec: { desiredState: 'inactive' } } }, as('by-hand'));
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.deepEqual(
    (rig.server.cache.joined('units', 'web.service')?.spec as { desiredState?: string } | undefined)?.desiredState,
    'launched',
  );
});

test('mode detect reports what differs and changes nothing', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, mode: 'detect' });
  await rig.until('looked at', () => rig.reason('prod') === 'OutOfSync');
  assert.match(rig.message('prod'), /1 created if it were applied/);
  assert.deepEqual(rig.units(), []);
  assert.deepEqual(rig.get('prod')?.status?.lastChange?.names, { created: ['unit/web.service'] });

  await rig.apply('prod', { url: repository.url });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  await rig.apply('prod', { url: repository.url, mode: 'detect' });
  await rig.until('in sync', () => rig.reason('prod') === 'InSync');
});

test('mode detect reads a revision once, and looks again when the cluster or the repository has changed', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('a.service', unitFile()).write('b.service', unitFile()).commit();
  await rig.server.door.create('units', unit('a.service', { desiredState: 'launched', content: unitFile() }), as('by-hand'));
  await rig.apply('prod', { url: repository.url, mode: 'detect' });
  await rig.until('looked at', () => rig.reason('prod') === 'OutOfSync');
  const message = rig.message('prod');
  assert.match(message, /1 created, 1 changed if it were applied/);
  assert.equal(rig.treesRead, 1);
  assert.equal(await rig.sync('prod'), 'OutOfSync');
  assert.deepEqual([rig.treesRead, rig.message('prod')], [1, message]);

  await rig.server.door.create('units', unit('b.service', { content: unitFile('/bin/other') }), as('by-hand'));
  assert.equal(await rig.sync('prod'), 'OutOfSync');
  assert.match(rig.message('prod'), /2 changed if it were applied/);
  await rig.server.door.remove('units', 'a.service', {}, as('by-hand'));
  assert.equal(await rig.sync('prod'), 'OutOfSync');
  assert.match(rig.message('prod'), /1 created, 1 changed if it were applied/);
  repository.remove('a.service').commit();
  assert.equal(await rig.sync('prod'), 'OutOfSync');
  assert.match(rig.message('prod'), /: 1 changed if it were applied/);
  assert.equal(rig.treesRead, 4);
});

test('invariant 13: many deletions, and an empty path, wait for one consent that names the revision', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  for (let at = 0; at < 10; at++) repository.write(`prod/u${at}.service`, unitFile());
  repository.commit();
  await rig.apply('prod', { url: repository.url, path: 'prod', prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');

  // Two of ten are few; three of the eight that are left are many.
  repository.remove('prod/u0.service').remove('prod/u1.service').commit();
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.equal(rig.units().length, 8);
  const held = repository.remove('prod/u2.service').remove('prod/u3.service').remove('prod/u4.service').commit();
  assert.equal(await rig.sync('prod'), 'PruneHeld');
  assert.match(
    rig.message('prod'),
    new RegExp(`3 of 8 objects would be deleted .*flotilla sync prod --confirm-prune main@sha1:${held.slice(0, 7)}`),
  );
  assert.equal(rig.units().length, 8);
  assert.equal(await rig.sync('prod', { [confirmPruneAnnotation]: '0123456789 now' }), 'PruneHeld', 'another revision was meant');
  assert.equal(await rig.sync('prod', { [confirmPruneAnnotation]: `main@sha1:${held.slice(0, 9)} now` }), 'Applied');
  assert.equal(rig.units().length, 5);

  const empty = repository.remove('prod').commit();
  assert.equal(await rig.sync('prod'), 'PruneHeld', 'an earlier consent does not count again');
  assert.match(rig.message('prod'), /The path is missing or holds no manifest/);
  assert.equal(rig.units().length, 5);
  assert.equal(await rig.sync('prod', { [confirmPruneAnnotation]: `${empty} later` }), 'Applied');
  assert.deepEqual(rig.units(), []);
});

test('SEMANTICS 22: while the leader is cautious nothing is pruned', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('a.service', unitFile()).write('b.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  rig.isCautious = true;
  repository.remove('b.service').commit();
  assert.equal(await rig.sync('prod'), 'Caution');
  assert.deepEqual(rig.units(), ['a.service', 'b.service']);
  rig.isCautious = false;
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.deepEqual(rig.units(), ['a.service']);
});

test('two GitSyncs that claim one object are told so, and the first keeps it', async (t) => {
  const rig = await SyncRig.start(t);
  const [ours, theirs] = [new GitRepository(t), new GitRepository(t)];
  ours.write('web.service', unitFile('/bin/sleep 1')).commit();
  theirs.write('web.service', unitFile('/bin/sleep 2')).write('own.service', unitFile()).commit();
  await rig.apply('ours', { url: ours.url, prune: true });
  await rig.until('applied', () => rig.reason('ours') === 'Applied');
  await rig.apply('theirs', { url: theirs.url, prune: true });
  await rig.until('told', () => rig.reason('theirs') === 'Conflict');
  assert.match(rig.message('theirs'), /unit\/web\.service belongs to GitSync ours/);
  assert.match(rig.text('web.service'), /sleep 1\n/);
  assert.deepEqual(rig.units(), ['own.service', 'web.service']);
  assert.match(rig.said('Conflict').join('\n'), /GitSync\/ours: .*theirs/);

  // The one that gives it up lets the other have it.
  ours.remove('web.service').write('else.service', unitFile()).commit();
  assert.equal(await rig.sync('ours'), 'Applied');
  assert.equal(await rig.sync('theirs'), 'Applied');
  assert.deepEqual(rig.units(), ['else.service', 'own.service', 'web.service']);
});

test('of two GitSyncs that come with one new object at the same time one has it, and the other says whose it is', async (t) => {
  const rig = await SyncRig.start(t);
  const names = ['left', 'right'];
  const repositories = names.map((name) => {
    const repository = new GitRepository(t);
    repository
      .write('web.service', unitFile(`/bin/${name}`))
      .write(`${name}.service`, unitFile())
      .commit();
    return repository;
  });
  await Promise.all(names.map((name, at) => rig.apply(name, { url: repositories[at]!.url, prune: true })));
  await rig.until(
    'both are told',
    () =>
      names
        .map((name) => rig.reason(name))
        .sort()
        .join() === 'Applied,Conflict',
  );
  const [owner, other] = rig.reason('left') === 'Applied' ? names : [...names].reverse();
  assert.match(rig.text('web.service'), new RegExp(`/bin/${owner}`));
  assert.match(rig.message(other!), new RegExp(`unit/web\\.service belongs to GitSync ${owner}`));
  assert.deepEqual(rig.get(owner!)?.status?.inventory, [`unit/${owner}.service`, 'unit/web.service'].sort());
  assert.deepEqual(rig.get(other!)?.status?.inventory, [`unit/${other}.service`]);
});

for (const { prune, mode = 'apply' as const, left } of [
  { prune: true, left: [] },
  { prune: true, mode: 'detect' as const, left: ['web.service'] },
  { prune: false, left: ['web.service'] },
]) {
  test(`a GitSync that is deleted with prune ${prune} and mode ${mode} leaves ${left.length === 0 ? 'nothing' : 'its objects to nobody'}`, async (t) => {
    const rig = await SyncRig.start(t);
    const repository = new GitRepository(t);
    repository.write('web.service', unitFile()).commit();
    await rig.apply('prod', { url: repository.url, prune });
    await rig.until('applied', () => rig.reason('prod') === 'Applied');
    await rig.apply('prod', { url: repository.url, prune, mode });
    assert.deepEqual(rig.get('prod')?.metadata.finalizers, [gitSyncFinalizer]);
    await rig.server.door.remove('gitsyncs', 'prod', {}, as('ann'));
    await rig.until('gone', () => rig.get('prod') === undefined);
    assert.deepEqual(rig.units(), left);
    assert.equal(rig.server.cache.object('units', 'web.service')?.value.metadata.labels?.[gitSyncLabel], undefined);
    assert.equal(rig.server.cache.fragment('gitsyncs', 'prod'), undefined);
  });
}

test('a GitSync waits for those that it depends on, and goes on when they are ready', async (t) => {
  const rig = await SyncRig.start(t);
  const [base, apps] = [new GitRepository(t), new GitRepository(t)];
  base.write('base.service', unitFile()).commit();
  apps.write('app.service', unitFile()).commit();
  await rig.apply('apps', { url: apps.url, dependsOn: [{ name: 'base' }] });
  await rig.until('waits', () => rig.reason('apps') === 'DependencyNotReady');
  assert.match(rig.message('apps'), /base, which does not exist/);
  await rig.apply('base', { url: base.url });
  await rig.until('both are applied', () => rig.reason('apps') === 'Applied' && rig.reason('base') === 'Applied');
});

test('with wait the revision counts as applied once everything is healthy', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, wait: true });
  await rig.until('waits', () => rig.reason('prod') === 'WaitingForHealth');
  assert.equal(rig.get('prod')?.status?.lastAppliedRevision, undefined);
  assert.equal(conditionOf(rig.get('prod')!, 'Reconciling')?.status, 'True');
  // Known to be at rest, which needs no machine.
  await rig.server.door.patch('units', 'web.service', { type: 'merge', body: { spec: { desiredState: 'inactive' } } }, as('ann'));
  await rig.until('healthy', () => rig.reason('prod') === 'Applied');
  assert.match(rig.get('prod')?.status?.lastAppliedRevision ?? '', /^main@sha1:/);
});

test('with wait what stays unhealthy is named once the timeout has passed', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, wait: true, timeout: '1s' });
  await rig.until('given up', () => rig.reason('prod') === 'Unhealthy');
  assert.match(rig.message('prod'), /1 of 1 objects are not healthy: unit\/web\.service/);
});

test('suspend stops it, a new leader goes on where the old one was, and a lost status is found again by the labels', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('a.service', unitFile()).write('b.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  await rig.server.door.patch('gitsyncs', 'prod', { type: 'merge', body: { spec: { suspend: true } } }, as('ann'));
  repository.remove('b.service').commit();
  await rig.stop();
  await rig.loseStatus('prod');
  await rig.lead();
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(rig.units(), ['a.service', 'b.service']);
  await rig.server.door.patch('gitsyncs', 'prod', { type: 'merge', body: { spec: { suspend: null } } }, as('ann'));
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  assert.deepEqual(rig.units(), ['a.service']);
  assert.deepEqual(rig.get('prod')?.status?.inventory, ['unit/a.service']);
});

test('a repository that is gone is said to be, and its objects stay; it comes back', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('web.service', unitFile()).commit();
  await rig.apply('prod', { url: `${repository.url}/.git`, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  repository.git('config', 'core.bare', 'false');
  const { renameSync } = await import('node:fs');
  renameSync(`${repository.directory}/.git`, `${repository.directory}/away`);
  assert.equal(await rig.sync('prod'), 'FetchFailed');
  assert.deepEqual(rig.units(), ['web.service']);
  renameSync(`${repository.directory}/away`, `${repository.directory}/.git`);
  assert.equal(await rig.sync('prod'), 'Applied');
});

test('a force-push is followed', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('a.service', unitFile()).commit();
  repository.write('b.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, ref: { branch: 'main' }, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  repository.git('reset', '--quiet', '--hard', 'HEAD~1');
  const forced = repository.write('c.service', unitFile()).commit();
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.deepEqual(rig.units(), ['a.service', 'c.service']);
  assert.equal(rig.get('prod')?.status?.lastAppliedRevision, `main@sha1:${forced}`);
});

test('templates come before their instances and go after them; an instance of nothing fails the revision', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  const instance = 'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: a@1.service}\n';
  repository.write('1-instance.yaml', instance).commit();
  await rig.apply('prod', { url: repository.url, prune: true, limits: { maxDeletePercent: 100 } });
  await rig.until('refused', () => rig.reason('prod') === 'InvalidManifests');
  assert.match(rig.message('prod'), /1-instance\.yaml: unit\/a@1\.service follows its template a@\.service, which does not exist/);
  repository.write('a@.service', unitFile()).write('other.service', unitFile()).commit();
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.deepEqual(rig.units(), ['a@.service', 'a@1.service', 'other.service']);
  repository.remove('a@.service').remove('1-instance.yaml').commit();
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.deepEqual(rig.units(), ['other.service']);
});

test('the examples under manifests/gitsync are taken as they stand', async (t) => {
  const { server } = await SyncRig.start(t);
  for (const file of ['prod.yaml', 'private.yaml']) {
    const text = readFileSync(new URL(`../../../manifests/gitsync/${file}`, import.meta.url), 'utf8');
    for (const { kind, object } of parseManifests(file, text).documents) {
      const { metadata, spec } = object as GitSync;
      // Suspended: what they name is nowhere.
      const suspended = { ...object, spec: { ...spec, suspend: true } };
      assert.equal((await server.door.apply(kind.plural, metadata.name, suspended, as('ann'))).created, true);
    }
  }
  assert.deepEqual([...server.cache.objects('gitsyncs').keys()].sort(), ['base', 'private', 'prod']);
});

test('a path that is not there, or holds nothing, is said to describe no object, also when it is looked at again', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('prod/web.service', unitFile()).commit();
  await rig.apply('prod', { url: repository.url, path: './prud' });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  for (let look = 0; look < 2; look++) {
    assert.match(rig.message('prod'), /is applied, and describes no object below spec\.path/);
    assert.equal(await rig.sync('prod'), 'Applied');
  }
  await rig.apply('prod', { url: repository.url, path: './prod' });
  await rig.until('found', () => /is applied\.$/.test(rig.message('prod')));
});
