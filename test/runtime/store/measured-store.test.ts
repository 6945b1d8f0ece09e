/** That it changes nothing is the contract's to show (test/contract/store.measured.test.ts); here: what it counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics } from '../../../runtime/metrics.js';
import { measuredStore } from '../../../runtime/store/measured-store.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import type { Store, Write } from '../../../runtime/store/store.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import { samplesOf } from '../../rigs/promtool.js';

const write = (key: string): Write => ({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: 'v' }] });

function rig() {
  const clock = new ManualClock();
  const inner = new MemoryStore({ clock });
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  const store = measuredStore(inner, metrics, clock);
  const values = async (name: string) =>
    Object.fromEntries(
      samplesOf(await metrics.render())
        .filter((sample) => sample.name === name && sample.value > 0)
        .map(({ labels, value }) => [Object.values(labels).join(' '), value]),
    );
  return { clock, inner, store, metrics, values, errors: () => values('flotilla_store_errors_total') };
}

test('what works is timed and is no error; a compare that fails works', async () => {
  const { store, values, errors } = rig();
  await store.commit(write('a'));
  assert.equal((await store.commit(write('a'))).ok, false);
  await store.get('a');
  assert.deepEqual(await values('flotilla_store_request_duration_seconds_count'), { commit: 2, get: 1 });
  assert.deepEqual(await errors(), {});
});

const failures: { what: string; fail(rigged: ReturnType<typeof rig>): Promise<unknown>; counted: Record<string, number> }[] = [
  {
    what: 'etcd is away',
    async fail({ inner, store }) {
      inner.faults.unavailable = true;
      await store.list('a');
    },
    counted: { 'list StoreUnavailable': 1 },
  },
  {
    what: 'the answer to a write was lost',
    async fail({ inner, store }) {
      inner.faults.loseAnswers = 1;
      await store.commit(write('a'));
    },
    counted: { 'commit OutcomeUnknown': 1 },
  },
  {
    what: 'the leadership is gone',
    fail: ({ store }) => store.commit(write('a'), { fence: { key: 'leader', createRevision: 5 } }),
    counted: { 'commit Fenced': 1 },
  },
  {
    what: 'a lease to take over is gone',
    fail: ({ store }) => store.lease(1_000, { keepAlive: 'manual', id: '99' }),
    counted: { 'lease_grant LeaseGone': 1 },
  },
  {
    what: 'a write that no store takes',
    fail: ({ store }) => store.commit({ compares: [], operations: [] }),
    counted: { 'commit other': 1 },
  },
  {
    what: 'whoever asked does not want it any more',
    fail: ({ store }) => store.get('a', AbortSignal.abort()),
    counted: { 'get aborted': 1 },
  },
];
for (const { what, fail, counted } of failures) {
  test(`a failure is counted by operation and kind, and thrown on: ${what}`, async () => {
    const rigged = rig();
    await assert.rejects(fail(rigged));
    assert.deepEqual(await rigged.errors(), counted);
  });
}

test('a keepalive that etcd does not answer is counted', async () => {
  const { inner, store, errors } = rig();
  const lease = await store.lease(10_000, { keepAlive: 'manual' });
  assert.equal(await lease.keepAlive(), true);
  inner.faults.unavailable = true;
  await assert.rejects(lease.keepAlive());
  assert.deepEqual(await errors(), { 'lease_keepalive StoreUnavailable': 1 });
});

test('a watch that is interrupted and one whose history is gone are counted, and told of as ever', async () => {
  const { clock, inner, store, values } = rig();
  const told: string[] = [];
  store.watch('', 0, {
    events: () => told.push('events'),
    interrupted: () => told.push('interrupted'),
    compacted: () => told.push('compacted'),
  });
  await store.commit(write('a'));
  await settle();
  inner.faults.watchesCut = true;
  await settle();
  await inner.commit(write('b'));
  await inner.commit(write('c'));
  inner.compact();
  inner.faults.watchesCut = false;
  await clock.advance(10_000);
  await settle();
  assert.deepEqual(told, ['events', 'interrupted', 'compacted']);
  assert.deepEqual(await values('flotilla_store_watch_restarts_total'), { '': 1 });
  assert.deepEqual(await values('flotilla_store_watch_compacted_total'), { '': 1 });
});

test('what an alert goes by is there at 0 before the first failure', async () => {
  const { metrics } = rig();
  const zeros = samplesOf(await metrics.render()).filter(({ value }) => value === 0);
  for (const operation of ['get', 'list', 'commit', 'lease_keepalive'] satisfies (keyof Store | 'lease_keepalive')[]) {
    assert.ok(
      zeros.some(({ labels }) => labels.operation === operation && labels.code === 'StoreUnavailable'),
      operation,
    );
  }
  assert.ok(zeros.some(({ name }) => name === 'flotilla_store_watch_restarts_total'));
});
