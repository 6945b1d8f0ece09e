import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type Rig, startRig, unitBody, units } from './rig.js';

const path = '/apis/flotilla.dev/v1/apply';
const type = 'application/x-ndjson';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig({
    limits: { maxAppliesInRequest: 40 },
    // Enough rights for the route, not for every object.
    authorize: (_identity, attributes) =>
      'name' in attributes && attributes.name === 'forbidden.service' ? { allowed: false, reason: 'not this one' } : { allowed: true },
  });
});
afterEach(() => rig.close());

const linesOf = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

async function apply(objects: readonly (object | string)[], query = 'fieldManager=me') {
  const body = objects.map((object) => (typeof object === 'string' ? object : JSON.stringify(object))).join('\n');
  const { status, text } = await rig.call('POST', `${path}?${query}`, { body, type });
  assert.equal(status, 200, text);
  return linesOf(text);
}

test('bulk apply: each object as a PATCH of its own would have it', async () => {
  const first = await apply([unitBody('a.service'), unitBody('b.service')]);
  assert.deepEqual(first, [{ effect: 'created' }, { effect: 'created' }]);
  const again = await apply([unitBody('a.service'), unitBody('b.service', { labels: { app: 'b' } }), unitBody('c.service')]);
  assert.deepEqual(again, [{ effect: 'unchanged' }, { effect: 'configured' }, { effect: 'created' }]);

  const { json: inBulk } = await rig.get(`${units}/c.service`);
  const patch = { body: unitBody('d.service'), type: 'application/apply-patch+yaml' };
  const { json: alone } = await rig.call('PATCH', `${units}/d.service?fieldManager=me`, patch);
  const fieldsOf = ({ metadata }: typeof alone) => metadata.managedFields.map(({ time: _, ...entry }: { readonly time: string }) => entry);
  assert.deepEqual(fieldsOf(inBulk), fieldsOf(alone));
  assert.deepEqual(inBulk.spec, alone.spec);
});

test('bulk apply: what is wrong with one object hurts only that one, and the answers come in order', async () => {
  const [broken, none, kindless, unknown, nameless, misspelt, repeated, invalid, forbidden, good] = await apply([
    '{"kind": "Unit", ',
    '',
    '{"apiVersion": "flotilla.dev/v1"}',
    { ...unitBody('x.service'), kind: 'Unti' },
    { ...unitBody('x.service'), metadata: {} },
    { ...unitBody('x.service'), spek: {} },
    '{"apiVersion":"flotilla.dev/v1","kind":"Unit","metadata":{"name":"x.service","name":"x.service"}}',
    unitBody('x.service', { spec: { content: 'nonsense' } }),
    unitBody('forbidden.service'),
    unitBody('good.service'),
  ]);
  const told = (line: { status: { code: number; message: string } }) => `${line.status.code} ${line.status.message}`;
  assert.match(told(broken), /^400 the body is not JSON/);
  assert.match(told(none), /^400 the request has no body/);
  assert.match(told(kindless), /^400 Object 'Kind' is missing/);
  assert.match(told(unknown), /^400 there is no kind "Unti"; did you mean "Unit"\?/);
  assert.match(told(nameless), /^400 metadata\.name is missing/);
  assert.match(told(misspelt), /^400 strict decoding error: unknown field "spek"/);
  assert.match(told(repeated), /^400 strict decoding error: duplicate field "metadata\.name"/);
  assert.match(told(invalid), /^422 Unit\.flotilla\.dev "x\.service" is invalid: spec\.content: /);
  assert.match(told(forbidden), /^403 units\.flotilla\.dev "forbidden\.service" is forbidden: .*not this one/);
  assert.deepEqual(good, { effect: 'created' });
  assert.deepEqual(
    rig.cache.joinedAll('units').map(({ metadata }) => metadata.name),
    ['good.service'],
  );
});

test('bulk apply: query words count for every object', async () => {
  assert.deepEqual(await apply([unitBody('a.service')], 'fieldManager=me&dryRun=All'), [{ effect: 'created' }]);
  assert.equal((await rig.get(`${units}/a.service`)).status, 404);

  await apply([unitBody('a.service', { spec: { desiredState: 'loaded' } })]);
  const other = unitBody('a.service', { spec: { desiredState: 'launched' } });
  const [refused] = await apply([other], 'fieldManager=you');
  assert.deepEqual([refused.status.code, refused.status.details.causes[0].reason], [409, 'FieldManagerConflict']);
  assert.deepEqual(await apply([other], 'fieldManager=you&force=true'), [{ effect: 'configured' }]);

  const [warned] = await apply([{ ...unitBody('b.service'), spek: {} }], 'fieldManager=me&fieldValidation=Warn');
  assert.deepEqual([warned.effect, warned.warnings], ['created', ['unknown field "spek" (did you mean "spec"?)']]);
});

test('bulk apply: an object that comes twice is applied twice, in order', async () => {
  const body = (app: string) => unitBody('a.service', { labels: { app } });
  assert.deepEqual(await apply([body('1'), body('2'), body('2')]), [
    { effect: 'created' },
    { effect: 'configured' },
    { effect: 'unchanged' },
  ]);
});

for (const [name, given, query, code, message] of [
  ['no field manager', { body: '{}', type }, '', 422, /fieldManager: Required value/],
  ['a body that is no list of lines', { body: '{}' }, 'fieldManager=me', 415, /must be application\/x-ndjson, not application\/json/],
  ['too many objects', { body: '{}\n'.repeat(41), type }, 'fieldManager=me', 413, /at most 40 objects, this one has 41/],
] as const) {
  test(`bulk apply: refused as a whole: ${name}`, async () => {
    const { status, json } = await rig.call('POST', `${path}?${query}`, given);
    assert.equal(status, code);
    assert.match(json.message, message);
  });
}

test('bulk apply: nothing to apply is nothing applied', async () => {
  const { status, text } = await rig.call('POST', `${path}?fieldManager=me`, { body: '', type });
  assert.deepEqual([status, text], [200, '']);
});
