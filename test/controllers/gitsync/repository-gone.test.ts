/** A repository that is gone for ten minutes, by a clock of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conditionOf } from '../../../api/resources/conditions.js';
import type { Repositories } from '../../../runtime/git/repositories.js';
import { GitError } from '../../../runtime/git/run.js';
import { unitFile } from '../../rigs/git-repository.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import { SyncRig } from './rig.js';

const minute = 60_000;

/** A repository with one unit, which can be away; it remembers when it was asked. */
class FakeRepository implements Repositories {
  isGone = false;
  readonly askedAtMs: number[] = [];
  #version = 1;

  constructor(private readonly clock: ManualClock) {}

  commit(): string {
    this.#version++;
    return this.head;
  }

  get head(): string {
    return String(this.#version).padStart(40, '0');
  }

  async resolve() {
    this.askedAtMs.push(this.clock.monotonicMs());
    if (this.isGone) throw new GitError('unreachable', 'the repository could not be read: could not connect');
    return { commit: this.head, name: 'main' };
  }

  async fetch() {}

  async tree() {
    const text = Buffer.from(unitFile(`/bin/sleep ${this.#version}`));
    const file = { path: 'web.service', kind: 'file' as const, blob: this.head, bytes: text.length };
    return { files: [file], read: async () => [text] };
  }

  async signer(): Promise<string> {
    return 'nobody';
  }
}

async function goneForTenMinutes(t: Parameters<typeof SyncRig.start>[0]) {
  const clock = new ManualClock();
  const repository = new FakeRepository(clock);
  const rig = await SyncRig.start(t, { clock, repositories: repository });
  // What the leader does between two moments takes turns of the event loop, and some more where it writes.
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 500) {
      await clock.advance(500);
      for (let turn = 0; turn < 5; turn++) await settle();
    }
  };
  await rig.apply('prod', { url: 'https://git.example/fleet.git', interval: '1m', prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  const good = rig.get('prod')!.status!;
  const own = rig.server.cache.object('units', 'web.service')!.modRevision;
  repository.isGone = true;
  repository.commit();
  repository.askedAtMs.length = 0;
  await pass(70_000);
  await rig.until('noticed', () => rig.reason('prod') === 'FetchFailed');
  const noticed = rig.server.cache.fragment('gitsyncs', 'prod')!.modRevision;
  await pass(10 * minute);
  return { rig, clock, repository, pass, good, own, noticed };
}

test('a repository that is gone for ten minutes is said to be, asked ever more rarely, and leaves what it applied alone', async (t) => {
  const { rig, repository, good, own, noticed } = await goneForTenMinutes(t);
  const sync = rig.get('prod')!;
  assert.deepEqual(
    ['Ready', 'Reconciling', 'Stalled'].map((type) => [conditionOf(sync, type)?.status, conditionOf(sync, type)?.reason]),
    [
      ['False', 'FetchFailed'],
      ['True', 'Retrying'],
      ['False', 'FetchFailed'],
    ],
  );
  assert.match(rig.message('prod'), /could not connect/);
  const { lastAppliedRevision, inventory, lastChange } = sync.status!;
  assert.deepEqual([lastAppliedRevision, inventory, lastChange], [good.lastAppliedRevision, good.inventory, good.lastChange]);
  assert.equal(rig.server.cache.object('units', 'web.service')?.modRevision, own);
  assert.equal(rig.server.cache.fragment('gitsyncs', 'prod')?.modRevision, noticed, 'what is said does not change, so it is said once');

  const gaps = repository.askedAtMs.slice(1).map((at, index) => at - repository.askedAtMs[index]!);
  assert.ok(gaps.length >= 9 && gaps.length <= 20, `asked again ${gaps.length} times in ten minutes`);
  assert.ok(gaps[0]! < 5_000, `the first time after ${gaps[0]} ms`);
  for (const [at, gap] of gaps.entries()) {
    assert.ok(gap <= 1.1 * minute + 1_000, `never later than the interval: ${gap} ms`);
    assert.ok(at === 0 || gap >= gaps[at - 1]! - 1_000, `ever more rarely: ${gaps}`);
  }
});

test('when it is back, a webhook wakes the sync at once, whatever the back-off', async (t) => {
  const { rig, clock, repository } = await goneForTenMinutes(t);
  repository.isGone = false;
  const nowMs = clock.monotonicMs();
  assert.equal(await rig.sync('prod'), 'Applied');
  assert.equal(clock.monotonicMs(), nowMs);
  assert.equal(rig.get('prod')?.status?.lastAppliedRevision, `main@sha1:${repository.head}`);
  assert.match(rig.text('web.service'), /sleep 2/);
});

test('when it is back and nobody says so, it is found within the interval', async (t) => {
  const { rig, repository, pass } = await goneForTenMinutes(t);
  repository.isGone = false;
  await pass(1.2 * minute);
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  assert.match(rig.text('web.service'), /sleep 2/);
  assert.equal(conditionOf(rig.get('prod')!, 'Reconciling')?.status, 'False');
});
