import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClusterCache } from '../../../api/objects/cache.js';
import type { CacheBatch } from '../../../api/objects/ports.js';
import type { Unit } from '../../../api/resources/unit.js';
import { type LogFields, type Logger, silentLogger } from '../../../runtime/log.js';
import { createMetrics } from '../../../runtime/metrics.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { StoreUnavailable } from '../../../runtime/store/store.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import {
  activeState,
  assignmentOf,
  at,
  keys,
  machineA,
  machineB,
  machineRow,
  put,
  remove,
  scheduledOn,
  sha256,
  unitRow,
  write,
} from './cluster-writer.js';

async function open(log: Logger = silentLogger) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  const reader = store.peer();
  const opened = openClusterCache({ store: reader, keys, clock, log, random: () => 0.5, metrics });
  await opened.cache.untilSynced();
  return { clock, store, reader, metrics, ...opened };
}

const text = '[Service]\nExecStart=/bin/sleep 60\n';
const placed = (unit: string, uid: string, machine: string) => [
  ...unitRow(unit, uid, 1, text),
  put(keys.condition('units', unit), scheduledOn(machine, 1)),
  put(keys.assignment(machine, unit), assignmentOf(unit, machine, uid, 1, text)),
];

test('cache: rows are found by every index that a reader needs', async () => {
  const { cache, store, stop } = await open();
  await write(store, [machineRow(machineA), ...placed('web.service', 'u1', machineA)]);
  await write(store, [put(keys.assignment(machineB, 'web.service'), assignmentOf('web.service', machineB, 'u1', 1, text))]);
  const last = await write(store, [put(keys.state(machineA, 'web.service'), activeState('u1', 1, text))]);
  await cache.untilRevision(last);

  assert.equal(cache.object('units', 'web.service')?.value.textHash, sha256(text));
  assert.deepEqual([...cache.objects('machines').keys()], [machineA]);
  assert.deepEqual([...cache.assignmentsOn(machineA).keys()], ['web.service']);
  assert.deepEqual([...cache.assignmentsOf('web.service').keys()].sort(), [machineA, machineB]);
  assert.deepEqual([...cache.statesOn(machineA).keys()], ['web.service']);
  assert.deepEqual([...cache.statesOf('web.service').keys()], [machineA]);
  assert.equal(cache.state(machineA, 'web.service')?.modRevision, last);
  assert.equal(cache.content(sha256(text))?.value, text);
  assert.equal(cache.fragment('units', 'web.service')?.value.machine, machineA);

  await cache.untilRevision(await write(store, [remove(keys.assignment(machineB, 'web.service'))]));
  assert.deepEqual([...cache.assignmentsOf('web.service').keys()], [machineA]);
  assert.deepEqual([...cache.assignmentsOn(machineB).keys()], []);
  stop();
});

test('SEMANTICS 1: resourceVersion of an object is twice the newest revision of its joined parts', async () => {
  const { cache, store, stop } = await open();
  const created = await write(store, unitRow('web.service', 'u1', 1, text));
  await cache.untilRevision(created);
  assert.equal(cache.joined('units', 'web.service')?.metadata.resourceVersion, String(2 * created));

  const decided = await write(store, [put(keys.condition('units', 'web.service'), scheduledOn(machineA, 1))]);
  await cache.untilRevision(decided);
  assert.equal(cache.joined('units', 'web.service')?.metadata.resourceVersion, String(2 * decided));

  const seen = await write(store, [put(keys.state(machineA, 'web.service'), activeState('u1', 1, text))]);
  await cache.untilRevision(seen);
  assert.equal(cache.joined('units', 'web.service')?.metadata.resourceVersion, String(2 * seen));

  // Another machine's state is not this unit's business.
  const elsewhere = await write(store, [put(keys.state(machineB, 'web.service'), activeState('u1', 1, text))]);
  await cache.untilRevision(elsewhere);
  assert.equal(cache.joined('units', 'web.service')?.metadata.resourceVersion, String(2 * seen));
  stop();
});

test('SEMANTICS 5: the text is inlined, unless the Unit was written in sections', async () => {
  const { cache, store, stop } = await open();
  const [content, own] = unitRow('plain.service', 'u1', 1, text);
  assert.ok(content && own?.do === 'put');
  const stored = JSON.parse(own.value) as { metadata: object };
  const structured = {
    ...stored,
    metadata: { ...stored.metadata, name: 'structured.service', uid: 'u2' },
    spec: { sections: { Service: { ExecStart: '/bin/sleep 60' } } },
  };
  await cache.untilRevision(await write(store, [content, own, put(keys.object('units', 'structured.service'), structured)]));

  const plain = cache.joined('units', 'plain.service') as Unit | undefined;
  assert.equal(plain?.spec?.content, text);
  assert.ok(!('textHash' in (plain ?? {})), 'how it is stored is nobody else’s business');
  assert.equal((cache.joined('units', 'structured.service') as Unit | undefined)?.spec?.content, undefined);
  stop();
});

test('SEMANTICS 2: a write wakes subscribers once, with all of its changes and nothing else', async () => {
  const { cache, store, stop } = await open();
  const batches: CacheBatch[] = [];
  const unsubscribe = cache.subscribe((batch) => batches.push(batch));
  const revision = await write(store, placed('web.service', 'u1', machineA));
  await cache.untilRevision(revision);
  await cache.untilRevision(await write(store, [put(`${keys.root}meta`, { clusterUid: 'c' })]));
  assert.deepEqual(
    batches.map((batch) => [batch.revision, batch.relisted, batch.changes.map(({ table }) => table).sort()]),
    [[revision, false, ['assignment', 'condition', 'content', 'object']]],
  );
  unsubscribe();
  await cache.untilRevision(await write(store, [remove(keys.condition('units', 'web.service'))]));
  assert.equal(batches.length, 1);
  stop();
});

test('cache: a subscriber that throws does not keep the others from hearing', async () => {
  const { cache, store, stop } = await open();
  let heard = 0;
  cache.subscribe(() => {
    throw new Error('broken subscriber');
  });
  cache.subscribe(() => heard++);
  await cache.untilRevision(await write(store, [machineRow(machineA)]));
  assert.equal(heard, 1);
  stop();
});

test('cache: a reader of its own write waits until it is in', async () => {
  const { cache, store, reader, stop } = await open();
  reader.faults.watchesCut = true;
  const revision = await write(store, [machineRow(machineA)]);
  let arrived = false;
  const waiting = cache.untilRevision(revision).then(() => {
    arrived = true;
  });
  await settle();
  assert.equal(arrived, false);
  reader.faults.watchesCut = false;
  await waiting;
  assert.ok(cache.joined('machines', machineA));
  stop();
});

test('cache: a revision that changed nothing of ours arrives as well', async () => {
  const { cache, store, clock, stop } = await open();
  const elsewhere = await write(store, [put('/another/cluster', 'x')]);
  const waited = cache.untilRevision(elsewhere);
  await clock.advance(100);
  await waited;
  assert.equal(cache.revision, elsewhere);
  stop();
  assert.equal(clock.waiting, 0);
});

test('cache: waiting for a revision ends with StoreUnavailable when it does not come', async () => {
  const { cache, store, clock, stop } = await open();
  const revision = await store.revision();
  const outcome = cache.untilRevision(revision + 1, 1_000).then(
    () => 'arrived',
    (error: unknown) => error,
  );
  await clock.advance(1_000);
  const error = await outcome;
  assert.ok(error instanceof StoreUnavailable);
  assert.match(error.message, new RegExp(`revision ${revision + 1} did not arrive within 1000 ms; this server knows revision ${revision}`));
  stop();
  assert.equal(clock.waiting, 0);
});

test('cache: untilSynced ends when its caller gives up', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  store.faults.unavailable = true;
  const { cache, stop } = openClusterCache({ store, keys, clock, log: silentLogger });
  const giveUp = new AbortController();
  const waiting = cache.untilSynced(giveUp.signal);
  giveUp.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  assert.equal(cache.synced, false);
  stop();
  assert.equal(clock.waiting, 0);
});

const damaged: { name: string; rows: ReturnType<typeof put>[]; message: RegExp }[] = [
  { name: 'not JSON', rows: [put(keys.object('units', 'bad.service'), '{"password": "hunter2')], message: /not JSON/ },
  { name: 'not an object', rows: [put(keys.object('units', 'bad.service'), [1])], message: /expected object/i },
  {
    name: 'a field of the wrong type',
    rows: [
      put(keys.object('units', 'bad.service'), {
        apiVersion: 'flotilla.dev/v1',
        kind: 'Unit',
        metadata: { name: 'bad.service', uid: 'u9' },
        spec: { desiredState: 'hunter2' },
      }),
    ],
    message: /spec\.desiredState/,
  },
  {
    name: 'under the name of another',
    rows: [
      put(keys.object('units', 'bad.service'), { apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name: 'x.service', uid: 'u9' } }),
    ],
    message: /another name than its own, x\.service/,
  },
  { name: 'a state', rows: [put(keys.state(machineA, 'bad.service'), { active: 3 })], message: /unitUid/ },
  { name: 'an assignment', rows: [put(keys.assignment(machineA, 'bad.service'), {})], message: /machine|unit/ },
  { name: 'a presence', rows: [put(keys.presence(machineA), { info: 1 })], message: /info/ },
  { name: 'a condition', rows: [put(keys.condition('units', 'bad.service'), { conditions: {} })], message: /conditions/ },
  { name: 'an event', rows: [put(keys.event('units', 'bad.service', '1'), { kind: 'Event' })], message: /metadata/ },
];

for (const { name, rows, message } of damaged) {
  test(`invariant 7: a stored value that cannot be read hurts only itself: ${name}`, async () => {
    const lines: { message: string; fields: LogFields | undefined }[] = [];
    const log: Logger = { ...silentLogger, error: (line, fields) => void lines.push({ message: line, fields }) };
    const { cache, store, metrics, stop } = await open(log);
    const key = rows[0]?.key ?? '';
    await cache.untilRevision(await write(store, [...rows, ...placed('good.service', 'u1', machineA)]));

    assert.deepEqual([...cache.broken.keys()], [key]);
    assert.match(cache.broken.get(key)?.message ?? '', message);
    assert.ok(cache.joined('units', 'good.service'));
    assert.equal(cache.joined('units', 'bad.service'), undefined);
    assert.match(await metrics.render(), /flotilla_cache_broken_rows 1/);
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.fields?.key, key);
    assert.doesNotMatch(JSON.stringify(lines), /hunter2/, 'a value is never quoted: it may be a secret');

    await cache.untilRevision(await write(store, [remove(key)]));
    assert.equal(cache.broken.size, 0);
    stop();
  });
}

test('cache: fields that only a newer version knows are kept, not refused', async () => {
  const { cache, store, stop } = await open();
  const newer = {
    apiVersion: 'flotilla.dev/v1',
    kind: 'Unit',
    metadata: { name: 'web.service', uid: 'u1', futureField: 1 },
    spec: { desiredState: 'launched', placement: { rack: 'r1' } },
  };
  await cache.untilRevision(await write(store, [put(keys.object('units', 'web.service'), newer)]));
  assert.equal(cache.broken.size, 0);
  assert.deepEqual((cache.object('units', 'web.service')?.value as typeof newer | undefined)?.spec.placement, { rack: 'r1' });
  stop();
});

test('cache: a joined part that cannot be read does not take the resourceVersion back', async () => {
  const { cache, store, stop } = await open();
  await write(store, placed('web.service', 'u1', machineA));
  const good = await write(store, [put(keys.state(machineA, 'web.service'), activeState('u1', 1, text))]);
  await cache.untilRevision(good);
  const bad = await write(store, [put(keys.state(machineA, 'web.service'), '?')]);
  await cache.untilRevision(bad);
  assert.equal(cache.joined('units', 'web.service')?.metadata.resourceVersion, String(2 * bad));
  stop();
});

test('cache: what it hands out cannot be changed in place', async () => {
  const { cache, store, stop } = await open();
  await cache.untilRevision(await write(store, placed('web.service', 'u1', machineA)));
  const row = cache.object('units', 'web.service');
  const unit = cache.joined('units', 'web.service') as Unit;
  for (const change of [
    () => {
      (row?.value.metadata as { name: string }).name = 'x';
    },
    () => {
      unit.metadata.labels = {};
    },
    () => {
      (unit.spec as { desiredState: string }).desiredState = 'loaded';
    },
    () => {
      unit.status = {};
    },
  ]) {
    assert.throws(change, TypeError);
  }
  stop();
});

test('cache: Assignments are found by unit and the first 8 characters of the machine, with a uid that stays', async () => {
  const first = await open();
  await first.cache.untilRevision(await write(first.store, placed('web.service', 'u1', machineA)));
  const assignment = first.cache.joined('assignments', 'web.service.aaaaaaaa');
  assert.equal(assignment?.metadata.labels?.['flotilla.dev/unit'], 'web.service');
  assert.equal(assignment?.metadata.labels?.['flotilla.dev/machine'], machineA);
  assert.equal(assignment?.metadata.creationTimestamp, at);
  assert.match(assignment?.metadata.uid ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(assignment?.status, undefined);
  assert.equal(first.cache.joined('assignments', 'web.service.bbbbbbbb'), undefined);
  assert.equal(first.cache.joined('assignments', 'nonsense'), undefined);

  const second = openClusterCache({ store: first.store.peer(), keys, clock: first.clock, log: silentLogger });
  await second.cache.untilSynced();
  assert.deepEqual(second.cache.joinedAll('assignments'), [assignment]);
  first.stop();
  second.stop();
});

test('cache: lists are sorted by name, also after names came and went', async () => {
  const { cache, store, stop } = await open();
  const names = () => cache.joinedAll('units').map(({ metadata }) => metadata.name);
  for (const name of ['m.service', 'a.service', 'z.service']) await write(store, unitRow(name, name, 1, text));
  await settle();
  assert.deepEqual(names(), ['a.service', 'm.service', 'z.service']);
  await write(store, [remove(keys.object('units', 'm.service'))]);
  await write(store, unitRow('b.service', 'b', 1, text));
  await write(store, [remove(keys.object('units', 'a.service'))]);
  await write(store, unitRow('a.service', 'a2', 1, text));
  await settle();
  assert.deepEqual(names(), ['a.service', 'b.service', 'z.service']);
  stop();
});

test('cache: events are found by name and by what they are about', async () => {
  const { cache, store, stop } = await open();
  const event = (name: string, about: string) => ({
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name },
    involvedObject: { kind: 'Unit', name: about },
    reason: 'Placed',
    message: 'placed',
    type: 'Normal',
    count: 1,
    firstTimestamp: at,
    lastTimestamp: at,
    source: { component: 'scheduler' },
  });
  await write(store, [put(keys.event('units', 'a.service', '1'), event('a.service.1', 'a.service'))]);
  const last = await write(store, [put(keys.event('units', 'b.service', '1'), event('b.service.1', 'b.service'))]);
  await cache.untilRevision(last);
  assert.equal(cache.joined('events', 'b.service.1')?.metadata.resourceVersion, String(2 * last));
  assert.deepEqual([...cache.eventsAbout('units', 'a.service').keys()], ['1']);
  assert.equal([...cache.events()].length, 2);
  await cache.untilRevision(await write(store, [remove(keys.event('units', 'b.service', '1'))]));
  assert.equal(cache.joined('events', 'b.service.1'), undefined);
  stop();
});

test('cache: once its signal aborts it follows no more and leaves no timer', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const down = new AbortController();
  const { cache } = openClusterCache({ store, keys, clock, log: silentLogger, signal: down.signal });
  await cache.untilSynced();
  down.abort();
  await write(store, [machineRow(machineA)]);
  await settle();
  assert.equal(cache.joined('machines', machineA), undefined);
  assert.equal(clock.waiting, 0);
});
