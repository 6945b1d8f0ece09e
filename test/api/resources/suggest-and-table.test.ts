import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { didYouMean, editDistance, nearest } from '../../../api/resources/suggest.js';
import { displayWidth, humanAge, humanDuration, renderTable } from '../../../api/resources/table.js';

const words = ['replicas', 'desiredState', 'placement', 'content', 'get', 'delete'];
for (const { word, found } of [
  { word: 'replcas', found: 'replicas' },
  { word: 'desiredstate', found: 'desiredState' },
  { word: 'palcement', found: 'placement' },
  { word: 'gte', found: 'get' },
  { word: 'gett', found: 'get' },
  { word: 'xyz', found: undefined },
  { word: '', found: undefined },
  { word: 'a'.repeat(10_000), found: undefined },
]) {
  test(`suggest: ${JSON.stringify(word.slice(0, 20))} was meant to be ${found}`, () => assert.equal(nearest(word, words), found));
}

test('suggest: said only when something is near', () => {
  assert.equal(didYouMean('plcement', words), '; did you mean "placement"?');
  assert.equal(didYouMean('zzzz', words), '');
});

test('suggest: the distance is symmetric, zero only for equals, and one for a swap', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
    }),
  );
  assert.equal(editDistance('ab', 'ba'), 1);
});

const now = new Date('2026-01-01T00:00:00Z');
for (const [seconds, text] of [
  [0, '0s'],
  [119, '119s'],
  [120, '2m'],
  [125, '2m5s'],
  [599, '9m59s'],
  [600, '10m'],
  [10_799, '179m'],
  [10_800, '3h'],
  [10_920, '3h2m'],
  [8 * 3600, '8h'],
  [47 * 3600, '47h'],
  [48 * 3600, '2d'],
  [2 * 86_400 + 3 * 3600, '2d3h'],
  [8 * 86_400 + 3600, '8d'],
  [729 * 86_400, '729d'],
  [731 * 86_400, '2y1d'],
  [9 * 365 * 86_400, '9y'],
  [-5, '0s'],
] as const) {
  test(`age: ${seconds} seconds are shown as ${text}`, () => {
    assert.equal(humanDuration(seconds * 1000), text);
    assert.equal(humanAge(new Date(now.getTime() - seconds * 1000).toISOString(), now), text);
  });
}

test('age: of a time that cannot be read is unknown', () => {
  for (const from of [null, undefined, 'yesterday']) assert.equal(humanAge(from, now), '<unknown>');
});

test('table: columns are padded to the widest cell, the last one is not', () => {
  assert.equal(
    renderTable(
      ['NAME', 'UNITS', 'AGE'],
      [
        ['a-long-name', 3, '5m'],
        ['b', null, '10d'],
      ],
    ), // prettier-ignore
    'NAME          UNITS   AGE\na-long-name   3       5m\nb                     10d\n',
  );
  assert.equal(renderTable(undefined, [['a', 'b']]), 'a   b\n');
  assert.equal(renderTable(undefined, []), '');
});

test('table: a cell can neither break its row nor steer the terminal', () => {
  assert.equal(renderTable(['A'], [['x\ny\u001b[2J\u0085']]), 'A\nx\\ny\\x1b[2J\\x85\n');
});

test('table: wide characters count as two columns', () => {
  assert.equal(displayWidth('你好'), 4);
  assert.equal(displayWidth('e\u0301'), 1);
  assert.equal(
    renderTable(undefined, [
      ['你好', 'x'],
      ['abcd', 'y'],
    ]),
    '你好   x\nabcd   y\n',
  ); // prettier-ignore
});
