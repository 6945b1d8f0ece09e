/**
 * One agent's stream: hello, take-over, welcome, snapshot; from then on assignments go down as they change, and heartbeats, states and
 * events come up. The machine is the one that the certificate names, whatever a message says.
 */
import { randomUUID } from 'node:crypto';
import type { WebSocket } from 'ws';
import type { Random } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import { OutcomeUnknown, StoreUnavailable } from '../../../runtime/store/store.js';
import { StatusError } from '../../resources/errors.js';
import type { Presence } from '../../resources/machine.js';
import { type AgentFeature, FromAgent, type FromServer } from '../../resources/protocol.js';
import { Budget } from './budget.js';
import { duplicateMachine, type EndReason, machineRemoved, StreamEnd, superseded } from './ending.js';
import { AssignmentFeed } from './feed.js';
import type { AgentMetrics } from './metrics.js';
import { type Caller, type OpeningPorts, openPresence } from './opening.js';
import type { HeldPresence } from './presence.js';
import { StateWriter } from './state-writer.js';

type Message<Type extends FromAgent['type']> = Extract<FromAgent, { type: Type }>;

export interface StreamPorts extends OpeningPorts {
  /** Agent endpoints of all servers that run now. */
  readonly servers: () => readonly string[];
  readonly random: Random;
  readonly metrics: AgentMetrics;
  readonly onUsage: (machine: string, usage: Message<'usage'>) => void;
}

/** Whoever keeps all the streams of this server. */
export interface StreamOwner {
  /** Runs `open` as soon as there is a place among those that are being opened. */
  opening(open: () => Promise<void>): Promise<void>;
  /** The stream holds its machine, and is told of changes from now on. An older stream of the machine is superseded. */
  opened(stream: AgentStream): void;
  ended(stream: AgentStream): void;
}

const closeCodes: Partial<Record<EndReason, number>> = { shutdown: 1001 };
const policyViolation = 1008;

export class AgentStream {
  readonly #ports: StreamPorts;
  readonly #owner: StreamOwner;
  readonly #caller: Caller;
  readonly #socket: WebSocket;
  readonly #log: Logger;
  readonly #session = randomUUID();
  readonly #feed: AssignmentFeed;
  readonly #bytes: Budget;
  readonly #events: Budget;
  #state: 'hello' | 'opening' | 'open' | 'ended' = 'hello';
  #held: { readonly presence: HeldPresence; readonly writer: StateWriter } | undefined;
  #heartbeats: Promise<void> = Promise.resolve();
  #heartbeatsWaiting = 0;
  #heardAtMs: number;
  /** Since when a message has been waiting for the network; undefined when none is. */
  #stuckSinceMs: number | undefined;
  readonly #cancelHelloTimeout: () => void;

  constructor(ports: StreamPorts, owner: StreamOwner, caller: Caller, socket: WebSocket) {
    const { clock, limits } = ports;
    this.#ports = ports;
    this.#owner = owner;
    this.#caller = caller;
    this.#socket = socket;
    this.#log = ports.log.child({ machine: caller.machine, session: this.#session });
    this.#feed = new AssignmentFeed(ports.cache, caller.machine);
    this.#bytes = new Budget(clock, limits.maxBurstBytes, limits.maxBytesPerSecond);
    this.#events = new Budget(clock, limits.maxEventsBurst, limits.maxEventsPerMinute / 60);
    this.#heardAtMs = clock.monotonicMs();
    this.#cancelHelloTimeout = clock.after(limits.helloTimeoutMs, () => this.end(new StreamEnd('stale', 'no hello came')));
    socket.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    socket.on('error', (error) => this.#log.debug('stream failed', { error }));
    socket.on('close', () => this.#end('closed', 'the agent closed it'));
  }

  get machine(): string {
    return this.#caller.machine;
  }

  /** Of the Machine object that the certificate names. */
  get uid(): string {
    return this.#caller.uid;
  }

  knows(feature: AgentFeature): boolean {
    return this.#caller.features.has(feature);
  }

  /** Says goodbye and closes. Presence is left to run out by itself: the machine may be on another server within the second. */
  end({ reason, message, retry }: StreamEnd): void {
    if (this.#state === 'ended') return;
    this.send({ type: 'goodbye', reason: message, retry });
    this.#end(reason, message);
    this.#socket.close(closeCodes[reason] ?? policyViolation, message.slice(0, 100));
    const cancel = this.#ports.clock.after(this.#ports.limits.closeTimeoutMs, () => this.#socket.terminate());
    this.#socket.once('close', cancel);
  }

  #end(reason: EndReason, why: string): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#cancelHelloTimeout();
    this.#held?.writer.stop();
    this.#ports.metrics.ended(reason);
    this.#log.info('stream ended', { reason, why });
    this.#owner.ended(this);
  }

  send(message: FromServer): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const { clock } = this.#ports;
    this.#stuckSinceMs ??= clock.monotonicMs();
    this.#socket.send(JSON.stringify(message), () => {
      // The network has taken this one; what is behind it has been waiting since now at most.
      this.#stuckSinceMs = this.#socket.bufferedAmount === 0 ? undefined : clock.monotonicMs();
      this.flush();
    });
  }

  /** Called now and then: ends what is dead. */
  sweep(): void {
    const { clock, limits } = this.#ports;
    const nowMs = clock.monotonicMs();
    const isStuck = this.#stuckSinceMs !== undefined && nowMs - this.#stuckSinceMs > limits.silenceTimeoutMs;
    if (!isStuck && nowMs - this.#heardAtMs <= limits.silenceTimeoutMs) return;
    this.#end('stale', isStuck ? 'the agent takes no messages' : 'nothing was heard of the agent');
    this.#socket.terminate();
  }

  // ── the cluster changes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Marks what changed; `flush` tells the agent. */
  assignmentChanged(unit: string): void {
    this.#feed.mark(unit);
  }

  textArrived(sha256: string): void {
    if (this.#feed.markText(sha256)) this.flush();
  }

  /** One `changes` on its way at a time: what changes meanwhile is told once, as it is then. */
  flush(): void {
    if (this.#state !== 'open' || this.#socket.bufferedAmount > 0) return;
    const changes = this.#feed.take();
    if (changes) this.send(changes);
  }

  presenceChanged(presence: Presence | undefined): void {
    // Absent: the lease has run out, and the next heartbeat takes a new one.
    if (!presence || presence.session === this.#session) return;
    this.end(presence.duplicate ? duplicateMachine(presence.duplicate.bootIDs) : superseded());
  }

  // ── the agent speaks ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(data: Buffer, isBinary: boolean): void {
    const { limits, clock } = this.#ports;
    if (this.#state === 'ended') return;
    this.#heardAtMs = clock.monotonicMs();
    try {
      if (!this.#bytes.spend(data.length)) throw new StreamEnd('limit', `more than ${limits.maxBytesPerSecond} bytes a second`);
      this.#obey(parseMessage(data, isBinary));
    } catch (error) {
      this.#fail(error);
    }
  }

  #obey(message: FromAgent): void {
    this.#ports.metrics.received(message.type);
    if (message.type === 'hello') {
      this.#hello(message);
      return;
    }
    if (this.#state !== 'open' || !this.#held) throw new StreamEnd('malformed', `${message.type} before the stream was open`);
    switch (message.type) {
      case 'heartbeat':
        this.#heartbeat(message.seq, this.#held.presence);
        return;
      case 'states':
        this.#states(message, this.#held.writer);
        return;
      case 'usage':
        this.#ports.onUsage(this.machine, message);
        return;
      case 'event':
        this.#event(message);
    }
  }

  /** Ends the stream for what was thrown. */
  #fail(error: unknown): void {
    if (error instanceof StreamEnd) this.end(error);
    else if (error instanceof StoreUnavailable || error instanceof OutcomeUnknown) {
      this.end(new StreamEnd('store', `this server cannot reach the store: ${error.message}`));
    } else if (error instanceof StatusError) this.end(new StreamEnd('refused', error.message));
    else {
      this.#log.error('stream failed', { error });
      this.end(new StreamEnd('refused', 'internal error; the log of the server has it'));
    }
  }

  #hello(hello: Message<'hello'>): void {
    if (this.#state !== 'hello') throw new StreamEnd('malformed', 'a second hello');
    this.#state = 'opening';
    this.#owner.opening(() => this.#open(hello)).catch((error: unknown) => this.#fail(error));
  }

  get #isWanted(): boolean {
    return this.#state === 'opening';
  }

  async #open(hello: Message<'hello'>): Promise<void> {
    if (!this.#isWanted) return;
    const presence = await openPresence(this.#ports, this.#caller, hello, this.#session, () => this.#isWanted);
    if (!this.#isWanted) return;
    const { cache, clusterUid, servers } = this.#ports;
    this.#cancelHelloTimeout();
    this.#held = { presence, writer: this.#newWriter(presence) };
    this.#state = 'open';
    // Nothing is awaited between these lines, so no change can fall between the snapshot and what is told of changes.
    this.send({ type: 'welcome', clusterUid, machineUid: this.uid, session: this.#session, servers: [...servers()] });
    this.send(this.#feed.snapshot());
    this.#owner.opened(this);
    this.#log.info('stream open');
    // The cache is at least as new as the take-over; whoever came after it must not be missed.
    this.presenceChanged(cache.presence(this.machine)?.value);
  }

  #newWriter(presence: HeldPresence): StateWriter {
    const { store, cache, clock, random, limits, metrics } = this.#ports;
    return new StateWriter({
      store,
      keys: cache.keys,
      cache,
      machine: this.machine,
      clock,
      random,
      log: this.#log,
      maxStateBytes: limits.maxStateBytes,
      retry: limits.stateRetry,
      presence,
      onStored: (batch) => this.send({ type: 'stored', batch }),
      onSuperseded: () => this.end(superseded()),
      count: (result) => metrics.state(result),
    });
  }

  #heartbeat(seq: number, presence: HeldPresence): void {
    const { limits, clock } = this.#ports;
    if (clock.now().getTime() >= this.#caller.validToMs) {
      throw new StreamEnd('expired', 'the machine certificate has expired: come back with a renewed one');
    }
    if (this.#heartbeatsWaiting >= limits.maxHeartbeatsWaiting)
      throw new StreamEnd('limit', 'heartbeats come faster than they are answered');
    this.#heartbeatsWaiting++;
    this.#heartbeats = this.#heartbeats.then(() => this.#beat(seq, presence)).finally(() => this.#heartbeatsWaiting--);
  }

  /** One keepalive to etcd for this heartbeat, and an acknowledgement once etcd has answered; none when it has not (SEMANTICS 17). */
  async #beat(seq: number, presence: HeldPresence): Promise<void> {
    if (this.#state !== 'open') return;
    const { clock, metrics } = this.#ports;
    const sentAtMs = clock.monotonicMs();
    try {
      const beat = await presence.beat();
      metrics.heartbeat((clock.monotonicMs() - sentAtMs) / 1_000);
      if (beat === 'removed') throw machineRemoved();
      if (beat === 'superseded') throw superseded();
      this.send({ type: 'heartbeat-ack', seq });
    } catch (error) {
      if (error instanceof StreamEnd) this.end(error);
      else this.#log.warn('heartbeat not acknowledged', { error });
    }
  }

  #states({ batch, states }: Message<'states'>, writer: StateWriter): void {
    const { limits } = this.#ports;
    const count = Object.keys(states).length;
    if (count > limits.maxStatesPerMessage) throw new StreamEnd('limit', `${count} states in one message`);
    if (writer.waiting >= limits.maxBatchesWaiting) throw new StreamEnd('limit', 'too many batches of states at a time');
    writer.accept(batch, states);
  }

  #event({ unit, reason, message, warning }: Message<'event'>): void {
    const { cache, limits, metrics, recordEvent } = this.#ports;
    const isForeign = unit !== undefined && !cache.assignment(this.machine, unit);
    if (isForeign || message.length > limits.maxEventMessageLength || !this.#events.spend(1)) metrics.eventIgnored();
    else recordEvent({ machine: this.machine, ...(unit === undefined ? {} : { unit }), reason, message, warning });
  }
}

/** Throws StreamEnd: what one message means is not guessed. */
function parseMessage(data: Buffer, isBinary: boolean): FromAgent {
  try {
    if (!isBinary) return FromAgent.parse(JSON.parse(data.toString('utf8')));
  } catch {
    // The error would quote what was sent.
  }
  throw new StreamEnd('malformed', 'a message was not understood: is the agent of a newer version than this server?');
}
