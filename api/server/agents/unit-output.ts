/**
 * What machines show of their units: asked for on the machine's stream, sent by its agent on a connection of its own, read at the pace of
 * whoever reads. A machine whose stream another server holds is asked through that server.
 */
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { createWebSocketStream, type WebSocket } from 'ws';
import type { Clock } from '../../../runtime/clock.js';
import type { ClusterCache } from '../../objects/ports.js';
import { StatusError, type StatusReason } from '../../resources/errors.js';
import { type AgentFeature, exitCodeOf, type FromServer, maxOutputsPerMachine, outputClose } from '../../resources/protocol.js';
import { defaultJournalFormat } from '../../resources/unit-output.js';
import type { OutputRequest, OutputSource, UnitOutput } from '../ports.js';
import type { AgentLimits } from './limits.js';

export interface OutputPorts {
  readonly cache: Pick<ClusterCache, 'assignment' | 'presence'>;
  readonly serverName: string;
  /** The machine's stream, when this server holds it. */
  readonly streamOf: (machine: string) => { send(message: FromServer): void; knows(feature: AgentFeature): boolean } | undefined;
  /** Asks another server, by its name. */
  readonly forward: (server: string, request: OutputRequest) => Promise<UnitOutput>;
  readonly clock: Clock;
  readonly limits: Pick<AgentLimits, 'outputConnectTimeoutMs' | 'statusTimeoutMs'>;
}

/** One output on its way, from the question to the last byte. */
interface Conversation {
  readonly machine: string;
  /** The agent's connection has come. */
  connected(socket: WebSocket): void;
  /** Ends it on both sides; a second call does nothing. */
  close(): void;
}

/** An agent that refuses says so at once, and one with an empty journal says nothing: waited for before the answer begins. */
const refusalWaitMs = 500;
/** One that has to find an earlier run first may take this long to refuse. */
const searchWaitMs = 12_000;

export class AgentOutputs implements OutputSource {
  readonly #open = new Map<string, Conversation>();

  constructor(private readonly ports: OutputPorts) {}

  open(request: OutputRequest): Promise<UnitOutput> {
    const { machine } = request;
    if (this.ports.streamOf(machine)) return this.openHere(request);
    const { server } = this.ports.cache.presence(machine)?.value ?? {};
    if (!server || server === this.ports.serverName) throw notConnected(request);
    return this.ports.forward(server, request);
  }

  /** From an agent on a stream of this server, and from nowhere else. Throws StatusError. */
  async openHere(request: OutputRequest): Promise<UnitOutput> {
    const { machine, unit, signal } = request;
    const { cache, clock, limits, streamOf } = this.ports;
    const stream = streamOf(machine);
    if (!stream) throw notConnected(request);
    if (!cache.assignment(machine, unit)) throw new StatusError('NotFound', `${unit} is not assigned to machine ${machine}`);
    const feature = featureFor(request);
    if (feature !== undefined && !stream.knows(feature)) {
      const message = `the agent of machine ${machine} is older than this server and does not know ${feature}: update it`;
      throw new StatusError('ServiceUnavailable', message);
    }
    if ([...this.#open.values()].filter((conversation) => conversation.machine === machine).length >= maxOutputsPerMachine) {
      const message = `${maxOutputsPerMachine} journals and statuses of machine ${machine} are being read already`;
      throw new StatusError('TooManyRequests', message);
    }
    signal.throwIfAborted();
    const id = randomBytes(16).toString('hex');
    const socket = await this.#connected(id, request, () => stream.send(questionOf(request, id, clock)));
    const bytes = createWebSocketStream(socket, { readableObjectMode: false, allowHalfOpen: false });
    // Nobody iterates before the first word: an agent that breaks the protocol until then must not end this server. `ended` tells.
    bytes.on('error', () => {});
    const ended = closeOf(socket);
    const close = () => this.#open.get(id)?.close();
    let isLate = false;
    const cancel =
      request.show === 'journal'
        ? () => {}
        : clock.after(limits.statusTimeoutMs, () => {
            isLate = true;
            close();
          });
    void ended.then(cancel);
    const refusalOf = (closed: Closed) => (isLate ? tooLate(machine) : refusalIn(closed, request));
    const refused = await this.#firstWord(bytes, ended, request.show === 'journal' && request.previous ? searchWaitMs : refusalWaitMs);
    if (refused) throw refusalOf(refused);
    return read(bytes, ended, refusalOf, close);
  }

  /** Whether a connection from this machine for this request is waited for. */
  expects(machine: string, request: string): boolean {
    return this.#open.get(request)?.machine === machine;
  }

  accept(socket: WebSocket, machine: string, request: string): void {
    if (this.expects(machine, request)) this.#open.get(request)?.connected(socket);
    else socket.close(outputClose.ended, 'nobody reads this any more');
  }

  /** Ends all outputs of a machine that was removed, or all there are. */
  closeAll(machine?: string): void {
    for (const one of [...this.#open.values()]) if (machine === undefined || one.machine === machine) one.close();
  }

  /** Asks the agent, and waits for its connection. Whatever ends the reading ends the process on the machine. */
  #connected(id: string, request: OutputRequest, ask: () => void): Promise<WebSocket> {
    const { clock, limits, streamOf } = this.ports;
    const { machine, signal } = request;
    return new Promise((resolve, reject) => {
      let socket: WebSocket | undefined;
      const close = (why?: unknown) => {
        if (!this.#open.delete(id)) return;
        cancel();
        signal.removeEventListener('abort', onAbort);
        reject(why ?? new StatusError('ServiceUnavailable', `the ${request.show} was closed`));
        streamOf(machine)?.send({ type: 'close-logs', request: id });
        socket?.terminate();
      };
      const onAbort = () => close(signal.reason);
      const cancel = clock.after(limits.outputConnectTimeoutMs, () =>
        close(new StatusError('ServiceUnavailable', `machine ${machine} did not send its ${request.show} in time`)),
      );
      signal.addEventListener('abort', onAbort);
      const connected = (arrived: WebSocket) => {
        if (socket) return arrived.terminate();
        socket = arrived;
        cancel();
        arrived.on('close', () => close());
        resolve(arrived);
      };
      this.#open.set(id, { machine, connected, close });
      ask();
    });
  }

  /** Resolves with the first byte, or when nothing speaks against the output; with the close that refuses it when one came instead. */
  async #firstWord(bytes: Readable, ended: Promise<Closed>, waitMs: number): Promise<Closed | undefined> {
    const closed = await new Promise<Closed | undefined>((resolve) => {
      const cancel = this.ports.clock.after(waitMs, () => resolve(undefined));
      const settle = (end?: Closed) => {
        cancel();
        resolve(end);
      };
      // Also emitted at the end, when there is nothing to read: what the end means is in `ended`.
      bytes.once('readable', () => bytes.readableLength > 0 && settle());
      void ended.then(settle);
    });
    return closed && exitCodeOf(closed.code) === undefined && closed.wasEmpty ? closed : undefined;
  }
}

/** What an agent must know to answer; agents of the first version show journals in one format. */
function featureFor(request: OutputRequest): AgentFeature | undefined {
  if (request.show === 'status') return 'systemd-status';
  if (request.previous || request.field !== undefined) return 'journal-runs';
  return (request.output ?? defaultJournalFormat) === defaultJournalFormat ? undefined : 'journal-output';
}

function questionOf(request: OutputRequest, id: string, clock: Clock): FromServer {
  const { unit } = request;
  if (request.show === 'status') return { type: 'open-status', request: id, unit };
  const { lines, follow, sinceSeconds, sinceMs, output = defaultJournalFormat, previous = false, field } = request;
  return {
    type: 'open-logs',
    request: id,
    unit,
    lines,
    follow,
    ...(sinceSeconds === undefined ? {} : { since: sinceText(clock.now(), sinceSeconds) }),
    ...(sinceMs === undefined ? {} : { since: `@${(sinceMs / 1_000).toFixed(3)}` }),
    ...(previous ? { previous } : {}),
    ...(field === undefined ? {} : { field }),
    ...(output === defaultJournalFormat ? {} : { output }),
  };
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

function read(
  bytes: AsyncIterable<Uint8Array>,
  ended: Promise<Closed>,
  refusalOf: (closed: Closed) => StatusError,
  close: () => void,
): UnitOutput {
  let code: number | undefined;
  async function* toItsEnd(): AsyncGenerator<Uint8Array> {
    try {
      yield* bytes;
      const closed = await ended;
      code = exitCodeOf(closed.code);
      if (code === undefined) throw refusalOf(closed);
    } finally {
      close();
    }
  }
  return {
    bytes: toItsEnd(),
    exitCode() {
      if (code === undefined) throw new Error('the exit code is known when everything was read');
      return code;
    },
  };
}

const refusals: Readonly<Record<number, StatusReason>> = {
  [outputClose.noRun]: 'BadRequest',
  [outputClose.notAssigned]: 'NotFound',
  [outputClose.tooMany]: 'TooManyRequests',
  [outputClose.failed]: 'InternalError',
};

const refusalIn = ({ code, reason }: Closed, { show }: OutputRequest): StatusError =>
  new StatusError(refusals[code] ?? 'ServiceUnavailable', reason || `the machine broke off its ${show}`);

const tooLate = (machine: string): StatusError =>
  new StatusError('ServiceUnavailable', `systemctl on machine ${machine} did not answer in time`);

const notConnected = ({ machine, show }: OutputRequest): StatusError =>
  new StatusError('ServiceUnavailable', `machine ${machine} is not connected: its ${show} cannot be read now`, { retryAfterSeconds: 5 });

/** In seconds since 1970: older journalctls do not read what ISO 8601 makes of a time in UTC. */
const sinceText = (now: Date, seconds: number): string => `@${Math.floor(now.getTime() / 1_000) - seconds}`;
