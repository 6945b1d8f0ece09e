/** The faults of the fake, and time under a clock that only the test moves. What it promises beside that is in the contract. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { OutcomeUnknown, StoreUnavailable, type WatchEvent, type Write } from '../../../runtime/store/store.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';

const create = (key: string, lease?: string): Write => ({
  compares: [{ key, modRevision: 0 }],
  operations: [{ do: 'put', key, value: 'x', ...(lease === undefined ? {} : { lease }) }],
});

function watch(store: MemoryStore, prefix = '/') {
  const seen: string[] = [];
  const keyOf = (event: WatchEvent) => (event.type === 'put' ? event.entry.key : `-${event.key}`);
  store.watch(prefix, 1, {
    events: (events, revision) => seen.push(`${revision} ${events.map(keyOf).join(' ')}`),
    compacted: () => seen.push('compacted'),
    interrupted: () => seen.push('interrupted'),
  });
  return seen;
}

test('a lost answer: the write is there, the caller does not know', async () => {
  const store = new MemoryStore();
  store.faults.loseAnswers = 1;
  await assert.rejects(store.commit(create('/a')), OutcomeUnknown);
  assert.ok((await store.get('/a')).entry);
  assert.equal((await store.commit(create('/a'))).ok, false, 'repeating is safe');
});

test('an etcd that cannot be reached refuses calls, and its watches catch up afterwards', async () => {
  const store = new MemoryStore();
  const other = store.peer();
  const seen = watch(store);
  store.faults.unavailable = true;
  await assert.rejects(store.get('/a'), StoreUnavailable);
  await assert.rejects(store.commit(create('/a')), StoreUnavailable);
  assert.deepEqual(
    (await store.members()).map((member) => member.healthy),
    [false],
  );
  await other.commit(create('/a'));
  await other.commit(create('/b'));
  await settle();
  assert.deepEqual(seen, ['interrupted']);
  store.faults.unavailable = false;
  await settle();
  assert.deepEqual(seen, ['interrupted', '3 /a /b']);
});

test('a cut watch whose history was compacted says so and is over', async () => {
  const store = new MemoryStore();
  const seen = watch(store);
  store.faults.watchesCut = true;
  await store.commit(create('/a'));
  store.compact();
  store.faults.watchesCut = false;
  await settle();
  await store.commit(create('/b'));
  await settle();
  assert.deepEqual(seen, ['interrupted', 'compacted']);
});

test('compaction does not take from an open watch what is on its way', async () => {
  const store = new MemoryStore();
  const seen = watch(store);
  await store.commit(create('/a'));
  store.compact();
  await store.commit(create('/b'));
  await settle();
  assert.deepEqual(seen, ['2 /a', '3 /b']);
});

test('a frozen etcd: reads end at their deadline, a write ends unknown and is applied at the thaw', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock, callTimeoutMs: 5000 });
  store.faults.frozen = true;
  const reading = assert.rejects(store.get('/a'), StoreUnavailable);
  const writing = assert.rejects(store.commit(create('/a')), OutcomeUnknown);
  await clock.advance(5000);
  await Promise.all([reading, writing]);
  const patient = store.get('/a');
  store.faults.frozen = false;
  await patient;
  assert.ok((await store.get('/a')).entry);
});

test('leases end by the injected clock: first for their holder, then in the store, all keys at one revision', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const lease = await store.lease(10_000, { keepAlive: 'manual' });
  await store.commit(create('/a', lease.id));
  await store.commit(create('/b', lease.id));
  const seen = watch(store);
  let lost = '';
  void lease.lost.then((why) => {
    lost = why;
  });
  await clock.advance(5000);
  assert.equal(await lease.keepAlive(), true);
  assert.equal(lease.deadlineMs, 13_000);
  await clock.advance(7999);
  assert.equal(lost, '');
  await clock.advance(1);
  assert.match(lost, /our own clock/);
  assert.ok((await store.get('/a')).entry, 'etcd still has it');
  await clock.advance(2000);
  assert.deepEqual(seen.at(-1), '4 -/a -/b');
  assert.equal(clock.waiting, 0);
});

test('a step of the wall clock moves no lease', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const lease = await store.lease(10_000, { keepAlive: 'manual' });
  clock.stepWallClock(3_600_000);
  await clock.advance(7000);
  assert.equal(await lease.keepAlive(), true);
  clock.stepWallClock(-7_200_000);
  await clock.advance(8000);
  assert.equal(await lease.keepAlive(), false);
});

test('an answer to a keepalive that comes after the deadline does not bring the lease back', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock, callTimeoutMs: 60_000 });
  const lease = await store.lease(10_000, { keepAlive: 'manual' });
  store.faults.frozen = true;
  const beat = lease.keepAlive();
  await clock.advance(9000);
  store.faults.frozen = false;
  assert.equal(await beat, false);
});

test('a lease of its own keepalives tries again soon after one that failed', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const lease = await store.lease(10_000, { keepAlive: 'auto' });
  let lost = false;
  void lease.lost.then(() => {
    lost = true;
  });
  for (let round = 0; round < 10; round++) {
    store.faults.unavailable = true;
    await clock.advance(4000);
    store.faults.unavailable = false;
    await clock.advance(1000);
  }
  assert.equal(lost, false);
  await lease.revoke();
});

test('planted: a dropped write is acknowledged and not there', async () => {
  const store = new MemoryStore();
  store.faults.dropWrites = 1;
  assert.ok((await store.commit(create('/a'))).ok);
  assert.equal((await store.get('/a')).entry, undefined);
});

test('planted: a lost revision never reaches the watch', async () => {
  const store = new MemoryStore();
  const seen = watch(store);
  store.faults.loseRevisions = 1;
  await store.commit(create('/a'));
  await settle();
  await store.commit(create('/b'));
  await settle();
  assert.deepEqual(seen, ['3 /b']);
});
