/** What a client sent, read with suspicion: the object that it wants to be, and the conditions under which it wants that. */
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { type ManagedFieldsEntry, ObjectMeta } from '../resources/meta.js';
import { apiVersionOf } from '../resources/registry.js';
import { nearest } from '../resources/suggest.js';
import { isObject, type JsonObject, unsafeJson } from './json.js';
import type { WriteContext } from './ports.js';
import { describeUnknown, type SchemaCheck, type UnknownField } from './schema-check.js';
import type { ClearValues } from './secrets.js';
import { badRequest, invalid } from './status-errors.js';
import type { WholeObject } from './storage.js';

export interface Candidate {
  /** Without status, and without what only the system writes in metadata. Its fields are known by name; their shapes are not checked yet. */
  readonly object: WholeObject;
  readonly managedFields: readonly ManagedFieldsEntry[] | undefined;
  /** Wire resourceVersion that the client says it has seen. */
  readonly resourceVersion: number | undefined;
  readonly uid: string | undefined;
  readonly warnings: readonly string[];
  /** Values of which the object has masks only. */
  readonly clear?: ClearValues;
}

/** Metadata that its keepers write; all else there is the system's. */
const keepersMetadata = ['name', 'generateName', 'labels', 'annotations', 'finalizers', 'ownerReferences'] as const;

/**
 * @param name what the URL says; undefined for a create
 * @throws StatusError BadRequest (400), UnknownFields among them; Invalid (422) for a managedFields that is none
 */
export function readCandidate(
  kind: Kind,
  schema: SchemaCheck,
  body: unknown,
  name: string | undefined,
  fieldValidation: WriteContext['fieldValidation'] = 'Strict',
): Candidate {
  if (!isObject(body)) throw badRequest(`a ${kind.kind} must be an object`);
  const unsafe = unsafeJson(body);
  if (unsafe !== undefined) throw badRequest(`the object cannot be taken: ${unsafe}`);
  checkType(kind, body);

  const { status: _ignored, ...rest } = body;
  const { object, unknown } = schema.prune(rest);
  if (unknown.length > 0 && fieldValidation === 'Strict') throw new UnknownFields(unknown);
  const metadata = readMetadata(object.metadata);
  checkName(metadata, name);
  const kept = Object.fromEntries(keepersMetadata.flatMap((field) => (metadata[field] === undefined ? [] : [[field, metadata[field]]])));
  return {
    // Shapes are checked with the whole object, once it is whole: until then it is only promised.
    object: { ...object, metadata: { ...kept, ...(name === undefined ? {} : { name }) } } as unknown as WholeObject,
    managedFields: managedFieldsOf(kind, name ?? '', metadata),
    resourceVersion: versionOf(metadata.resourceVersion),
    uid: typeof metadata.uid === 'string' && metadata.uid !== '' ? metadata.uid : undefined,
    warnings: fieldValidation === 'Warn' ? unknown.slice(0, maxUnknown).map(describeUnknown) : [],
  };
}

/**
 * What a patch made of the live object. A field that the kind does not have is then in the patch, not in the body: 422, as Kubernetes has it.
 */
export function readPatched(
  kind: Kind,
  schema: SchemaCheck,
  document: JsonObject,
  name: string,
  fieldValidation: WriteContext['fieldValidation'],
): Candidate {
  try {
    return readCandidate(kind, schema, document, name, fieldValidation);
  } catch (error) {
    if (!(error instanceof UnknownFields)) throw error;
    throw invalid(kind, name, [{ field: 'patch', message: `Invalid value: ${error.message}` }]);
  }
}

const maxUnknown = 20;

/** BadRequest, unless whoever asked for the reading knows better what to call it. */
export class UnknownFields extends StatusError {
  constructor(unknown: readonly UnknownField[]) {
    const told = unknown.slice(0, maxUnknown).map(describeUnknown);
    if (unknown.length > maxUnknown) told.push(`and ${unknown.length - maxUnknown} more`);
    super('BadRequest', `strict decoding error: ${told.join(', ')}`);
  }
}

function checkType(kind: Kind, body: JsonObject): void {
  const expected = apiVersionOf(kind);
  if (typeof body.kind !== 'string' || body.kind === '') throw badRequest(`Object 'Kind' is missing: expected kind: ${kind.kind}`);
  if (typeof body.apiVersion !== 'string' || body.apiVersion === '') {
    throw badRequest(`Object 'apiVersion' is missing: expected apiVersion: ${expected}`);
  }
  if (body.apiVersion !== expected) {
    throw badRequest(`the API version in the data (${body.apiVersion}) does not match the expected API version (${expected})`);
  }
  if (body.kind !== kind.kind) {
    const meant = nearest(body.kind, [kind.kind]) === undefined ? '' : ` (did you mean "${kind.kind}"?)`;
    throw badRequest(`the kind in the data (${body.kind}) does not match the expected kind (${kind.kind})${meant}`);
  }
}

function readMetadata(metadata: unknown): JsonObject {
  if (metadata === undefined) return {};
  if (!isObject(metadata)) throw badRequest('metadata must be an object');
  return metadata;
}

function checkName(metadata: JsonObject, name: string | undefined): void {
  if (name === undefined) {
    if (typeof metadata.name === 'string' && metadata.name !== '') return;
    if (typeof metadata.generateName === 'string' && metadata.generateName !== '') return;
    throw badRequest('metadata.name is missing: name or generateName is required');
  }
  if (metadata.name !== undefined && metadata.name !== '' && metadata.name !== name) {
    throw badRequest(`the name of the object (${String(metadata.name)}) does not match the name on the URL (${name})`);
  }
}

/** '' and "0" are what clients send who have seen nothing and ask for nothing. */
function versionOf(version: unknown): number | undefined {
  if (version === undefined || version === '' || version === '0') return undefined;
  if (typeof version !== 'string' || !/^\d{1,15}$/.test(version)) {
    throw badRequest(`metadata.resourceVersion is not one of ours: ${JSON.stringify(version).slice(0, 40)}`);
  }
  return Number(version);
}

function managedFieldsOf(kind: Kind, name: string, metadata: JsonObject): readonly ManagedFieldsEntry[] | undefined {
  const parsed = ObjectMeta.shape.managedFields.safeParse(metadata.managedFields);
  if (parsed.success) return parsed.data;
  throw invalid(kind, name, [{ field: 'metadata.managedFields', message: 'Invalid value: not a list of managed fields entries' }]);
}
