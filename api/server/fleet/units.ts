/** `/units` and `/units/NAME`. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Freshness } from '../../objects/freshness.js';
import type { ClusterCache, ObjectDoor } from '../../objects/ports.js';
import { StatusError } from '../../resources/errors.js';
import { paramsOf } from '../access.js';
import { mediaType } from '../negotiation.js';
import { queryOf } from '../query.js';
import { sendJson } from '../reads.js';
import { decodeBody } from './body.js';
import { checkSet, type SetRequest } from './decide-set.js';
import { unitDoesNotExist } from './errors.js';
import { respectGitSync } from './gitsync-owner.js';
import { cutFleetPage, pageBody, pageOf } from './pages.js';
import { fleetManager } from './set-unit.js';
import { isFleetctl, type RecentStops } from './stops.js';
import type { FleetView } from './view.js';

export function listUnits(view: FleetView) {
  return (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { items, nextPageToken } = cutFleetPage(view.units(), pageOf(queryOf(request)));
    const bodies = items.map((unit) => view.unitBody(unit));
    return sendJson(reply, 200, pageBody('units', bodies, nextPageToken));
  };
}

export function getUnit(view: FleetView, stops: RecentStops) {
  return (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const unit = view.unit(paramsOf(request).name!);
    if (unit === undefined) throw unitDoesNotExist();
    const body = view.unitBody(unit);
    const isEchoed = isFleetctl(request.headers['user-agent']) && stops.firstLook(unit.metadata.uid) && body.currentState === 'loaded';
    return sendJson(reply, 200, JSON.stringify(isEchoed ? { ...body, currentState: 'launched' } : body));
  };
}

export function deleteUnit(cache: ClusterCache, view: FleetView, door: ObjectDoor, freshness: Freshness) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const name = paramsOf(request).name!;
    if (view.isLeaving(name)) {
      await freshness.confirm();
      if (view.isLeaving(name)) throw unitDoesNotExist();
    }
    respectGitSync(cache, view.unit(name));
    try {
      await door.remove('units', name, {}, { manager: fleetManager });
    } catch (error) {
      throw error instanceof StatusError && error.reason === 'NotFound' ? unitDoesNotExist() : error;
    }
    return reply.code(204).send();
  };
}

/** As Go reads it: null is nothing, what is not known is passed over. */
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const SetBody = z.object({
  name: text,
  options: z
    .array(z.object({ section: text, name: text, value: text }))
    .nullish()
    .transform((value) => value ?? []),
  desiredState: text,
});

/** The status code follows `set`; success has no body. */
export function putUnit(set: (request: SetRequest, from: FastifyRequest, reply: FastifyReply) => Promise<201 | 204>) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    checkContentType(request);
    const body = decodeBody(SetBody, request);
    const name = paramsOf(request).name!;
    if (body.name !== '' && body.name !== name) {
      const message = `name in URL ${JSON.stringify(name)} differs from unit name in request body ${JSON.stringify(body.name.slice(0, 300))}`;
      throw new StatusError('BadRequest', message);
    }
    const asked: SetRequest = { ...body, name };
    checkSet(asked);
    return reply.code(await set(asked, request, reply)).send();
  };
}

/** Exactly one, and JSON: fleet's protection against forms that a web page posts. */
function checkContentType({ raw }: FastifyRequest): void {
  const types = raw.headersDistinct['content-type'] ?? [];
  if (types.length !== 1) throw new StatusError('UnsupportedMediaType', `expected 1 Content-Type, got ${types.length}`);
  if (mediaType(types[0]) !== 'application/json') {
    throw new StatusError('UnsupportedMediaType', 'only acceptable Content-Type is application/json');
  }
}
