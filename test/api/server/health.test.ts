import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Health } from '../../../api/server/health.js';
import type { HealthCheck } from '../../../api/server/ports.js';
import { ManualClock } from '../../rigs/manual-clock.js';
import { anonymous, startRig, unitBody, units } from './rig.js';

const check = (name: string, gates: HealthCheck['gates'], ok: boolean, message = 'because'): HealthCheck => ({
  name,
  gates,
  check: async () => ({ ok, message }),
});

async function withRig(options: Parameters<typeof startRig>[0], run: (rig: Awaited<ReturnType<typeof startRig>>) => Promise<void>) {
  const rig = await startRig(options);
  try {
    await run(rig);
  } finally {
    await rig.close();
  }
}

test('SEMANTICS 25: /readyz?verbose shows the members of etcd and their health, the cache and its revision', () =>
  withRig({}, async (rig) => {
    const { status, text } = await rig.get('/readyz?verbose');
    assert.equal(status, 200);
    assert.match(text, /^\[\+\]etcd ok: 1 of 1 members healthy \(\S+ leads\)$/m);
    assert.match(text, new RegExp(`^\\[\\+\\]cache ok: holds revision ${rig.cache.revision}$`, 'm'));
    assert.match(text, /^\[\+\]agents ok: 0 machines present$/m);
    assert.match(text, /^\[-\]leader failed: no server leads the controllers$/m);
    assert.match(text, /readyz check passed\n$/);
  }));

test('etcd away: not ready, still alive', () =>
  withRig({ limits: { healthCacheMs: 0, healthTimeoutMs: 200 } }, async (rig) => {
    rig.store.faults.unavailable = true;
    const ready = await rig.get('/readyz');
    assert.equal(ready.status, 500);
    assert.match(ready.text, /^\[-\]etcd failed: /m);
    assert.equal((await rig.get('/livez')).status, 200);
    assert.equal((await rig.get('/healthz')).status, 500);
    rig.who.identity = anonymous;
    assert.equal((await rig.get('/readyz?verbose')).text, 'readyz check failed\n');
  }));

for (const { gates, livez, readyz } of [
  { gates: 'live', livez: 500, readyz: 500 },
  { gates: 'ready', livez: 200, readyz: 500 },
  { gates: 'info', livez: 200, readyz: 200 },
] as const) {
  test(`a check that gates '${gates}' fails: livez ${livez}, readyz ${readyz}`, () =>
    withRig({ healthChecks: [check('disk', gates, false)] }, async (rig) => {
      assert.equal((await rig.get('/livez')).status, livez);
      assert.equal((await rig.get('/readyz')).status, readyz);
      const one = await rig.get('/readyz/disk?verbose');
      assert.deepEqual([one.status, one.text.split('\n')[0]], [500, '[-]disk failed: because']);
    }));
}

test('HEAD, as cluster caches probe', () =>
  withRig({}, async (rig) =>
    assert.deepEqual([(await rig.call('HEAD', '/livez/ping')).status, (await rig.call('HEAD', '/livez')).text], [200, '']),
  ));

test('health: however many ask, each check runs once at a time and once in a while', async () => {
  const clock = new ManualClock();
  let runs = 0;
  const counted: HealthCheck = { name: 'counted', gates: 'ready', check: async () => ({ ok: ++runs > 0, message: '' }) };
  const health = new Health([counted], clock, { healthTimeoutMs: 100, healthCacheMs: 1_000 });
  await Promise.all(Array.from({ length: 50 }, () => health.results([counted])));
  assert.equal(runs, 1);
  clock.advanceSync(1_000);
  await health.results([counted]);
  assert.equal(runs, 2);
});

test('health: a check that never answers has failed, and is told to stop', async () => {
  const clock = new ManualClock();
  let stopped = false;
  const stuck: HealthCheck = {
    name: 'stuck',
    gates: 'ready',
    check: (signal) =>
      new Promise(() =>
        signal.addEventListener('abort', () => {
          stopped = true;
        }),
      ),
  };
  const health = new Health([stuck], clock, { healthTimeoutMs: 100, healthCacheMs: 1_000 });
  const results = health.results([stuck]);
  await clock.advance(100);
  assert.deepEqual(
    (await results).map(({ ok, message }) => [ok, message]),
    [[false, 'no answer within 100 ms']],
  );
  assert.equal(stopped, true);
  assert.equal(clock.waiting, 0);
});

test('health: a check that throws has failed, in its own words', async () => {
  const broken: HealthCheck = { name: 'broken', gates: 'ready', check: () => Promise.reject(new Error('no such device')) };
  const health = new Health([broken], new ManualClock(), { healthTimeoutMs: 100, healthCacheMs: 0 });
  assert.deepEqual(
    (await health.results([broken])).map(({ ok, message }) => [ok, message]),
    [[false, 'no such device']],
  );
});

const components = '/apis/flotilla.dev/v1/components';

test('SEMANTICS 25: components lists members of etcd with health, servers and who leads', () =>
  withRig({}, async (rig) => {
    await rig.store.commit({
      compares: [{ key: rig.keys.leader, modRevision: 0 }],
      operations: [{ do: 'put', key: rig.keys.leader, value: JSON.stringify({ server: 'beta' }) }],
    });
    const { json } = await rig.get(components);
    const seen = json.items.map(({ metadata, status }: { metadata: { name: string }; status: { healthy: boolean; leader: boolean } }) => [
      metadata.name.replace(/^etcd-.*/, 'etcd'),
      status.healthy,
      status.leader,
    ]);
    assert.deepEqual(seen, [
      ['etcd', true, true],
      ['server-alpha', true, false],
      // It leads, and yet is not on the list of servers: it must have died a moment ago.
      ['server-beta', false, true],
    ]);
    assert.match((await rig.get('/readyz?verbose')).text, /^\[\+\]leader ok: beta leads the controllers$/m);
  }));

test('components: as a Table, one by name, by selector', () =>
  withRig({}, async (rig) => {
    const table = await rig.get(components, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
    assert.deepEqual(table.json.columnDefinitions.map(({ name }: { name: string }) => name).slice(0, 4), [
      'Name',
      'Type',
      'Healthy',
      'Leader',
    ]);
    assert.equal((await rig.get(`${components}/server-alpha`)).json.status.type, 'server');
    assert.equal((await rig.get(`${components}?fieldSelector=metadata.name%3Dserver-alpha`)).json.items.length, 1);
  }));

test('metrics: requests by verb, resource and code, whatever a client asks for', () =>
  withRig({}, async (rig) => {
    await rig.call('POST', units, { body: unitBody('a.service') });
    await rig.get(units);
    await rig.get(`${units}/nope.service`);
    await rig.get('/no/such/path');
    const { text, headers } = await rig.get('/metrics');
    assert.match(String(headers['content-type']), /^text\/plain/);
    for (const labels of [
      'verb="create",resource="units",code="201"',
      'verb="list",resource="units",code="200"',
      'verb="get",resource="units",code="404"',
      'verb="other",resource="other",code="404"',
    ]) {
      assert.match(text, new RegExp(`^flotilla_api_request_duration_seconds_count\\{${labels}\\} 1$`, 'm'));
    }
    assert.doesNotMatch(text, /nope|such/);
    assert.match(text, /^flotilla_api_inflight_requests\{kind="readonly"\} 1$/m);
    assert.match(text, /^flotilla_api_response_size_bytes_count\{verb="list",resource="units"\} 1$/m);
  }));

test('metrics: open watches are counted, not timed', () =>
  withRig({}, async (rig) => {
    const lines = await rig.watch(`${units}?watch=true`);
    assert.match((await rig.get('/metrics')).text, /^flotilla_api_watches\{resource="units"\} 1$/m);
    assert.doesNotMatch((await rig.get('/metrics')).text, /verb="watch"/);
    lines.close();
  }));
