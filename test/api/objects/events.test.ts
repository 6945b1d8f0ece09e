import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openClusterCache } from '../../../api/objects/cache.js';
import { eventLimits, openEventRecorder } from '../../../api/objects/events.js';
import { keysUnder } from '../../../api/resources/keys.js';
import { silentLogger } from '../../../runtime/log.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import type { Lease, LeaseOptions } from '../../../runtime/store/store.js';
import { ManualClock } from '../../rigs/manual-clock.js';

const keys = keysUnder();
const web = { kind: 'Unit', name: 'web.service', uid: 'u1' };

async function openRig(t: TestContext) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const { cache, stop } = openClusterCache({ store, keys, clock, log: silentLogger });
  await cache.untilSynced();
  const leases: number[] = [];
  const counting = {
    commit: store.commit.bind(store),
    lease: (ttlMs: number, options: LeaseOptions): Promise<Lease> => {
      leases.push(ttlMs);
      return store.lease(ttlMs, options);
    },
  };
  const recorder = openEventRecorder({ store: counting, cache, keys, clock, component: 'scheduler' });
  t.after(async () => {
    await Promise.all([recorder.stop(), clock.advance(eventLimits.stopMs)]);
    stop();
    await store.close();
  });
  const about = (name = 'web.service') =>
    [...cache.eventsAbout('units', name).values()].map(({ value }) => value).sort((a, b) => (a.message < b.message ? -1 : 1));
  return { clock, store, cache, recorder, leases, about };
}

test('SEMANTICS 10: an event says what happened, to whom, who says it and when', async (t) => {
  const { clock, recorder, about } = await openRig(t);
  recorder.record(web, 'Warning', 'Unschedulable', 'no machine has room');
  await clock.advance(0);
  const [event] = about();
  assert.match(event!.metadata.name, /^web\.service\.[0-9a-f]{16}$/);
  assert.deepEqual(
    { ...event, metadata: undefined },
    {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: undefined,
      involvedObject: { apiVersion: 'flotilla.dev/v1', kind: 'Unit', name: 'web.service', uid: 'u1' },
      reason: 'Unschedulable',
      message: 'no machine has room',
      type: 'Warning',
      count: 1,
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:00:00Z',
      source: { component: 'scheduler' },
    },
  );
});

test('SEMANTICS 10: the same event is counted, not repeated, and written at most every ten seconds', async (t) => {
  const { clock, store, recorder, about } = await openRig(t);
  for (let second = 0; second < 30; second++) {
    recorder.record(web, 'Normal', 'Tried', 'again');
    await clock.advance(1_000);
  }
  const writes = (await store.revision()) - 1;
  assert.equal(writes, 4, 'at 0, 10, 20 and 30 s');
  await clock.advance(eventLimits.repeatMs);
  assert.deepEqual(
    about().map(({ count, firstTimestamp, lastTimestamp }) => [count, firstTimestamp, lastTimestamp]),
    [[30, '2026-01-01T00:00:00Z', '2026-01-01T00:00:29Z']],
  );
});

test('SEMANTICS 10: two servers that see the same count together', async (t) => {
  const { clock, store, cache, recorder, about } = await openRig(t);
  const other = openEventRecorder({ store: store.peer(), cache, keys, clock, component: 'scheduler' });
  recorder.record(web, 'Normal', 'Seen', 'x');
  other.record(web, 'Normal', 'Seen', 'x');
  await clock.advance(0);
  await other.stop();
  assert.deepEqual(
    about().map(({ count }) => count),
    [2],
  );
});

test('SEMANTICS 10: all events of five minutes hang on one lease, and vanish an hour later', async (t) => {
  const { clock, recorder, leases, cache } = await openRig(t);
  const say = async (message: string) => {
    recorder.record({ ...web, name: `${message}.service` }, 'Normal', 'Said', message);
    await clock.advance(0);
  };
  for (let index = 0; index < 20; index++) await say(`a${index}`);
  assert.deepEqual(leases, [3_900_000]);
  await clock.advance(eventLimits.bucketMs);
  await say('b');
  assert.equal(leases.length, 2);
  await clock.advance(eventLimits.keptMs);
  assert.deepEqual(
    [...cache.events()].map(({ value }) => value.message),
    ['b'],
    'those of the first bucket are gone',
  );
  await clock.advance(eventLimits.bucketMs + 1);
  assert.deepEqual([...cache.events()], []);
});

test('SEMANTICS 10: an object keeps its newest hundred events', async (t) => {
  const { clock, recorder, about } = await openRig(t);
  for (let bucket = 0; bucket < 6; bucket++) {
    for (let index = 0; index < eventLimits.maxNewPerObject; index++) recorder.record(web, 'Normal', 'Said', `${bucket}-${index}`);
    await clock.advance(eventLimits.bucketMs);
  }
  const messages = about().map(({ message }) => message);
  assert.equal(messages.length, eventLimits.maxPerObject);
  assert.ok(
    messages.every((message) => !/^[01]-/.test(message)),
    'the oldest went',
  );
});

test('who says the same in ever different words is cut short, and others are still heard', async (t) => {
  const { clock, recorder, about } = await openRig(t);
  for (let index = 0; index < 1_000; index++) recorder.record(web, 'Normal', 'Said', `pid ${index}`);
  recorder.record({ kind: 'Unit', name: 'other.service' }, 'Normal', 'Said', 'hello');
  await clock.advance(0);
  assert.equal(about().length, eventLimits.maxNewPerObject);
  assert.equal(about('other.service').length, 1);
});

test('a store that is away makes events wait, in a queue with an end; nothing is thrown at who records', async (t) => {
  const { clock, store, recorder, cache } = await openRig(t);
  store.faults.unavailable = true;
  for (let index = 0; index < 2 * eventLimits.maxWaiting; index++) {
    recorder.record({ kind: 'Unit', name: `u${index}.service` }, 'Normal', 'Said', 'x');
  }
  recorder.record({ kind: 'NoSuchKind', name: 'x' }, 'Normal', 'Said', 'x');
  await clock.advance(10_000);
  assert.deepEqual([...cache.events()], []);
  store.faults.unavailable = false;
  await clock.advance(10_000);
  assert.equal([...cache.events()].length, eventLimits.maxWaiting);
});

test('an answer that was lost is not counted twice', async (t) => {
  const { clock, store, recorder, about } = await openRig(t);
  store.faults.loseAnswers = 1;
  recorder.record(web, 'Normal', 'Said', 'x');
  await clock.advance(60_000);
  assert.deepEqual(
    about().map(({ count }) => count),
    [1],
  );
});

test('an event whose lease is gone is written under a new one', async (t) => {
  const { clock, store, recorder, leases, about } = await openRig(t);
  recorder.record(web, 'Normal', 'Said', 'x');
  await clock.advance(0);
  await (await store.lease(1, { keepAlive: 'manual', id: '1' })).revoke();
  recorder.record(web, 'Normal', 'Said', 'y');
  await clock.advance(10_000);
  assert.deepEqual(
    about().map(({ message }) => message),
    ['y'],
  );
  assert.equal(leases.length, 2);
});

test('stop writes what waits and takes no more; it does not wait for a dead store for ever', async (t) => {
  const { clock, store, recorder, about } = await openRig(t);
  recorder.record(web, 'Normal', 'Said', 'x');
  await recorder.stop();
  recorder.record(web, 'Normal', 'Said', 'too late');
  await clock.advance(60_000);
  assert.deepEqual(
    about().map(({ message }) => message),
    ['x'],
  );

  const second = openEventRecorder({
    store,
    cache: { eventsAbout: () => new Map(), untilRevision: async () => {} },
    keys,
    clock,
    component: 'x',
  });
  store.faults.frozen = true;
  second.record(web, 'Normal', 'Said', 'x');
  const [elapsed] = await Promise.all([second.stop(), clock.advance(eventLimits.stopMs)]);
  assert.equal(elapsed, undefined);
  store.faults.frozen = false;
});

test('a message is cut to what a person reads', async (t) => {
  const { clock, recorder, about } = await openRig(t);
  recorder.record({ ...web, name: `${'x'.repeat(240)}.service` }, 'Normal', 'Said', 'y'.repeat(5_000));
  await clock.advance(0);
  const [event] = about(`${'x'.repeat(240)}.service`);
  assert.equal(event!.message.length, eventLimits.maxMessageLength);
  assert.ok(event!.metadata.name.length <= 256);
});
