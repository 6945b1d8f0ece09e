/**
 * The agent's one stream to a server: heartbeats and states up, assignments down. A server that does not acknowledge heartbeats is left
 * for the next one before the presence lease can end; nothing that is said on a stream stops what runs.
 */
import WebSocket from 'ws';
import { agentFeatures, type FromAgent, FromServer, featuresHeader, heartbeatEveryMs } from '../api/resources/protocol.js';
import { type Clock, sleep } from '../runtime/clock.js';
import type { Logger } from '../runtime/log.js';
import type { ServerList } from './servers.js';

type Message<Type extends FromServer['type']> = Extract<FromServer, { type: Type }>;
type Hello = Extract<FromAgent, { type: 'hello' }>;

/** Client certificate and the CA that the server must be signed by; PEM. */
export interface TlsIdentity {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

export interface StreamHandler {
  hello(): Hello;
  /** False when the server belongs to another cluster: the stream is closed, and what runs stays as it is. */
  welcome(message: Message<'welcome'>): boolean;
  /** False when it must not be believed (SEMANTICS 16). */
  snapshot(message: Message<'snapshot'>, send: (message: FromAgent) => void): boolean;
  changes(message: Message<'changes'>): void;
  stored(batch: number): void;
  /** The server has kept this machine's presence alive. */
  acknowledged(): void;
  openOutput(message: Message<'open-logs'> | Message<'open-status'>, server: string): void;
  closeOutput(request: string): void;
  measure(request: string): void;
  /** The stream is gone; another one is being opened. */
  closed(why: string): void;
}

export interface StreamOptions {
  readonly servers: ServerList;
  readonly identity: () => TlsIdentity;
  readonly handler: StreamHandler;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const connectTimeoutMs = 4_000;
/** A stream that is left has this long to send what waits in it. */
const closeTimeoutMs = 1_000;
/** Without an acknowledgement for this long the next server is tried: heartbeat + this + a new connection stay below the presence TTL. */
const ackTimeoutMs = 2_500;
/** After a whole round of silent servers it is etcd that is slow, and changing servers does not help: be patient. */
const maxAckTimeoutMs = 20_000;
const maxMessageBytes = 64 * 1024 * 1024;
/** After the server said that coming back makes no sense. */
const dismissedRetryMs = 60_000;

/** The URL of a path of a server, for a WebSocket. */
export const webSocketUrl = (server: string, path: string): string => new URL(path, server.replace(/^http/, 'ws')).href;

export const tlsOptions = (identity: TlsIdentity) => ({
  ca: identity.ca,
  cert: identity.certificate,
  key: identity.key,
  rejectUnauthorized: true,
  minVersion: 'TLSv1.2' as const,
});

/** Keeps a stream open until the signal aborts. */
export async function keepStream(options: StreamOptions): Promise<void> {
  const { servers, clock, log, signal } = options;
  while (!signal.aborted) {
    const server = servers.current;
    const { why, mayReturn } = await new AgentStream(options, server).run();
    if (signal.aborted) return;
    options.handler.closed(why);
    const waitMs = mayReturn ? servers.failed() : dismissedRetryMs;
    log.warn('stream to server ended', { server, why, next: servers.current, wait_ms: Math.round(waitMs) });
    if (waitMs > 0) await sleep(clock, waitMs, signal);
  }
}

interface Ending {
  readonly why: string;
  readonly mayReturn: boolean;
}

class AgentStream {
  readonly #options: StreamOptions;
  readonly #server: string;
  #socket: WebSocket | undefined;
  #end: (ending: Ending) => void = () => {};
  #isWelcome = false;
  #isBelieved = false;
  #heartbeat = 0;
  #acknowledged = 0;
  #cancelTimer = () => {};

  constructor(options: StreamOptions, server: string) {
    this.#options = options;
    this.#server = server;
  }

  /** Resolves when the stream has ended, with the reason. */
  async run(): Promise<Ending> {
    const { signal } = this.#options;
    const ended = new Promise<Ending>((resolve) => {
      this.#end = resolve;
    });
    const abort = () => this.#end({ why: 'the agent ends', mayReturn: false });
    signal.addEventListener('abort', abort);
    try {
      this.#open();
      return await ended;
    } catch (error) {
      return { why: (error as Error).message, mayReturn: true };
    } finally {
      signal.removeEventListener('abort', abort);
      this.#cancelTimer();
      if (this.#socket) this.#letGo(this.#socket);
    }
  }

  /** What was said last still goes out; a server that does not take it is not waited for. */
  #letGo(socket: WebSocket): void {
    const { clock, signal } = this.#options;
    socket.removeAllListeners();
    // An error after this is nobody's business, but without a listener it would end the process.
    socket.on('error', () => {});
    if (signal.aborted || socket.readyState !== WebSocket.OPEN) {
      socket.terminate();
      return;
    }
    socket.on(
      'close',
      clock.after(closeTimeoutMs, () => socket.terminate()),
    );
    socket.close();
  }

  #open(): void {
    const { identity, handler, clock } = this.#options;
    const socket = new WebSocket(webSocketUrl(this.#server, '/agent/v1/stream'), {
      ...tlsOptions(identity()),
      maxPayload: maxMessageBytes,
      perMessageDeflate: false,
      handshakeTimeout: connectTimeoutMs,
      headers: { [featuresHeader]: agentFeatures.join(',') },
    });
    this.#socket = socket;
    const end = (why: string) => this.#end({ why, mayReturn: true });
    socket.on('error', (error) => end(error.message));
    socket.on('close', (code, reason) => end(reason.length > 0 ? reason.toString() : `closed by the server (${code})`));
    socket.on('open', () => {
      socket.send(JSON.stringify(handler.hello()));
      this.#cancelTimer = clock.after(connectTimeoutMs, () => end(`no welcome within ${connectTimeoutMs / 1_000} s`));
    });
    socket.on('message', (data) => this.#receive(data.toString()));
  }

  #send(message: FromAgent): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #receive(text: string): void {
    try {
      this.#obey(FromServer.parse(JSON.parse(text)));
    } catch (error) {
      this.#end({ why: `message from the server was not understood: ${(error as Error).message.slice(0, 500)}`, mayReturn: true });
    }
  }

  #obey(message: FromServer): void {
    const { handler, servers, log } = this.#options;
    if (!this.#isWelcome && message.type !== 'welcome' && message.type !== 'goodbye') {
      this.#end({ why: `the server said ${message.type} before its welcome`, mayReturn: true });
      return;
    }
    switch (message.type) {
      case 'welcome':
        if (!handler.welcome(message)) {
          this.#end({ why: 'the server belongs to another cluster', mayReturn: true });
          return;
        }
        this.#isWelcome = true;
        servers.learn(message.servers);
        log.info('stream to server open', { server: this.#server, session: message.session });
        this.#beat();
        return;
      case 'snapshot':
        this.#isBelieved = handler.snapshot(message, (reply) => this.#send(reply));
        if (!this.#isBelieved) this.#end({ why: 'its snapshot is older than what this machine knows', mayReturn: true });
        return;
      case 'changes':
        if (this.#isBelieved) handler.changes(message);
        return;
      case 'heartbeat-ack':
        this.#acknowledged = Math.max(this.#acknowledged, message.seq);
        servers.succeeded();
        handler.acknowledged();
        if (this.#acknowledged === this.#heartbeat) this.#beatLater();
        return;
      case 'stored':
        handler.stored(message.batch);
        return;
      case 'open-logs':
      case 'open-status':
        handler.openOutput(message, this.#server);
        return;
      case 'close-logs':
        handler.closeOutput(message.request);
        return;
      case 'measure':
        handler.measure(message.request);
        return;
      case 'goodbye':
        this.#end({ why: message.reason, mayReturn: message.retry });
    }
  }

  #sentAtMs = 0;

  #beat(): void {
    const { clock, servers } = this.#options;
    this.#heartbeat += 1;
    this.#sentAtMs = clock.monotonicMs();
    this.#send({ type: 'heartbeat', seq: this.#heartbeat });
    this.#cancelTimer();
    const patienceMs = Math.min(ackTimeoutMs * 2 ** servers.failedRounds, maxAckTimeoutMs);
    this.#cancelTimer = clock.after(patienceMs, () =>
      this.#end({ why: `no acknowledgement of a heartbeat within ${patienceMs / 1_000} s`, mayReturn: true }),
    );
  }

  /** One timer at a time: waiting for the acknowledgement, or for the time of the next heartbeat. */
  #beatLater(): void {
    const { clock } = this.#options;
    this.#cancelTimer();
    const waitMs = Math.max(0, this.#sentAtMs + heartbeatEveryMs - clock.monotonicMs());
    this.#cancelTimer = clock.after(waitMs, () => this.#beat());
  }
}
