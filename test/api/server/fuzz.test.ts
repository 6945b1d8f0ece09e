import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type Rig, startRig, unitBody, units } from './rig.js';

let rig: Rig;
before(async () => {
  rig = await startRig();
  await rig.call('POST', units, { body: unitBody('a.service') });
});
after(() => rig.close());

const parameters = [
  'labelSelector',
  'fieldSelector',
  'limit',
  'continue',
  'resourceVersion',
  'resourceVersionMatch',
  'includeObject',
  'dryRun',
  'fieldManager',
  'fieldValidation',
  'force',
  'propagationPolicy',
  'gracePeriodSeconds',
];
const types = [
  'application/json',
  'application/yaml',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/json-patch+json',
  'application/apply-patch+yaml',
];
const query = fc.array(
  fc.tuple(fc.constantFrom(...parameters), fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom('0', '1', 'true', 'All', 'Exact'))),
  {
    maxLength: 4,
  },
);
/** Bodies near enough to a Unit to get past the first check, and others. */
const body = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.record(
    {
      apiVersion: fc.constant('flotilla.dev/v1'),
      kind: fc.constant('Unit'),
      metadata: fc.jsonValue({ maxDepth: 3 }),
      spec: fc.jsonValue({ maxDepth: 3 }),
    },
    { requiredKeys: [] },
  ),
  fc.array(
    fc.record(
      {
        op: fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test'),
        path: fc.string(),
        from: fc.string(),
        value: fc.jsonValue(),
      },
      { requiredKeys: ['op'] },
    ),
    { maxLength: 3 },
  ),
);

test('whatever a request holds, it is answered, never with 500, and every refusal is a Status', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE'),
      fc.oneof(
        fc.constant(units),
        fc.constant(`${units}/a.service`),
        fc.string({ minLength: 1, maxLength: 12 }).map((name) => `${units}/${encodeURIComponent(name)}`),
      ),
      query,
      fc.constantFrom(...types),
      body,
      async (method, path, parameters, type, content) => {
        const search = new URLSearchParams(parameters).toString();
        const answer = await rig.call(method, `${path}?${search}`, method === 'GET' ? {} : { body: JSON.stringify(content), type });
        assert.notEqual(answer.status, 500, `${method} ${path}?${search} ${type} ${JSON.stringify(content)}`);
        if (answer.status < 400) return;
        assert.deepEqual([answer.json?.kind, answer.json?.code], ['Status', answer.status], answer.text);
      },
    ),
    { numRuns: 300 },
  );
});
