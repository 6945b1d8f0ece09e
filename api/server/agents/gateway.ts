/**
 * Everything that agents come for, put together: their streams, their journals, joining and renewing. The routes go through the app's
 * registry, the WebSockets through the listeners' upgrade; both under the same identity and authorization.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Clock, Random } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import type { Metrics } from '../../../runtime/metrics.js';
import type { Store } from '../../../runtime/store/store.js';
import type { EventRecorder } from '../../objects/events.js';
import type { ClusterCache, ObjectDoor } from '../../objects/ports.js';
import type { ConnectionIdentities } from '../connection-identity.js';
import { refuseUpgrade, type UpgradeListener } from '../listeners.js';
import type { Authorize, LogSource, RoutePlugin } from '../ports.js';
import type { ServerRegistry } from '../servers.js';
import type { Pki } from '../trust/ca.js';
import type { Tokens } from '../trust/tokens.js';
import { forwardedLogsRoute, logForwarder } from './forward-logs.js';
import { joinRoutes } from './join.js';
import { type AgentLimits, agentLimits } from './limits.js';
import { AgentLogs } from './logs.js';
import { agentMetrics } from './metrics.js';
import type { MachineEvent } from './opening.js';
import { AgentStreams } from './streams.js';

export interface AgentGatewayOptions {
  readonly store: Store;
  readonly cache: ClusterCache;
  readonly door: ObjectDoor;
  readonly pki: Pki;
  readonly tokens: Tokens;
  readonly registry: ServerRegistry;
  readonly identities: ConnectionIdentities;
  readonly authorize: Authorize;
  readonly events: Pick<EventRecorder, 'record'>;
  /** As presence names it. */
  readonly serverName: string;
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly limits?: Partial<AgentLimits>;
}

export interface AgentGateway {
  readonly routes: RoutePlugin;
  readonly onUpgrade: UpgradeListener;
  readonly logs: LogSource;
  /** How many machines this server holds. */
  readonly streams: number;
  /** Sends all agents to other servers; no presence is revoked. */
  close(): void;
}

const streamPath = '/agent/v1/stream';
const logsPath = /^\/agent\/v1\/logs\/([0-9a-f]{32})$/;
const eventReason = /^[A-Z][A-Za-z0-9]{0,63}$/;
/** A journal's frame is as large as a pipe read of the agent. */
const maxLogFrameBytes = 1024 * 1024;

export function openAgentGateway(options: AgentGatewayOptions): AgentGateway {
  const {
    store,
    cache,
    door,
    pki,
    tokens,
    registry,
    identities,
    authorize,
    events,
    serverName,
    clock,
    random = Math.random,
    log,
  } = options;
  const limits = { ...agentLimits, ...options.limits };
  const servers = () => registry.urls();

  const recordEvent = ({ machine, unit, reason, message, warning }: MachineEvent) => {
    const [kind, plural, name] = unit === undefined ? ['Machine', 'machines', machine] : ['Unit', 'units', unit];
    const uid = cache.object(plural, name)?.value.metadata.uid;
    if (eventReason.test(reason)) events.record({ kind, name, uid }, warning ? 'Warning' : 'Normal', reason, message);
  };

  const logs: AgentLogs = new AgentLogs({
    cache,
    serverName,
    streamOf: (machine) => streams.of(machine),
    forward: logForwarder({ registry, pki, serverName, clock }),
    clock,
    limits,
  });
  const metrics = agentMetrics(options.metrics, () => streams.size);
  const streams: AgentStreams = new AgentStreams({
    store,
    cache,
    door,
    clusterUid: pki.clusterUid,
    serverName,
    servers,
    recordEvent,
    clock,
    random,
    log,
    limits,
    metrics,
    onMachineRemoved: (machine) => logs.closeAll(machine),
  });

  // Compression would let one machine make this server unpack far more than it was sent.
  const settings = { noServer: true, clientTracking: false, perMessageDeflate: false } as const;
  const streamSockets = new WebSocketServer({ ...settings, maxPayload: limits.maxMessageBytes });
  const logSockets = new WebSocketServer({ ...settings, maxPayload: maxLogFrameBytes });

  function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { pathname } = new URL(request.url ?? '/', 'http://server');
    const journal = logsPath.exec(pathname)?.[1];
    if (pathname !== streamPath && journal === undefined) {
      refuseUpgrade(socket, 404);
      return;
    }
    const identity = identities.of(request);
    const decision = authorize(identity, { path: pathname, method: 'get' });
    const validToMs = identities.validToMs(request.socket as Socket);
    if (identity.kind !== 'machine' || !decision.allowed || validToMs === undefined) {
      const why = decision.allowed ? 'only a machine certificate opens this' : decision.reason;
      refuseUpgrade(socket, identity.kind === 'anonymous' ? 401 : 403, why);
      return;
    }
    const { machine, uid } = identity;
    if (journal === undefined) {
      if (streams.isFull) refuseUpgrade(socket, 503, 'this server holds as many streams as it can');
      else streamSockets.handleUpgrade(request, socket, head, (opened) => streams.accept(opened, { machine, uid, validToMs }));
    } else if (!logs.expects(machine, journal)) refuseUpgrade(socket, 404, 'nobody reads this journal');
    else logSockets.handleUpgrade(request, socket, head, (opened) => logs.accept(opened, machine, journal));
  }

  return {
    routes: (routes) =>
      routes.add(
        ...joinRoutes({ store, cache, door, pki, tokens, servers, recordEvent, clock, log, limits }),
        forwardedLogsRoute(logs, log),
      ),
    onUpgrade,
    logs,
    get streams() {
      return streams.size;
    },
    close() {
      logs.closeAll();
      streams.close();
    },
  };
}
