import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { slidingWindow } from '../../cli/sliding-window.js';

/** Work that ends when the test says so. */
function byHand(count: number, width: number) {
  const begun: number[] = [];
  const told: string[] = [];
  const ends = new Map<number, { resolve: (outcome: string) => void; reject: (error: Error) => void }>();
  const all = slidingWindow(
    Array.from({ length: count }, (_, index) => index),
    width,
    (item) =>
      new Promise<string>((resolve, reject) => {
        begun.push(item);
        ends.set(item, { resolve, reject });
      }),
    (item, outcome) => told.push(`${item} ${outcome}`),
  );
  const step = async (item: number, error?: Error) => {
    const { resolve, reject } = ends.get(item)!;
    if (error) reject(error);
    else resolve('done');
    await setImmediate();
  };
  return { begun, told, all, step };
}

test('sliding window: a slow item holds up the telling, not the work', async () => {
  const { begun, told, all, step } = byHand(5, 2);
  assert.deepEqual(begun, [0, 1]);
  await step(1);
  await step(2);
  assert.deepEqual([begun, told], [[0, 1, 2, 3], []]);
  await step(0);
  assert.deepEqual(
    [begun, told],
    [
      [0, 1, 2, 3, 4],
      ['0 done', '1 done', '2 done'],
    ],
  );
  await step(4);
  await step(3);
  await all;
  assert.deepEqual(told, ['0 done', '1 done', '2 done', '3 done', '4 done']);
});

test('sliding window: after a failure nothing new is begun, what is under way is waited for, and the failure is told', async () => {
  const { begun, told, all, step } = byHand(9, 3);
  let over = false;
  const failure = assert.rejects(all, /the line is cut/).then(() => {
    over = true;
  });
  await step(1, new Error('the line is cut'));
  await step(0);
  assert.deepEqual([begun, told, over], [[0, 1, 2], ['0 done'], false]);
  await step(2);
  await failure;
  assert.deepEqual(begun, [0, 1, 2]);
});

test('sliding window: nothing to do is done at once', async () => {
  const { all, told } = byHand(0, 4);
  await all;
  assert.deepEqual(told, []);
});
