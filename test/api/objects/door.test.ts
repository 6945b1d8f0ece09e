import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openObjectDoor } from '../../../api/objects/door.js';
import { kinds } from '../../../api/resources/registry.js';
import { textHash } from '../../../api/resources/unit-text.js';
import type { MemoryStore } from '../../../runtime/store/memory-store.js';
import type { Write } from '../../../runtime/store/store.js';
import { as, assign, content, keys, openServer, refused, unit } from './door-rig.js';

const kubectl = as('kubectl-create');

/** A store whose commits are held back while the gate is closed, as it is at first. */
function held() {
  let open = () => {};
  let gate = Promise.resolve();
  const close = () => {
    gate = new Promise((resolve) => {
      open = resolve;
    });
  };
  close();
  const before = (store: MemoryStore) => ({
    get: (key: string) => store.get(key),
    revision: () => store.revision(),
    commit: async (write: Write) => {
      await gate;
      return store.commit(write);
    },
  });
  return { open: () => open(), close, before };
}

describe('door: create', () => {
  test('an object comes out whole: uid, times, generation, defaults and owners', async (t) => {
    const { door, cache } = await openServer(t);
    const { object, created, changed } = await door.create('units', unit('a.service', undefined, { labels: { app: 'a' } }), kubectl);
    assert.ok(created && changed);
    assert.match(object.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.equal(object.metadata.generation, 1);
    assert.match(object.metadata.creationTimestamp!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.deepEqual(object.spec, { content: content(), desiredState: 'launched' });
    assert.deepEqual(
      object.metadata.managedFields?.map(({ manager, operation }) => [manager, operation]),
      [['kubectl-create', 'Update']],
    );
    assert.deepEqual(object, cache.joined('units', 'a.service'));
  });

  test('SEMANTICS 5: the text lies once under its hash, and not in the object', async (t) => {
    const { door, store } = await openServer(t);
    await door.create('units', unit('a.service'), kubectl);
    await door.create('units', unit('b.service', { sections: { Service: { ExecStart: '/bin/sleep infinity' } } }), kubectl);
    const { entries } = await store.list(keys.root);
    const texts = entries.filter(({ key }) => key.includes('/contents/'));
    assert.deepEqual(
      texts.map(({ key, value }) => [key, value]),
      [[keys.content(textHash(content())), content()]],
    );
    const stored = JSON.parse((await store.get(keys.object('units', 'a.service'))).entry!.value);
    assert.equal(stored.textHash, textHash(content()));
    assert.deepEqual(stored.spec, { desiredState: 'launched' });
    assert.ok(!('status' in stored) && !('resourceVersion' in stored.metadata));
  });

  test('SEMANTICS 5: a text that nothing names any more is put again by who names it, so that a collector who compares its revision loses', async (t) => {
    const { door, store } = await openServer(t);
    const key = keys.content(textHash(content()));
    await door.create('units', unit('a.service'), kubectl);
    const first = (await store.get(key)).entry!.modRevision;
    await door.patch('units', 'a.service', { type: 'merge', body: { metadata: { labels: { x: 'y' } } } }, kubectl);
    await door.create('units', unit('b.service'), kubectl);
    assert.equal((await store.get(key)).entry!.modRevision, first, 'while a unit names it, it need not be put');
    await door.remove('units', 'a.service', {}, kubectl);
    await door.remove('units', 'b.service', {}, kubectl);
    const { object } = await door.create('units', unit('c.service'), kubectl);
    assert.equal(2 * (await store.get(key)).entry!.modRevision, Number(object.metadata.resourceVersion));
  });

  test('SEMANTICS 5: who relies on another unit for the text is not fooled when that unit goes, and the text with it, before the write lands', async (t) => {
    const one = await openServer(t);
    const { cache, store } = one;
    const key = keys.content(textHash(content()));
    const gate = held();
    const slow = openObjectDoor({ kinds, cache, store: gate.before(store), keys });
    gate.open();
    await slow.create('units', unit('a.service'), kubectl);
    gate.close();
    const creating = slow.create('units', unit('b.service'), kubectl);

    await one.door.remove('units', 'a.service', {}, kubectl);
    const collected = await store.commit({
      compares: [{ key, modRevision: cache.content(textHash(content()))!.modRevision }],
      operations: [{ do: 'delete', key }],
    });
    assert.ok(collected.ok, 'nothing named it');
    gate.open();
    assert.deepEqual((await creating).object.spec, { content: content(), desiredState: 'launched' });
    assert.equal((await store.get(key)).entry?.value, content());
  });

  test('SEMANTICS 4: many units of one text travel together: one of them puts it, the others vouch', async (t) => {
    const { door, store } = await openServer(t);
    const commits = t.mock.method(store, 'commit');
    await Promise.all(Array.from({ length: 100 }, (_, index) => door.create('units', unit(`u${index}.service`), kubectl)));
    const withText = commits.mock.calls.filter(({ arguments: [write] }) => write.operations.length > 1);
    assert.equal(withText.length, 1);
    assert.equal(commits.mock.callCount(), 100);
  });

  test('a name that is taken is AlreadyExists', async (t) => {
    const { door } = await openServer(t);
    await door.create('units', unit('a.service'), kubectl);
    await refused(door.create('units', unit('a.service'), kubectl), 'AlreadyExists', 'units.flotilla.dev "a.service" already exists');
  });

  test('generateName makes a new name each time, with the unit type at its end', async (t) => {
    const { door } = await openServer(t);
    const body = { ...unit(''), metadata: { generateName: 'job-.service' } };
    const names = await Promise.all([1, 2, 3].map(async () => (await door.create('units', body, kubectl)).object.metadata.name));
    assert.equal(new Set(names).size, 3);
    for (const name of names) assert.match(name, /^job-[a-z0-9]{5}\.service$/);
  });

  test('what only the system writes is not the client to say', async (t) => {
    const { door } = await openServer(t);
    const forged = {
      uid: 'mine',
      generation: 7,
      deletionTimestamp: '2020-01-01T00:00:00Z',
      creationTimestamp: '1999-01-01T00:00:00Z',
      selfLink: '/x',
      namespace: 'default',
    };
    const { object } = await door.create('units', { ...unit('a.service', undefined, forged), status: { machine: 'x' } }, kubectl);
    assert.notEqual(object.metadata.uid, 'mine');
    assert.equal(object.metadata.generation, 1);
    assert.equal(object.metadata.deletionTimestamp, undefined);
    assert.notEqual(object.metadata.creationTimestamp, '1999-01-01T00:00:00Z');
    assert.equal((object.status as { machine?: string } | undefined)?.machine, undefined);
  });

  for (const [what, body, reason, message] of [
    ['no object', 'hello', 'BadRequest', 'a Unit must be an object'],
    ['no kind', { apiVersion: 'flotilla.dev/v1' }, 'BadRequest', "Object 'Kind' is missing: expected kind: Unit"],
    [
      'another kind',
      { ...unit('a.service'), kind: 'Machine' },
      'BadRequest',
      'the kind in the data (Machine) does not match the expected kind (Unit)',
    ],
    [
      'another version',
      { ...unit('a.service'), apiVersion: 'flotilla.dev/v2' },
      'BadRequest',
      'the API version in the data (flotilla.dev/v2) does not match the expected API version (flotilla.dev/v1)',
    ],
    ['no name', unit(''), 'BadRequest', 'metadata.name is missing: name or generateName is required'],
    [
      'a resourceVersion',
      unit('a.service', undefined, { resourceVersion: '12' }),
      'BadRequest',
      'metadata.resourceVersion should not be set on objects to be created',
    ],
    [
      'unknown fields, each with what was meant',
      unit('a.service', { content: content(), desiredSate: 'launched', placement: { conflict: ['x'] } }),
      'BadRequest',
      'strict decoding error: unknown field "spec.desiredSate" (did you mean "desiredState"?), unknown field "spec.placement.conflict" (did you mean "conflicts"?)',
    ],
    [
      'a word that is none of the three',
      unit('a.service', { content: content(), desiredState: 'lunched' }),
      'Invalid',
      'Unit.flotilla.dev "a.service" is invalid: spec.desiredState: Unsupported value: "lunched": supported values: "inactive", "loaded", "launched"; did you mean "launched"?',
    ],
    [
      'several wrong shapes',
      unit('a.service', { content: 5, placement: { global: 'yes' } }),
      'Invalid',
      'Unit.flotilla.dev "a.service" is invalid: [spec.content: Invalid type: expected string, received number, spec.placement.global: Invalid type: expected boolean, received string]',
    ],
    [
      'one item of a set twice',
      unit('a.service', { content: content(), placement: { conflicts: ['x', 'x'] } }),
      'Invalid',
      /spec\.placement\.conflicts\[1\]: Duplicate value: "x"/,
    ],
    ['a name with a way out', unit('../machines/x'), 'Invalid', /metadata\.name: Invalid value: at most 256 characters, no "\/"/],
    [
      'a key of JavaScript itself',
      JSON.parse('{"apiVersion":"flotilla.dev/v1","kind":"Unit","metadata":{"name":"a.service","labels":{"__proto__":"x"}}}'),
      'BadRequest',
      'the object cannot be taken: "__proto__" cannot be used as a name',
    ],
  ] as const) {
    test(`refused: ${what}`, async (t) => {
      const { door, store } = await openServer(t);
      await refused(door.create('units', body, kubectl), reason, message);
      assert.deepEqual((await store.list(keys.root)).entries, []);
    });
  }

  test('causes name each field once, at most twenty, and say that there are more', async (t) => {
    const { door } = await openServer(t);
    const { details, message } = await refused(
      door.create(
        'units',
        unit('a.service', { content: content(), placement: { conflicts: Array.from({ length: 30 }, () => 1) } }),
        kubectl,
      ),
      'Invalid',
    );
    assert.equal(details.causes?.length, 20);
    assert.deepEqual(details.causes?.[0], {
      reason: 'FieldValueTypeInvalid',
      message: 'Invalid type: expected string, received number',
      field: 'spec.placement.conflicts[0]',
    });
    assert.match(message, /and 10 more\]$/);
  });

  test('unknown fields: Warn drops and tells, Ignore drops', async (t) => {
    const { door } = await openServer(t);
    const spec = { content: content(), replicsa: 1 };
    const warned = await door.create('units', unit('a.service', spec), as('x', { fieldValidation: 'Warn' }));
    assert.deepEqual(warned.warnings, ['unknown field "spec.replicsa"']);
    assert.deepEqual(warned.object.spec, { content: content(), desiredState: 'launched' });
    assert.deepEqual((await door.create('units', unit('b.service', spec), as('x', { fieldValidation: 'Ignore' }))).warnings, []);
  });

  test('kinds that only the system writes are read-only, and what is no kind is not found', async (t) => {
    const { door } = await openServer(t);
    await refused(door.create('assignments', {}, kubectl), 'MethodNotAllowed');
    await refused(door.create('pods', {}, kubectl), 'NotFound', 'the server could not find the requested resource');
  });

  test('a dry run says what would be and stores nothing: no version tells that it would be new', async (t) => {
    const { door, store } = await openServer(t);
    const { object, created } = await door.create('units', unit('a.service'), as('x', { dryRun: true }));
    assert.ok(created);
    assert.equal(object.metadata.generation, 1);
    assert.ok(!Object.hasOwn(object.metadata, 'resourceVersion'));
    assert.deepEqual((await store.list(keys.root)).entries, []);
  });

  test('a unit too large to store is refused before it is tried', async (t) => {
    const { door } = await openServer(t);
    const labels = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`k${index}`, 'v'.repeat(250)]));
    await refused(door.create('units', unit('a.service', undefined, { labels }), kubectl), 'RequestEntityTooLarge', /too large to store/);
  });
});

describe('door: replace and patch', () => {
  test('SEMANTICS 2: a stale version is a conflict, in words that kubectl knows', async (t) => {
    const { door } = await openServer(t);
    const { object: first } = await door.create('units', unit('a.service'), kubectl);
    await door.patch('units', 'a.service', { type: 'merge', body: { metadata: { labels: { a: '1' } } } }, kubectl);
    const { details } = await refused(
      door.update('units', 'a.service', first, kubectl),
      'Conflict',
      'Operation cannot be fulfilled on units.flotilla.dev "a.service": the object has been modified; please apply your changes to the latest version and try again',
    );
    assert.deepEqual(details, { name: 'a.service', group: 'flotilla.dev', kind: 'units' });
  });

  test('SEMANTICS 2: status that changed meanwhile is no conflict', async (t) => {
    const { door, store, cache } = await openServer(t);
    const { object } = await door.create('units', unit('a.service'), kubectl);
    const key = keys.condition('units', 'a.service');
    const outcome = await store.commit({
      compares: [{ key, modRevision: 0 }],
      operations: [{ do: 'put', key, value: '{"observedGeneration":1}' }],
    });
    await cache.untilRevision(outcome.revision);
    assert.notEqual(cache.joined('units', 'a.service')!.metadata.resourceVersion, object.metadata.resourceVersion);
    const { changed } = await door.update(
      'units',
      'a.service',
      { ...object, metadata: { ...object.metadata, labels: { a: '1' } } },
      kubectl,
    );
    assert.ok(changed);
  });

  test('a replace without a version is unconditional; one with another uid is not about this object', async (t) => {
    const { door } = await openServer(t);
    await door.create('units', unit('a.service'), kubectl);
    assert.ok((await door.update('units', 'a.service', unit('a.service', { content: content('/bin/true') }), kubectl)).changed);
    await refused(
      door.update('units', 'a.service', unit('a.service', undefined, { uid: 'other' }), kubectl),
      'Conflict',
      /Precondition failed: UID in precondition: other, UID in object meta: /,
    );
    await refused(door.update('units', 'b.service', unit('b.service'), kubectl), 'NotFound', 'units.flotilla.dev "b.service" not found');
  });

  test('generation grows with the spec and with nothing else', async (t) => {
    const { door } = await openServer(t);
    await door.create('units', unit('a.service'), kubectl);
    const patch = async (body: object) =>
      (await door.patch('units', 'a.service', { type: 'merge', body }, kubectl)).object.metadata.generation;
    assert.equal(await patch({ metadata: { labels: { a: '1' } } }), 1);
    assert.equal(await patch({ spec: { desiredState: 'loaded' } }), 2);
    assert.equal(await patch({ spec: { content: content('/bin/true') } }), 3);
  });

  test('what changes nothing writes nothing: same version, whatever the verb', async (t) => {
    const { door, store } = await openServer(t);
    const { object } = await door.create('units', unit('a.service'), kubectl);
    const before = await store.revision();
    for (const result of [
      await door.update('units', 'a.service', object, as('other')),
      await door.update('units', 'a.service', unit('a.service'), as('other')),
      await door.patch('units', 'a.service', { type: 'merge', body: { spec: { desiredState: 'launched' } } }, as('other')),
      await door.patch('units', 'a.service', { type: 'json', body: [{ op: 'test', path: '/kind', value: 'Unit' }] }, as('other')),
      await door.patch('units', 'a.service', { type: 'merge', body: { status: { machine: 'x' } } }, as('other')),
    ]) {
      assert.deepEqual([result.changed, result.created], [false, false]);
      assert.deepEqual(result.object, object);
    }
    assert.equal(await store.revision(), before);
  });

  test('a merge patch sets, merges and removes (RFC 7396)', async (t) => {
    const { door } = await openServer(t);
    await door.create('units', unit('a.service', undefined, { labels: { a: '1', b: '2' } }), kubectl);
    const { object } = await door.patch(
      'units',
      'a.service',
      { type: 'merge', body: { metadata: { labels: { a: null, c: '3' } }, spec: { placement: { conflicts: ['b*'] } } } },
      kubectl,
    );
    assert.deepEqual(object.metadata.labels, { b: '2', c: '3' });
    assert.deepEqual((object.spec as { placement: unknown }).placement, { conflicts: ['b*'] });
    await refused(
      door.patch('units', 'a.service', { type: 'merge', body: [1] }, kubectl),
      'BadRequest',
      'a JSON merge patch must be an object',
    );
  });

  test('a JSON patch is all or nothing (RFC 6902)', async (t) => {
    const { door, cache } = await openServer(t);
    const { object } = await door.create('units', unit('a.service', undefined, { labels: { a: '1' } }), kubectl);
    const add = { op: 'add', path: '/metadata/labels/b', value: '2' };
    const failing = [add, { op: 'test', path: '/metadata/labels/a', value: 'other' }];
    await refused(
      door.patch('units', 'a.service', { type: 'json', body: failing }, kubectl),
      'Invalid',
      /operation 1 \(test \/metadata\/labels\/a\) failed/,
    );
    assert.deepEqual(cache.joined('units', 'a.service'), object);
    const patched = await door.patch('units', 'a.service', { type: 'json', body: [add] }, kubectl);
    assert.deepEqual(patched.object.metadata.labels, { a: '1', b: '2' });
  });

  for (const [what, body, reason, message] of [
    ['that is no list', {}, 'BadRequest', 'a JSON patch must be a list of operations'],
    ['with an unknown operation', [{ op: 'frob', path: '/a' }], 'BadRequest', /operation 0 must be one of add, replace/],
    ['of the root', [{ op: 'replace', path: '', value: {} }], 'BadRequest', /needs a path/],
    ['without a value', [{ op: 'add', path: '/metadata/labels' }], 'BadRequest', /needs a value/],
    ['into a prototype', [{ op: 'add', path: '/metadata/__proto__/x', value: 1 }], 'BadRequest', /not a path that any object has/],
    [
      'that grows without end',
      [
        { op: 'add', path: '/spec/x', value: {} },
        ...Array.from({ length: 40 }, (_, index) => ({ op: 'copy', from: '/spec', path: `/spec/x${index}` })),
      ],
      'RequestEntityTooLarge',
      /makes the object larger/,
    ],
    [
      'with operations without end',
      Array.from({ length: 1_001 }, () => ({ op: 'test', path: '/kind', value: 'Unit' })),
      'RequestEntityTooLarge',
      /at most 1000/,
    ],
    [
      'of a field that there is not',
      [{ op: 'add', path: '/spec/desiredSate', value: 'loaded' }],
      'Invalid',
      /unknown field "spec.desiredSate" \(did you mean "desiredState"\?\)/,
    ],
    [
      'to another name',
      [{ op: 'replace', path: '/metadata/name', value: 'b.service' }],
      'BadRequest',
      /does not match the name on the URL/,
    ],
  ] as const) {
    test(`refused: a JSON patch ${what}`, async (t) => {
      const { door } = await openServer(t);
      const { object } = await door.create('units', unit('a.service'), kubectl);
      await refused(door.patch('units', 'a.service', { type: 'json', body }, kubectl), reason, message);
      assert.equal((await door.update('units', 'a.service', object, kubectl)).changed, false);
    });
  }

  test('a patch that names a version is conditional', async (t) => {
    const { door } = await openServer(t);
    const { object } = await door.create('units', unit('a.service'), kubectl);
    const { resourceVersion } = object.metadata;
    const body = (value: string) => ({ metadata: { resourceVersion, labels: { a: value } } });
    await door.patch('units', 'a.service', { type: 'merge', body: body('1') }, kubectl);
    await refused(door.patch('units', 'a.service', { type: 'merge', body: body('2') }, kubectl), 'Conflict', /has been modified/);
  });

  test('concurrent patches without a version all land, from two servers at once', async (t) => {
    const one = await openServer(t);
    const two = await openServer(t, one.store.peer());
    await one.door.create('units', unit('a.service'), kubectl);
    const label = (index: number) => ({ metadata: { labels: { [`l${index}`]: 'x' } } });
    const all = Array.from({ length: 40 }, (_, index) => index);
    await two.cache.untilRevision(await two.store.revision());
    await Promise.all(
      all.map((index) =>
        (index % 2 ? one : two).door.patch('units', 'a.service', { type: 'merge', body: label(index) }, as(`m${index % 3}`)),
      ),
    );
    await one.cache.untilRevision(await one.store.revision());
    assert.equal(Object.keys(one.cache.joined('units', 'a.service')!.metadata.labels!).length, 40);
  });
});

describe('door: server-side apply', () => {
  test('creates, then finds nothing to do, then configures, then prunes', async (t) => {
    const { door } = await openServer(t);
    const apply = (body: object) => door.apply('units', 'a.service', body, as('flotilla'));
    const first = await apply(unit('a.service', { content: content(), placement: { conflicts: ['b*'] } }, { labels: { a: '1' } }));
    assert.deepEqual([first.created, first.changed], [true, true]);
    const again = await apply(unit('a.service', { content: content(), placement: { conflicts: ['b*'] } }, { labels: { a: '1' } }));
    assert.deepEqual([again.created, again.changed], [false, false]);
    assert.deepEqual(again.object, first.object);
    const { object, changed } = await apply(unit('a.service', { content: content() }));
    assert.ok(changed);
    assert.equal(object.metadata.labels, undefined);
    assert.deepEqual(object.spec, { content: content(), desiredState: 'launched' });
    assert.equal(object.metadata.generation, 2);
  });

  test('a field of another manager is a conflict unless forced', async (t) => {
    const { door, cache } = await openServer(t);
    await door.apply('units', 'a.service', unit('a.service', { content: content(), desiredState: 'loaded' }), as('bob'));
    const mine = unit('a.service', { desiredState: 'inactive' });
    const before = cache.joined('units', 'a.service');
    const error = await refused(
      door.apply('units', 'a.service', mine, as('alice')),
      'Conflict',
      'Apply failed with 1 conflict: conflict with "bob": .spec.desiredState',
    );
    assert.deepEqual(error.details.causes, [
      { reason: 'FieldManagerConflict', message: 'conflict with "bob"', field: '.spec.desiredState' },
    ]);
    assert.equal(cache.joined('units', 'a.service'), before);
    const { object } = await door.apply('units', 'a.service', mine, as('alice', { force: true }));
    assert.deepEqual(object.spec, { content: content(), desiredState: 'inactive' });
  });

  test('a default that nobody asked for belongs to nobody: an imperative change of it survives the next apply', async (t) => {
    const { door } = await openServer(t);
    const manifest = unit('a.service');
    await door.apply('units', 'a.service', manifest, as('flotilla'));
    await door.patch('units', 'a.service', { type: 'merge', body: { spec: { desiredState: 'inactive' } } }, as('flotilla-cli'));
    const { object, changed } = await door.apply('units', 'a.service', manifest, as('flotilla'));
    assert.equal(changed, false);
    assert.equal((object.spec as { desiredState: string }).desiredState, 'inactive');
  });

  test('what was never tracked is owned by before-first-apply', async (t) => {
    const { door } = await openServer(t);
    await door.create('units', unit('a.service', { content: content(), desiredState: 'loaded' }), kubectl);
    await door.patch('units', 'a.service', { type: 'merge', body: { metadata: { managedFields: [{}] } } }, kubectl);
    await refused(
      door.apply('units', 'a.service', unit('a.service', { desiredState: 'inactive' }), as('alice')),
      'Conflict',
      'Apply failed with 1 conflict: conflict with "before-first-apply" using flotilla.dev/v1: .spec.desiredState',
    );
  });

  test('a single empty entry forgets all owners; entries that make no sense change nothing', async (t) => {
    const { door } = await openServer(t);
    const { object } = await door.create('units', unit('a.service'), kubectl);
    const set = async (managedFields: unknown) =>
      (
        await door.patch(
          'units',
          'a.service',
          { type: 'json', body: [{ op: 'replace', path: '/metadata/managedFields', value: managedFields }] },
          kubectl,
        )
      ).object.metadata.managedFields;
    assert.deepEqual(
      await set([{ manager: 'x', operation: 'Apply', fieldsType: 'FieldsV1', fieldsV1: { nonsense: {} } }]),
      object.metadata.managedFields,
    );
    assert.deepEqual(await set([]), object.metadata.managedFields);
    assert.equal(await set([{}]), undefined);
    await refused(
      door.patch('units', 'a.service', { type: 'merge', body: { metadata: { managedFields: 'x' } } }, kubectl),
      'Invalid',
      /metadata.managedFields: Invalid value/,
    );
  });

  test('refused: managedFields in the body, no manager, a set item twice, a version or uid for what is not there', async (t) => {
    const { door } = await openServer(t);
    const apply = (body: object, manager = 'alice') => door.apply('units', 'a.service', body, as(manager));
    await refused(apply(unit('a.service', undefined, { managedFields: [] })), 'BadRequest', 'metadata.managedFields must be nil');
    await refused(apply(unit('a.service'), ''), 'Invalid', /fieldManager: Required value/);
    await refused(
      apply(unit('a.service', { content: content(), placement: { conflicts: ['x', 'x'] } })),
      'Invalid',
      /Duplicate value: "x"/,
    );
    await refused(apply(unit('a.service', undefined, { resourceVersion: '8' })), 'Conflict', /Precondition failed/);
    await refused(apply(unit('a.service', undefined, { uid: 'u' })), 'Conflict', /Precondition failed: UID in precondition: u/);
  });

  test('a dry run that would create has no version, one that would change keeps the live one; neither stores', async (t) => {
    const { door, store } = await openServer(t);
    const dry = await door.apply('units', 'a.service', unit('a.service'), as('x', { dryRun: true }));
    assert.ok(!Object.hasOwn(dry.object.metadata, 'resourceVersion'));
    const { object } = await door.apply('units', 'a.service', unit('a.service'), as('x'));
    const before = await store.revision();
    const changing = await door.apply(
      'units',
      'a.service',
      unit('a.service', { content: content('/bin/true') }),
      as('x', { dryRun: true }),
    );
    assert.equal(changing.object.metadata.resourceVersion, object.metadata.resourceVersion);
    assert.equal(changing.object.metadata.generation, 2);
    assert.equal(await store.revision(), before);
  });

  test('kubectl: from client-side to server-side apply, as kubectl does it', async (t) => {
    const { door } = await openServer(t);
    const key = 'kubectl.kubernetes.io/last-applied-configuration';
    const manifest = (state: string) => unit('a.service', { content: content(), desiredState: state }, { labels: { a: '1' } });
    const annotated = (state: string) => ({
      ...manifest(state),
      metadata: { ...manifest(state).metadata, annotations: { [key]: JSON.stringify(manifest(state)) } },
    });
    await door.create('units', annotated('loaded'), as('kubectl-client-side-apply'));

    // Still as the annotation says: no conflict for kubectl, though the field has another owner. And a conflict for anybody else.
    await refused(
      door.apply('units', 'a.service', manifest('inactive'), as('somebody')),
      'Conflict',
      /conflict with "kubectl-client-side-apply" using flotilla.dev\/v1: .spec.desiredState/,
    );
    const { object } = await door.apply('units', 'a.service', manifest('inactive'), as('kubectl'));
    const annotation = JSON.parse(object.metadata.annotations![key]!);
    assert.equal(annotation.spec.desiredState, 'inactive', 'the annotation follows');
    const owner = object.metadata.managedFields!.find(({ manager, operation }) => manager === 'kubectl' && operation === 'Apply')!;
    assert.ok(!JSON.stringify(owner.fieldsV1).includes(key), 'without an owner');

    // What was changed behind the annotation's back is a conflict for kubectl, too.
    await door.patch('units', 'a.service', { type: 'merge', body: { spec: { desiredState: 'launched' } } }, as('kubectl-edit'));
    await refused(
      door.apply('units', 'a.service', manifest('loaded'), as('kubectl')),
      'Conflict',
      'Apply failed with 1 conflict: conflict with "kubectl-edit" using flotilla.dev/v1: .spec.desiredState',
    );
  });
});

describe('door: references between objects', () => {
  test('SEMANTICS 9: an instance without content needs its template', async (t) => {
    const { door } = await openServer(t);
    const { details } = await refused(
      door.create('units', unit('web@1.service', {}), kubectl),
      'Invalid',
      /spec\.content: without it the unit follows its template "web@\.service", which does not exist: give "web@1\.service" content of its own, or create the template first/,
    );
    assert.equal(details.causes?.[0]?.reason, 'FieldValueRequired');
    await door.create('units', unit('web@.service'), kubectl);
    const { object } = await door.create('units', unit('web@1.service', {}), kubectl);
    assert.deepEqual(object.spec, { desiredState: 'launched' });
  });

  test('SEMANTICS 9: a template is not deleted while units follow it, and says which', async (t) => {
    const { door, cache } = await openServer(t);
    await door.create('units', unit('web@.service'), kubectl);
    await door.create('units', unit('web@1.service', {}), kubectl);
    await door.create('units', unit('web@own.service'), kubectl);
    await refused(
      door.remove('units', 'web@.service', {}, kubectl),
      'Conflict',
      /it is the template of unit web@1\.service: delete what follows it first/,
    );
    await door.remove('units', 'web@1.service', {}, kubectl);
    const { gone } = await door.remove('units', 'web@.service', {}, kubectl);
    assert.ok(gone);
    assert.ok(cache.object('units', 'web@own.service'));
  });

  test('SEMANTICS 9: who began to follow a template before it was deleted, and writes only afterwards, is refused', async (t) => {
    const one = await openServer(t);
    const two = await openServer(t, one.store.peer());
    const { object } = await one.door.create('units', unit('web@.service'), kubectl);
    await two.cache.untilRevision(Number(object.metadata.resourceVersion) / 2);

    const gate = held();
    const slow = gate.before(two.store);
    const creating = openObjectDoor({ kinds, cache: two.cache, store: slow, keys }).create('units', unit('web@1.service', {}), kubectl);
    assert.ok((await one.door.remove('units', 'web@.service', {}, kubectl)).gone);
    gate.open();
    await refused(creating, 'Invalid', /its template "web@\.service", which does not exist/);
  });

  test('SEMANTICS 9: a follower that came in the very moment of the deletion holds the template, which stays marked', async (t) => {
    const one = await openServer(t);
    const two = await openServer(t, one.store.peer());
    const { object } = await one.door.create('units', unit('web@.service'), kubectl);
    await two.cache.untilRevision(Number(object.metadata.resourceVersion) / 2);
    one.store.faults.watchesCut = true;
    await two.door.create('units', unit('web@1.service', {}), kubectl);
    const removing = one.door.remove('units', 'web@.service', {}, kubectl);
    setImmediate(() => (one.store.faults.watchesCut = false));
    const { gone, object: template } = await removing;
    assert.equal(gone, false);
    assert.ok(template.metadata.deletionTimestamp);
    await refused(one.door.create('units', unit('web@2.service', {}), kubectl), 'Invalid', /which is being deleted/);
  });
});

describe('door: delete', () => {
  const machine = '0123456789abcdef0123456789abcdef';

  test('SEMANTICS 8: a unit that is on no machine goes at once, with what was said about it', async (t) => {
    const { door, store } = await openServer(t);
    await door.create('units', unit('a.service'), kubectl);
    const key = keys.condition('units', 'a.service');
    await store.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: '{}' }] });
    const { gone, object } = await door.remove('units', 'a.service', {}, kubectl);
    assert.ok(gone);
    assert.equal(object.metadata.name, 'a.service');
    assert.deepEqual(
      (await store.list(keys.root)).entries.map(({ key: left }) => left),
      [keys.content(textHash(content()))],
    );
  });

  test('SEMANTICS 8, invariant 13: an assignment that nobody can read is one, for a delete, for a create and for whoever throws away what is broken', async (t) => {
    const server = await openServer(t);
    const { door, store, cache } = server;
    await door.create('units', unit('a.service'), kubectl);
    await assign(server, 'a.service', machine);
    const garble = async (key: string) => {
      const { entry } = await store.get(key);
      const compares = [{ key, modRevision: entry!.modRevision }];
      const outcome = await store.commit({ compares, operations: [{ do: 'put', key, value: '{' }] });
      await cache.untilRevision(outcome.revision);
    };
    await garble(keys.assignment(machine, 'a.service'));
    assert.equal((await door.remove('units', 'a.service', {}, kubectl)).gone, false);
    await refused(door.create('units', unit('a.service'), kubectl), 'AlreadyExists', new RegExp(`waits for machine ${machine}`));
    await garble(keys.object('units', 'a.service'));
    await refused(door.remove('units', 'a.service', {}, kubectl), 'Conflict', new RegExp(`still on machine ${machine}`));
  });

  test('SEMANTICS 8: a unit on a machine is marked; its name is taken until the machine let go of it, and errors name the machine', async (t) => {
    const server = await openServer(t);
    const { door, cache } = server;
    await door.create('units', unit('a.service'), kubectl);
    await assign(server, 'a.service', machine);
    const { gone, object } = await door.remove('units', 'a.service', {}, kubectl);
    assert.equal(gone, false);
    assert.ok(object.metadata.deletionTimestamp);
    assert.equal(object.metadata.generation, 1);
    await refused(
      door.create('units', unit('a.service'), kubectl),
      'AlreadyExists',
      `units.flotilla.dev "a.service" already exists: it is being deleted and waits for machine ${machine}`,
    );
    await refused(
      door.apply('units', 'a.service', unit('a.service'), as('x')),
      'Conflict',
      new RegExp(`is being deleted and waits for machine ${machine}`),
    );
    await refused(
      door.patch('units', 'a.service', { type: 'merge', body: { spec: { desiredState: 'loaded' } } }, as('x')),
      'Conflict',
      /is being deleted/,
    );
    const again = await door.remove('units', 'a.service', {}, kubectl);
    assert.deepEqual(again, { object, gone: false }, 'deleting again changes nothing');
    const forced = await door.remove('units', 'a.service', {}, as('x', { force: true }));
    assert.equal(forced.object.metadata.deletionGracePeriodSeconds, 0);
    assert.equal(cache.object('units', 'a.service')!.value.textHash, textHash(content()));
  });

  test('SEMANTICS 8: an assignment that is made in the very moment of a deletion is never left without its unit', async (t) => {
    const one = await openServer(t);
    const leader = await openServer(t, one.store.peer());
    for (let round = 0; round < 30; round++) {
      const name = `u${round}.service`;
      const { object } = await one.door.create('units', unit(name), kubectl);
      await leader.cache.untilRevision(Number(object.metadata.resourceVersion) / 2);
      await Promise.allSettled([one.door.remove('units', name, {}, kubectl), assign(leader, name, machine)]);
      const left = (await one.store.get(keys.object('units', name))).entry;
      const assignment = (await one.store.get(keys.assignment(machine, name))).entry;
      assert.ok(assignment === undefined || left !== undefined, 'an assignment is left without its unit');
    }
  });

  test('finalizers hold an object; the last one that goes takes it along; no new ones while it is dying', async (t) => {
    const { door, cache } = await openServer(t);
    await door.create('units', unit('a.service', undefined, { finalizers: ['x/one', 'x/two'] }), kubectl);
    assert.equal((await door.remove('units', 'a.service', {}, kubectl)).gone, false);
    await refused(door.create('units', unit('a.service'), kubectl), 'AlreadyExists', /waits for finalizer x\/one, finalizer x\/two/);
    const set = (finalizers: string[]) => door.patch('units', 'a.service', { type: 'merge', body: { metadata: { finalizers } } }, kubectl);
    await refused(
      set(['x/one', 'x/two', 'x/three']),
      'Invalid',
      /no new finalizers can be added if the object is being deleted, found new finalizers \["x\/three"\]/,
    );
    await set(['x/two']);
    assert.ok(cache.object('units', 'a.service'));
    await set([]);
    assert.equal(cache.object('units', 'a.service'), undefined);
  });

  test('the last finalizer does not take a unit along that is still on a machine', async (t) => {
    const server = await openServer(t);
    await server.door.create('units', unit('a.service', undefined, { finalizers: ['x/one'] }), kubectl);
    await assign(server, 'a.service', machine);
    await server.door.remove('units', 'a.service', {}, kubectl);
    await server.door.patch('units', 'a.service', { type: 'merge', body: { metadata: { finalizers: null } } }, kubectl);
    assert.ok(server.cache.object('units', 'a.service')?.value.metadata.deletionTimestamp);
  });

  test('preconditions, what is not there, and a dry run', async (t) => {
    const { door, store } = await openServer(t);
    await refused(door.remove('units', 'a.service', {}, kubectl), 'NotFound', 'units.flotilla.dev "a.service" not found');
    const { object } = await door.create('units', unit('a.service'), kubectl);
    const { resourceVersion, uid } = object.metadata;
    await door.patch('units', 'a.service', { type: 'merge', body: { metadata: { labels: { a: '1' } } } }, kubectl);
    await refused(
      door.remove('units', 'a.service', { uid: 'other' }, kubectl),
      'Conflict',
      /Precondition failed: UID in precondition: other/,
    );
    await refused(door.remove('units', 'a.service', { resourceVersion }, kubectl), 'Conflict', /has been modified/);
    const before = await store.revision();
    await door.remove('units', 'a.service', { uid }, as('x', { dryRun: true }));
    assert.equal(await store.revision(), before);
    assert.ok((await door.remove('units', 'a.service', { uid }, kubectl)).gone);
  });

  test('a machine has nothing to wait for', async (t) => {
    const { door } = await openServer(t);
    await door.create('machines', { apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata: { name: machine }, spec: {} }, kubectl);
    assert.ok((await door.remove('machines', machine, {}, kubectl)).gone);
  });

  test('what is stored and cannot be read hurts nobody else and can be thrown away', async (t) => {
    const { door, store, cache } = await openServer(t);
    const key = keys.object('units', 'a.service');
    const outcome = await store.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: 'garbage' }] });
    await cache.untilRevision(outcome.revision);
    await refused(door.create('units', unit('a.service'), kubectl), 'InternalError', /cannot be read/);
    await door.create('units', unit('b.service'), kubectl);
    assert.ok((await door.remove('units', 'a.service', {}, kubectl)).gone);
    await door.create('units', unit('a.service'), kubectl);
  });

  for (const [what, options, message] of [
    ['a uid', { uid: 'x' }, /nobody knows whether it has that uid/],
    ['an earlier version', { resourceVersion: '2' }, /has been modified/],
    ['that its units stay', { propagationPolicy: 'Orphan' }, /what it owns cannot be let go of/],
  ] as const) {
    test(`what cannot be read is not thrown away on the condition of ${what}`, async (t) => {
      const { door, store, cache } = await openServer(t);
      const key = keys.object('unitsets', 'web');
      const outcome = await store.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: 'garbage' }] });
      await cache.untilRevision(outcome.revision);
      await refused(door.remove('unitsets', 'web', options, kubectl), 'Conflict', message);
      assert.ok(cache.broken.has(key));
      const resourceVersion = String(2 * outcome.revision);
      assert.ok((await door.remove('unitsets', 'web', { resourceVersion }, kubectl)).gone);
    });
  }
});

describe('door: when the store misbehaves', () => {
  test('a create whose answer is lost is found to have happened, by its uid', async (t) => {
    const { door, store, cache } = await openServer(t);
    store.faults.loseAnswers = 1;
    const { object } = await door.create('units', unit('a.service'), kubectl);
    assert.deepEqual(object, cache.joined('units', 'a.service'));
  });

  test('a change whose answer is lost is a Timeout that says so; repeating it is safe', async (t) => {
    const { door, store } = await openServer(t);
    await door.apply('units', 'a.service', unit('a.service'), as('x'));
    const wanted = unit('a.service', { content: content('/bin/true') });
    store.faults.loseAnswers = 1;
    await refused(door.apply('units', 'a.service', wanted, as('x')), 'Timeout', /may or may not have been written.*safe to repeat/);
    const { object, changed } = await door.apply('units', 'a.service', wanted, as('x'));
    assert.equal(changed, false);
    assert.equal(object.metadata.generation, 2);
  });

  test('a store that cannot be reached is ServiceUnavailable', async (t) => {
    const { door, store } = await openServer(t);
    store.faults.unavailable = true;
    const { details } = await refused(door.create('units', unit('a.service'), kubectl), 'ServiceUnavailable', /was not written/);
    assert.equal(details.retryAfterSeconds, 1);
    store.faults.unavailable = false;
    await door.create('units', unit('a.service'), kubectl);
  });

  test('SEMANTICS 6: what a controller writes under its fence is checked, defaulted, owned and compared like what comes over HTTP', async (t) => {
    const { door, store } = await openServer(t);
    const elected = await store.commit({
      compares: [{ key: keys.leader, modRevision: 0 }],
      operations: [{ do: 'put', key: keys.leader, value: '{}' }],
    });
    const fence = { key: keys.leader, createRevision: elected.revision };
    const controller = as('unitset', { fence });

    await refused(door.create('units', unit('a.service', { desiredState: 'running' }), controller), 'Invalid', /desiredState/);
    const { object } = await door.create('units', unit('a.service'), controller);
    assert.equal((object.spec as { desiredState?: string }).desiredState, 'launched');
    assert.deepEqual(
      object.metadata.managedFields?.map(({ manager }) => manager),
      ['unitset'],
    );
    await door.patch('units', 'a.service', { type: 'merge', body: { metadata: { labels: { a: '1' } } } }, kubectl);
    await refused(door.update('units', 'a.service', object, controller), 'Conflict', /modified/);

    await store.commit({ compares: [fence], operations: [{ do: 'delete', key: keys.leader }] });
    await assert.rejects(door.create('units', unit('b.service'), controller), { name: 'Fenced' });
  });

  test('SEMANTICS 6, invariant 3: a leader that was deposed learns it as Fenced and has written nothing', async (t) => {
    const { door, store } = await openServer(t);
    const fence = { key: keys.leader, createRevision: 7 };
    await assert.rejects(door.create('units', unit('a.service'), as('unitset', { fence })), { name: 'Fenced' });
    assert.deepEqual((await store.list(keys.root)).entries, []);
  });

  test('a cache that is behind gives no false answer: not found, unchanged and conflicts are confirmed first', async (t) => {
    const one = await openServer(t);
    const two = await openServer(t, one.store.peer());
    const behind = async <T>(write: () => Promise<unknown>, ask: () => Promise<T>): Promise<T> => {
      two.store.faults.watchesCut = true;
      await write();
      const asked = ask();
      setImmediate(() => (two.store.faults.watchesCut = false));
      return asked;
    };
    const apply = (server: typeof one, command: string) =>
      server.door.apply('units', 'a.service', unit('a.service', { content: content(command) }), as('x'));
    const patched = await behind(
      () => apply(one, '/bin/one'),
      () => two.door.patch('units', 'a.service', { type: 'merge', body: { metadata: { labels: { a: '1' } } } }, kubectl),
    );
    assert.deepEqual(patched.object.metadata.labels, { a: '1' });
    const again = await behind(
      () => apply(one, '/bin/two'),
      () => apply(two, '/bin/one'),
    );
    assert.equal(again.changed, true, 'what was wanted is not what there is any more');
    await behind(
      () => one.door.remove('units', 'a.service', {}, kubectl),
      () => two.door.create('units', unit('a.service'), kubectl),
    );
  });
});
