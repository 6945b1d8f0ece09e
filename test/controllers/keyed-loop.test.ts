import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CacheBatch, ClusterCache } from '../../api/objects/ports.js';
import { type KeyedLoop, runKeyedLoop } from '../../controllers/keyed-loop.js';
import { silentLogger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { Fenced } from '../../runtime/store/store.js';
import { settled } from '../../runtime/work-queue.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';

/** A loop over a cache that says what the test has it say. */
async function loop(more: Partial<KeyedLoop>) {
  const clock = new ManualClock();
  const stop = new AbortController();
  let tell = (_batch: CacheBatch) => {};
  const cache = {
    subscribe(listener: (batch: CacheBatch) => void) {
      tell = listener;
      return () => {};
    },
  } as unknown as ClusterCache;
  const looked: string[] = [];
  const ended = runKeyedLoop({
    cache,
    clock,
    random: () => 0.5,
    log: silentLogger,
    metrics: createMetrics({ component: 'server', version: '0', process: false }),
    signal: stop.signal,
    name: 'test',
    concurrency: 1,
    sweepEveryMs: 30_000,
    keysOf: () => [],
    everything: () => [],
    async work(key) {
      looked.push(key);
      return settled;
    },
    ...more,
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  await settle();
  const changed = async (relisted = false) => {
    tell({ revision: 1, changes: [], relisted });
    await settle();
  };
  const end = async () => {
    stop.abort();
    await settle();
    await clock.advance(60_000);
    assert.equal(await ended, undefined);
  };
  return { clock, looked, changed, end, ended };
}

test('a key that is to gather is looked at later, and once', async () => {
  const { clock, looked, changed, end } = await loop({ keysOf: () => ['now', { key: 'later', afterMs: 100 }] });
  await changed();
  await changed();
  assert.deepEqual(looked, ['now', 'now']);
  await clock.advance(100);
  assert.deepEqual(looked, ['now', 'now', 'later']);
  await end();
});

test('after a list everything is looked at, and what changed meanwhile still means what it means', async () => {
  const { looked, changed, end } = await loop({ everything: () => ['all'], keysOf: () => ['changed'] });
  looked.length = 0;
  await changed(true);
  assert.deepEqual(looked, ['all', 'changed']);
  await end();
});

test('a run that takes longer than runMs is told to end', async () => {
  let told = false;
  const { clock, end } = await loop({
    runMs: 1_000,
    everything: () => ['slow'],
    work: (_key, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          told = true;
          resolve(settled);
        });
      }),
  });
  await clock.advance(999);
  assert.equal(told, false);
  await clock.advance(1);
  assert.equal(told, true);
  await end();
});

test('invariant 3: a leadership that turns out to be lost in mid-work ends the loop with Fenced', async () => {
  const { ended } = await loop({
    everything: () => ['a'],
    work: () => Promise.reject(new Fenced('somebody else leads')),
  });
  assert.ok((await ended) instanceof Fenced);
});
