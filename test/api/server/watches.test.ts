import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { type Lines, startRig, unitBody, units } from './rig.js';

const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
const merge = 'application/merge-patch+json';
const relabel = (colour: string) => ({ body: { metadata: { labels: { colour } } }, type: merge });

async function withRig(
  run: (rig: Awaited<ReturnType<typeof startRig>>, open: (query: string, accept?: string) => Promise<Lines>) => Promise<void>,
  options = {},
) {
  const rig = await startRig(options);
  const opened: Lines[] = [];
  try {
    await run(rig, async (query, accept) => {
      const lines = await rig.watch(`${units}?watch=true&${query}`, accept ? { accept } : undefined);
      opened.push(lines);
      return lines;
    });
  } finally {
    for (const lines of opened) lines.close();
    await rig.close();
  }
}

test('watch over HTTP: the state, then each change, in order', () =>
  withRig(async (rig, open) => {
    await rig.call('POST', units, { body: unitBody('a.service') });
    const lines = await open('');
    assert.deepEqual([lines.response.statusCode, lines.response.headers['content-type']], [200, 'application/json']);
    assert.deepEqual(await lines.types(1), ['ADDED a.service']);
    await rig.call('POST', units, { body: unitBody('b.service') });
    await rig.call('PATCH', `${units}/a.service`, relabel('blue'));
    await rig.call('DELETE', `${units}/b.service`);
    // A deletion is two changes: the mark, and the end.
    assert.deepEqual(await lines.types(4), ['ADDED b.service', 'MODIFIED a.service', 'MODIFIED b.service', 'DELETED b.service']);
  }));

test('watch over HTTP: the head comes at once, before there is anything to say', () =>
  withRig(async (_rig, open) => {
    const lines = await open('resourceVersion=0');
    assert.equal(lines.response.statusCode, 200);
  }));

test('SEMANTICS 1: list, then watch from its resourceVersion: nothing lost, nothing twice', () =>
  withRig(async (rig, open) => {
    await rig.call('POST', units, { body: unitBody('a.service') });
    const { json } = await rig.get(units);
    await rig.call('POST', units, { body: unitBody('b.service') });
    const lines = await open(`resourceVersion=${json.metadata.resourceVersion}`);
    await rig.call('POST', units, { body: unitBody('c.service') });
    assert.deepEqual(await lines.types(2), ['ADDED b.service', 'ADDED c.service']);
  }));

test("SEMANTICS 1: a watch from an object's own resourceVersion replays that revision", () =>
  withRig(async (rig, open) => {
    const { json } = await rig.call('POST', units, { body: unitBody('a.service') });
    const lines = await open(`resourceVersion=${json.metadata.resourceVersion}`);
    assert.deepEqual(await lines.types(1), ['ADDED a.service']);
  }));

test('SEMANTICS 1: a watch from before the server started is 410 as an ERROR line', () =>
  withRig(async (_rig, open) => {
    const lines = await open('resourceVersion=1');
    const line = await lines.next();
    assert.deepEqual([line.type, line.object.kind, line.object.code, line.object.reason], ['ERROR', 'Status', 410, 'Expired']);
    assert.equal(await lines.next(), undefined);
  }));

test('watch over HTTP: who begins to match is ADDED, who stops is DELETED', () =>
  withRig(async (rig, open) => {
    await rig.call('POST', units, { body: unitBody('a.service', { labels: { colour: 'red' } }) });
    const lines = await open('labelSelector=colour%3Dblue');
    await rig.call('PATCH', `${units}/a.service`, relabel('blue'));
    await rig.call('PATCH', `${units}/a.service`, { body: { metadata: { labels: { more: 'x' } } }, type: merge });
    const red = await rig.call('PATCH', `${units}/a.service`, relabel('red'));
    assert.deepEqual(await lines.types(2), ['ADDED a.service', 'MODIFIED a.service']);
    const last = await lines.next();
    assert.equal(last.type, 'DELETED');
    assert.equal(last.object.metadata.labels.colour, 'blue');
    assert.equal(last.object.metadata.resourceVersion, red.json.metadata.resourceVersion);
  }));

test('watch over HTTP: one object by name, in both spellings', () =>
  withRig(async (rig, open) => {
    const byField = await open('fieldSelector=metadata.name%3Db.service&resourceVersion=0');
    const byPath = await rig.watch(`${units}/b.service?watch=1`);
    await rig.call('POST', units, { body: unitBody('a.service') });
    await rig.call('POST', units, { body: unitBody('b.service') });
    assert.deepEqual(await byField.types(1), ['ADDED b.service']);
    assert.deepEqual(await byPath.types(1), ['ADDED b.service']);
    byPath.close();
  }));

test('watch over HTTP as Table: a row each, columns once', () =>
  withRig(async (rig, open) => {
    await rig.call('POST', units, { body: unitBody('a.service') });
    const lines = await open('', table);
    await rig.call('PATCH', `${units}/a.service`, relabel('blue'));
    const [first, second] = [await lines.next(), await lines.next()];
    assert.deepEqual(
      [first.object.kind, first.object.rows[0].cells[0], Array.isArray(first.object.columnDefinitions)],
      ['Table', 'a.service', true],
    );
    assert.deepEqual([second.type, second.object.rows[0].cells[0], second.object.columnDefinitions], ['MODIFIED', 'a.service', null]);
  }));

test('watch list over HTTP: state, bookmark, changes', () =>
  withRig(async (rig, open) => {
    await rig.call('POST', units, { body: unitBody('a.service') });
    const lines = await open('sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true');
    assert.deepEqual(await lines.types(1), ['ADDED a.service']);
    const bookmark = await lines.next();
    assert.deepEqual([bookmark.type, bookmark.object.metadata.annotations], ['BOOKMARK', { 'k8s.io/initial-events-end': 'true' }]);
    await rig.call('POST', units, { body: unitBody('b.service') });
    assert.deepEqual(await lines.types(1), ['ADDED b.service']);
  }));

test('SEMANTICS 1: bookmarks over HTTP carry the revision, odd, although nothing of the kind changed', () =>
  withRig(
    async (rig, open) => {
      const lines = await open('allowWatchBookmarks=true&resourceVersion=0');
      const bookmark = await lines.next();
      assert.equal(bookmark.type, 'BOOKMARK');
      assert.equal(bookmark.object.metadata.resourceVersion, String(2 * rig.cache.revision + 1));
    },
    { limits: { bookmarkEveryMs: 20 } },
  ));

test('watch over HTTP: timeoutSeconds ends it as a complete answer', () =>
  withRig(async (_rig, open) => {
    const lines = await open('timeoutSeconds=1');
    assert.equal(await lines.next(), undefined);
    assert.equal(lines.response.complete, true);
  }));

test('watch over HTTP: closing the server ends every watch as a complete answer', async () => {
  const rig = await startRig();
  const lines = await rig.watch(`${units}?watch=true`);
  const ended = lines.next();
  await rig.app.fastify.close();
  assert.equal(await ended, undefined);
  assert.equal(lines.response.complete, true);
  await rig.close();
});

test('watch over HTTP: a relist of the cache ends it with 410, so that the client lists again', () =>
  withRig(async (rig, open) => {
    const lines = await open('');
    await rig.loseHistory();
    const line = await lines.next();
    assert.deepEqual([line.type, line.object.code], ['ERROR', 410]);
  }));

test('watch over HTTP: more than the limit is 429 with a time to come back, and a closed one makes room', () =>
  withRig(
    async (rig, open) => {
      const first = await open('');
      await open('');
      const { status, json, headers } = await rig.get(`${units}?watch=true`);
      assert.deepEqual([status, json.reason, headers['retry-after']], [429, 'TooManyRequests', '5']);
      const closed = once(first.response, 'close');
      first.close();
      await closed;
      // The server hears of it a moment later than we do.
      for (let tries = 0; tries < 50; tries++) {
        const again = await rig.send('GET', `${units}?watch=true`);
        const { statusCode } = again;
        again.destroy();
        if (statusCode === 200) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.fail('no place became free');
    },
    { limits: { maxWatchesPerIdentity: 2 } },
  ));

test('watch over HTTP: a client that never reads is cut; others go on', () =>
  withRig(
    async (rig, open) => {
      const slow = await rig.send('GET', `${units}?watch=true`);
      slow.pause();
      const closed = new Promise<void>((resolve) => slow.once('close', resolve));
      slow.on('error', () => {});
      const fast = await open('');
      await rig.call('POST', units, { body: unitBody('a.service') });
      assert.deepEqual(await fast.types(1), ['ADDED a.service']);
      let ended = false;
      void rig.metrics;
      const pad = 'x'.repeat(60_000);
      for (let count = 0; count < 400 && !ended; count++) {
        await rig.call('PATCH', `${units}/a.service`, { body: { metadata: { annotations: { pad: `${pad}${count}` } } }, type: merge });
        assert.deepEqual(await fast.types(1), ['MODIFIED a.service']);
        ended = (await rig.metrics.render()).includes('flotilla_api_watches_ended_total{resource="units",reason="slow"} 1');
      }
      assert.ok(ended, 'the slow watch was cut');
      slow.destroy();
      await closed;
    },
    { limits: { maxWatchBacklogBytes: 100_000 } },
  ));
