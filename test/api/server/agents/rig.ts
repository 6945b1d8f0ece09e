/** A server as agents meet it: real TLS on loopback, the real app, cache and door over a store in memory; and an agent made of a WebSocket. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { WebSocket } from 'ws';
import { openClusterCache } from '../../../../api/objects/cache.js';
import { openObjectDoor } from '../../../../api/objects/door.js';
import type { MachineInfo } from '../../../../api/resources/machine.js';
import { agentFeatures, type FromAgent, FromServer, featuresHeader, type JoinReply } from '../../../../api/resources/protocol.js';
import { kinds } from '../../../../api/resources/registry.js';
import { openAgentGateway } from '../../../../api/server/agents/gateway.js';
import type { AgentLimits } from '../../../../api/server/agents/limits.js';
import { createApp } from '../../../../api/server/app.js';
import { authorize } from '../../../../api/server/authorize.js';
import { ConnectionIdentities } from '../../../../api/server/connection-identity.js';
import { openListeners, parseListen } from '../../../../api/server/listeners.js';
import { openServerRegistry } from '../../../../api/server/servers.js';
import { openPki } from '../../../../api/server/trust/ca.js';
import { trustRoutes } from '../../../../api/server/trust/routes.js';
import { openTokens } from '../../../../api/server/trust/tokens.js';
import { type Clock, systemClock } from '../../../../runtime/clock.js';
import { silentLogger } from '../../../../runtime/log.js';
import { createMetrics } from '../../../../runtime/metrics.js';
import { MemoryStore } from '../../../../runtime/store/memory-store.js';
import { createRequest, generateKeyPair, type KeyPair, privateKeyPem } from '../../../../runtime/x509/certificates.js';
import { keys } from '../../objects/cluster-writer.js';

/** Leases of the store in memory live on when its clients are closed; their timers must not keep the test alive. */
const storeClock: Clock = {
  ...systemClock,
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs).unref();
    return () => clearTimeout(timer);
  },
};

export const machineId = (letter: string): string => letter.repeat(32);

/** Waits for what is a matter of milliseconds on a quiet machine; fails with the words when it does not come. */
export async function until<T>(
  what: string | (() => string),
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 5))) {
    const found = await look();
    if (found !== undefined && found !== false) return found as T;
  }
  assert.fail(`never came: ${typeof what === 'string' ? what : what()}`);
}

export interface RecordedEvent {
  readonly kind: string;
  readonly name: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** What all servers of one cluster share. */
export async function newCluster() {
  const dir = await mkdtemp(path.join(tmpdir(), 'flotilla-agents-'));
  const store = new MemoryStore({ clock: storeClock });
  const closing: (() => Promise<void>)[] = [];
  const cluster = {
    dir,
    /** Of nobody: for tests that write as the leader and users would. */
    store,
    keys,
    startServer: async (name: string, options: { clock?: Clock; limits?: Partial<AgentLimits> } = {}) => {
      const server = await startServer(dir, store.peer(), name, options);
      closing.push(server.close);
      return server;
    },
    async close() {
      for (const close of closing) await close();
      await store.close();
      await rm(dir, { recursive: true });
    },
  };
  return cluster;
}
export type Cluster = Awaited<ReturnType<typeof newCluster>>;
export type Server = Awaited<ReturnType<Cluster['startServer']>>;

async function startServer(dir: string, store: MemoryStore, name: string, options: { clock?: Clock; limits?: Partial<AgentLimits> }) {
  const clock = options.clock ?? systemClock;
  const log = silentLogger;
  const metrics = createMetrics({ component: 'test', version: '0.0.0', process: false });
  const pki = await openPki({ dir: path.join(dir, 'pki'), store, keys, names: [], clock });
  const { cache, hub, stop } = openClusterCache({
    store,
    keys,
    clock,
    log,
    // Tests take the history away again and again; a real informer would be more patient.
    limits: { informer: { retry: { baseMs: 1, capMs: 10 } } },
  });
  await cache.untilSynced();
  const door = openObjectDoor({ kinds, cache, store, keys });
  const identities = new ConnectionIdentities(clock);
  const events: RecordedEvent[] = [];
  const registry = openServerRegistry({ store, keys, self: { name, urls: [], version: '0.0.0' }, clock, random: Math.random, log });
  const tokens = openTokens({ store, keys, clock, caSha256: pki.caSha256 });
  const gateway = openAgentGateway({
    store,
    cache,
    door,
    pki,
    tokens,
    registry,
    identities,
    authorize,
    events: { record: ({ kind, name: about }, type, reason, message) => events.push({ kind, name: about, type, reason, message }) },
    serverName: name,
    clock,
    log,
    metrics,
    ...(options.limits ? { limits: options.limits } : {}),
  });
  const app = await createApp({
    cache,
    hub,
    door,
    store,
    kinds,
    metrics,
    log,
    clock,
    identityOf: identities.of,
    authorize,
    outputs: gateway.outputs,
    usage: gateway.usage,
    server: { name, version: '0.0.0' },
    servers: () => registry.all(),
    clusterUid: pki.clusterUid,
    extraPlugins: [gateway.routes, (routes) => routes.add(...trustRoutes({ tokens, pki, urls: () => registry.urls(), log }))],
  });
  await app.fastify.ready();
  const socketPath = path.join(dir, `${name}.sock`);
  const listeners = await openListeners([parseListen(`unix://${socketPath}`), parseListen('https://127.0.0.1:0')], {
    handler: (request, response) => app.fastify.routing(request, response),
    onUpgrade: gateway.onUpgrade,
    identities,
    pki,
  });
  const url = listeners.endpoints[1]!;
  await registry.announce([url]);
  let closed = false;

  return {
    name,
    url,
    socketPath,
    store,
    cache,
    door,
    pki,
    tokens,
    gateway,
    registry,
    metrics,
    events,
    routes: app.routes,
    ca: pki.caCertificate,
    async close() {
      if (closed) return;
      closed = true;
      gateway.close();
      await registry.close();
      await app.fastify.close();
      await listeners.close(0);
      pki.close();
      stop();
      await store.close();
    },
  };
}

export interface Credentials {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** For many requests of one client: without it each opens a connection, and the handshake costs both sides more than the rest. */
export const keptConnection = (): https.Agent => new https.Agent({ keepAlive: true, maxSockets: 1 });

/** One HTTPS request; without a certificate when none is given. */
export async function ask(
  server: Pick<Server, 'url' | 'ca'>,
  method: string,
  target: string,
  options: { credentials?: Credentials; body?: unknown; headers?: Record<string, string>; connection?: https.Agent } = {},
): Promise<Answer> {
  const payload = options.body === undefined ? undefined : JSON.stringify(options.body);
  const request = https.request(`${server.url}${target}`, {
    method,
    agent: options.connection ?? false,
    ca: server.ca,
    ...options.credentials,
    headers: {
      ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
      ...options.headers,
    },
  });
  request.end(payload);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode ?? 0, text };
}

export const joinBody = async (token: string, machine: string, pair: KeyPair, labels: Record<string, string> = {}) => ({
  token,
  machine,
  csr: await createRequest(pair, machine),
  labels,
});

/** Joins with a token made for it, as an agent would. */
export async function joinMachine(
  server: Server,
  machine: string,
  labels: Record<string, string> = {},
  allowed?: string[],
): Promise<Credentials> {
  const { token } = await server.tokens.create(allowed ? { labels: allowed } : {});
  const pair = await generateKeyPair();
  const answer = await ask(server, 'POST', '/agent/v1/join', { body: await joinBody(token, machine, pair, labels) });
  assert.equal(answer.status, 200, answer.text);
  const reply = JSON.parse(answer.text) as JoinReply;
  return { ca: reply.ca, cert: reply.certificate, key: await privateKeyPem(pair) };
}

type Message<Type extends FromServer['type']> = Extract<FromServer, { type: Type }>;

export const infoOf = (bootID: string): MachineInfo => ({
  hostname: 'host',
  address: '127.0.0.1',
  bootID,
  agentVersion: '0.0.0',
  cpus: 1,
  memoryBytes: 1024,
});

export class FakeAgent {
  readonly received: FromServer[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  #seq = 0;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data) => this.received.push(FromServer.parse(JSON.parse(data.toString()))));
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    socket.on('error', () => {});
  }

  /** A connection that has said nothing yet. */
  static async connect(
    server: Pick<Server, 'url'>,
    credentials: Credentials,
    features: readonly string[] = agentFeatures,
  ): Promise<FakeAgent> {
    const headers = features.length === 0 ? {} : { [featuresHeader]: features.join(',') };
    const socket = new WebSocket(`${server.url.replace('https', 'wss')}/agent/v1/stream`, { ...credentials, headers });
    const agent = new FakeAgent(socket);
    await once(socket, 'open');
    return agent;
  }

  /** A stream that was welcomed. */
  static async open(
    server: Server,
    credentials: Credentials,
    bootID = 'boot-1',
    labels: Record<string, string> = {},
    features?: readonly string[],
  ): Promise<FakeAgent> {
    const agent = await FakeAgent.connect(server, credentials, features);
    agent.send({ type: 'hello', info: infoOf(bootID), labels });
    await agent.next('snapshot');
    return agent;
  }

  send(message: FromAgent): void {
    this.socket.send(JSON.stringify(message));
  }

  all<Type extends FromServer['type']>(type: Type): Message<Type>[] {
    return this.received.filter((message): message is Message<Type> => message.type === type);
  }

  /** The first message of that type that fits; waits for it. */
  next<Type extends FromServer['type']>(type: Type, fits: (message: Message<Type>) => boolean = () => true): Promise<Message<Type>> {
    return until(
      () => `${type}; instead: ${JSON.stringify(this.received).slice(0, 2_000)}`,
      () => this.all(type).find(fits),
    );
  }

  /** Sends a heartbeat and waits for its acknowledgement. */
  async beat(): Promise<void> {
    const seq = this.heartbeat();
    await this.next('heartbeat-ack', (ack) => ack.seq === seq);
  }

  heartbeat(): number {
    this.send({ type: 'heartbeat', seq: ++this.#seq });
    return this.#seq;
  }

  acknowledged(seq: number): boolean {
    return this.all('heartbeat-ack').some((ack) => ack.seq === seq);
  }

  /** What the agent wants now, from the snapshot and all changes. */
  wanted(): Map<string, { generation: number; text: string }> {
    const wanted = new Map<string, { generation: number; text: string }>();
    for (const message of this.received) {
      if (message.type !== 'snapshot' && message.type !== 'changes') continue;
      if (message.type === 'snapshot') wanted.clear();
      for (const { unit, generation, text } of message.assignments) wanted.set(unit, { generation, text });
      if (message.type === 'changes') for (const unit of message.dropped) wanted.delete(unit);
    }
    return wanted;
  }

  async untilClosed(): Promise<{ readonly code: number; readonly reason: string }> {
    return until('the end of the stream', () => this.closed);
  }

  close(): void {
    this.socket.terminate();
  }
}
