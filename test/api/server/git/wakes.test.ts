import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Wakes, wakeLimits } from '../../../../api/server/git/wakes.js';
import { ManualClock, settle } from '../../../rigs/manual-clock.js';

function rig() {
  const clock = new ManualClock();
  const written: string[] = [];
  const wakes = new Wakes(clock, async (name) => {
    if (name === 'bad') throw new Error('the store is away');
    written.push(name);
  });
  return { clock, written, wakes };
}

test('the first is written at once, whoever comes while that rests is written together, and others do not wait for them', async () => {
  const { clock, written, wakes } = rig();
  await wakes.ask('prod');
  assert.deepEqual(written, ['prod']);
  let answered = 0;
  const later = Array.from({ length: 1_000 }, () => wakes.ask('prod').then(() => answered++));
  await wakes.ask('test');
  await settle();
  assert.deepEqual([written, answered], [['prod', 'test'], 0]);
  await clock.advance(wakeLimits.restMs);
  await Promise.all(later);
  assert.deepEqual([written, answered], [['prod', 'test', 'prod'], 1_000]);
  await clock.advance(wakeLimits.restMs);
  await settle();
  await wakes.ask('prod');
  assert.deepEqual(written, ['prod', 'test', 'prod', 'prod']);
});

test('a write that fails is told to all who waited for it, and the next is tried', async () => {
  const { clock, wakes } = rig();
  await assert.rejects(wakes.ask('bad'), /away/);
  const both = Promise.allSettled([wakes.ask('bad'), wakes.ask('bad')]);
  await clock.advance(wakeLimits.restMs);
  assert.deepEqual(
    (await both).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await clock.advance(wakeLimits.restMs);
  await settle();
  await assert.rejects(wakes.ask('bad'), /away/);
});
