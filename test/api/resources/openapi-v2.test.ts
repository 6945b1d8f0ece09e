import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openApiDocuments } from '../../../api/resources/openapi.js';
import { openApiV2, type Swagger } from '../../../api/resources/openapi-v2.js';
import { swaggerProtobuf } from '../../../api/resources/openapi-v2-protobuf.js';
import { apiVersionOf, kinds } from '../../../api/resources/registry.js';

const swagger = openApiV2(openApiDocuments());
const text = JSON.stringify(swagger);

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly consumes?: readonly string[];
  readonly 'x-kubernetes-group-version-kind'?: unknown;
}

test('v2: no reference dangles, and none is of v3', () => {
  const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference!);
  assert.ok(references.length > 0);
  for (const reference of references) assert.ok(reference.replace('#/definitions/', '') in swagger.definitions, reference);
});

test('v2: it has no word that only v3 knows', () => {
  for (const word of ['nullable', 'anyOf', 'oneOf', 'requestBody', 'content":{"application']) assert.ok(!text.includes(`"${word}"`), word);
});

for (const kind of kinds) {
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind };

  test(`v2: ${kind.kind} has a schema that names it`, () => {
    const named = Object.values(swagger.definitions).filter(
      (schema) => JSON.stringify(schema['x-kubernetes-group-version-kind']) === JSON.stringify([gvk]),
    );
    assert.equal(named.length, 1);
    assert.equal(named[0]?.properties?.metadata?.type, 'object');
  });

  if (!kind.writable) continue;
  test(`v2: old kubectl leaves ${kind.plural} to the server and sends no strategic patches`, () => {
    const path = `/${kind.group === '' ? 'api/v1' : `apis/${apiVersionOf(kind)}`}/${kind.plural}/{name}`;
    const { patch } = swagger.paths[path] as { readonly patch: Operation };
    assert.deepEqual(patch['x-kubernetes-group-version-kind'], gvk);
    assert.ok(patch.parameters?.some((parameter) => parameter.name === 'fieldValidation' && parameter.in === 'query'));
    assert.ok(patch.parameters?.some((parameter) => parameter.name === 'body' && parameter.in === 'body'));
    assert.ok(!patch.consumes?.some((type) => type.includes('strategic')));
  });
}

/** What a reader without our tables sees: `[field number, content]`, the content being bytes, or a number for the other wire types. */
function fieldsOf(bytes: Uint8Array): [number, Uint8Array | number][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = view.getUint8(at++);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  const fields: [number, Uint8Array | number][] = [];
  while (at < bytes.length) {
    const tag = varint();
    const [number, wireType] = [tag >>> 3, tag & 7];
    if (wireType === 0) fields.push([number, varint()]);
    else if (wireType === 1) {
      fields.push([number, view.getFloat64(at, true)]);
      at += 8;
    } else {
      assert.equal(wireType, 2);
      const length = varint();
      fields.push([number, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  assert.equal(at, bytes.length);
  return fields;
}
const all = (bytes: Uint8Array | undefined, number: number): Uint8Array[] =>
  fieldsOf(bytes ?? new Uint8Array()).flatMap(([field, value]) => (field === number && typeof value !== 'number' ? [value] : []));
const one = (bytes: Uint8Array | undefined, ...path: number[]): Uint8Array | undefined =>
  path.reduce<Uint8Array | undefined>((at, number) => all(at, number)[0], bytes);
const word = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();
const entry = (map: Uint8Array | undefined, field: number, name: string): Uint8Array | undefined =>
  one(
    all(map, field).find((item) => word(one(item, 1)) === name),
    2,
  );

const bytes = swaggerProtobuf(swagger);

test('protobuf: paths and definitions are those of the JSON document, in order', () => {
  assert.equal(word(one(bytes, 1)), '2.0');
  assert.deepEqual(
    all(one(bytes, 8), 2).map((item) => word(one(item, 1))),
    Object.keys(swagger.paths),
  );
  assert.deepEqual(
    all(one(bytes, 9), 1).map((item) => word(one(item, 1))),
    Object.keys(swagger.definitions),
  );
});

test('protobuf: the patch operation says whose it is and that it validates', () => {
  const patch = one(entry(one(bytes, 8), 2, '/apis/flotilla.dev/v1/units/{name}'), 8);
  const extension = entry(patch, 13, 'x-kubernetes-group-version-kind');
  assert.deepEqual(JSON.parse(word(one(extension, 2))), { group: 'flotilla.dev', version: 'v1', kind: 'Unit' });
  const inQuery = all(patch, 8).map((parameter) => word(one(parameter, 1, 2, 3, 4)));
  assert.ok(inQuery.includes('fieldValidation'), inQuery.join());
});

test('protobuf: a schema keeps type, words, limits, list type and what lies below', () => {
  const properties = (schema: Uint8Array | undefined, name: string) => entry(one(schema, 25), 1, name);
  const unit = entry(one(bytes, 9), 1, 'dev.flotilla.v1.Unit');
  const spec = properties(unit, 'spec');
  const content = properties(spec, 'content');
  assert.equal(word(one(content, 22, 1)), 'string');
  assert.ok(fieldsOf(content!).some(([number, value]) => number === 11 && value === 65_536));
  assert.deepEqual(
    all(properties(spec, 'desiredState'), 20).map((value) => JSON.parse(word(one(value, 2)))),
    ['inactive', 'loaded', 'launched'],
  );
  const conflicts = properties(properties(spec, 'placement'), 'conflicts');
  assert.equal(word(one(conflicts, 22, 1)), 'array');
  assert.equal(word(one(conflicts, 23, 1, 22, 1)), 'string');
  assert.equal(word(one(entry(conflicts, 31, 'x-kubernetes-list-type'), 2)), '"set"');
  // A value that is a string or a list of them has no type in v2: anything goes, and the server decides.
  const option = one(properties(spec, 'sections'), 21, 1, 21, 1);
  assert.deepEqual(fieldsOf(option!), []);
});

test('protobuf: a word that has no place in the tables is an error', () => {
  const strange = { ...swagger, definitions: { Strange: { type: 'object', discriminators: 'x' } } } as Swagger;
  assert.throws(() => swaggerProtobuf(strange), /a Schema has no "discriminators"/);
});
