import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { repeatedFields } from '../../../api/server/repeated-fields.js';

for (const [json, found] of [
  ['{"a":1,"a":2}', ['a']],
  ['{"spec":{"state":"x","text":"y","state":"z"}}', ['spec.state']],
  ['{ "a" : 1 ,\n"a"\t: 2, "a":3 }', ['a']],
  ['{"a":{"b":1},"c":{"b":1}}', []],
  ['[{"op":"add"},{"op":"add","path":"/a","op":"test"}]', ['[1].op']],
  ['{"list":[[1,{"x":1}],{"y":[2,3,{"z":1,"z":1}]}]}', ['list[1].y[2].z']],
  ['{"a":"b","b":"a"}', []],
  ['{"a":"\\"a\\":","c":1}', []],
  ['{"a\\\\":1,"a":2}', []],
  ['{"\\u0061":1,"a":2}', ['a']],
  ['{"a":1,"A":1}', []],
  ['["a","a"]', []],
  ['"a"', []],
] as const) {
  test(`repeated fields of ${json}: ${found.join() || 'none'}`, () => assert.deepEqual(repeatedFields(json), found));
}

test('repeated fields: what JSON.stringify writes has none, however it looks', () =>
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary' }), fc.constantFrom(0, 2), (value, indent) =>
      assert.deepEqual(repeatedFields(JSON.stringify(value, undefined, indent)), []),
    ),
  ));

test('repeated fields: a name given twice is found wherever it stands', () =>
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (name, one, between, two) => {
      const key = JSON.stringify(name);
      const other = JSON.stringify(`${name}!`);
      const json = `{"in":[${JSON.stringify(between)},{${key}:${JSON.stringify(one)},${other}:${JSON.stringify(between)},${key}:${JSON.stringify(two)}}]}`;
      assert.equal(repeatedFields(json).length, 1);
    }),
  ));

test('repeated fields: a text of nothing else names twenty of them', () => {
  const json = `{${Array.from({ length: 100 }, (_, at) => `"k${at}":1,"k${at}":2`).join()}}`;
  assert.equal(repeatedFields(json).length, 20);
});
