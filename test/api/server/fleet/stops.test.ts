import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFleetctl, RecentStops } from '../../../../api/server/fleet/stops.js';
import { ManualClock } from '../../../rigs/manual-clock.js';

test('a stop is told of once, and for two seconds', async () => {
  const clock = new ManualClock();
  const stops = new RecentStops(clock);
  assert.equal(stops.firstLook('a'), false, 'nobody stopped it');
  stops.note('a');
  stops.note('b');
  assert.deepEqual([stops.firstLook('a'), stops.firstLook('a')], [true, false]);
  await clock.advance(2_000);
  assert.equal(stops.firstLook('b'), false, 'long ago');
  stops.note('b');
  assert.equal(stops.firstLook('b'), true, 'once more');
});

test('only so many are remembered', () => {
  const stops = new RecentStops(new ManualClock());
  for (let index = 0; index <= 1_000; index++) stops.note(`uid-${index}`);
  assert.deepEqual([stops.firstLook('uid-0'), stops.firstLook('uid-1'), stops.firstLook('uid-1000')], [false, true, true]);
});

test('fleetctl is known by its library', () => {
  assert.deepEqual(['google-api-go-client/0.5', 'curl/7', undefined].map(isFleetctl), [true, false, false]);
});
