/**
 * OpenAPI v3 documents, generated from the kinds' zod schemas: what kubectl needs to leave validation to the server (a patch operation
 * with a group, version and kind, and a `fieldValidation` parameter) and to `explain` a kind.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Kind } from './kinds.js';
import { apiVersionOf, kinds } from './registry.js';

export interface JsonSchema {
  type?: string;
  description?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  required?: string[];
  enum?: unknown[];
  [keyword: string]: unknown;
}

export interface OpenApiDocument {
  /** Key in the index and path below /openapi/v3/: `apis/flotilla.dev/v1` or `api/v1`. */
  readonly path: string;
  /** The document as JSON text. */
  readonly body: string;
  /** Changes when the body does; part of the URL, so that clients can keep it for ever. */
  readonly hash: string;
}

/** Lists in the envelope that every kind shares. */
const metadataListTypes: Kind['listTypes'] = {
  'metadata.finalizers': { type: 'set' },
  'metadata.ownerReferences': { type: 'map', keys: ['uid'] },
  'metadata.managedFields': { type: 'atomic' },
};

const envelope = {
  apiVersion: 'Group and version of the kind.',
  kind: 'Which kind of object this is.',
  metadata: 'Name, labels and the rest that all objects share.',
};

/** The kind's schema as OpenAPI 3.0 has it, with Kubernetes' list types; the caller may change it. */
export function jsonSchemaOf(kind: Kind): JsonSchema {
  const schema = z.toJSONSchema(kind.schema, { target: 'openapi-3.0', io: 'input', unrepresentable: 'any' }) as JsonSchema;
  tidy(schema);
  schema.description = kind.description;
  for (const [name, description] of Object.entries(envelope)) {
    const property = schema.properties?.[name];
    if (property !== undefined) property.description ??= description;
  }
  const listTypes = { ...metadataListTypes, ...kind.listTypes };
  annotateLists(schema, '', listTypes);
  return schema;
}

/** Takes out what Kubernetes' clients do not expect in a schema. */
function tidy(schema: JsonSchema): void {
  delete schema.$schema;
  delete schema.propertyNames;
  // The server refuses unknown fields and says which was meant; the document need not.
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  for (const child of childrenOf(schema)) tidy(child);
}

function childrenOf(schema: JsonSchema): JsonSchema[] {
  const children = Object.values(schema.properties ?? {});
  if (typeof schema.additionalProperties === 'object') children.push(schema.additionalProperties);
  if (schema.items !== undefined) children.push(schema.items);
  for (const keyword of ['anyOf', 'oneOf', 'allOf']) {
    const options = schema[keyword];
    if (Array.isArray(options)) children.push(...(options as JsonSchema[]));
  }
  return children;
}

function annotateLists(schema: JsonSchema, path: string, listTypes: Kind['listTypes']): void {
  if (schema.type === 'array') {
    const { type, keys } = listTypes[path] ?? { type: 'atomic' };
    schema['x-kubernetes-list-type'] = type;
    if (keys !== undefined) schema['x-kubernetes-list-map-keys'] = keys;
  }
  for (const [name, child] of Object.entries(schema.properties ?? {}))
    annotateLists(child, path === '' ? name : `${path}.${name}`, listTypes);
  if (schema.items !== undefined) annotateLists(schema.items, `${path}[]`, listTypes);
}

const gvkOf = ({ group, version, kind }: Kind, suffix = ''): { group: string; version: string; kind: string } => ({
  group,
  version,
  kind: `${kind}${suffix}`,
});

/** Component name, as Kubernetes forms it: the group backwards, the version, the kind. */
function componentName({ group, version, kind }: Kind): string {
  const domain = group === '' ? 'io.k8s.api.core' : group.split('.').reverse().join('.');
  return `${domain}.${version}.${kind}`;
}

const documentPath = ({ group, version }: Kind): string => (group === '' ? `api/${version}` : `apis/${group}/${version}`);

const query = (name: string, type: string, description: string) => ({ name, in: 'query', description, schema: { type } });

const writeParameters = [
  query('dryRun', 'string', 'All: run everything and store nothing.'),
  query('fieldManager', 'string', 'The name under which the fields written are owned.'),
  query('fieldValidation', 'string', 'What to do with unknown fields: Strict (default), Warn or Ignore.'),
];
const listParameters = [
  query('labelSelector', 'string', 'Only objects whose labels match.'),
  query('fieldSelector', 'string', 'Only objects whose fields match.'),
  query('limit', 'integer', 'At most this many; the answer tells how to continue.'),
  query('continue', 'string', 'From an earlier, limited answer.'),
  query('watch', 'boolean', 'Stream changes instead.'),
  query('resourceVersion', 'string', 'From where on to watch.'),
  query('allowWatchBookmarks', 'boolean', 'Send bookmarks in a watch.'),
  query('timeoutSeconds', 'integer', 'End the watch after this time.'),
];
const deleteParameters = [
  query('dryRun', 'string', 'All: run everything and store nothing.'),
  query('propagationPolicy', 'string', 'Orphan, Background or Foreground.'),
];
const forceParameter = query('force', 'boolean', 'Server-side apply: take fields over from other managers.');

const scaleKind = { group: 'autoscaling', version: 'v1', kind: 'Scale' };
const scaleName = 'io.k8s.api.autoscaling.v1.Scale';

/** autoscaling/v1 Scale, as `/scale` answers. */
const scaleSchema = {
  type: 'object',
  description: 'The number of replicas of an object, apart from the object itself.',
  properties: {
    apiVersion: { type: 'string', description: envelope.apiVersion },
    kind: { type: 'string', description: envelope.kind },
    metadata: { type: 'object', description: envelope.metadata },
    spec: {
      type: 'object',
      description: 'What should be.',
      properties: { replicas: { type: 'integer', format: 'int32', description: 'How many there should be.' } },
    },
    status: {
      type: 'object',
      description: 'What was seen; written by the system.',
      required: ['replicas'],
      properties: {
        replicas: { type: 'integer', format: 'int32', description: 'How many there are.' },
        selector: { type: 'string', description: 'Label selector that finds them.' },
      },
    },
  },
  'x-kubernetes-group-version-kind': [scaleKind],
};

function pathsOf(kind: Kind): Record<string, unknown> {
  const reference = { $ref: `#/components/schemas/${componentName(kind)}` };
  const list = { $ref: `#/components/schemas/${componentName(kind)}List` };
  const body = (schema: unknown) => ({ required: true, content: { 'application/json': { schema }, 'application/yaml': { schema } } });
  const operation = (action: string, parameters: readonly unknown[], answer: unknown, requestBody?: unknown, scale = false) => ({
    operationId: `${action}${kind.kind}${scale ? 'Scale' : ''}`,
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': scale ? scaleKind : gvkOf(kind),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: { 200: { description: 'OK', content: { 'application/json': { schema: answer } } } },
  });
  // No strategic merge patch: kubectl would then send one on apply.
  const patches = ['application/merge-patch+json', 'application/json-patch+json', 'application/apply-patch+yaml'];
  const patchBody = { required: true, content: Object.fromEntries(patches.map((type) => [type, { schema: {} }])) };
  const root = `/${documentPath(kind)}/${kind.plural}`;
  const named = { parameters: [{ name: 'name', in: 'path', required: true, schema: { type: 'string' } }] };
  const scale = { $ref: `#/components/schemas/${scaleName}` };
  const scalePatches = Object.fromEntries(patches.slice(0, 2).map((type) => [type, { schema: {} }]));
  return {
    [root]: {
      get: operation('list', listParameters, list),
      ...(kind.writable ? { post: operation('post', writeParameters, reference, body(reference)) } : {}),
    },
    [`${root}/{name}`]: {
      ...named,
      get: operation('get', [], reference),
      ...(kind.writable || kind.changeable
        ? {
            put: operation('put', writeParameters, reference, body(reference)),
            patch: operation('patch', [...writeParameters, forceParameter], reference, patchBody),
          }
        : {}),
      ...(kind.writable ? { delete: operation('delete', deleteParameters, { type: 'object' }) } : {}),
    },
    ...(kind.scale
      ? {
          [`${root}/{name}/scale`]: {
            ...named,
            get: operation('get', [], scale, undefined, true),
            put: operation('put', writeParameters, scale, body(scale), true),
            patch: operation('patch', writeParameters, scale, { required: true, content: scalePatches }, true),
          },
        }
      : {}),
  };
}

function schemasOf(kind: Kind): Record<string, unknown> {
  const name = componentName(kind);
  return {
    [name]: { ...jsonSchemaOf(kind), 'x-kubernetes-group-version-kind': [gvkOf(kind)] },
    [`${name}List`]: {
      type: 'object',
      description: `A list of ${kind.kind} objects.`,
      required: ['items'],
      properties: {
        apiVersion: { type: 'string' },
        kind: { type: 'string' },
        metadata: {
          type: 'object',
          properties: { resourceVersion: { type: 'string' }, continue: { type: 'string' }, remainingItemCount: { type: 'integer' } },
        },
        items: { type: 'array', items: { $ref: `#/components/schemas/${name}` } },
      },
      'x-kubernetes-group-version-kind': [gvkOf(kind, 'List')],
    },
  };
}

function build(path: string, members: readonly Kind[]): OpenApiDocument {
  const body = JSON.stringify({
    openapi: '3.0.0',
    info: { title: 'Flotilla', version: apiVersionOf(members[0]!) },
    paths: Object.assign({}, ...members.map(pathsOf)),
    components: {
      schemas: Object.assign(members.some(({ scale }) => scale) ? { [scaleName]: scaleSchema } : {}, ...members.map(schemasOf)),
    },
  });
  return { path, body, hash: createHash('sha256').update(body).digest('hex').toUpperCase() };
}

/** One document for each API group and version. */
export const openApiDocuments = (all: readonly Kind[] = kinds): readonly OpenApiDocument[] =>
  [...new Set(all.map(documentPath))].map((path) =>
    build(
      path,
      all.filter((kind) => documentPath(kind) === path),
    ),
  );

/** The answer of GET /openapi/v3. */
export const openApiIndex = (
  documents: readonly OpenApiDocument[],
): { readonly paths: Readonly<Record<string, { readonly serverRelativeURL: string }>> } => ({
  paths: Object.fromEntries(documents.map(({ path, hash }) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }])),
});
