import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WireObject } from '../../cli/objects.js';
import { patchText } from '../../cli/verbs/diff.js';

/** As servers show it: a mask in the value's place, another one once the value is another one. */
const secret = (mask: string, note = 'x'): WireObject => {
  const data = { password: `<redacted ${mask}>` };
  return { apiVersion: 'flotilla.dev/v1', kind: 'Secret', metadata: { name: 'db', labels: { note } }, ...{ data } };
};

test('a changed secret is seen to change', async () => {
  const text = await patchText('secret/db', secret('1f3a9c2e5b6d7f80'), secret('00c2e5b6d7f801f3'));
  assert.match(text, /^-.*password: <redacted 1f3a9c2e5b6d7f80>/m);
  assert.match(text, /^\+.*password: <redacted 00c2e5b6d7f801f3>/m);
});

test('an unchanged secret is no difference, beside one or alone', async () => {
  assert.equal(await patchText('secret/db', secret('1f3a9c2e5b6d7f80'), secret('1f3a9c2e5b6d7f80')), '');
  const text = await patchText('secret/db', secret('1f3a9c2e5b6d7f80', 'one'), secret('1f3a9c2e5b6d7f80', 'two'));
  assert.doesNotMatch(text, /^[-+].*password/m);
});
