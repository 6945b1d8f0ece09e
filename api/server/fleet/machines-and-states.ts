/** `/machines`, `/state` and `/state/NAME`. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { StatusError } from '../../resources/errors.js';
import { paramsOf } from '../access.js';
import { queryOf } from '../query.js';
import { sendJson } from '../reads.js';
import { decodeBody } from './body.js';
import { MetadataPatch, metadataChanges } from './metadata-patch.js';
import { type MetadataPorts, writeMetadata } from './metadata-writer.js';
import { cutFleetPage, pageBody, pageOf } from './pages.js';
import type { FleetView } from './view.js';

export function listMachines(view: FleetView) {
  return (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { items, nextPageToken } = cutFleetPage(view.machines(), pageOf(queryOf(request)));
    const bodies = items.map((machine) => view.machineBody(machine));
    return sendJson(reply, 200, pageBody('machines', bodies, nextPageToken));
  };
}

/** Checked as a whole before anything is written. fleet asked for no Content-Type here, and its clients send any. */
export function patchMachines(ports: MetadataPorts) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    await writeMetadata(ports, metadataChanges(decodeBody(MetadataPatch, request)));
    return reply.code(204).send();
  };
}

export function listStates(view: FleetView) {
  return (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const query = queryOf(request);
    const page = pageOf(query);
    const only = { unit: query.get('unitName') || undefined, machine: query.get('machineID') || undefined };
    const { items, nextPageToken } = cutFleetPage(view.states(only), page);
    const bodies = items.map((state) => view.stateBody(state));
    return sendJson(reply, 200, pageBody('states', bodies, nextPageToken));
  };
}

export function getState(view: FleetView) {
  return (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const state = view.stateOf(paramsOf(request).name!);
    if (state === undefined) throw new StatusError('NotFound', 'unit state does not exist');
    return sendJson(reply, 200, JSON.stringify(view.stateBody(state)));
  };
}
