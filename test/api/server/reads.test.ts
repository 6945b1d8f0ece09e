import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Rig, startRig, unitBody, units } from './rig.js';

const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
const partialList = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io';

let rig: Rig;
before(async () => {
  rig = await startRig({ limits: { freshnessTimeoutMs: 50, maxSnapshots: 2 } });
  for (const [name, colour] of [
    ['a.service', 'blue'],
    ['b@1.service', 'red'],
    ['dev-disk\\x2dlabel.mount', 'blue'],
    ['d.timer', 'red'],
  ] as const) {
    const content = name.endsWith('.mount')
      ? '[Mount]\nWhat=/dev/disk\nWhere=/dev/disk-label\n'
      : name.endsWith('.timer')
        ? '[Timer]\nOnBootSec=1h\n'
        : '[Service]\nExecStart=/bin/true\n';
    const answer = await rig.call('POST', units, { body: unitBody(name, { labels: { colour }, spec: { content } }) });
    assert.equal(answer.status, 201, answer.text);
  }
});
after(() => rig.close());

const names = (answer: { json: { items: { metadata: { name: string } }[] } }) => answer.json.items.map(({ metadata }) => metadata.name);
const all = ['a.service', 'b@1.service', 'd.timer', 'dev-disk\\x2dlabel.mount'];

test('get: an object as JSON, with its own apiVersion and kind', async () => {
  const { status, headers, json } = await rig.get(`${units}/a.service`);
  assert.deepEqual([status, headers['content-type'], json.apiVersion, json.kind], [200, 'application/json', 'flotilla.dev/v1', 'Unit']);
  assert.match(json.metadata.resourceVersion, /^\d*[02468]$/);
});

for (const name of all) {
  test(`get: the name ${name} as a client writes it into a URL`, async () => {
    const { json } = await rig.get(`${units}/${encodeURIComponent(name)}`);
    assert.equal(json.metadata.name, name);
  });
}

test('list: sorted by name, every item whole, the version odd', async () => {
  const answer = await rig.get(units);
  assert.deepEqual(names(answer), all);
  assert.deepEqual([answer.json.kind, answer.json.apiVersion], ['UnitList', 'flotilla.dev/v1']);
  assert.match(answer.json.metadata.resourceVersion, /^\d*[13579]$/);
  for (const item of answer.json.items) assert.deepEqual([item.kind, item.apiVersion], ['Unit', 'flotilla.dev/v1']);
});

test('list: a kind of which there is nothing is an empty list', async () => {
  const { status, json } = await rig.get('/apis/flotilla.dev/v1/machines');
  assert.deepEqual([status, json.kind, json.items], [200, 'MachineList', []]);
});

for (const [query, expected] of [
  ['labelSelector=colour%3Dblue', ['a.service', 'dev-disk\\x2dlabel.mount']],
  ['labelSelector=colour+notin+(blue)', ['b@1.service', 'd.timer']],
  ['labelSelector=!colour', []],
  ['fieldSelector=metadata.name%3Db@1.service', ['b@1.service']],
  ['fieldSelector=metadata.name%3Ddev-disk%5C%5Cx2dlabel.mount', ['dev-disk\\x2dlabel.mount']],
  ['fieldSelector=metadata.name!%3Da.service&labelSelector=colour%3Dblue', ['dev-disk\\x2dlabel.mount']],
] as const) {
  test(`list: ${decodeURIComponent(query)} selects ${expected.join(' ') || 'nothing'}`, async () => {
    assert.deepEqual(names(await rig.get(`${units}?${query}`)), expected);
  });
}

test('list: pages come from one snapshot, whatever is written between them', async () => {
  const first = await rig.get(`${units}?limit=2`);
  assert.deepEqual([names(first), first.json.metadata.remainingItemCount], [['a.service', 'b@1.service'], 2]);
  const late = await rig.call('POST', units, { body: unitBody('c.service') });
  assert.equal(late.status, 201);
  const rest = await rig.get(`${units}?limit=2&continue=${first.json.metadata.continue}`);
  assert.deepEqual(names(rest), ['d.timer', 'dev-disk\\x2dlabel.mount']);
  assert.equal(rest.json.metadata.resourceVersion, first.json.metadata.resourceVersion);
  assert.equal(rest.json.metadata.continue, undefined);
  assert.equal((await rig.call('DELETE', `${units}/c.service`)).status, 200);
});

test('list: a page of a snapshot that is not kept any more is made anew from the history of changes', async () => {
  const first = await rig.get(`${units}?limit=1`);
  for (const name of ['x.service', 'y.service', 'z.service']) {
    await rig.call('POST', units, { body: unitBody(name) });
    await rig.get(`${units}?limit=1`);
  }
  const rest = await rig.get(`${units}?continue=${first.json.metadata.continue}`);
  assert.deepEqual(names(rest), all.slice(1));
  for (const name of ['x.service', 'y.service', 'z.service']) await rig.call('DELETE', `${units}/${name}`);
  assert.deepEqual(names(await rig.get(units)), all);
});

test('SEMANTICS 1: a read at a resourceVersion that this server never saw waits, then says so as Kubernetes does', async () => {
  const { status, json, headers } = await rig.get(`${units}?resourceVersion=${2 * rig.cache.revision + 200}`);
  assert.deepEqual([status, json.reason, json.details.causes[0].reason], [504, 'Timeout', 'ResourceVersionTooLarge']);
  assert.equal(headers['retry-after'], '1');
});

test('list: resourceVersionMatch=Exact answers with what was then', async () => {
  const then = (await rig.get(units)).json.metadata.resourceVersion;
  await rig.call('POST', units, { body: unitBody('x.service') });
  const { json } = await rig.get(`${units}?resourceVersion=${then}&resourceVersionMatch=Exact`);
  assert.deepEqual(
    json.items.map(({ metadata }: { metadata: { name: string } }) => metadata.name),
    all,
  );
  assert.equal(json.metadata.resourceVersion, then);
  await rig.call('DELETE', `${units}/x.service`);
});

test('list as Table: columns, cells, and for each row the metadata without managedFields', async () => {
  const { json } = await rig.get(`${units}?limit=1`, { accept: table });
  assert.deepEqual([json.kind, json.apiVersion, json.rows.length], ['Table', 'meta.k8s.io/v1', 1]);
  assert.deepEqual([json.columnDefinitions[0].name, json.columnDefinitions[0].format], ['Name', 'name']);
  const [row] = json.rows;
  assert.equal(row.cells.length, json.columnDefinitions.length);
  assert.equal(row.cells[0], 'a.service');
  assert.deepEqual(
    [row.object.kind, row.object.metadata.labels, row.object.metadata.managedFields],
    ['PartialObjectMetadata', { colour: 'blue' }, undefined],
  );
  assert.ok(json.metadata.continue);
});

for (const [include, kind] of [
  ['Object', 'Unit'],
  ['Metadata', 'PartialObjectMetadata'],
  ['None', undefined],
] as const) {
  test(`get as Table: includeObject=${include}`, async () => {
    const { json } = await rig.get(`${units}/a.service?includeObject=${include}`, { accept: table });
    assert.equal(json.rows[0].object?.kind, kind);
  });
}

test('list as PartialObjectMetadata: metadata whole, nothing else', async () => {
  const { json } = await rig.get(units, { accept: partialList });
  assert.equal(json.kind, 'PartialObjectMetadataList');
  assert.deepEqual(Object.keys(json.items[0]).sort(), ['apiVersion', 'kind', 'metadata']);
  assert.ok(json.items[0].metadata.managedFields.length > 0);
});

test('status can be read like the object', async () => {
  const { status, json } = await rig.get(`${units}/a.service/status`);
  assert.deepEqual([status, json.kind], [200, 'Unit']);
});

test('events: with and without a namespace, and by what describe asks for', async () => {
  const query = 'fieldSelector=involvedObject.name%3Da.service%2CinvolvedObject.namespace%3D%2CinvolvedObject.kind%3DUnit&limit=500';
  for (const path of ['/api/v1/events', '/api/v1/namespaces/default/events']) {
    const { status, json } = await rig.get(`${path}?${query}`);
    assert.deepEqual([status, json.kind, json.apiVersion], [200, 'EventList', 'v1'], path);
  }
});

test('a long list is written in pieces and arrives whole', async () => {
  const big = await startRig();
  const pad = '#'.repeat(8_000);
  const count = 100;
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const content = `[Service]\n${pad}\nExecStart=/bin/true\n`;
      const { status } = await big.call('POST', units, { body: unitBody(`u${index}.service`, { spec: { content } }) });
      assert.equal(status, 201);
    }),
  );
  const { json, headers } = await big.get(units);
  assert.equal(json.items.length, count);
  assert.equal(headers['transfer-encoding'], 'chunked');
  await big.close();
});

const unwarned = ({ headers }: { headers: Record<string, unknown> }) => assert.equal(headers.warning, undefined);

test('etcd away: reads go on with what the cache holds, and say so; who asks for any version hears nothing of it', async () => {
  const cut = await startRig();
  await cut.call('POST', units, { body: unitBody('a.service') });
  unwarned(await cut.get(units));
  cut.store.faults.unavailable = true;
  for (const path of [units, `${units}/a.service`, `${units}?limit=1`]) {
    const answer = await cut.get(path);
    assert.equal(answer.status, 200);
    assert.match(
      String(answer.headers.warning),
      /^299 - "etcd does not answer: this is what the server knew at resourceVersion \d+, and may/,
    );
  }
  const watch = await cut.watch(`${units}?watch=true`);
  assert.match(String(watch.response.headers.warning), /etcd does not answer/);
  watch.close();
  unwarned(await cut.get(`${units}?resourceVersion=0`));
  cut.store.faults.unavailable = false;
  unwarned(await cut.get(units));
  await cut.close();
});

test('etcd silent: a read waits for it within its limit, and the next one hardly at all', async () => {
  const frozen = await startRig({ limits: { consistentReadMs: 50, consistentReadAwayMs: 1 } });
  await frozen.call('POST', units, { body: unitBody('a.service') });
  frozen.store.faults.frozen = true;
  for (let time = 0; time < 3; time++) assert.match(String((await frozen.get(units)).headers.warning), /etcd does not answer/);
  frozen.store.faults.frozen = false;
  await frozen.close();
});

test('a read after a write through another server sees it, also when that server hears of changes late', async () => {
  const one = await startRig();
  const store = one.store.peer();
  const other = await startRig({}, store);
  await one.call('POST', units, { body: unitBody('a.service') });
  assert.equal((await other.get(`${units}/a.service`)).status, 200);

  store.faults.watchesCut = true;
  await one.call('PATCH', `${units}/a.service`, { type: 'application/merge-patch+json', body: { metadata: { labels: { step: 'two' } } } });
  const stale = await other.get(`${units}/a.service?resourceVersion=0`);
  assert.equal(stale.json.metadata.labels?.step, undefined, 'any version will do: it is not waited for');
  const reads = [other.get(`${units}/a.service`), other.get(units), other.get(`${units}?labelSelector=step%3Dtwo`)];
  setTimeout(() => {
    store.faults.watchesCut = false;
  }, 100);
  const [read, list, selected] = await Promise.all(reads);
  assert.equal(read!.json.metadata.labels.step, 'two');
  assert.equal(list!.json.items[0].metadata.labels.step, 'two');
  assert.deepEqual(names(selected!), ['a.service']);
  for (const answer of [read!, list!, selected!]) unwarned(answer);
  await Promise.all([other.close(), one.close()]);
});

test('a list begun at one server goes on at another, as it was: what changed meanwhile is not in it', async () => {
  const one = await startRig();
  const other = await startRig({}, one.store.peer());
  for (const name of ['a.service', 'b.service', 'c.service', 'd.service']) await one.call('POST', units, { body: unitBody(name) });
  const first = await one.get(`${units}?limit=2`);
  const token = encodeURIComponent(first.json.metadata.continue);
  await one.call('DELETE', `${units}/c.service`);
  await one.call('POST', units, { body: unitBody('ba.service') });
  const labels = { metadata: { labels: { late: 'yes' } } };
  await one.call('PATCH', `${units}/d.service`, { type: 'application/merge-patch+json', body: labels });
  const rest = await other.get(`${units}?limit=2&continue=${token}`);
  assert.equal(rest.status, 200, rest.text);
  assert.deepEqual(names(rest), ['c.service', 'd.service']);
  assert.equal(rest.json.items[1].metadata.labels, undefined);
  assert.deepEqual([rest.json.metadata.resourceVersion, rest.json.metadata.continue], [first.json.metadata.resourceVersion, undefined]);
  await Promise.all([other.close(), one.close()]);
});

test('a continue token that is too old comes with one for the rest as it is now', async () => {
  const one = await startRig();
  for (const name of ['a.service', 'b.service', 'd.service']) await one.call('POST', units, { body: unitBody(name) });
  const { metadata } = (await one.get(`${units}?limit=1`)).json;
  await one.call('POST', units, { body: unitBody('c.service') });
  const late = await startRig({}, one.store.peer());
  const expired = await late.get(`${units}?limit=1&continue=${encodeURIComponent(metadata.continue)}`);
  assert.deepEqual([expired.status, expired.json.reason], [410, 'Expired']);

  const names: string[] = [];
  for (let token = expired.json.metadata.continue; token !== undefined; ) {
    const { status, json } = await late.get(`${units}?limit=1&continue=${encodeURIComponent(token)}`);
    assert.equal(status, 200, json.message);
    names.push(...json.items.map(({ metadata: { name } }: { metadata: { name: string } }) => name));
    token = json.metadata.continue;
  }
  assert.deepEqual(names, ['b.service', 'c.service', 'd.service']);
  await Promise.all([late.close(), one.close()]);
});

test('what was before this server knew anything is 410: a continue token, and an exact version', async () => {
  const one = await startRig();
  for (const name of ['a.service', 'b.service']) await one.call('POST', units, { body: unitBody(name) });
  const { metadata } = (await one.get(`${units}?limit=1`)).json;
  await one.call('DELETE', `${units}/a.service`);
  const late = await startRig({}, one.store.peer());
  const exact = `resourceVersion=${metadata.resourceVersion}&resourceVersionMatch=Exact`;
  for (const query of [`limit=1&continue=${encodeURIComponent(metadata.continue)}`, exact]) {
    const { status, json } = await late.get(`${units}?${query}`);
    assert.deepEqual([status, json.reason], [410, 'Expired']);
  }
  await Promise.all([late.close(), one.close()]);
});
