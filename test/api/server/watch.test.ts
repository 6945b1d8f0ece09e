import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterCache, ObjectEvent, WatchHub } from '../../../api/objects/ports.js';
import { StatusError } from '../../../api/resources/errors.js';
import { unitKind } from '../../../api/resources/unit-kind.js';
import { defaultLimits } from '../../../api/server/limits.js';
import type { Representation } from '../../../api/server/negotiation.js';
import { watchOptions } from '../../../api/server/query.js';
import { EventFrames, runWatch, seenThrough, startWatch, type WatchSink } from '../../../api/server/watch.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import { event, unitObject } from './objects.js';

const isBlue = (object: { metadata: { labels?: Record<string, string> | undefined } }) => object.metadata.labels?.colour === 'blue';
const blue = unitObject('a.service', 5, { colour: 'blue' });
const red = unitObject('a.service', 6, { colour: 'red' });

for (const { name, of, seen } of [
  { name: 'one is made that matches', of: event('ADDED', blue), seen: 'ADDED' },
  { name: 'one is made that does not', of: event('ADDED', red), seen: undefined },
  { name: 'one that matched still does', of: event('MODIFIED', blue, blue), seen: 'MODIFIED' },
  { name: 'one begins to match', of: event('MODIFIED', blue, red), seen: 'ADDED' },
  { name: 'one stops matching', of: event('MODIFIED', red, blue), seen: 'DELETED' },
  { name: 'one never matched', of: event('MODIFIED', red, red), seen: undefined },
  { name: 'what it was before is not known, and it matches', of: event('MODIFIED', blue), seen: 'MODIFIED' },
  { name: 'what it was before is not known, and it does not match', of: event('MODIFIED', red), seen: 'DELETED' },
  { name: 'one is deleted that matched', of: event('DELETED', blue, blue), seen: 'DELETED' },
  { name: 'one is deleted that never matched', of: event('DELETED', red, red), seen: undefined },
]) {
  test(`seenThrough a selector: ${name}: ${seen ?? 'nothing'}`, () => assert.equal(seenThrough(of, isBlue)?.type, seen));
}

test('seenThrough: leaving a selection shows the last that matched, dated by the change that ended it', () => {
  const seen = seenThrough(event('MODIFIED', red, blue), isBlue);
  assert.deepEqual(seen?.object.metadata.labels, { colour: 'blue' });
  assert.equal(seen?.object.metadata.resourceVersion, red.metadata.resourceVersion);
});

/** A hub that a test drives, and a sink that counts what its client has not read. */
function rig(query: string, as: Representation = { form: 'object' }) {
  const clock = new ManualClock();
  const lines: {
    type: string;
    object: { metadata: Record<string, unknown>; code?: number; rows?: unknown[]; columnDefinitions?: unknown };
  }[] = [];
  const seen = { ended: false, cut: false, from: Number.NaN, unsubscribed: 0, reading: true, stalled: false };
  let backlogBytes = 0;
  let listener: Parameters<WatchHub['watch']>[2] | undefined;
  const hub = {
    replay: [] as ObjectEvent[],
    expired: false,
    watch(_plural: string, from: number, given: Parameters<WatchHub['watch']>[2]) {
      if (hub.expired) throw new StatusError('Expired', 'too old resource version');
      seen.from = from;
      listener = given;
      if (hub.replay.length > 0) given.onEvents(hub.replay, 9);
      return () => void seen.unsubscribed++;
    },
  };
  const sink: WatchSink = {
    write(chunks) {
      for (const chunk of chunks) {
        if (!seen.reading) backlogBytes += chunk.length;
        for (const line of chunk.toString().trimEnd().split('\n')) lines.push(JSON.parse(line));
      }
    },
    get backlogBytes() {
      return backlogBytes;
    },
    async drained() {
      if (seen.stalled) return new Promise<void>(() => {});
      backlogBytes = 0;
    },
    end() {
      seen.ended = true;
    },
    cut() {
      seen.cut = true;
    },
  };
  const state = [blue];
  const cache = { revision: 6, joinedAll: () => state } as unknown as ClusterCache;
  const limits = { ...defaultLimits, maxWatchBacklogBytes: 2_000 };
  const gone = new AbortController();
  const closing = new AbortController();
  const options = watchOptions(new URLSearchParams(query));
  const frames = new EventFrames({ cache, clock, limits });
  const run = () =>
    runWatch(
      { cache, hub, clock, random: () => 0.5, limits, frames },
      { kind: unitKind, as, matches: undefined, options },
      startWatch(cache, unitKind, options),
      sink,
      gone.signal,
      closing.signal,
    );
  const emit = (...events: ObjectEvent[]) => listener?.onEvents(events, 7);
  return {
    clock,
    hub,
    state,
    lines,
    seen,
    gone,
    closing,
    limits,
    run,
    emit,
    expire: () => listener?.onExpired(),
    types: () => lines.map(({ type }) => type),
  };
}

for (const { name, query, types, from } of [
  { name: 'no resourceVersion: the state first', query: '', types: ['ADDED'], from: 13 },
  { name: 'resourceVersion 0: the state first', query: 'resourceVersion=0', types: ['ADDED'], from: 13 },
  { name: 'a resourceVersion: what came after it', query: 'resourceVersion=8', types: [], from: 8 },
  {
    name: 'a watch list: the state, then the bookmark that ends it',
    query: 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true',
    types: ['ADDED', 'BOOKMARK'],
    from: 13,
  },
  {
    name: 'a watch list from a resourceVersion too',
    query: 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=8',
    types: ['ADDED', 'BOOKMARK'],
    from: 13,
  },
  { name: 'no state wanted: only what comes', query: 'sendInitialEvents=false&resourceVersionMatch=NotOlderThan', types: [], from: 13 },
]) {
  test(`watch: ${name}`, async () => {
    const watch = rig(query);
    const end = watch.run();
    await settle();
    assert.deepEqual(watch.types(), types);
    assert.equal(watch.seen.from, from);
    watch.gone.abort();
    assert.equal(await end, 'client');
    assert.deepEqual([watch.seen.unsubscribed, watch.clock.waiting], [1, 0]);
  });
}

test('watch: the bookmark that ends the initial events says so', async () => {
  const watch = rig('sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true');
  const end = watch.run();
  await settle();
  assert.deepEqual(watch.lines[1]?.object.metadata, {
    resourceVersion: '13',
    creationTimestamp: null,
    annotations: { 'k8s.io/initial-events-end': 'true' },
  });
  watch.closing.abort();
  await end;
});

test('watch: a bookmark each minute, where the client allows it', async () => {
  const watch = rig('resourceVersion=8&allowWatchBookmarks=true');
  const end = watch.run();
  await watch.clock.advance(3 * 60_000);
  assert.deepEqual(watch.types(), ['BOOKMARK', 'BOOKMARK', 'BOOKMARK']);
  assert.equal(watch.lines[0]?.object.metadata.resourceVersion, '13');
  watch.gone.abort();
  await end;
});

test('watch: ends after the timeout that the client asked for', async () => {
  const watch = rig('resourceVersion=8&timeoutSeconds=7');
  const end = watch.run();
  await watch.clock.advance(6_999);
  assert.equal(watch.seen.ended, false);
  await watch.clock.advance(1);
  assert.equal(await end, 'timeout');
  assert.equal(watch.seen.ended, true);
});

test('watch: ends by itself between one and two times the limit when the client asked for none', async () => {
  const watch = rig('resourceVersion=8');
  const end = watch.run();
  await settle();
  assert.equal(watch.clock.nextInMs, defaultLimits.watchTimeoutMs * 1.5);
  watch.gone.abort();
  await end;
});

test('SEMANTICS 1: a watch older than the hub remembers gets 410 as its only line', async () => {
  const watch = rig('resourceVersion=2');
  watch.hub.expired = true;
  assert.equal(await watch.run(), 'expired');
  assert.deepEqual(watch.types(), ['ERROR']);
  assert.equal(watch.lines[0]?.object.code, 410);
  assert.equal(watch.seen.ended, true);
  assert.equal(watch.clock.waiting, 0);
});

test('watch: history that is lost in the middle ends it with 410', async () => {
  const watch = rig('resourceVersion=8');
  const end = watch.run();
  watch.emit(event('MODIFIED', red, blue));
  watch.expire();
  assert.equal(await end, 'expired');
  assert.deepEqual(watch.types(), ['MODIFIED', 'ERROR']);
});

test('watch: a client that does not read is cut, and what comes after is not kept for it', async () => {
  const watch = rig('resourceVersion=8');
  const end = watch.run();
  watch.seen.reading = false;
  for (let count = 0; count < 100; count++) watch.emit(event('MODIFIED', red, blue));
  assert.equal(await end, 'slow');
  assert.deepEqual([watch.seen.cut, watch.seen.ended, watch.seen.unsubscribed], [true, false, 1]);
  assert.ok(watch.lines.length < 20, `${watch.lines.length} lines were kept`);
});

/** A state of many MiB, told to a client that takes none of it. */
function stalledWatchList() {
  const watch = rig('sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true');
  const note = 'x'.repeat(100_000);
  watch.state.push(...Array.from({ length: 100 }, () => ({ ...blue, metadata: { ...blue.metadata, annotations: { note } } })));
  watch.seen.reading = false;
  watch.seen.stalled = true;
  return watch;
}

test('watch list: of a client that takes nothing the server keeps a MiB, and cuts it after a minute', async () => {
  const watch = stalledWatchList();
  const end = watch.run();
  await watch.clock.advance(watch.limits.maxInitialStallMs - 1);
  assert.ok(watch.lines.length < 15, `${watch.lines.length} of 101 lines were written`);
  assert.equal(watch.seen.cut, false);
  await watch.clock.advance(1);
  assert.equal(await end, 'slow');
  assert.deepEqual([watch.seen.cut, watch.seen.ended, watch.clock.waiting], [true, false, 0]);
  assert.ok(!watch.types().includes('BOOKMARK'));
});

test('watch list: a server that goes down does not wait for it, and does not call half a state whole', async () => {
  const watch = stalledWatchList();
  const end = watch.run();
  await settle();
  watch.closing.abort();
  assert.equal(await end, 'closing');
  assert.deepEqual([watch.seen.ended, watch.clock.waiting], [true, 0]);
  assert.ok(!watch.types().includes('BOOKMARK'));
});

test('watch: what the hub replays does not count against a client that just came back', async () => {
  const watch = rig('resourceVersion=8');
  watch.seen.reading = false;
  watch.hub.replay = Array.from({ length: 50 }, () => event('MODIFIED', red, blue));
  const end = watch.run();
  await settle();
  assert.equal(watch.lines.length, 50);
  assert.equal(watch.seen.cut, false);
  watch.gone.abort();
  await end;
});

test('watch: an event is made into bytes once for all who watch it in the same form', () => {
  const clock = new ManualClock();
  const frames = new EventFrames({ cache: { fragment: () => undefined } as unknown as ClusterCache, clock, limits: defaultLimits });
  const change = event('MODIFIED', red, blue);
  const seen = { type: 'MODIFIED', object: red } as const;
  const table: Representation = { form: 'table', version: 'v1', includeObject: 'Metadata' };
  const first = frames.of(unitKind, change, seen, { form: 'object' }, false);
  assert.equal(frames.of(unitKind, change, seen, { form: 'object' }, false), first);
  assert.notEqual(frames.of(unitKind, change, seen, table, false), first);
  const row = frames.of(unitKind, change, seen, table, false);
  assert.equal(frames.of(unitKind, change, seen, table, false), row);
  clock.advanceSync(1_000);
  assert.notEqual(frames.of(unitKind, change, seen, table, false), row, 'ages moved on');
});

test('watch: lines are kept up to a limit, and then made again for whoever wants them', () => {
  const cache = { fragment: () => undefined } as unknown as ClusterCache;
  const lineOf = (frames: EventFrames, change: ObjectEvent) =>
    frames.of(unitKind, change, { type: 'MODIFIED', object: change.object }, { form: 'object' }, false);
  const [old, middle, young] = [red, red, red].map((object) => event('MODIFIED', object, blue)) as [ObjectEvent, ObjectEvent, ObjectEvent];
  const clock = new ManualClock();
  const { length } = lineOf(new EventFrames({ cache, clock, limits: defaultLimits }), old);
  const frames = new EventFrames({ cache, clock, limits: { maxFrameBytes: 2 * length } });
  const [first, second] = [lineOf(frames, old), lineOf(frames, middle)];
  assert.deepEqual([lineOf(frames, old) === first, lineOf(frames, middle) === second], [true, true]);
  const third = lineOf(frames, young);
  assert.deepEqual([lineOf(frames, middle) === second, lineOf(frames, young) === third], [true, true], 'the younger ones stay');
  const again = lineOf(frames, old);
  assert.deepEqual([again === first, again.equals(first)], [false, true]);
});

test('watch as Table: one row per event, columns with the first event only', async () => {
  const watch = rig('', { form: 'table', version: 'v1', includeObject: 'Metadata' });
  const end = watch.run();
  await settle();
  watch.emit(event('MODIFIED', red, blue));
  assert.deepEqual(
    watch.lines.map(({ object }) => [object.rows?.length, Array.isArray(object.columnDefinitions)]),
    [
      [1, true],
      [1, false],
    ],
  );
  watch.gone.abort();
  await end;
});

test('watch: initial events need resourceVersionMatch, and the answer says which', () =>
  assert.throws(
    () => watchOptions(new URLSearchParams('sendInitialEvents=true')),
    (error) => error instanceof StatusError && error.code === 422 && /resourceVersionMatch=NotOlderThan/.test(error.message),
  ));
