import assert from 'node:assert/strict';
import { test } from 'node:test';
import { machineKind } from '../../../api/resources/machine-kind.js';
import { jsonSchemaOf, openApiDocuments, openApiIndex } from '../../../api/resources/openapi.js';
import { apiVersionOf, kinds } from '../../../api/resources/registry.js';
import { pruneUnknown, schemaErrors, unknownFieldMessage, unknownFields } from '../../../api/resources/schema-walk.js';
import { unitKind } from '../../../api/resources/unit-kind.js';

const unit = (spec: unknown, metadata: object = {}) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name: 'a.service', ...metadata },
  spec,
});

test('schema: unknown fields are found anywhere, with the nearest known one', () => {
  const object = {
    ...unit({ sections: { Any: { Thing: 'x' } }, placment: {}, placement: { tolerations: [{ kye: 'a' }] } }, { lables: {} }),
    extra: 1,
  };
  assert.deepEqual(unknownFields(unitKind, object), [
    { field: 'metadata.lables', suggestion: 'labels' },
    { field: 'spec.placment', suggestion: 'placement' },
    { field: 'spec.placement.tolerations[0].kye', suggestion: 'key' },
    { field: 'extra' },
  ]);
  assert.equal(
    unknownFieldMessage({ field: 'spec.placment', suggestion: 'placement' }),
    'unknown field "spec.placment"; did you mean "placement"?',
  );
});

test('schema: pruning takes the unknown fields out of a copy', () => {
  const object = { ...unit({ content: 'x', placment: {}, placement: { conflicts: ['a'], x: 1 } }), extra: 1 };
  const before = structuredClone(object);
  const pruned = pruneUnknown(unitKind, object);
  assert.deepEqual(pruned, unit({ content: 'x', placement: { conflicts: ['a'] } }) as unknown);
  assert.deepEqual(object, before);
  assert.deepEqual(unknownFields(unitKind, pruned), []);
});

test("schema: managedFields' own fields and unit sections have no unknown names", () => {
  const managedFields = [{ manager: 'm', operation: 'Apply', fieldsV1: { 'f:spec': { 'f:x': {} } } }];
  assert.deepEqual(schemaErrors(unitKind, unit({ sections: { Service: { ExecStart: ['a', 'b'] } } }, { managedFields })), []);
});

for (const { name, object, errors } of [
  { name: 'null', object: null, errors: [': expected a map, got null'] },
  { name: 'a list for the spec', object: unit([]), errors: ['spec: expected a map, got a list'] },
  {
    name: 'a number in a section',
    object: unit({ sections: { S: { A: 1 } } }),
    errors: ['spec.sections.S.A: expected a string or a list, got a number'],
  },
  {
    name: 'a number in a list in a section',
    object: unit({ sections: { S: { A: ['x', 1] } } }),
    errors: ['spec.sections.S.A[1]: expected a string, got a number; put it in quotes'],
  },
  { name: 'null for a map', object: unit({ placement: null }), errors: ['spec.placement: expected a map, got null'] },
  {
    name: 'a text without end',
    object: unit({ content: 'x'.repeat(65_537) }),
    errors: ['spec.content: must have at most 65536 characters'],
  },
  {
    name: 'a list without end',
    object: unit({ placement: { conflicts: Array(101).fill('a') } }),
    errors: ['spec.placement.conflicts: must have at most 100 items'],
  },
  { name: 'an empty name', object: unit({}, { name: '' }), errors: ['metadata.name: must not be empty'] },
  { name: 'a negative generation', object: unit({}, { generation: -1 }), errors: ['metadata.generation: must be at least 0'] },
  {
    name: 'a label named __proto__',
    object: JSON.parse('{"apiVersion":"flotilla.dev/v1","kind":"Unit","metadata":{"name":"a","labels":{"__proto__":"x"}}}'),
    errors: ['metadata.labels.__proto__: this key is not allowed anywhere'],
  },
]) {
  test(`schema: ${name} is told in a sentence`, () => {
    assert.deepEqual(
      schemaErrors(unitKind, object).map(({ field, message }) => `${field}: ${message}`),
      errors,
    );
  });
}

test('schema: errors are bounded and never quote a value', () => {
  const many = schemaErrors(unitKind, unit({ placement: { tolerations: Array(50).fill({ secret: 'hunter2', key: 5 }) } }));
  assert.equal(many.length, 20);
  assert.ok(!JSON.stringify(many).includes('hunter2'));
});

interface Operation {
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, unknown> };
  'x-kubernetes-group-version-kind'?: unknown;
}
const documents = new Map(
  openApiDocuments().map(({ path, body }) => [
    path,
    JSON.parse(body) as {
      paths: Record<string, Record<string, Operation>>;
      components: { schemas: Record<string, Record<string, unknown>> };
    },
  ]),
);

test('openapi: the index names each document by a URL that changes with it', () => {
  const documents = openApiDocuments();
  assert.deepEqual(Object.keys(openApiIndex(documents).paths), ['apis/flotilla.dev/v1', 'api/v1']);
  for (const { path, hash } of documents)
    assert.equal(openApiIndex(documents).paths[path]?.serverRelativeURL, `/openapi/v3/${path}?hash=${hash}`);
});

for (const kind of kinds) {
  const document = documents.get(kind.group === '' ? 'api/v1' : `apis/${apiVersionOf(kind)}`);
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind };

  test(`openapi: ${kind.kind} is there for explain`, () => {
    const operations = document?.paths[`/${kind.group === '' ? 'api/v1' : `apis/${apiVersionOf(kind)}`}/${kind.plural}/{name}`];
    assert.deepEqual(operations?.get?.['x-kubernetes-group-version-kind'], gvk);
    const schemas = Object.values(document?.components.schemas ?? {});
    assert.ok(schemas.some((schema) => JSON.stringify(schema['x-kubernetes-group-version-kind']) === JSON.stringify([gvk])));
  });

  test(`openapi: ${kind.kind} ${kind.writable ? 'leaves validation to the server' : 'cannot be written'}`, () => {
    const operations = Object.entries(document?.paths ?? {}).find(([path]) => path.endsWith(`/${kind.plural}/{name}`))?.[1];
    assert.equal(operations?.patch !== undefined, kind.writable);
    if (operations?.patch === undefined) return;
    assert.deepEqual(operations.patch['x-kubernetes-group-version-kind'], gvk);
    assert.ok(operations.patch.parameters?.some(({ name, in: place }) => name === 'fieldValidation' && place === 'query'));
    assert.ok(!Object.keys(operations.patch.requestBody?.content ?? {}).some((type) => type.includes('strategic')));
  });
}

test('openapi: no reference dangles', () => {
  for (const [path, document] of documents) {
    for (const [, name] of JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      assert.ok(name! in document.components.schemas, `${path}: ${name}`);
    assert.ok(!JSON.stringify(document).includes('#/definitions'));
  }
});

test('openapi: lists say how they merge, enums and descriptions are kept', () => {
  const schema = jsonSchemaOf(unitKind);
  const spec = schema.properties?.spec?.properties;
  assert.equal(spec?.placement?.properties?.conflicts?.['x-kubernetes-list-type'], 'set');
  assert.equal(spec?.placement?.properties?.tolerations?.['x-kubernetes-list-type'], 'atomic');
  assert.deepEqual(schema.properties?.status?.properties?.conditions?.['x-kubernetes-list-map-keys'], ['type']);
  assert.deepEqual(jsonSchemaOf(machineKind).properties?.spec?.properties?.taints?.['x-kubernetes-list-map-keys'], ['key', 'effect']);
  assert.deepEqual(spec?.desiredState?.enum, ['inactive', 'loaded', 'launched']);
  assert.match(spec?.content?.description ?? '', /verbatim/);
  assert.equal(JSON.stringify(schema).includes('additionalProperties":false'), false);
});

test('openapi: every path in listTypes is a list of the schema', () => {
  for (const kind of kinds) {
    for (const path of Object.keys(kind.listTypes)) {
      let schema: ReturnType<typeof jsonSchemaOf> | undefined = jsonSchemaOf(kind);
      for (const part of path.split('.')) schema = schema?.properties?.[part];
      assert.equal(schema?.type, 'array', `${kind.kind} ${path}`);
    }
  }
});
