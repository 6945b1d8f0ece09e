/** Forges that do not answer, beside one that does, by a clock of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { slotLimits } from '../../../controllers/gitsync/slots.js';
import { sleep } from '../../../runtime/clock.js';
import type { Repositories } from '../../../runtime/git/repositories.js';
import { GitError } from '../../../runtime/git/run.js';
import { unitFile } from '../../rigs/git-repository.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import { SyncRig } from './rig.js';

const hangsMs = 30_000;

test('once it is known which forges do not answer, the others do not wait for them', async (t) => {
  const clock = new ManualClock();
  let underWay = 0;
  let version = 1;
  const head = () => String(version).padStart(40, '0');
  const repositories: Repositories = {
    async resolve({ url }) {
      if (!url.url.includes('deaf')) return { commit: head(), name: 'main' };
      underWay++;
      await sleep(clock, hangsMs);
      underWay--;
      throw new GitError('timeout', 'git took longer than 30 s');
    },
    async fetch() {},
    async tree() {
      const text = Buffer.from(unitFile(`/bin/sleep ${version}`));
      const file = { path: 'web.service', kind: 'file' as const, blob: head(), bytes: text.length };
      return { files: [file], read: async () => [text] };
    },
    signer: async () => 'nobody',
  };
  const rig = await SyncRig.start(t, { clock, repositories });
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 500) {
      await clock.advance(500);
      for (let turn = 0; turn < 3; turn++) await settle();
    }
  };
  const deaf = Array.from({ length: 6 }, (_, at) => `deaf${at}`);
  for (const name of deaf) await rig.apply(name, { url: `https://git.example/${name}.git`, interval: '5s' });
  await rig.until('all slots are held', () => underWay === slotLimits.syncs);
  await rig.apply('prod', { url: 'https://git.example/prod.git' });
  for (let round = 0; round < 4 && deaf.some((name) => rig.reason(name) !== 'FetchFailed'); round++) await pass(hangsMs);
  await rig.until('all are known to be deaf', () => deaf.every((name) => rig.reason(name) === 'FetchFailed'));
  await rig.until('applied', () => rig.reason('prod') === 'Applied');

  // For as long as they go on hanging: no time passes while the one that answers is synced.
  for (let commit = 0; commit < 3; commit++) {
    await pass(10_000);
    assert.ok(underWay <= slotLimits.slow, `${underWay} deaf ones are asked at a time`);
    version++;
    const nowMs = clock.monotonicMs();
    assert.equal(await rig.sync('prod'), 'Applied');
    assert.equal(clock.monotonicMs(), nowMs);
    assert.match(rig.text('web.service'), new RegExp(`sleep ${version}`));
  }
  assert.ok(underWay > 0, 'they are asked again nevertheless');
  const stopped = rig.stop();
  await pass(hangsMs + 10_000);
  await stopped;
});
