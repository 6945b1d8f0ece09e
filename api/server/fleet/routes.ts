/** fleet's API v1 (docs/decisions/0018): the routes that an unmodified fleetctl and clients made from the discovery document call. */
import type { Clock } from '../../../runtime/clock.js';
import type { Store } from '../../../runtime/store/store.js';
import { Freshness } from '../../objects/freshness.js';
import type { ClusterCache, ObjectDoor } from '../../objects/ports.js';
import { StatusError } from '../../resources/errors.js';
import { holdOpen, type StreamQuota } from '../http-stream.js';
import type { RequestAttributes } from '../identity.js';
import type { ServerLimits } from '../limits.js';
import { sendJson } from '../reads.js';
import { type Method, plainAttributes, type Route } from '../routes.js';
import { discoveryDocument } from './discovery.js';
import { fleetPrefixes, noFleetRoute, serverHeader } from './errors.js';
import { getState, listMachines, listStates, patchMachines } from './machines-and-states.js';
import { setUnit } from './set-unit.js';
import { RecentStops } from './stops.js';
import { deleteUnit, getUnit, listUnits, putUnit } from './units.js';
import { FleetView } from './view.js';

export interface FleetPorts {
  readonly cache: ClusterCache;
  readonly door: ObjectDoor;
  readonly store: Pick<Store, 'revision'>;
  readonly clock: Clock;
  readonly limits: Pick<ServerLimits, 'fleetPredecessorTimeoutMs'>;
  /** PUTs that wait for a unit of the same name to be gone. */
  readonly waiting: StreamQuota;
  /** Aborts when the server goes down. */
  readonly closing: AbortSignal;
  /** The program's version. */
  readonly version: string;
}

type Verb = Extract<RequestAttributes, { readonly resource: string }>['verb'];

export function fleetRoutes(ports: FleetPorts): Route[] {
  const { cache, door, clock, limits, waiting, closing, version } = ports;
  const view = new FleetView(cache);
  const freshness = new Freshness(ports.store, cache);
  const stops = new RecentStops(clock);
  const set = putUnit((asked, request, reply) =>
    setUnit({ cache, door, view, freshness, stops, clock, predecessorTimeoutMs: limits.fleetPredecessorTimeoutMs }, asked, () => [
      holdOpen(request, reply, waiting),
      closing,
    ]),
  );
  const discovery = JSON.stringify(discoveryDocument);

  return fleetPrefixes.flatMap((prefix) => {
    const routes: Route[] = [];
    const add = (method: Method, path: string, attributes: Route['attributes'], answer: Route['handler']): void =>
      void routes.push({
        method,
        path: prefix + path,
        audience: 'admin',
        attributes,
        handler(request, reply) {
          reply.header('server', serverHeader(version));
          const pathname = request.url.split('?', 1)[0] ?? '';
          // The router takes `/units/` for `/units`, and fleet did not.
          if (pathname.endsWith('/')) throw noFleetRoute(pathname);
          if (!cache.synced) throw new StatusError('ServiceUnavailable', 'fleet server unable to communicate with etcd');
          return answer(request, reply);
        },
      });
    const on =
      (resource: string, verb: Verb): Route['attributes'] =>
      ({ params }) => ({ resource, verb, ...(params.name !== undefined && { name: params.name }) });

    add('GET', '/units', on('units', 'list'), listUnits(view));
    add('GET', '/units/:name', on('units', 'get'), getUnit(view, stops));
    add('PUT', '/units/:name', on('units', 'update'), set);
    add('DELETE', '/units/:name', on('units', 'delete'), deleteUnit(cache, view, door, freshness));
    add('GET', '/state', on('assignments', 'list'), listStates(view));
    add('GET', '/state/:name', on('assignments', 'get'), getState(view));
    add('GET', '/machines', on('machines', 'list'), listMachines(view));
    add('PATCH', '/machines', on('machines', 'patch'), patchMachines({ cache, door }));
    add('GET', '/discovery', plainAttributes('GET', `${prefix}/discovery`), (_request, reply) => sendJson(reply, 200, discovery));
    return routes;
  });
}
