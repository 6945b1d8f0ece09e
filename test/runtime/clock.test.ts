import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { sleep } from '../../runtime/clock.js';
import { ManualClock } from '../rigs/manual-clock.js';

test('who sleeps leaves no listener and no timer behind, however it ends', async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const listeners = () => getEventListeners(stop.signal, 'abort').length;
  for (let times = 0; times < 3; times++) {
    const slept = sleep(clock, 100, stop.signal);
    assert.equal(listeners(), 1);
    await clock.advance(100);
    await slept;
    assert.equal(listeners(), 0);
  }
  const slept = sleep(clock, 100, stop.signal);
  stop.abort();
  await slept;
  assert.deepEqual([listeners(), clock.waiting], [0, 0]);
});

test('after the abort nobody sleeps', async () => {
  const clock = new ManualClock();
  await sleep(clock, 100, AbortSignal.abort());
  assert.equal(clock.waiting, 0);
});
