import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  FieldSet,
  fieldElement,
  formatPath,
  keyElement,
  type PathElement,
  valueElement,
} from '../../../../api/objects/ownership/field-set.js';

const setOf = (...paths: (readonly PathElement[])[]) => FieldSet.build((insert) => paths.forEach(insert));
const pathsOf = (set: FieldSet) => [...set.paths()].map((path) => path.join(' '));

describe('fieldsV1', () => {
  for (const [what, fields, paths] of [
    ['leaves', { 'f:spec': { 'f:a': {}, 'f:b': {} } }, ['.spec.a', '.spec.b']],
    ['a dot says that the path itself is owned, too', { 'f:spec': { '.': {}, 'f:a': {} } }, ['.spec', '.spec.a']],
    [
      'keyed items',
      { 'f:ports': { 'k:{"name":"x","port":80}': { '.': {}, 'f:name': {} } } },
      ['.ports[name="x",port=80]', '.ports[name="x",port=80].name'],
    ],
    ['set items', { 'f:names': { 'v:"a"': {}, 'v:1': {} } }, ['.names[="a"]', '.names[=1]']],
    ['indices', { 'f:names': { 'i:0': {} } }, ['.names[0]']],
    ['nothing', {}, []],
  ] as const) {
    test(`reads and writes ${what}`, () => {
      const set = FieldSet.fromFieldsV1(fields)!;
      assert.deepEqual([...set.paths()].map(formatPath), paths);
      assert.deepEqual(set.toFieldsV1(), fields);
    });
  }

  test('the keys of an item are one key in any order', () => {
    const spelled = FieldSet.fromFieldsV1({ 'k:{"b":1,"a":2}': {} })!;
    assert.ok(spelled.equals(setOf([keyElement({ a: 2, b: 1 })])));
  });

  for (const wrong of [
    { spec: {} },
    { 'f:a': 1 },
    { 'k:nonsense': {} },
    { 'v:': {} },
    { 'i:x': {} },
    { 'f:a': { 'z:b': {} } },
    'text',
    null,
    [],
  ]) {
    test(`refuses ${JSON.stringify(wrong)}`, () => assert.equal(FieldSet.fromFieldsV1(wrong), undefined));
  }

  test('is written in one order: fields, keyed items, set items, indices', () => {
    const set = setOf(['i:1'], ['v:"a"'], ['k:{"n":1}'], ['f:b'], ['f:a']);
    assert.deepEqual(Object.keys(set.toFieldsV1()), ['f:a', 'f:b', 'k:{"n":1}', 'v:"a"', 'i:1']);
  });
});

const element = fc.oneof(
  fc.constantFrom('a', 'b', 'c', '.').map(fieldElement),
  fc.constantFrom('x', 1, true).map(valueElement),
  fc.constantFrom('x', 'y').map((name) => keyElement({ name })),
);
const anySet = fc.array(fc.array(element, { minLength: 1, maxLength: 4 }), { maxLength: 8 }).map((paths) => setOf(...paths));

describe('field sets: the algebra, against sets of paths', () => {
  const model = (set: FieldSet) => new Set(pathsOf(set));
  for (const [name, ours, theirs] of [
    ['union', (a: FieldSet, b: FieldSet) => a.union(b), (a: Set<string>, b: Set<string>) => new Set([...a, ...b])],
    [
      'intersection',
      (a: FieldSet, b: FieldSet) => a.intersection(b),
      (a: Set<string>, b: Set<string>) => new Set([...a].filter((path) => b.has(path))),
    ],
    [
      'difference',
      (a: FieldSet, b: FieldSet) => a.difference(b),
      (a: Set<string>, b: Set<string>) => new Set([...a].filter((path) => !b.has(path))),
    ],
  ] as const) {
    test(name, () => fc.assert(fc.property(anySet, anySet, (a, b) => assert.deepEqual(model(ours(a, b)), theirs(model(a), model(b))))));
  }

  test('equality is equality of paths, and the empty set is one', () =>
    fc.assert(
      fc.property(anySet, anySet, (a, b) => {
        assert.equal(a.equals(b), pathsOf(a).join() === pathsOf(b).join());
        assert.equal(a.isEmpty, pathsOf(a).length === 0);
        assert.ok(a.difference(a).isEmpty);
        for (const path of a.paths()) assert.ok(a.has(path));
      }),
    ));

  test('written and read is the same', () =>
    fc.assert(fc.property(anySet, (set) => assert.ok(FieldSet.fromFieldsV1(JSON.parse(JSON.stringify(set.toFieldsV1())))!.equals(set)))));
});
