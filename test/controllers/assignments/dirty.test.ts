import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Dirty } from '../../../controllers/assignments/dirty.js';
import { ManualClock } from '../../rigs/manual-clock.js';

const { signal } = new AbortController();

function idle() {
  const clock = new ManualClock();
  const dirty = new Dirty(clock);
  dirty.health = false;
  return { clock, dirty, nowMs: clock.monotonicMs() };
}

/** Whether it has ended, asked after the event loop had its turns. */
async function hasEnded(work: Promise<void>): Promise<boolean> {
  let ended = false;
  void work.then(() => (ended = true));
  for (let turns = 0; turns < 4; turns++) await turn();
  return ended;
}

test('a unit that is due is marked at its time, and not before', () => {
  const { dirty, nowMs } = idle();
  dirty.setUnitDue('a.service', nowMs + 10);
  dirty.collectDue(nowMs + 9);
  assert.equal(dirty.hasWork, false);
  dirty.collectDue(nowMs + 10);
  assert.deepEqual([...dirty.units], ['a.service']);
  dirty.units.clear();
  dirty.collectDue(nowMs + 20);
  assert.equal(dirty.hasWork, false, 'once');
});

test('what is due already is not put off', () => {
  const { dirty, nowMs } = idle();
  dirty.ensureMachineDue('m', nowMs + 10);
  dirty.ensureMachineDue('m', nowMs + 20);
  dirty.collectDue(nowMs + 10);
  assert.deepEqual([...dirty.machines], ['m']);
});

test('the wait ends at once when there is work', async () => {
  const { dirty, nowMs } = idle();
  dirty.markCopy('a.service', 'm');
  assert.equal(await hasEnded(dirty.untilWork(nowMs + 1_000, signal)), true);
});

test('the wait ends when it is woken, and leaves nothing behind', async () => {
  const { dirty, clock, nowMs } = idle();
  const wait = dirty.untilWork(nowMs + 1_000, signal);
  assert.equal(await hasEnded(wait), false);
  dirty.markUnit('a.service');
  dirty.wake();
  assert.equal(await hasEnded(wait), true);
  assert.equal(clock.waiting, 0, 'no timer');
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});

test('the wait ends when something is due', async () => {
  const { dirty, clock, nowMs } = idle();
  dirty.setUnitDue('a.service', nowMs + 300);
  const wait = dirty.untilWork(nowMs + 1_000, signal);
  assert.equal(await hasEnded(wait), false);
  await clock.advance(300);
  assert.equal(await hasEnded(wait), true);
});
