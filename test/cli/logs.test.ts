import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inOrder } from '../../cli/verbs/logs.js';

for (const { format, journals, merged } of [
  {
    format: 'short-iso',
    journals: [
      ['2026-01-01T10:00:00+0000 a one', '2026-01-01T10:00:02+0000 a three', '  and more of it'],
      ['2026-01-01T12:00:01+0200 b two'],
    ],
    merged: 'one two three it',
  },
  { format: 'short-unix', journals: [['10.5 a one', '12.0 a three'], ['11.25 b two']], merged: 'one two three' },
  {
    format: 'json',
    journals: [['{"__REALTIME_TIMESTAMP":"1000","MESSAGE":"x", "n": one'], ['{ "__REALTIME_TIMESTAMP" : "999", "n": zero']],
    merged: 'zero one',
  },
  { format: 'short', journals: [['Jan 01 10:00:01 a one'], ['Jan 01 10:00:00 b two']], merged: 'one two' },
  { format: 'cat', journals: [['b one'], ['a two']], merged: 'one two' },
] as const) {
  test(`inOrder: ${format}`, () => {
    const lastWords = inOrder(journals, format).map((line) => line.split(' ').at(-1));
    assert.equal(lastWords.join(' '), merged);
  });
}
