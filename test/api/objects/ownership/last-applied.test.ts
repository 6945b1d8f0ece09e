import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastAppliedAnnotation, withLastApplied } from '../../../../api/objects/ownership/last-applied.js';

/** As `kubectl apply` leaves it, taken from kubectl 1.33. */
const written =
  '{"apiVersion":"flotilla.dev/v1","kind":"Unit","metadata":{"annotations":{},"labels":{"app":"web"},"name":"a.service"},' +
  '"spec":{"content":"[Service]\\nExecStart=/bin/sh -c \'a \\u0026\\u0026 b \\u003e/dev/null\'\\n","desiredState":"loaded"}}\n';
const config = {
  kind: 'Unit',
  apiVersion: 'flotilla.dev/v1',
  spec: { desiredState: 'loaded', content: "[Service]\nExecStart=/bin/sh -c 'a && b >/dev/null'\n" },
  metadata: { name: 'a.service', labels: { app: 'web' }, annotations: {} },
};
const live = (text: string) => ({ metadata: { annotations: { [lastAppliedAnnotation]: text, other: 'x' } } });

test('last applied: the same configuration is the text that kubectl itself wrote, and so no change', () => {
  const object = live(written);
  assert.equal(withLastApplied(object, config), object);
});

test('last applied: another configuration replaces the text, and other annotations stay', () => {
  const { annotations } = withLastApplied(live('{}'), config).metadata;
  assert.deepEqual(annotations, { [lastAppliedAnnotation]: written, other: 'x' });
});

test('last applied: who has no annotation gets none', () => {
  const object = { metadata: {} };
  assert.equal(withLastApplied(object, config), object);
});
