/** A sync that is cut off half-way: by the end of a leadership, or by a store that is away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GitRepository, unitFile } from '../../rigs/git-repository.js';
import { SyncRig } from './rig.js';

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, at) => `${prefix}${at}.service`);
const [old, added] = [names('old', 10), names('new', 40)];

/** Ten units are applied; then a revision is due that adds forty, changes one and deletes one. */
async function halfWay(t: Parameters<typeof SyncRig.start>[0]) {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  for (const name of old) repository.write(name, unitFile());
  repository.commit();
  await rig.apply('prod', { url: repository.url, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  rig.events.length = 0;
  for (const name of added) repository.write(name, unitFile());
  const second = repository.write('old0.service', unitFile('/bin/sleep 2')).remove('old9.service').commit();
  const asRepository = [...added, ...old.slice(0, 9)].sort();
  const isApplied = () => rig.get('prod')?.status?.lastAppliedRevision === `main@sha1:${second}` && rig.reason('prod') === 'Applied';
  const uids = () => new Map(rig.units().map((name) => [name, rig.server.cache.object('units', name)!.value.metadata.uid]));
  const assertNothingMadeAnew = (before: ReadonlyMap<string, string | undefined>) => {
    const after = uids();
    for (const [name, uid] of before) if (name !== 'old9.service') assert.equal(after.get(name), uid, `${name} is the object that it was`);
  };
  const assertFewEvents = () => {
    const counts = new Map<string, number>();
    for (const { about, reason } of rig.events) counts.set(`${about} ${reason}`, (counts.get(`${about} ${reason}`) ?? 0) + 1);
    const repeated = [...counts].filter(([, count]) => count > 1);
    assert.deepEqual(repeated, [], 'nothing is said twice');
    assert.deepEqual(
      rig.events.filter(({ reason }) => !['Applied', 'Pruned', 'RevisionApplied'].includes(reason)),
      [],
    );
    assert.deepEqual(
      rig.said('Pruned').map((said) => said.split(':')[0]),
      ['Unit/old9.service'],
    );
  };
  return { rig, asRepository, isApplied, uids, assertNothingMadeAnew, assertFewEvents };
}

/** Once, before the twentieth object. */
function atTwenty(run: () => Promise<void> | void): (name: string) => Promise<void> {
  let count = 0;
  return async () => {
    if (++count === 20) await run();
  };
}

test('a leader that ends in mid-sync has pruned nothing; the next one brings the same revision to its end, and makes nothing anew', async (t) => {
  const { rig, asRepository, isApplied, uids, assertNothingMadeAnew, assertFewEvents } = await halfWay(t);
  let isDeposed = false;
  rig.beforeApply = atTwenty(async () => {
    await rig.depose();
    isDeposed = true;
  });
  await rig.annotate('prod', { 'flotilla.dev/reconcile-requested-at': 'once' });
  await rig.until('deposed', () => isDeposed);
  await rig.stop();
  const before = uids();
  assert.equal(isApplied(), false);
  assert.ok(before.size < 50, `${before.size} of 50: it was cut off`);
  assert.deepEqual(
    old.filter((name) => !before.has(name)),
    [],
  );
  assert.deepEqual(
    rig.get('prod')?.status?.inventory,
    [...added, ...old].map((name) => `unit/${name}`).sort(),
    'what may have been made is answered for',
  );
  await rig.lead();
  await rig.until('applied', isApplied);
  assert.deepEqual(rig.units(), asRepository);
  assert.deepEqual(
    rig.get('prod')?.status?.inventory,
    asRepository.map((name) => `unit/${name}`),
  );
  assertNothingMadeAnew(before);
  assertFewEvents();
});

for (const { how, away, back } of [
  {
    how: 'cannot be reached',
    away: (rig: SyncRig) => {
      rig.server.store.faults.unavailable = true;
    },
    back: (rig: SyncRig) => {
      rig.server.store.faults.unavailable = false;
    },
  },
  {
    how: 'loses answers',
    away: (rig: SyncRig) => {
      rig.server.store.faults.loseAnswers = 10;
    },
    back: () => {},
  },
]) {
  test(`a store that ${how} in mid-sync: once it answers, the same revision ends applied, and little is said about it`, async (t) => {
    const { rig, asRepository, isApplied, uids, assertNothingMadeAnew, assertFewEvents } = await halfWay(t);
    let isAway = false;
    rig.beforeApply = atTwenty(() => {
      away(rig);
      isAway = true;
    });
    await rig.annotate('prod', { 'flotilla.dev/reconcile-requested-at': 'once' });
    await rig.until('away', () => isAway);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = uids();
    if (how === 'cannot be reached') assert.equal(isApplied(), false);
    if (how === 'cannot be reached')
      assert.deepEqual(
        old.filter((name) => !before.has(name)),
        [],
      );
    back(rig);
    await rig.until('applied', isApplied);
    assert.deepEqual(rig.units(), asRepository);
    assertNothingMadeAnew(before);
    assertFewEvents();
  });
}
