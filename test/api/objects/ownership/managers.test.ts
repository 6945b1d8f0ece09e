import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FieldSet } from '../../../../api/objects/ownership/field-set.js';
import { isReset, maxUpdateOwners, type Owner, ownerKey, readOwners, writeOwners } from '../../../../api/objects/ownership/managers.js';

const owner = (manager: string, operation: Owner['operation'], time: string, field = manager): [string, Owner] => {
  const fields = FieldSet.build((insert) => insert([`f:${field}`]));
  const of: Owner = { manager, operation, apiVersion: 'flotilla.dev/v1', time, subresource: '', fields };
  return [ownerKey(of), of];
};

test('managedFields: written and read is the same, in the order Apply, Update, then by time', () => {
  const owners = new Map([
    owner('c', 'Update', '2026-01-01T00:00:03Z'),
    owner('b', 'Update', '2026-01-01T00:00:01Z'),
    owner('a', 'Apply', '2026-01-01T00:00:09Z'),
  ]);
  const entries = writeOwners(owners);
  assert.deepEqual(
    entries.map(({ manager }) => manager),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(entries[0], {
    manager: 'a',
    operation: 'Apply',
    apiVersion: 'flotilla.dev/v1',
    time: '2026-01-01T00:00:09Z',
    fieldsType: 'FieldsV1',
    fieldsV1: { 'f:a': {} },
  });
  assert.deepEqual(writeOwners(readOwners(entries)!), entries);
});

test('managedFields: entries that name one owner twice are one', () => {
  const [entry] = writeOwners(new Map([owner('a', 'Apply', '')]));
  const owners = readOwners([entry!, { ...entry!, fieldsV1: { 'f:b': {} } }])!;
  assert.deepEqual(writeOwners(owners)[0]!.fieldsV1, { 'f:a': {}, 'f:b': {} });
});

test('managedFields: the oldest updaters become one when there are more than ten, appliers stay', () => {
  const updaters = Array.from({ length: 15 }, (_, index) => owner(`u${index}`, 'Update', `2026-01-01T00:00:${String(10 + index)}Z`));
  const entries = writeOwners(new Map([...updaters, owner('a', 'Apply', '2020-01-01T00:00:00Z')]));
  const names = entries.map(({ manager }) => manager);
  assert.deepEqual(names, ['a', 'ancient-changes', ...Array.from({ length: maxUpdateOwners - 1 }, (_, index) => `u${index + 6}`)]);
  assert.deepEqual(Object.keys(entries[1]!.fieldsV1!), ['f:u0', 'f:u1', 'f:u2', 'f:u3', 'f:u4', 'f:u5']);
  const again = writeOwners(new Map([...readOwners(entries)!, owner('new', 'Update', '2026-01-02T00:00:00Z')]));
  assert.equal(again.filter(({ operation }) => operation === 'Update').length, maxUpdateOwners);
  assert.ok(Object.keys(again[1]!.fieldsV1!).includes('f:u6'));
});

test('managedFields: a single empty entry is a reset, no entry is not', () => {
  assert.ok(isReset([{}]));
  for (const entries of [undefined, [], [{}, {}], [{ manager: 'a' }]]) assert.ok(!isReset(entries));
});

test('managedFields: what is not understood is not read at all', () => {
  for (const entry of [
    {},
    { manager: 'a' },
    { manager: 'a', operation: 'Apply' as const, fieldsType: 'FieldsV1' as const, fieldsV1: { x: {} } },
  ]) {
    assert.equal(readOwners([entry]), undefined);
  }
});
