/**
 * `POST …/apply`: many server-side applies in one request, one JSON object a line, and a line of answer for each, in the same order. Each
 * is what a PATCH of its own would be: the same checks, the same door, its own success or failure.
 */
import { setImmediate } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../runtime/log.js';
import { badRequest } from '../objects/status-errors.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { group, version } from '../resources/meta.js';
import { didYouMean } from '../resources/suggest.js';
import { forbidden } from './access.js';
import { bytesOf, parseJson, repeatedFieldsIn } from './body.js';
import type { Identity } from './identity.js';
import { mediaType } from './negotiation.js';
import type { Authorize } from './ports.js';
import { queryOf, type WriteQuery, writeQuery } from './query.js';
import type { RestPorts } from './rest-ports.js';
import { plainAttributes, type Route } from './routes.js';
import { statusOf } from './status.js';
import { checkManagerGiven, contextOf, type Effect, effectOf, member, warningsOfRepeated } from './writes.js';

const path = `/apis/${group}/${version}/apply`;
export const jsonLinesType = 'application/x-ndjson';

/** What became of one line. */
export type ApplyLine =
  | { readonly effect: Effect; readonly warnings?: readonly string[] }
  /** What a PATCH would have been answered, a Kubernetes Status. */
  | { readonly status: object };

/** Objects that are decided about in one go: reading a hundred keeps everybody else waiting for some milliseconds. */
const inOneGo = 16;
const newline = 0x0a;
const maxKindLength = 64;

type BulkPorts = Pick<RestPorts, 'door' | 'limits'> & { readonly log: Logger };

export function bulkApplyRoute(ports: BulkPorts, kinds: readonly Kind[], authorize: Authorize): Route {
  const { limits, log } = ports;
  const byKind = new Map(kinds.map((kind) => [kind.kind, kind]));

  const answerTo = async (line: Uint8Array, identity: Identity, query: WriteQuery): Promise<ApplyLine> => {
    try {
      const object = parseJson(line, limits.maxBodyDepth);
      const kind = kindOf(byKind, object);
      const name = nameIn(object);
      const attributes = { resource: kind.plural, verb: 'patch', name } as const;
      const decision = authorize(identity, attributes);
      if (!decision.allowed) throw forbidden(attributes, identity, decision.reason);
      const repeated = warningsOfRepeated(() => repeatedFieldsIn(line), query, badRequest);
      const written = await ports.door.apply(kind.plural, name, object, contextOf(query));
      const warnings = [...repeated, ...written.warnings];
      return { effect: effectOf(written), ...(warnings.length > 0 && { warnings }) };
    } catch (error) {
      const { status, unforeseen } = statusOf(error, limits.maxBodyBytes);
      if (unforeseen) log.error('request failed', { method: 'POST', path, error });
      return { status: status.toStatus() };
    }
  };

  return {
    method: 'POST',
    path,
    audience: 'any-authenticated',
    attributes: plainAttributes('POST', path),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const query = writeQuery(queryOf(request), request.headers['user-agent']);
      checkManagerGiven(query);
      const type = mediaType(request.headers['content-type']);
      if (type !== jsonLinesType) throw new StatusError('UnsupportedMediaType', `the body must be ${jsonLinesType}, not ${type}`);
      const lines = linesIn(bytesOf(request));
      if (lines.length > limits.maxAppliesInRequest) {
        const message = `a request applies at most ${limits.maxAppliesInRequest} objects, this one has ${lines.length}`;
        throw new StatusError('RequestEntityTooLarge', message);
      }
      const answers: Promise<ApplyLine>[] = [];
      for (const line of lines) {
        answers.push(answerTo(line, request.identity, query));
        if (answers.length % inOneGo === 0) await setImmediate();
      }
      const text = (await Promise.all(answers)).map((answer) => `${JSON.stringify(answer)}\n`).join('');
      return reply.code(200).header('content-type', jsonLinesType).header('cache-control', 'no-cache, private').send(Buffer.from(text));
    },
  };
}

/** Without the newline; one after the last line may be left out. */
function linesIn(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(newline, start);
    const next = end < 0 ? bytes.length : end;
    lines.push(bytes.subarray(start, next));
    start = next + 1;
  }
  return lines;
}

function kindOf(byKind: ReadonlyMap<string, Kind>, object: unknown): Kind {
  const given = member(object, 'kind');
  if (typeof given !== 'string' || given === '') throw badRequest("Object 'Kind' is missing");
  const word = given.slice(0, maxKindLength);
  const kind = byKind.get(word);
  if (kind === undefined) throw badRequest(`there is no kind ${JSON.stringify(word)}${didYouMean(word, [...byKind.keys()])}`);
  return kind;
}

function nameIn(object: unknown): string {
  const name = member(member(object, 'metadata'), 'name');
  if (typeof name !== 'string' || name === '') throw badRequest('metadata.name is missing: an apply names its object');
  return name;
}
