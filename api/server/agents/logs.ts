/**
 * Journals of units: asked for on the machine's stream, sent by its agent on a connection of its own, read at the pace of whoever reads.
 * A machine whose stream another server holds is asked through that server.
 */
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { createWebSocketStream, type WebSocket } from 'ws';
import type { Clock } from '../../../runtime/clock.js';
import type { ClusterCache } from '../../objects/ports.js';
import { StatusError, type StatusReason } from '../../resources/errors.js';
import { type FromServer, logsClose, maxLogsPerMachine } from '../../resources/protocol.js';
import type { LogRequest, LogSource } from '../ports.js';
import type { AgentLimits } from './limits.js';

export interface LogPorts {
  readonly cache: Pick<ClusterCache, 'assignment' | 'presence'>;
  readonly serverName: string;
  /** The machine's stream, when this server holds it. */
  readonly streamOf: (machine: string) => { send(message: FromServer): void } | undefined;
  /** Asks another server, by its name. */
  readonly forward: (server: string, request: LogRequest) => Promise<AsyncIterable<Uint8Array>>;
  readonly clock: Clock;
  readonly limits: AgentLimits;
}

/** One journal on its way, from the question to the last byte. */
interface Journal {
  readonly machine: string;
  /** The agent's connection has come. */
  connected(socket: WebSocket): void;
  /** Ends it on both sides; a second call does nothing. */
  close(): void;
}

/** An agent that refuses says so at once, and one with an empty journal says nothing: waited for before the answer begins. */
const refusalWaitMs = 500;

export class AgentLogs implements LogSource {
  readonly #journals = new Map<string, Journal>();

  constructor(private readonly ports: LogPorts) {}

  open(request: LogRequest): Promise<AsyncIterable<Uint8Array>> {
    const { machine } = request;
    if (this.ports.streamOf(machine)) return this.openHere(request);
    const { server } = this.ports.cache.presence(machine)?.value ?? {};
    if (!server || server === this.ports.serverName) throw notConnected(machine);
    return this.ports.forward(server, request);
  }

  /** From an agent on a stream of this server, and from nowhere else. Throws StatusError. */
  async openHere(request: LogRequest): Promise<AsyncIterable<Uint8Array>> {
    const { machine, unit, lines, follow, sinceSeconds, signal } = request;
    const { cache, clock, streamOf } = this.ports;
    const stream = streamOf(machine);
    if (!stream) throw notConnected(machine);
    if (!cache.assignment(machine, unit)) throw new StatusError('NotFound', `${unit} is not assigned to machine ${machine}`);
    if ([...this.#journals.values()].filter((journal) => journal.machine === machine).length >= maxLogsPerMachine) {
      throw new StatusError('TooManyRequests', `${maxLogsPerMachine} journals of machine ${machine} are being read already`);
    }
    signal.throwIfAborted();
    const id = randomBytes(16).toString('hex');
    const socket = await this.#connected(id, machine, signal, () => {
      const since = sinceSeconds === undefined ? {} : { since: sinceText(clock.now(), sinceSeconds) };
      stream.send({ type: 'open-logs', request: id, unit, lines, follow, ...since });
    });
    const bytes = createWebSocketStream(socket, { readableObjectMode: false, allowHalfOpen: false });
    const ended = closeOf(socket);
    await this.#firstWord(bytes, ended);
    return read(bytes, ended, () => this.#journals.get(id)?.close());
  }

  /** Whether a connection from this machine for this request is waited for. */
  expects(machine: string, request: string): boolean {
    return this.#journals.get(request)?.machine === machine;
  }

  accept(socket: WebSocket, machine: string, request: string): void {
    if (this.expects(machine, request)) this.#journals.get(request)?.connected(socket);
    else socket.close(logsClose.ended, 'nobody reads this any more');
  }

  /** Ends all journals of a machine that was removed, or all there are. */
  closeAll(machine?: string): void {
    for (const journal of [...this.#journals.values()]) if (machine === undefined || journal.machine === machine) journal.close();
  }

  /** Asks the agent, and waits for its connection. Whatever ends the reading ends the journal on the machine. */
  #connected(id: string, machine: string, signal: AbortSignal, ask: () => void): Promise<WebSocket> {
    const { clock, limits, streamOf } = this.ports;
    return new Promise((resolve, reject) => {
      let socket: WebSocket | undefined;
      const close = (why?: unknown) => {
        if (!this.#journals.delete(id)) return;
        cancel();
        signal.removeEventListener('abort', onAbort);
        reject(why ?? new StatusError('ServiceUnavailable', 'the journal was closed'));
        streamOf(machine)?.send({ type: 'close-logs', request: id });
        socket?.terminate();
      };
      const onAbort = () => close(signal.reason);
      const cancel = clock.after(limits.logConnectTimeoutMs, () =>
        close(new StatusError('ServiceUnavailable', `machine ${machine} did not send its journal in time`)),
      );
      signal.addEventListener('abort', onAbort);
      const connected = (arrived: WebSocket) => {
        if (socket) return arrived.terminate();
        socket = arrived;
        cancel();
        arrived.on('close', () => close());
        resolve(arrived);
      };
      this.#journals.set(id, { machine, connected, close });
      ask();
    });
  }

  /** Resolves with the first byte, or when nothing speaks against the journal. Rejects with what the agent refuses for. */
  async #firstWord(bytes: Readable, ended: Promise<Closed>): Promise<void> {
    const refused = await new Promise<Closed | undefined>((resolve) => {
      const cancel = this.ports.clock.after(refusalWaitMs, () => resolve(undefined));
      const settle = (closed?: Closed) => {
        cancel();
        resolve(closed);
      };
      // Also emitted at the end, when there is nothing to read: what the end means is in `ended`.
      bytes.once('readable', () => bytes.readableLength > 0 && settle());
      void ended.then(settle);
    });
    if (refused && refused.code !== logsClose.ended && refused.wasEmpty) throw refusalOf(refused);
  }
}

interface Closed {
  readonly code: number;
  readonly reason: string;
  /** Nothing had come before. */
  readonly wasEmpty: boolean;
}

function closeOf(socket: WebSocket): Promise<Closed> {
  let wasEmpty = true;
  socket.once('message', () => {
    wasEmpty = false;
  });
  return new Promise((resolve) => socket.once('close', (code, reason) => resolve({ code, reason: reason.toString(), wasEmpty })));
}

async function* read(bytes: AsyncIterable<Uint8Array>, ended: Promise<Closed>, close: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
    const closed = await ended;
    if (closed.code !== logsClose.ended) throw refusalOf(closed);
  } finally {
    close();
  }
}

const refusals: Readonly<Record<number, StatusReason>> = {
  [logsClose.notAssigned]: 'NotFound',
  [logsClose.tooMany]: 'TooManyRequests',
  [logsClose.failed]: 'InternalError',
};

const refusalOf = ({ code, reason }: Closed): StatusError =>
  new StatusError(refusals[code] ?? 'ServiceUnavailable', reason || 'the machine broke off its journal');

const notConnected = (machine: string): StatusError =>
  new StatusError('ServiceUnavailable', `machine ${machine} is not connected: its journal cannot be read now`, { retryAfterSeconds: 5 });

const sinceText = (now: Date, seconds: number): string => new Date(now.getTime() - seconds * 1_000).toISOString();
