/** `get components`: the parts of the control plane and how they are. A kind that nobody stores: made up anew at each request. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../../runtime/clock.js';
import type { Store } from '../../runtime/store/store.js';
import type { ClusterCache, Joined } from '../objects/ports.js';
import { listVersion } from '../objects/resource-version.js';
import { notFound } from '../objects/status-errors.js';
import type { Column, Kind } from '../resources/kinds.js';
import { type FlotillaObject, group, ObjectMeta, version } from '../resources/meta.js';
import { apiVersionOf } from '../resources/registry.js';
import { paramsOf } from './access.js';
import type { ServedResource } from './discovery.js';
import { negotiate } from './negotiation.js';
import type { Component } from './ports.js';
import { queryOf, readOptions } from './query.js';
import { sendJson } from './reads.js';
import { renderList, renderObject, viewOf } from './representation.js';
import { groupPath } from './rest.js';
import type { Route } from './routes.js';
import { selection } from './selection.js';
import type { ServerInfo } from './servers.js';

const ComponentStatus = z.strictObject({
  type: z.enum(['etcd', 'server']),
  healthy: z.boolean(),
  leader: z.boolean(),
  message: z.string(),
  endpoints: z.array(z.string()).optional(),
  version: z.string().optional(),
  dbSizeBytes: z.number().optional(),
});
type ComponentStatus = z.infer<typeof ComponentStatus>;

const statusOf = (object: FlotillaObject): ComponentStatus => (object as FlotillaObject<unknown, ComponentStatus>).status!;

const column = (name: string, description: string, cell: (status: ComponentStatus) => string | null, priority: 0 | 1 = 0): Column => ({
  name,
  type: 'string',
  description,
  priority,
  cell: (object) => cell(statusOf(object)),
});

export const componentKind: Kind = {
  group,
  version,
  kind: 'Component',
  plural: 'components',
  singular: 'component',
  shortNames: [],
  categories: [],
  description: "A part of the control plane: a member of etcd or a server. Read-only, and only as true as this server's last look.",
  schema: z.strictObject({
    apiVersion: z.string(),
    kind: z.literal('Component'),
    metadata: ObjectMeta,
    status: ComponentStatus.optional(),
  }),
  writable: false,
  listTypes: {},
  columns: [
    { name: 'Name', type: 'string', description: 'Unique name.', priority: 0, cell: ({ metadata }) => metadata.name },
    column('Type', 'etcd or server.', ({ type }) => type),
    column('Healthy', 'Whether it answers and works.', ({ healthy }) => (healthy ? 'True' : 'False')),
    column('Leader', 'Whether it leads its kind.', ({ leader }) => (leader ? 'True' : 'False')),
    column('Version', 'What it runs.', (status) => status.version ?? null),
    column('Message', 'Why it is not healthy, or what else there is to say.', ({ message }) => message),
    column('Endpoints', 'Where it answers.', ({ endpoints }) => endpoints?.join(',') ?? null, 1),
  ],
  selectableFields: {},
  withDefaults: (object) => object,
  validate: () => [],
};

export const servedComponents: ServedResource = { kind: componentKind, verbs: ['get', 'list'], subresources: [] };

export interface ComponentPorts {
  readonly store: Pick<Store, 'members' | 'get'>;
  readonly cache: Pick<ClusterCache, 'fragment' | 'keys' | 'presences' | 'revision' | 'synced'>;
  readonly clock: Clock;
  /** This server's name, as it writes it into presence and leadership. */
  readonly serverName: string;
  /** The servers that run, this one among them. */
  readonly servers: () => readonly Pick<ServerInfo, 'name' | 'urls' | 'version'>[];
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** What stands under the leadership key: the leader's name as it also writes it into presence. Anything else is not ours to guess. */
const Leadership = z.object({ server: z.string() });

export async function listComponents(ports: ComponentPorts): Promise<Component[]> {
  const [etcd, servers] = await Promise.all([etcdMembers(ports.store), listServers(ports)]);
  return [...etcd, ...servers].sort((a, b) => (a.name < b.name ? -1 : 1));
}

const etcdMembers = async (store: Pick<Store, 'members'>): Promise<Component[]> =>
  (await store.members()).map(
    ({ id, name, endpoints, healthy, isLeader, message, version, dbSizeBytes }): Component => ({
      name: `etcd-${name === '' ? id : name}`,
      type: 'etcd',
      healthy,
      leader: isLeader,
      message: healthy && dbSizeBytes !== undefined ? `database ${mib(dbSizeBytes)}` : message,
      endpoints,
      ...(version !== undefined && { version }),
      ...(dbSizeBytes !== undefined && { dbSizeBytes }),
    }),
  );

async function listServers({ store, cache, serverName, servers }: ComponentPorts): Promise<Component[]> {
  const leader = await leaderName(store, cache.keys.leader);
  const streams = new Map<string, number>();
  for (const { value } of cache.presences().values()) streams.set(value.server, (streams.get(value.server) ?? 0) + 1);
  const running = new Map(servers().map((server) => [server.name, server]));
  // One that died is still named by what it held until its leases end.
  const names = new Set([...running.keys(), ...streams.keys(), ...(leader === undefined ? [] : [leader])]);
  return [...names].map((name): Component => {
    const server = running.get(name);
    const machines = streams.get(name) ?? 0;
    const holds = `holds the streams of ${machines} ${machines === 1 ? 'machine' : 'machines'}`;
    return {
      name: `server-${name}`,
      type: 'server',
      healthy: server !== undefined && (name !== serverName || cache.synced),
      leader: name === leader,
      message: server ? holds : `is not among the servers that run, and ${holds}`,
      ...(server && { endpoints: server.urls, version: server.version }),
    };
  });
}

/** The server that leads the controllers; undefined when nobody does. Throws StoreUnavailable. */
export async function leaderName(store: Pick<Store, 'get'>, key: string): Promise<string | undefined> {
  const { entry } = await store.get(key);
  if (entry === undefined) return undefined;
  const leadership = Leadership.safeParse(parsed(entry.value));
  return leadership.success ? leadership.data.server : 'a server that does not say its name';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const asObject = ({ name, ...status }: Component, revision: number): Joined => ({
  apiVersion: apiVersionOf(componentKind),
  kind: componentKind.kind,
  metadata: { name, uid: `component/${name}`, resourceVersion: listVersion(revision) },
  status,
});

export function componentRoutes(ports: ComponentPorts): Route[] {
  const objects = async (): Promise<Joined[]> =>
    (await listComponents(ports)).map((component) => asObject(component, ports.cache.revision));
  const collection = `${groupPath(componentKind)}/${componentKind.plural}`;
  const representationOf = (request: FastifyRequest) => negotiate(request.headers.accept, readOptions(queryOf(request)).includeObject);
  return [
    {
      method: 'GET',
      path: collection,
      audience: 'any-authenticated',
      attributes: () => ({ resource: componentKind.plural, verb: 'list' }),
      async handler(request: FastifyRequest, reply: FastifyReply) {
        const as = representationOf(request);
        const matches = selection(componentKind, readOptions(queryOf(request)));
        const all = await objects();
        const metadata = { resourceVersion: listVersion(ports.cache.revision) };
        const found = matches ? all.filter(matches) : all;
        return sendJson(reply, 200, [...renderList(componentKind, found, metadata, as, viewOf(ports))].join(''));
      },
    },
    {
      method: 'GET',
      path: `${collection}/:name`,
      audience: 'any-authenticated',
      attributes: ({ params }) => ({
        resource: componentKind.plural,
        verb: 'get',
        ...(params.name !== undefined && { name: params.name }),
      }),
      async handler(request: FastifyRequest, reply: FastifyReply) {
        const as = representationOf(request);
        const name = paramsOf(request).name!;
        const object = (await objects()).find(({ metadata }) => metadata.name === name);
        if (object === undefined) throw notFound(componentKind, name);
        return sendJson(reply, 200, renderObject(componentKind, object, as, viewOf(ports)));
      },
    },
  ];
}
