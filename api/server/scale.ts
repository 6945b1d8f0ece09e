/**
 * The scale subresource: the number of replicas of a kind that has one, as autoscaling/v1 Scale, so that `kubectl scale` and autoscalers
 * need not know the kind.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isObject, type JsonObject } from '../objects/json.js';
import { patched } from '../objects/patch.js';
import type { Joined } from '../objects/ports.js';
import { notFound } from '../objects/status-errors.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { paramsOf } from './access.js';
import { bytesOf, parseJson, parseObject } from './body.js';
import type { ServedSubresource } from './discovery.js';
import { patchType } from './negotiation.js';
import { writeOverShown } from './over-shown.js';
import { queryOf, readOptions, type WriteQuery } from './query.js';
import { fresh, sendJson } from './reads.js';
import type { RestPorts } from './rest-ports.js';
import { contextOf, member, nameInUrl, readWrite } from './writes.js';

const scaleKind = { group: 'autoscaling', version: 'v1', kind: 'Scale' } as const;

export const servedScale: ServedSubresource = { name: 'scale', verbs: ['get', 'patch', 'update'], kind: scaleKind };

type ScaleOf = NonNullable<Kind['scale']>;

const patchTypes = 'application/merge-patch+json, application/json-patch+json';

function scaleObject(object: Joined, scaleOf: ScaleOf) {
  const { name, uid, resourceVersion, creationTimestamp } = object.metadata;
  const { wanted, existing, selector } = scaleOf(object);
  return {
    kind: scaleKind.kind,
    apiVersion: `${scaleKind.group}/${scaleKind.version}`,
    metadata: { name, uid, resourceVersion, creationTimestamp },
    spec: { replicas: wanted },
    status: { replicas: existing, selector },
  };
}

export function scaleHandlers(ports: RestPorts, kind: Kind, scaleOf: ScaleOf) {
  const { cache, door, limits } = ports;
  const send = (reply: FastifyReply, object: Joined) => sendJson(reply, 200, JSON.stringify(scaleObject(object, scaleOf)));

  /** @param resourceVersion what the client has seen; absent: whatever it is now */
  const write = async (name: string, replicas: unknown, resourceVersion: unknown, query: WriteQuery): Promise<Joined> => {
    const metadata = resourceVersion === undefined ? {} : { metadata: { resourceVersion } };
    const body = { ...metadata, spec: { replicas: checked(kind, name, replicas) } };
    return (await door.patch(kind.plural, name, { type: 'merge', body }, contextOf(query))).object;
  };

  return {
    async get(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
      const name = paramsOf(request).name!;
      reply.headers(await fresh(ports, readOptions(queryOf(request))));
      const object = cache.joined(kind.plural, name);
      if (object === undefined) throw notFound(kind, name);
      return send(reply, object);
    },

    async update(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
      const query = readWrite(request);
      const body = checkedScale(parseObject(request, limits.maxBodyDepth));
      const name = nameInUrl(request, body);
      const version = member(body.metadata, 'resourceVersion');
      return send(reply, await write(name, member(body.spec, 'replicas'), version === '' ? undefined : version, query));
    },

    async patch(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
      reply.header('accept-patch', patchTypes);
      const type = patchType(request.headers['content-type']);
      if (type === 'apply') throw new StatusError('UnsupportedMediaType', `a Scale cannot be applied; expected one of ${patchTypes}`);
      const query = readWrite(request);
      const body = parseJson(bytesOf(request), limits.maxBodyDepth);
      const name = paramsOf(request).name!;
      const written = await writeOverShown(async () => {
        // Behind another server's write, perhaps: the door catches up, or says that there is no such object.
        if (cache.joined(kind.plural, name) === undefined) {
          await door.patch(kind.plural, name, { type: 'merge', body: {} }, { ...contextOf(query), dryRun: true });
        }
        const live = cache.joined(kind.plural, name);
        if (live === undefined) throw notFound(kind, name);
        const shown = scaleObject(live, scaleOf);
        const next = checkedScale(patched(shown as unknown as JsonObject, { type, body }));
        const version = member(next.metadata, 'resourceVersion');
        // A number alone is meant whatever was there before; operations were meant for what was shown. A version that the client names
        // counts also where it is the one shown: this server may be behind.
        const isConditional = type === 'json' || member(member(body, 'metadata'), 'resourceVersion') !== undefined;
        return {
          shown: shown.metadata.resourceVersion,
          over: version,
          write: () => write(name, member(next.spec, 'replicas'), isConditional ? version : undefined, query),
        };
      });
      return send(reply, written);
    },
  };
}

/** The body is a Scale, if it says what it is. */
function checkedScale(body: unknown): JsonObject {
  if (!isObject(body)) throw new StatusError('BadRequest', 'a Scale must be an object');
  const { kind = scaleKind.kind, apiVersion = 'autoscaling/v1' } = body;
  if (kind !== scaleKind.kind || apiVersion !== 'autoscaling/v1') {
    throw new StatusError('BadRequest', 'expected a Scale of apiVersion autoscaling/v1');
  }
  return body;
}

/** Left out, it is no number: taken for 0 it would stop everything (invariant 13). */
function checked(kind: Kind, name: string, replicas: unknown): number {
  if (typeof replicas === 'number' && Number.isInteger(replicas) && replicas >= 0) return replicas;
  const message = replicas === undefined ? 'Required value' : 'Invalid value: expected a whole number, 0 or more';
  throw new StatusError('Invalid', `Scale.autoscaling ${JSON.stringify(name)} is invalid: spec.replicas: ${message}`, {
    name,
    group: scaleKind.group,
    kind: kind.kind,
    causes: [{ reason: replicas === undefined ? 'FieldValueRequired' : 'FieldValueInvalid', message, field: 'spec.replicas' }],
  });
}
