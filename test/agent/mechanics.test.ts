/** The small mechanics of the agent: batches, shared work, the job window, object paths, records. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { batched } from '../../agent/batched.js';
import { JobWindow } from '../../agent/job-window.js';
import { Records } from '../../agent/records.js';
import { sharedWork } from '../../agent/shared-work.js';
import { unitName, unitPath } from '../../agent/unit-path.js';
import { silentLogger } from '../../runtime/log.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';
import { MemoryUnitFiles } from '../rigs/memory-files.js';

test('questions of one turn are asked as one, each name once', async () => {
  const asked: string[][] = [];
  const ask = batched(async (names) => {
    asked.push([...names]);
    return new Map(names.map((name) => [name, name.toUpperCase()]));
  });
  assert.deepEqual(await Promise.all([ask('a'), ask('b'), ask('a')]), ['A', 'B', 'A']);
  await ask('c');
  assert.deepEqual(asked, [['a', 'b'], ['c']]);
});

test('invariant 7: one question that cannot be answered spoils only its own answer', async () => {
  const ask = batched(async (names) => {
    if (names.includes('bad')) throw new Error('bad name');
    return new Map(names.filter((name) => name !== 'missing').map((name) => [name, name]));
  });
  const [good, bad, missing] = await Promise.allSettled([ask('good'), ask('bad'), ask('missing')]);
  assert.equal(good.status, 'fulfilled');
  assert.match(String(bad.status === 'rejected' && bad.reason), /bad name/);
  assert.match(String(missing.status === 'rejected' && missing.reason), /no answer about missing/);
});

test('work is shared by those who ask before it begins, and never overlaps', async () => {
  let running = 0;
  let runs = 0;
  const work = sharedWork(async () => {
    running += 1;
    runs += 1;
    assert.equal(running, 1);
    await settle();
    running -= 1;
    if (runs === 2) throw new Error('second');
  });
  await Promise.all([work(), work(), work()]);
  assert.equal(runs, 1);
  const second = work();
  await assert.rejects(second, /second/);
  await work();
  assert.equal(runs, 3, 'a failure does not stop what follows');
});

test('the job window: slots go in turn, and are given back by the job’s end only', async () => {
  const clock = new ManualClock();
  const window = new JobWindow({ clock, size: 2 });
  const giveBack = await window.take();
  await window.take();
  const order: string[] = [];
  void window.take().then(() => order.push('third'));
  void window.take().then(() => order.push('fourth'));
  await settle();
  assert.deepEqual(order, []);
  giveBack();
  giveBack();
  await settle();
  assert.deepEqual(order, ['third'], 'giving back twice gives back once');
  assert.equal(window.inFlight, 2);
});

test('invariant 9: stuck jobs leave the window to others, up to a limit', async () => {
  const clock = new ManualClock();
  const window = new JobWindow({ clock, size: 2, slowAfterMs: 1_000, maxSlow: 3 });
  let taken = 0;
  const stuck: Promise<() => void>[] = [];
  for (let job = 0; job < 10; job++) {
    stuck.push(window.take());
    void stuck.at(-1)!.then(() => {
      taken += 1;
    });
  }
  await settle();
  assert.equal(taken, 2);
  await clock.advance(1_000);
  assert.equal(taken, 4);
  await clock.advance(60_000);
  assert.equal(taken, 5, 'three slow ones beside two');
  (await stuck[0]!)();
  await settle();
  assert.equal(window.inFlight, 4, 'a slow job that ends frees its slow place');
});

test('object paths are as systemd makes them', () => {
  for (const [name, path] of [
    ['web.service', 'web_2eservice'],
    ['getty@9.service', 'getty_409_2eservice'],
    ['9p.service', '_39p_2eservice'],
    ['dev-disk\\x2dby.mount', 'dev_2ddisk_5cx2dby_2emount'],
    ['', '_'],
  ] as const) {
    assert.equal(unitPath(name), `/org/freedesktop/systemd1/unit/${path}`);
    assert.equal(unitName(unitPath(name)), name);
  }
  assert.equal(unitName('/org/freedesktop/systemd1/job/7'), undefined);
  assert.equal(unitName('/org/freedesktop/systemd1/unit/a%b'), undefined);
});

test('object paths come back for any name', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (name) => name.includes('\ufffd') || unitName(unitPath(name)) === name));
});

test('a record that cannot be read is left out, and said; the others are kept', () => {
  const errors: string[] = [];
  const log = { ...silentLogger, error: (message: string) => void errors.push(message) };
  const files = new MemoryUnitFiles();
  files.note('bad.service', { version: 99 });
  const records = new Records(files, log);
  assert.deepEqual([records.names(), errors.length], [[], 1]);
  records.set('web.service', { uid: 'u1', generation: 3 });
  records.set('gone.service', { uid: 'u1' });
  records.set('gone.service', undefined);
  const next = new Records(files, silentLogger);
  assert.deepEqual(next.names(), ['web.service']);
  assert.deepEqual(next.get('web.service'), { uid: 'u1', generation: 3 });
});
