/**
 * Everything that agents come for, put together: their streams, what they show of units, joining and renewing. The routes go through the app's
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
import { agentComponent } from '../../resources/event.js';
import { featuresHeader } from '../../resources/protocol.js';
import type { ConnectionIdentities } from '../connection-identity.js';
import { refuseUpgrade, type UpgradeListener } from '../listeners.js';
import type { Authorize, OutputSource, RoutePlugin, UsageSource } from '../ports.js';
import type { ServerRegistry } from '../servers.js';
import type { Pki } from '../trust/ca.js';
import type { Tokens } from '../trust/tokens.js';
import { forwardedOutputRoutes, outputForwarder } from './forward-output.js';
import { joinRoutes } from './join.js';
import { type AgentLimits, agentLimits } from './limits.js';
import { agentMetrics } from './metrics.js';
import type { MachineEvent } from './opening.js';
import { Peers } from './peers.js';
import { AgentStreams } from './streams.js';
import { AgentOutputs } from './unit-output.js';
import { AgentUsage, usageRoute } from './usage.js';

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
  readonly outputs: OutputSource;
  readonly usage: UsageSource;
  /** How many machines this server holds. */
  readonly streams: number;
  /** Sends all agents to other servers; no presence is revoked. */
  close(): void;
}

const streamPath = '/agent/v1/stream';
const outputPath = /^\/agent\/v1\/logs\/([0-9a-f]{32})$/;
const eventReason = /^[A-Z][A-Za-z0-9]{0,63}$/;
/** A frame of output is as large as a pipe read of the agent. */
const maxOutputFrameBytes = 1024 * 1024;

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
    if (!eventReason.test(reason)) return;
    // Of what is said of the machine itself, some is the server's own word.
    const source = unit === undefined ? undefined : { component: agentComponent, host: machine.slice(0, 8) };
    events.record({ kind, name, uid }, warning ? 'Warning' : 'Normal', reason, message, source);
  };

  const peers = new Peers({ registry, pki, serverName, clock });
  const usage: AgentUsage = new AgentUsage({
    cache,
    serverName,
    streamOf: (machine) => streams.of(machine),
    peers,
    clock,
    log,
    limits,
  });
  const outputs: AgentOutputs = new AgentOutputs({
    cache,
    serverName,
    streamOf: (machine) => streams.of(machine),
    forward: outputForwarder(peers),
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
    onMachineRemoved: (machine) => outputs.closeAll(machine),
    onUsage: (machine, message) => usage.received(machine, message),
  });

  // Compression would let one machine make this server unpack far more than it was sent.
  const settings = { noServer: true, clientTracking: false, perMessageDeflate: false } as const;
  const streamSockets = new WebSocketServer({ ...settings, maxPayload: limits.maxMessageBytes });
  const outputSockets = new WebSocketServer({ ...settings, maxPayload: maxOutputFrameBytes });

  function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { pathname } = new URL(request.url ?? '/', 'http://server');
    const output = outputPath.exec(pathname)?.[1];
    if (pathname !== streamPath && output === undefined) {
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
    if (output === undefined) {
      if (streams.isFull) refuseUpgrade(socket, 503, 'this server holds as many streams as it can');
      else {
        const features = featuresOf(request);
        streamSockets.handleUpgrade(request, socket, head, (opened) => streams.accept(opened, { machine, uid, validToMs, features }));
      }
    } else if (!outputs.expects(machine, output)) refuseUpgrade(socket, 404, 'nobody reads this');
    else outputSockets.handleUpgrade(request, socket, head, (opened) => outputs.accept(opened, machine, output));
  }

  return {
    routes: (routes) =>
      routes.add(
        ...joinRoutes({ store, cache, door, pki, tokens, servers, recordEvent, clock, log, limits }),
        ...forwardedOutputRoutes(outputs, log),
        usageRoute(usage, () => streams.machines),
      ),
    onUpgrade,
    outputs,
    usage,
    get streams() {
      return streams.size;
    },
    close() {
      outputs.closeAll();
      streams.close();
    },
  };
}

const featuresOf = ({ headers }: IncomingMessage): ReadonlySet<string> =>
  new Set([headers[featuresHeader] ?? []].flat().flatMap((list) => list.split(',')));
