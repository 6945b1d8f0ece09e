import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StatusError } from '../../../api/resources/errors.js';
import { jsonDepth, parseJson } from '../../../api/server/body.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

test('jsonDepth: says how deep any JSON nests, brackets and quotes in strings included', () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => assert.equal(jsonDepth(bytes(JSON.stringify(value))), depthOf(value))));
  assert.equal(jsonDepth(bytes('{"a\\"[":"]\\\\","b":[1]}')), 2);
});

test('parseJson: is JSON.parse for every ordinary value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      fc.pre(!text.includes('__proto__'));
      assert.deepEqual(parseJson(bytes(text), 1000), JSON.parse(text));
    }),
  );
});

for (const { name, text, message } of [
  { name: 'no body', text: '', message: /has no body/ },
  { name: 'cut off', text: '{"a":', message: /ends too early/ },
  { name: 'an error says where', text: '{\n  "a": 1,\n}', message: /line 3, column 1/ },
  { name: 'the text is never repeated', text: '{"password": hunter2}', message: /^(?!.*hunter2).*not JSON/ },
  { name: 'a key that reaches a prototype', text: '{"a":{"__proto__":{"b":1}}}', message: /__proto__/ },
  { name: 'the same key, escaped', text: '{"\\u005f_proto__":1}', message: /__proto__/ },
  { name: 'deeper than any object', text: '['.repeat(101) + ']'.repeat(101), message: /nests more than 100/ },
  { name: 'a million brackets do not exhaust the stack', text: '['.repeat(1_000_000), message: /nests more than 100/ },
]) {
  test(`parseJson: 400: ${name}`, () =>
    assert.throws(
      () => parseJson(bytes(text), 100),
      (error) => error instanceof StatusError && error.code === 400 && message.test(error.message),
    ));
}
