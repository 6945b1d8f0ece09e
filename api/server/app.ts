/** The HTTP door put together: one fastify instance, every route from the registry, every request through the same hooks. */
import { setMaxListeners } from 'node:events';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { type Clock, type Random, sleep } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { Metrics } from '../../runtime/metrics.js';
import type { Store } from '../../runtime/store/store.js';
import type { ClusterCache, ObjectDoor, WatchHub } from '../objects/ports.js';
import { StatusError } from '../resources/errors.js';
import { eventKind } from '../resources/event-kind.js';
import type { Kind } from '../resources/kinds.js';
import { accessHook } from './access.js';
import { reviewRoutes } from './auth/routes.js';
import { bulkApplyRoute } from './bulk-apply.js';
import { componentRoutes, leaderName, servedComponents } from './components.js';
import { ConsistentReads } from './consistent-reads.js';
import { coreRoutes } from './core/routes.js';
import { discoveryRoutes } from './discovery.js';
import { observeMembers } from './etcd-metrics.js';
import { isFleetPath, noFleetRoute, sendFleetError } from './fleet/errors.js';
import { fleetRoutes } from './fleet/routes.js';
import { builtInChecks, Health, healthRoutes } from './health.js';
import { StreamQuota } from './http-stream.js';
import { defaultLimits, type ServerLimits } from './limits.js';
import { measureRequests, watchMetrics } from './metrics.js';
import { openApiRoutes } from './openapi-routes.js';
import { outputRoutes, outputSubresources } from './output-routes.js';
import { Snapshots } from './paging.js';
import type { Authorize, HealthCheck, IdentityOf, OutputSource, RoutePlugin, UsageSource } from './ports.js';
import { sendJson } from './reads.js';
import { kindRoutes, servedKind } from './rest.js';
import type { RestPorts } from './rest-ports.js';
import { plainAttributes, type Route, RouteRegistry } from './routes.js';
import type { ServerInfo } from './servers.js';
import { statusOf } from './status.js';
import { EventFrames } from './watch.js';

export interface AppOptions {
  readonly cache: ClusterCache;
  readonly hub: WatchHub;
  readonly door: ObjectDoor;
  readonly store: Store;
  readonly kinds: readonly Kind[];
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random?: Random;
  readonly identityOf: IdentityOf;
  readonly authorize: Authorize;
  readonly outputs: OutputSource;
  readonly usage: UsageSource;
  /** This server's name, as it writes it into presence and leadership, and the program's version. */
  readonly server: { readonly name: string; readonly version: string; readonly revision?: string };
  /** The servers that run, this one among them. */
  readonly servers: () => readonly Pick<ServerInfo, 'name' | 'urls' | 'version'>[];
  readonly clusterUid: string;
  readonly healthChecks?: readonly HealthCheck[];
  readonly extraPlugins?: readonly RoutePlugin[];
  readonly limits?: Partial<ServerLimits>;
}

/** The app and the list of all that it answers. */
export interface App {
  /** Not listening: give `fastify.routing` to the listeners once `ready()`. `close()` ends all watches and logs first. */
  readonly fastify: FastifyInstance;
  readonly routes: RouteRegistry;
}

/** Throws when two routes claim the same method and path. */
export async function createApp(options: AppOptions): Promise<App> {
  const { cache, store, clock, kinds, metrics, log } = options;
  const limits: ServerLimits = { ...defaultLimits, ...options.limits };
  const closing = new AbortController();
  // Every open stream listens for the end, and takes its listener away when it ends itself.
  setMaxListeners(0, closing.signal);
  const app = fastify({
    logger: false,
    bodyLimit: limits.maxBodyBytes,
    exposeHeadRoutes: false,
    // Who is connected already is served to the last moment, in the same form as ever.
    return503OnClosing: false,
    routerOptions: { maxParamLength: limits.maxParameterLength, ignoreTrailingSlash: true },
    // A URL that cannot be decoded reaches no route and no hook, but it deserves the same form of answer.
    frameworkErrors: (error, request, reply) => sendError(request, reply, statusOf(error, limits.maxBodyBytes).status),
  });

  const sendError = (request: FastifyRequest, reply: FastifyReply, status: StatusError): FastifyReply =>
    isFleetPath(pathnameOf(request)) ? sendFleetError(reply, status, options.server.version) : sendStatus(reply, status);

  const rest: RestPorts = {
    cache,
    hub: options.hub,
    door: options.door,
    clock,
    random: options.random ?? Math.random,
    limits,
    log,
    consistent: new ConsistentReads({ store, cache, clock, log, metrics, limits }),
    snapshots: new Snapshots(clock, limits),
    frames: new EventFrames({ cache, clock, limits }),
    watchQuota: new StreamQuota('watches', { all: limits.maxWatches, perIdentity: limits.maxWatchesPerIdentity }),
    watchMetrics: watchMetrics(metrics),
    closing: closing.signal,
  };
  const leader: HealthCheck = {
    name: 'leader',
    gates: 'info',
    async check() {
      const name = await leaderName(store, cache.keys.leader);
      return name === undefined
        ? { ok: false, message: 'no server leads the controllers' }
        : { ok: true, message: `${name} leads the controllers` };
    },
  };
  const health = new Health([...builtInChecks(store, cache), leader, ...(options.healthChecks ?? [])], clock, limits);
  const units = kinds.find((kind) => kind.plural === 'units');
  const logQuota = new StreamQuota('log streams', { all: limits.maxLogStreams, perIdentity: limits.maxLogStreams });

  const routes = new RouteRegistry();
  // Events are read through the facade, which also shows those of nodes and pods.
  for (const kind of kinds) if (kind !== eventKind) routes.add(...kindRoutes(rest, kind));
  routes.add(bulkApplyRoute(rest, kinds, options.authorize));
  const outputPorts = { cache, clock, log, limits, outputs: options.outputs, quota: logQuota, closing: closing.signal };
  if (units) routes.add(...outputRoutes(outputPorts, units));
  const questions = { all: limits.maxUsageQuestions, perIdentity: limits.maxUsageQuestions };
  const usage = { usage: options.usage, quota: new StreamQuota('questions what machines use', questions) };
  const core = coreRoutes({ cache, rest, outputs: outputPorts, usage, clusterUid: options.clusterUid });
  const reviews = reviewRoutes({ authorize: options.authorize, routes, maxBodyDepth: limits.maxBodyDepth });
  routes.add(...core.routes, ...reviews.routes);
  routes.add(...componentRoutes({ store, cache, clock, serverName: options.server.name, servers: options.servers }));
  const served = kinds.map((kind) => {
    const resource = servedKind(kind);
    return kind === units ? { ...resource, subresources: [...resource.subresources, ...outputSubresources] } : resource;
  });
  const described = [...served, servedComponents, ...core.served];
  routes.add(...discoveryRoutes([...described, ...reviews.served]));
  const all = described.map(({ kind }) => kind);
  routes.add(...openApiRoutes(all, () => clock.now()), ...healthRoutes(health), versionRoute(options), metricsRoute(options));
  const fleetWaits = new StreamQuota('units that wait for their predecessor', {
    all: limits.maxFleetWaits,
    perIdentity: limits.maxFleetWaits,
  });
  const { version } = options.server;
  routes.add(...fleetRoutes({ cache, door: options.door, store, clock, limits, waiting: fleetWaits, closing: closing.signal, version }));
  for (const plugin of options.extraPlugins ?? []) plugin(routes);

  // Bodies stay bytes until a handler knows what they should be; everybody shares one limit.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.decorateRequest('attributes', undefined);
  const measure = measureRequests(metrics, clock);
  const access = accessHook(options.identityOf, options.authorize);
  app.addHook('onRequest', async (request, reply) => {
    if (request.url.length > limits.maxUrlBytes) throw new StatusError('BadRequest', `the URL is longer than ${limits.maxUrlBytes} bytes`);
    try {
      await access(request, reply);
    } finally {
      measure(request, reply);
    }
  });
  app.setErrorHandler((error, request, reply) => {
    const { status, unforeseen } = statusOf(error, limits.maxBodyBytes);
    if (unforeseen) log.error('request failed', { method: request.method, path: pathnameOf(request), error });
    return sendError(request, reply, status);
  });
  app.setNotFoundHandler((request, reply) => {
    const methods = routes.methodsAt(pathnameOf(request));
    if (methods.length > 0) reply.header('allow', methods.join(', '));
    throw isFleetPath(pathnameOf(request)) ? noFleetRoute(pathnameOf(request)) : noSuchRoute(request.method, methods);
  });
  app.addHook('preClose', async () => {
    closing.abort();
    // Each stream gets to say its last line, but no client can hold the server up.
    const ended = Promise.all([rest.watchQuota.none(), logQuota.none()]).then(() => {});
    await Promise.race([ended, sleep(clock, limits.closeGraceMs)]);
  });
  for (const route of routes) mount(app, route);
  await app.ready();
  return { fastify: app, routes };
}

const mount = (app: FastifyInstance, route: Route): void =>
  void app.route({ method: route.method, url: route.path, config: { route }, handler: route.handler });

const pathnameOf = (request: FastifyRequest): string => request.url.split('?', 1)[0] ?? '';

/** 405 where the path is known under other methods, else 404. */
function noSuchRoute(method: string, possible: readonly string[]): StatusError {
  if (possible.length === 0) return new StatusError('NotFound', 'the server could not find the requested resource');
  return new StatusError(
    'MethodNotAllowed',
    `${method} is not possible here; ${possible.join(', ')} ${possible.length === 1 ? 'is' : 'are'}`,
  );
}

function sendStatus(reply: FastifyReply, status: StatusError): FastifyReply {
  const { retryAfterSeconds } = status.details;
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds));
  return sendJson(reply, status.code, JSON.stringify(status.toStatus()));
}

/** The Kubernetes version whose manners we have, for clients that warn about a skew. */
const kubernetesVersion = { major: '1', minor: '32', patch: '0' };

function versionRoute({ server, clusterUid }: AppOptions): Route {
  const { major, minor, patch } = kubernetesVersion;
  const body = JSON.stringify({
    major,
    minor,
    gitVersion: `v${major}.${minor}.${patch}+flotilla.${server.version}`,
    gitCommit: server.revision ?? 'unknown',
    goVersion: `node ${process.version}`,
    compiler: 'v8',
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
    flotillaVersion: server.version,
    clusterUid,
  });
  return {
    method: 'GET',
    path: '/version',
    audience: 'public',
    attributes: plainAttributes('GET', '/version'),
    handler: (_request, reply) => sendJson(reply, 200, body),
  };
}

function metricsRoute({ metrics, store, clock, log }: AppOptions): Route {
  const lookAtMembers = observeMembers(metrics, store, clock, log);
  return {
    method: 'GET',
    path: '/metrics',
    audience: 'any-authenticated',
    attributes: plainAttributes('GET', '/metrics'),
    async handler(_request, reply) {
      await lookAtMembers();
      return reply.header('content-type', metrics.contentType).send(await metrics.render());
    },
  };
}
