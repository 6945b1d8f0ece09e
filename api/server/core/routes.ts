/** The facade put together: core/v1 nodes, pods, namespaces and services for clients that know Kubernetes and nothing else. */
import type { FastifyRequest } from 'fastify';
import type { ClusterCache } from '../../objects/ports.js';
import { alreadyExists } from '../../objects/status-errors.js';
import { StatusError } from '../../resources/errors.js';
import { parseObject } from '../body.js';
import type { ServedResource } from '../discovery.js';
import type { OutputRoutePorts } from '../output-routes.js';
import { Snapshots } from '../paging.js';
import { kindRoutes, readVerbs, type Serving, servedKind } from '../rest.js';
import type { RestPorts } from '../rest-ports.js';
import type { Route } from '../routes.js';
import { CoreDoor } from './door.js';
import { eventRoutes, ShownEvents } from './events.js';
import { evict, evictionRoutes, evictionSubresource } from './eviction.js';
import { fixedKinds, namespaceKind, serviceKind } from './fixed.js';
import { defaultNamespace } from './kind.js';
import { leaseRoute } from './leases.js';
import { NodeNames } from './node-names.js';
import { Nodes, nodeKind } from './nodes.js';
import { podLogRoutes } from './pod-log.js';
import { Pods, podKind } from './pods.js';
import { ProjectedCache, ProjectedHub } from './projection.js';
import { type UsagePorts, usageRoutes } from './usage.js';

export interface CorePorts {
  readonly cache: ClusterCache;
  /** What the handlers of all kinds share. */
  readonly rest: RestPorts;
  readonly outputs: OutputRoutePorts;
  readonly usage: Omit<UsagePorts, 'rest'>;
  readonly clusterUid: string;
}

const refusing = (sentence: string) => (): never => {
  throw new StatusError('MethodNotAllowed', sentence);
};

const servingNodes: Serving = {
  verbs: [...readVerbs, 'patch', 'update'],
  refuse: refusing('a node is there as long as its machine is: machines join with a token, and are deleted as machines.flotilla.dev'),
};
const servingPods: Serving = {
  verbs: [...readVerbs, 'delete'],
  refuse: refusing('pods are copies of units: create, change or delete units.flotilla.dev instead'),
};
const servingServices: Serving = { verbs: readVerbs, refuse: refusing('there are no services here: a unit is reached at its machine') };

/** `default` is there already, and there will never be another. */
const servingNamespaces = (maxBodyDepth: number): Serving => ({
  verbs: readVerbs,
  refuse(verb, request) {
    if (verb === 'create' && nameIn(request, maxBodyDepth) === defaultNamespace) throw alreadyExists(namespaceKind, defaultNamespace);
    const sentence = `${defaultNamespace} is the only namespace: the objects of Flotilla belong to none, so none has to be made`;
    throw new StatusError('MethodNotAllowed', sentence, { kind: namespaceKind.plural });
  },
});

function nameIn(request: FastifyRequest, maxBodyDepth: number): unknown {
  const body = parseObject(request, maxBodyDepth) as { readonly metadata?: { readonly name?: unknown } | null } | null;
  return body?.metadata?.name;
}

/** All of it: the routes, and what discovery says of them. */
export function coreRoutes({ cache, rest, outputs, usage, clusterUid }: CorePorts): { routes: Route[]; served: ServedResource[] } {
  const names = new NodeNames(cache);
  const nodes = new Nodes(names);
  const pods = new Pods(cache, names);
  const projections = [nodes, pods, new ShownEvents(cache, nodes, pods)];
  const shown = new ProjectedCache(cache, projections, fixedKinds(clusterUid));
  const hub = new ProjectedHub(rest.hub, names, projections);
  const evictions = { cache, door: rest.door, clock: rest.clock, pods, names };
  const door = new CoreDoor({ cache: shown, door: rest.door, nodes }, (_plural, name, options, context) =>
    evict(evictions, name, options, context),
  );
  const ports: RestPorts = { ...rest, cache: shown, hub, door };
  const servings = [
    [nodeKind, servingNodes],
    [podKind, servingPods],
    [serviceKind, servingServices],
    [namespaceKind, servingNamespaces(rest.limits.maxBodyDepth)],
  ] as const;
  const usages = usageRoutes({ rest: ports, ...usage });
  return {
    routes: [
      ...usages.routes,
      ...eventRoutes(rest, { ...ports, snapshots: new Snapshots(rest.clock, rest.limits) }),
      ...servings.flatMap(([kind, serving]) => kindRoutes(ports, kind, serving)),
      leaseRoute(cache, names),
      ...podLogRoutes(outputs),
      ...evictionRoutes({ ...evictions, maxBodyDepth: rest.limits.maxBodyDepth }),
    ],
    served: [
      ...servings.map(([kind, serving]) => {
        const resource = servedKind(kind, serving);
        const more = kind === podKind ? [{ name: 'log', verbs: ['get'] }, evictionSubresource] : [];
        return { ...resource, subresources: [...resource.subresources, ...more] };
      }),
      ...usages.served,
    ],
  };
}
