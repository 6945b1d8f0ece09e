/** POST, PUT, PATCH, DELETE: what a request says, handed to the object door. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { DeleteOptions, ObjectWritten, WriteContext } from '../objects/ports.js';
import { badRequest, invalid, notFound } from '../objects/status-errors.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { paramsOf } from './access.js';
import { bytesOf, parseJson, parseObject, repeatedFieldsOf } from './body.js';
import { acceptedPatches, mediaType, negotiate, patchType } from './negotiation.js';
import { protobufType } from './protobuf.js';
import { dryRunOf, queryOf, readOptions, type WriteQuery, wholeNumber, writeQuery } from './query.js';
import { isElsewhere, sendJson } from './reads.js';
import { renderObject, viewOf } from './representation.js';
import type { RestPorts } from './rest-ports.js';
import { warningHeaders } from './status.js';

const unnamedManager = 'unknown';

export const contextOf = (query: WriteQuery): WriteContext => ({
  manager: query.fieldManager ?? unnamedManager,
  dryRun: query.dryRun,
  force: query.force,
  ...(query.fieldValidation !== undefined && { fieldValidation: query.fieldValidation }),
});

/** What a write is to be warned of because its body gives a field twice. Throws what `refuse` makes of it where that is not to pass. */
const warningsOf = (request: FastifyRequest, query: WriteQuery, refuse: (why: string) => StatusError): string[] =>
  warningsOfRepeated(() => repeatedFieldsOf(request), query, refuse);

export function warningsOfRepeated(
  fields: () => readonly string[],
  { fieldValidation = 'Strict' }: Pick<WriteQuery, 'fieldValidation'>,
  refuse: (why: string) => StatusError,
): string[] {
  const repeated = fieldValidation === 'Ignore' ? [] : fields().map((path) => `duplicate field "${path}"`);
  if (repeated.length > 0 && fieldValidation === 'Strict') throw refuse(`strict decoding error: ${repeated.join(', ')}`);
  return repeated;
}

export type Effect = 'created' | 'configured' | 'unchanged';

export const effectOf = ({ created, changed }: ObjectWritten): Effect => (created ? 'created' : changed ? 'configured' : 'unchanged');

function sendWritten(
  ports: RestPorts,
  kind: Kind,
  request: FastifyRequest,
  reply: FastifyReply,
  written: ObjectWritten,
  warningsBefore: readonly string[],
): FastifyReply {
  const warnings = [...warningsBefore, ...written.warnings];
  const as = negotiate(request.headers.accept, readOptions(queryOf(request)).includeObject);
  if (warnings.length > 0) reply.header('warning', warningHeaders(warnings));
  // For our own client, which says what became of each manifest; Kubernetes' clients find it out by asking before and after.
  reply.header('flotilla-write', effectOf(written));
  return sendJson(reply, written.created ? 201 : 200, renderObject(kind, written.object, as, viewOf(ports)));
}

/** Everything that can be wrong with the request itself is found before anything is written. */
export function readWrite(request: FastifyRequest): WriteQuery {
  const query = queryOf(request);
  negotiate(request.headers.accept, readOptions(query).includeObject);
  return writeQuery(query, request.headers['user-agent']);
}

export function createHandler(ports: RestPorts, kind: Kind) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const query = readWrite(request);
    const body = parseObject(request, ports.limits.maxBodyDepth);
    const warnings = warningsOf(request, query, badRequest);
    return sendWritten(ports, kind, request, reply, await ports.door.create(kind.plural, body, contextOf(query)), warnings);
  };
}

export function updateHandler(ports: RestPorts, kind: Kind) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const query = readWrite(request);
    const body = parseObject(request, ports.limits.maxBodyDepth);
    const name = nameInUrl(request, body);
    const warnings = warningsOf(request, query, badRequest);
    return sendWritten(ports, kind, request, reply, await ports.door.update(kind.plural, name, body, contextOf(query)), warnings);
  };
}

export function patchHandler(ports: RestPorts, kind: Kind) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    reply.header('accept-patch', acceptedPatches);
    const type = patchType(request.headers['content-type']);
    const query = readWrite(request);
    if (type === 'apply') return apply(ports, kind, request, reply, query);
    if (queryOf(request).has('force')) {
      throw new StatusError(
        'Invalid',
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
        {
          causes: [{ reason: 'FieldValueForbidden', message: 'may not be specified for non-apply patch', field: 'force' }],
        },
      );
    }
    const body = parseJson(bytesOf(request), ports.limits.maxBodyDepth);
    const name = paramsOf(request).name!;
    const refuse = (why: string) => invalid(kind, name, [{ field: 'patch', message: `Invalid value: ${why}` }]);
    const warnings = warningsOf(request, query, refuse);
    return sendWritten(ports, kind, request, reply, await ports.door.patch(kind.plural, name, { type, body }, contextOf(query)), warnings);
  };
}

async function apply(ports: RestPorts, kind: Kind, request: FastifyRequest, reply: FastifyReply, query: WriteQuery): Promise<FastifyReply> {
  checkManagerGiven(query);
  const body = parseObject(request, ports.limits.maxBodyDepth);
  const name = nameInUrl(request, body);
  const warnings = warningsOf(request, query, badRequest);
  return sendWritten(ports, kind, request, reply, await ports.door.apply(kind.plural, name, body, contextOf(query)), warnings);
}

/** Who applies owns fields from then on, and says by which name. */
export function checkManagerGiven({ fieldManagerGiven }: WriteQuery): void {
  if (fieldManagerGiven) return;
  throw new StatusError('Invalid', 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch', {
    causes: [{ reason: 'FieldValueRequired', message: 'Required value: is required for apply patch', field: 'fieldManager' }],
  });
}

/** The URL names the object; a body that names another one is a mistake that nobody wants carried out. */
export function nameInUrl(request: FastifyRequest, body: unknown): string {
  const name = paramsOf(request).name!;
  const inBody = member(member(body, 'metadata'), 'name');
  if (typeof inBody === 'string' && inBody !== '' && inBody !== name) {
    throw new StatusError('BadRequest', `the name of the object (${inBody}) does not match the name on the URL (${name})`);
  }
  return name;
}

export const member = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;

export function deleteHandler(ports: RestPorts, kind: Kind) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const query = readWrite(request);
    const { options, dryRun, force } = deleteOptions(request, ports.limits.maxBodyDepth);
    const name = paramsOf(request).name!;
    const context = { ...contextOf(query), dryRun: query.dryRun || dryRun, force: query.force || force };
    const there = kind.namespaced ? ports.cache.joined(kind.plural, name) : undefined;
    if (there && isElsewhere(kind, there, request)) throw notFound(kind, name);
    const { object, gone } = await ports.door.remove(kind.plural, name, options, context);
    if (!gone) return sendJson(reply, 200, JSON.stringify(object));
    return sendJson(
      reply,
      200,
      JSON.stringify({
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Success',
        details: { name, ...(kind.group !== '' && { group: kind.group }), kind: kind.plural, uid: object.metadata.uid },
      }),
    );
  };
}

const propagationPolicies = ['Orphan', 'Background', 'Foreground'] as const;

/** DeleteOptions come as a body, as query parameters, or both; the body wins. */
function deleteOptions(request: FastifyRequest, maxDepth: number): DeleteRequest {
  const type = mediaType(request.headers['content-type']);
  const bytes = bytesOf(request);
  if (bytes.length > 0 && type !== '' && type !== 'application/json' && type !== protobufType) {
    throw new StatusError('UnsupportedMediaType', `DeleteOptions must be application/json, not ${type}`);
  }
  return deleteRequest(bytes.length === 0 ? {} : parseObject(request, maxDepth), queryOf(request));
}

export interface DeleteRequest {
  readonly options: DeleteOptions;
  readonly dryRun: boolean;
  readonly force: boolean;
}

/** @param body DeleteOptions. Throws BadRequest (400). */
export function deleteRequest(body: unknown, query: URLSearchParams): DeleteRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new StatusError('BadRequest', 'the body of a DELETE must be DeleteOptions');
  }
  const text = (value: unknown, field: string): string | undefined => {
    if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
    throw new StatusError('BadRequest', `DeleteOptions: ${field} must be a string`);
  };
  const preconditions = member(body, 'preconditions');
  const uid = text(member(preconditions, 'uid'), 'preconditions.uid');
  const resourceVersion = text(member(preconditions, 'resourceVersion'), 'preconditions.resourceVersion');
  const policy = text(member(body, 'propagationPolicy'), 'propagationPolicy') ?? query.get('propagationPolicy') ?? undefined;
  const propagationPolicy = propagationPolicies.find((known) => known === policy);
  if (policy !== undefined && propagationPolicy === undefined) {
    throw new StatusError('BadRequest', `DeleteOptions: propagationPolicy must be one of ${propagationPolicies.join(', ')}`);
  }
  const dryRun = member(body, 'dryRun');
  if (dryRun !== undefined && dryRun !== null && !(Array.isArray(dryRun) && dryRun.every((value) => typeof value === 'string'))) {
    throw new StatusError('BadRequest', 'DeleteOptions: dryRun must be a list of words');
  }
  const grace = member(body, 'gracePeriodSeconds') ?? wholeNumber(query, 'gracePeriodSeconds');
  return {
    options: {
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      ...(propagationPolicy !== undefined && { propagationPolicy }),
    },
    dryRun: dryRunOf(Array.isArray(dryRun) ? dryRun : []),
    // `kubectl delete --force --grace-period=0`: do not wait for the machine (SEMANTICS 8).
    force: grace === 0,
  };
}
