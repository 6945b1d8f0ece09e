/** Secrets through the door: nothing that is stored, answered, watched or refused shows a value, and masks that come back change nothing. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { lastAppliedAnnotation } from '../../../api/objects/ownership/last-applied.js';
import { SecretBox } from '../../../api/objects/secret-box.js';
import { openSecrets } from '../../../api/objects/secrets.js';
import type { Secret } from '../../../api/resources/secret.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { as, keys, openServer, refused } from './door-rig.js';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const secret = (fields: object, metadata: object = {}): Secret => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Secret',
  metadata: { name: 'db', ...metadata },
  ...fields,
});
const mask = /^<redacted [0-9a-f]{16}>$/;
/** The value as it is, and in any of base64's three alignments. */
const shows = (text: string, value: string) => text.includes(value) || text.includes(base64(value).slice(0, 8));

async function open(t: TestContext) {
  const box = new SecretBox([randomBytes(32)]);
  const server = await openServer(t, new MemoryStore(), box);
  const read = openSecrets(server.cache, box);
  const valuesOf = async (name = 'db') =>
    Object.fromEntries([...((await read(name)) ?? [])].map(([key, value]) => [key, value.toString()]));
  const stored = async () => (await server.store.get(keys.object('secrets', 'db'))).entry?.value ?? '';
  const apply = (fields: object, manager = 'me', force = false) =>
    server.door.apply('secrets', 'db', secret(fields), as(manager, { force }));
  return { ...server, valuesOf, stored, apply, shown: () => server.cache.joined('secrets', 'db') as unknown as Secret };
}

test('a value is stored sealed, shown masked, and read by whoever is meant to', async (t) => {
  const { door, valuesOf, stored, shown } = await open(t);
  const fields = { data: { password: base64('hunter2-password') }, stringData: { user: 'ada-lovelace' } };
  const { object } = await door.create('secrets', secret(fields), as('me'));
  for (const seen of [object as unknown as Secret, shown()]) {
    assert.match(seen.data?.password ?? '', mask);
    assert.match(seen.data?.user ?? '', mask);
    assert.equal(seen.stringData, undefined);
  }
  for (const value of ['hunter2-password', 'ada-lovelace']) assert.equal(shows(await stored(), value), false);
  assert.deepEqual(await valuesOf(), { password: 'hunter2-password', user: 'ada-lovelace' });
});

test('the same value applied again is no change; another one is, and shows as another mask', async (t) => {
  const { apply, shown, valuesOf } = await open(t);
  await apply({ stringData: { password: 'one' } });
  const before = shown();
  assert.equal((await apply({ stringData: { password: 'one' } })).changed, false);
  assert.equal((await apply({ data: { password: base64('one') } })).changed, false);
  const { object, changed } = await apply({ stringData: { password: 'two' } });
  assert.equal(changed, true);
  assert.notEqual((object as unknown as Secret).data?.password, before.data?.password);
  assert.equal(object.metadata.generation, 2);
  assert.deepEqual(await valuesOf(), { password: 'two' });
});

test('what was read and is written back leaves the values as they are', async (t) => {
  const { door, apply, shown, valuesOf } = await open(t);
  await apply({ stringData: { password: 'one', user: 'ada' } });
  const { resourceVersion: _, managedFields: __, ...metadata } = shown().metadata;
  await door.update('secrets', 'db', { ...shown(), metadata: { ...metadata, labels: { app: 'db' } } }, as('editor'));
  await door.patch('secrets', 'db', { type: 'merge', body: { data: { ...shown().data, more: base64('x') } } }, as('editor'));
  assert.deepEqual(await valuesOf(), { password: 'one', user: 'ada', more: 'x' });
  assert.deepEqual(shown().metadata.labels, { app: 'db' });
});

test('a mask of another value, of another key or of another Secret is no value', async (t) => {
  const { door, apply, shown, valuesOf } = await open(t);
  await apply({ stringData: { password: 'one', user: 'ada' } });
  const old = shown().data!;
  await apply({ stringData: { password: 'two', user: 'ada' } });
  const sentence = /data\[password\]: Invalid value: this is a mask/;
  for (const value of [old.password, old.user, '<redacted >']) {
    await refused(door.patch('secrets', 'db', { type: 'merge', body: { data: { password: value } } }, as('me')), 'Invalid', sentence);
  }
  const copy = { ...secret({ data: { password: shown().data!.password } }), metadata: { name: 'copy' } };
  await refused(door.create('secrets', copy, as('me')), 'Invalid', sentence);
  await refused(door.create('secrets', copy, as('me', { dryRun: true })), 'Invalid', sentence);
  assert.deepEqual(await valuesOf(), { password: 'two', user: 'ada' });
});

test('fields are owned by key: a conflict names the key and shows no value; what its owner leaves out goes', async (t) => {
  const { apply, valuesOf } = await open(t);
  await apply({ stringData: { password: 'hunter2-password', user: 'ada' } });
  const error = await refused(apply({ stringData: { password: 'hunter3-password' } }, 'other'), 'Conflict', /\.data\.password/);
  assert.equal(shows(JSON.stringify(error.toStatus()), 'hunter'), false);
  await apply({ stringData: { password: 'hunter3-password' } }, 'other', true);
  await apply({ stringData: {} });
  assert.deepEqual(await valuesOf(), { password: 'hunter3-password' });
});

test('what kubectl writes down of its manifest keeps no value', async (t) => {
  const { door, stored, shown } = await open(t);
  const manifest = secret({ data: { password: base64('hunter2-password') }, stringData: { user: 'ada-lovelace' } });
  const annotated = { ...manifest, metadata: { name: 'db', annotations: { [lastAppliedAnnotation]: JSON.stringify(manifest) } } };
  await door.create('secrets', annotated, as('kubectl-client-side-apply'));
  const note = shown().metadata.annotations?.[lastAppliedAnnotation] ?? '';
  assert.deepEqual(Object.keys(JSON.parse(note).data), ['password']);
  await door.patch(
    'secrets',
    'db',
    { type: 'merge', body: { metadata: { annotations: { [lastAppliedAnnotation]: 'no json: hunter2-password' } } } },
    as('me'),
  );
  for (const value of ['hunter2-password', 'ada-lovelace']) {
    assert.equal(shows(note, value), false);
    assert.equal(shows(await stored(), value), false);
  }
});

test('a value that is wrong is named by its key and not quoted', async (t) => {
  const { apply } = await open(t);
  for (const [fields, message] of [
    [{ data: { password: 'hunter2!' } }, /data\[password\]: Invalid value: must be base64/],
    [{ data: { password: 7_777 } }, /data\.password: Invalid type: expected string/],
    [{ data: { 'a b': base64('x') } }, /data\[a b\]: Invalid value: a key is made of/],
    [{ stringData: { password: ['hunter2'] } }, /Invalid type: expected string/],
  ] as const) {
    const error = await refused(apply(fields), 'Invalid', message);
    assert.doesNotMatch(JSON.stringify(error.toStatus()), /hunter2|7777/);
  }
});

for (const [what, metadata, message] of [
  ['name', { name: 'DB password' }, /metadata\.name: must be at most 253 lower-case letters/],
  ['label', { labels: { app: 'a,b' } }, /metadata\.labels\.app: a value cannot contain ","/],
] as const) {
  test(`a ${what} that no other kind takes is refused here, too`, async (t) => {
    const { door } = await open(t);
    await refused(door.create('secrets', secret({}, metadata), as('me')), 'Invalid', message);
  });
}

test('without a key nothing is stored, and what is there is not shown as if it were lost', async (t) => {
  const { store, apply } = await open(t);
  await apply({ stringData: { password: 'one' } });
  const keyless = await openServer(t, store);
  const sentence = /it was started without --secret-key-file/;
  await refused(keyless.door.apply('secrets', 'db', secret({ stringData: { password: 'two' } }), as('me')), 'Forbidden', sentence);
  await assert.rejects(openSecrets(keyless.cache, undefined)('db'), sentence);
  assert.match((keyless.cache.joined('secrets', 'db') as unknown as Secret).data?.password ?? '', mask);
  await keyless.door.patch('secrets', 'db', { type: 'merge', body: { metadata: { labels: { a: 'b' } } } }, as('me'));
  assert.equal((await keyless.door.remove('secrets', 'db', {}, as('me'))).gone, true);
});
