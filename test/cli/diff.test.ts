import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WireObject } from '../../cli/objects.js';
import { patchText } from '../../cli/verbs/diff.js';

const secret = (password: string, note = 'x'): WireObject => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Secret',
  metadata: { name: 'db', labels: { note } },
  spec: { data: { password } },
});

test('a changed secret is seen to change, and neither value is shown', async () => {
  const text = await patchText('secret/db', secret('hunter2'), secret('hunter3'));
  assert.match(text, /^-.*password/m);
  assert.match(text, /^\+.*password/m);
  assert.doesNotMatch(text, /hunter/);
});

test('an unchanged secret is no difference, and is masked beside one', async () => {
  assert.equal(await patchText('secret/db', secret('hunter2'), secret('hunter2')), '');
  const text = await patchText('secret/db', secret('hunter2', 'one'), secret('hunter2', 'two'));
  assert.doesNotMatch(text, /^[-+].*password|hunter/m);
});
