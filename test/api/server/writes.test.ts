import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type Rig, startRig, unitBody, units } from './rig.js';

const merge = 'application/merge-patch+json';
const apply = 'application/apply-patch+yaml';
const a = `${units}/a.service`;

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

const create = (name = 'a.service', more = {}) => rig.call('POST', units, { body: unitBody(name, more) });
// biome-ignore lint/suspicious/noExplicitAny: what a test reads out of an answer is what it asserts.
const managersOf = (object: any): string[] => object.metadata.managedFields.map(({ manager }: { manager: string }) => manager);

test('create: 201 and the object as it is now', async () => {
  const { status, json } = await create();
  assert.deepEqual([status, json.kind, json.metadata.generation, json.spec.desiredState], [201, 'Unit', 1, 'launched']);
  assert.deepEqual((await rig.get(a)).json, json);
});

test('create from YAML', async () => {
  const body =
    'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: a.service}\nspec:\n  content: |\n    [Service]\n    ExecStart=/bin/true\n';
  const { status, json } = await rig.call('POST', units, { body, type: 'application/yaml' });
  assert.deepEqual([status, json.spec.content], [201, '[Service]\nExecStart=/bin/true\n']);
});

test('create with generateName', async () => {
  const { metadata: _, ...rest } = unitBody('');
  const { status, json } = await rig.call('POST', units, { body: { ...rest, metadata: { generateName: 'job-.service' } } });
  assert.equal(status, 201, json.message);
  assert.match(json.metadata.name, /^job-.+\.service$/);
});

test('what was answered is read at once, before the watch could have brought it by chance', async () => {
  for (let count = 0; count < 20; count++) {
    const { status } = await create(`u${count}.service`);
    assert.equal(status, 201);
    assert.equal((await rig.get(`${units}/u${count}.service`)).status, 200);
  }
});

test('update: with the version it was read at, it succeeds', async () => {
  const { json } = await create();
  const { status, json: updated } = await rig.call('PUT', a, { body: { ...json, spec: { ...json.spec, desiredState: 'loaded' } } });
  assert.deepEqual([status, updated.spec.desiredState, updated.metadata.generation], [200, 'loaded', 2]);
});

for (const [name, type, body] of [
  ['merge patch', merge, { spec: { desiredState: 'loaded' } }],
  [
    'strategic merge patch, as kubectl patch sends by default',
    'application/strategic-merge-patch+json',
    { spec: { desiredState: 'loaded' } },
  ],
  ['JSON patch', 'application/json-patch+json', [{ op: 'replace', path: '/spec/desiredState', value: 'loaded' }]],
] as const) {
  test(`${name}: changes what it names and nothing else`, async () => {
    const { json } = await create('a.service', { labels: { app: 'x' } });
    const { status, json: patched, headers } = await rig.call('PATCH', a, { body, type });
    assert.equal(status, 200, patched.message);
    assert.deepEqual(
      [patched.spec.desiredState, patched.spec.content, patched.metadata.labels],
      ['loaded', json.spec.content, { app: 'x' }],
    );
    assert.match(String(headers['accept-patch']), /json-patch/);
  });
}

test('server-side apply: 201 when it makes the object, 200 after, and the same again makes no revision', async () => {
  const send = () => rig.call('PATCH', `${a}?fieldManager=kubectl`, { body: unitBody('a.service'), type: apply });
  const [first, second] = [await send(), await send()];
  assert.deepEqual([first.status, second.status], [201, 200]);
  assert.equal(second.json.metadata.resourceVersion, first.json.metadata.resourceVersion);
});

test('server-side apply from real YAML', async () => {
  const body =
    '# a comment\napiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: a.service}\nspec: {content: "[Service]\\nExecStart=/bin/true\\n"}\n';
  const { status } = await rig.call('PATCH', `${a}?fieldManager=ci`, { body, type: apply });
  assert.equal(status, 201);
});

test('server-side apply: a conflict names the other manager and the field; force takes it over', async () => {
  const as = (manager: string, desiredState: string, force = '') =>
    rig.call('PATCH', `${a}?fieldManager=${manager}${force}`, { body: unitBody('a.service', { spec: { desiredState } }), type: apply });
  await as('bob', 'launched');
  const { status, json } = await as('eve', 'loaded');
  assert.deepEqual([status, json.reason], [409, 'Conflict']);
  assert.match(json.message, /conflict with "bob": \.spec\.desiredState/);
  assert.equal(json.details.causes[0].reason, 'FieldManagerConflict');
  assert.equal((await as('eve', 'loaded', '&force=true')).json.spec.desiredState, 'loaded');
});

for (const [userAgent, manager] of [
  ['kubectl/v1.32.0 (linux/amd64)', 'kubectl'],
  ['flotilla', 'flotilla'],
  ['', 'unknown'],
] as const) {
  test(`the field manager of ${userAgent || 'nobody'} is ${manager}`, async () => {
    const { json } = await rig.call('POST', units, { body: unitBody('a.service'), headers: { 'user-agent': userAgent } });
    assert.deepEqual(managersOf(json), [manager]);
  });
}

test('the field manager of the query goes before the User-Agent', async () => {
  const { json } = await rig.call('POST', `${units}?fieldManager=me`, {
    body: unitBody('a.service'),
    headers: { 'user-agent': 'kubectl/v1' },
  });
  assert.deepEqual(managersOf(json), ['me']);
});

test('dryRun=All: answers as if, with no resourceVersion, and stores nothing', async () => {
  const { status, json } = await rig.call('POST', `${units}?dryRun=All`, { body: unitBody('a.service') });
  assert.deepEqual([status, json.metadata.name, json.metadata.resourceVersion ?? ''], [201, 'a.service', '']);
  assert.equal((await rig.get(a)).status, 404);
});

test('dryRun of a DELETE may stand in its body', async () => {
  await create();
  assert.equal((await rig.call('DELETE', a, { body: { dryRun: ['All'] } })).status, 200);
  assert.equal((await rig.get(a)).json.metadata.deletionTimestamp, undefined);
});

test('fieldValidation=Warn: the unknown field is dropped, and a Warning header says so', async () => {
  const { status, headers, json } = await rig.call('POST', `${units}?fieldValidation=Warn`, {
    body: unitBody('a.service', { spec: { desiredSate: 'launched' } }),
  });
  assert.equal(status, 201, json.message);
  assert.match(String(headers.warning), /^299 - ".*desiredSate.*"$/);
});

test('what is accepted and probably not meant is told with the write that brings it, and not again', async () => {
  const body = unitBody('a.service', { spec: { content: '[Service]\nExecStart=/bin/true\nRestrat=always\n' } });
  const write = () => rig.call('PATCH', `${a}?fieldManager=t`, { body, type: apply });
  const { status, headers } = await write();
  assert.equal(status, 201);
  assert.match(String(headers.warning), /^299 - "spec\.content: line 3: .*\\"Restrat\\".*did you mean \\"Restart\\"\?"$/);
  assert.equal((await write()).headers.warning, undefined);
});

const unknownField = { spec: { desiredSate: 'launched' } };
const patchTypes = [
  ['a create', 'POST', units, unitBody('b.service', unknownField), 'application/json'],
  ['a replace', 'PUT', a, unitBody('a.service', unknownField), 'application/json'],
  ['a merge patch', 'PATCH', a, unknownField, 'application/merge-patch+json'],
  ['a JSON patch', 'PATCH', a, [{ op: 'add', path: '/spec/desiredSate', value: 'x' }], 'application/json-patch+json'],
  ['an apply', 'PATCH', `${a}?fieldManager=t`, unitBody('a.service', unknownField), apply],
] as const;
for (const [what, method, path, body, type] of patchTypes) {
  test(`fieldValidation: an unknown field in ${what} is dropped with Ignore, dropped and told with Warn, and refused with Strict`, async () => {
    await create();
    const as = (fieldValidation: string) =>
      rig.call(method, `${path}${path.includes('?') ? '&' : '?'}dryRun=All&fieldValidation=${fieldValidation}`, { body, type });
    for (const quiet of ['Ignore', 'Warn']) {
      const { status, headers, json } = await as(quiet);
      assert.ok(status === 200 || status === 201, json.message);
      assert.equal(json.spec.desiredSate, undefined);
      if (quiet === 'Warn') assert.match(String(headers.warning), /^299 - "unknown field \\"spec\.desiredSate\\"/);
      else assert.equal(headers.warning, undefined);
    }
    assert.ok((await as('Strict')).status >= 400);
  });
}

test('fieldValidation=Warn: of a field given twice the last one counts, and a Warning header says so; with Ignore nothing does', async () => {
  await create();
  const body = '{"spec":{"desiredState":"loaded","desiredState":"inactive"}}';
  const as = (fieldValidation: string) =>
    rig.call('PATCH', `${a}?fieldValidation=${fieldValidation}`, { body, type: 'application/merge-patch+json' });
  const warned = await as('Warn');
  assert.deepEqual([warned.status, warned.json.spec.desiredState], [200, 'inactive']);
  assert.match(String(warned.headers.warning), /^299 - "duplicate field \\"spec\.desiredState\\""$/);
  const ignored = await as('Ignore');
  assert.deepEqual([ignored.status, ignored.headers.warning], [200, undefined]);
});

test('a write may be answered as a Table', async () => {
  const { json } = await rig.call('POST', units, {
    body: unitBody('a.service'),
    headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
  });
  assert.deepEqual([json.kind, json.rows[0].cells[0]], ['Table', 'a.service']);
});

test('delete: nothing waited for: a Status of success that names what is gone', async () => {
  const { json: made } = await create();
  const { status, json } = await rig.call('DELETE', a, { body: { propagationPolicy: 'Background' } });
  assert.deepEqual([status, json.kind, json.status], [200, 'Status', 'Success']);
  assert.deepEqual(json.details, { name: 'a.service', group: 'flotilla.dev', kind: 'units', uid: made.metadata.uid });
  assert.equal((await rig.get(a)).status, 404);
});

test('delete: something waited for: the object, marked; the last finalizer removed ends it', async () => {
  await rig.call('POST', units, { body: { ...unitBody('a.service'), metadata: { name: 'a.service', finalizers: ['example.org/hold'] } } });
  const { status, json } = await rig.call('DELETE', a);
  assert.deepEqual([status, json.kind, typeof json.metadata.deletionTimestamp], [200, 'Unit', 'string']);
  await rig.call('PATCH', a, { body: { metadata: { finalizers: null } }, type: merge });
  assert.equal((await rig.get(a)).status, 404);
});

test('SEMANTICS 8: delete with no grace, as kubectl --force says it, is recorded for the leader', async () => {
  await rig.call('POST', units, { body: { ...unitBody('a.service'), metadata: { name: 'a.service', finalizers: ['example.org/hold'] } } });
  const { json } = await rig.call('DELETE', a, { body: { gracePeriodSeconds: 0 } });
  assert.equal(json.metadata.deletionGracePeriodSeconds, 0);
});

test('delete: preconditions that hold', async () => {
  const { json } = await create();
  const { uid, resourceVersion } = json.metadata;
  assert.equal((await rig.call('DELETE', a, { body: { preconditions: { uid, resourceVersion } } })).status, 200);
});
