/**
 * What a unit's machine shows of it, as text: `GET …/units/<name>/log`, its journal, streamed; and `GET …/units/<name>/systemd-status`,
 * what `systemctl status` says, whole, with its exit code in a header.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { ClusterCache } from '../objects/ports.js';
import { notFound } from '../objects/status-errors.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { journalFormats } from '../resources/unit-output.js';
import { paramsOf } from './access.js';
import { drainedOrClosed, eitherOf, holdOpen, openStream, type StreamQuota } from './http-stream.js';
import type { ServerLimits } from './limits.js';
import type { JournalRequest, OutputSource } from './ports.js';
import { flag, oneOf, queryOf, wholeNumber } from './query.js';
import { groupPath } from './rest.js';
import type { Route } from './routes.js';
import { answerStatus, wholeStatus } from './unit-status.js';

export interface OutputRoutePorts {
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<ServerLimits, 'maxLogLines'>;
  readonly outputs: OutputSource;
  readonly quota: StreamQuota;
  readonly closing: AbortSignal;
}

/** As many lines as `systemctl status` users expect to scroll through; `tailLines` asks for others. */
const defaultLines = 100;

/** The machine that is meant: the one asked for, by its id or the beginning of it, or the only one there is. */
export function chooseMachine(unit: string, machines: readonly string[], asked: string): string {
  if (machines.length === 0) {
    throw new StatusError('NotFound', `${unit} is assigned to no machine: there is none that could show it`);
  }
  const chosen = asked === '' ? machines : machines.filter((machine) => machine.startsWith(asked));
  if (chosen.length === 0)
    throw new StatusError('NotFound', `${unit} is not assigned to a machine ${asked}; it is on ${machines.join(', ')}`);
  if (chosen.length > 1) {
    throw new StatusError('BadRequest', `${unit} is on ${chosen.length} machines: name one with machine=, of ${chosen.join(', ')}`);
  }
  return chosen[0]!;
}

type Wanted = Pick<JournalRequest, 'lines' | 'follow' | 'sinceSeconds' | 'sinceMs' | 'output'>;

/** @param standardLines when the request names no number. Throws BadRequest (400). */
export function readJournalRequest(query: URLSearchParams, maxLogLines: number, standardLines: number): Wanted {
  const lines = wholeNumber(query, 'tailLines') ?? standardLines;
  if (lines > maxLogLines) throw new StatusError('BadRequest', `the query parameter tailLines must be at most ${maxLogLines}`);
  const sinceTime = query.get('sinceTime') ?? '';
  const sinceMs = Date.parse(sinceTime);
  if (sinceTime !== '' && Number.isNaN(sinceMs))
    throw new StatusError('BadRequest', 'the query parameter sinceTime must be a time as 2006-01-02T15:04:05Z');
  const sinceSeconds = sinceTime === '' ? wholeNumber(query, 'sinceSeconds') : undefined;
  const output = oneOf(query, 'output', journalFormats);
  return {
    lines,
    follow: flag(query, 'follow') ?? false,
    ...(sinceSeconds !== undefined && { sinceSeconds }),
    ...(sinceTime !== '' && { sinceMs: Math.max(0, sinceMs) }),
    ...(output !== undefined && { output }),
  };
}

/** @param kind the kind of units: its instances are what machines run */
export const outputRoutes = (ports: OutputRoutePorts, kind: Kind): Route[] => [
  outputRoute(ports, kind, 'log', async (reply, { unit, machine, query, signal }) => {
    const wanted = readJournalRequest(query, ports.limits.maxLogLines, defaultLines);
    await streamJournal(ports, reply, { show: 'journal', unit, machine, ...wanted, signal });
  }),
  outputRoute(ports, kind, 'systemd-status', async (reply, { unit, machine, signal }) => {
    const output = await ports.outputs.open({ show: 'status', unit, machine, signal });
    answerStatus(reply, await wholeStatus(output));
  }),
];

export const outputSubresources = [
  { name: 'log', verbs: ['get'] },
  { name: 'systemd-status', verbs: ['get'] },
] as const;

interface Asked {
  readonly unit: string;
  /** Full id of the one that is meant. */
  readonly machine: string;
  readonly query: URLSearchParams;
  /** Aborts when the client has gone or the server ends. */
  readonly signal: AbortSignal;
}

function outputRoute(
  ports: OutputRoutePorts,
  kind: Kind,
  subresource: (typeof outputSubresources)[number]['name'],
  answer: (reply: FastifyReply, asked: Asked) => Promise<void>,
): Route {
  return {
    method: 'GET',
    path: `${groupPath(kind)}/${kind.plural}/:name/${subresource}`,
    audience: 'any-authenticated',
    attributes: ({ params }) => ({
      resource: kind.plural,
      subresource,
      verb: 'get',
      ...(params.name !== undefined && { name: params.name }),
    }),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const query = queryOf(request);
      const unit = paramsOf(request).name!;
      const machines = [...ports.cache.assignmentsOf(unit).keys()];
      if (machines.length === 0 && ports.cache.object(kind.plural, unit) === undefined) throw notFound(kind, unit);
      const machine = chooseMachine(unit, machines, query.get('machine') ?? '');
      return whileWanted(ports, request, reply, (signal) => answer(reply, { unit, machine, query, signal }));
    },
  };
}

/** Answers for as long as the client stays and the server runs. Throws TooManyRequests (429), and what `answer` throws. */
export async function whileWanted(
  { quota, closing }: Pick<OutputRoutePorts, 'quota' | 'closing'>,
  request: FastifyRequest,
  reply: FastifyReply,
  answer: (signal: AbortSignal) => Promise<void>,
): Promise<FastifyReply> {
  const gone = holdOpen(request, reply, quota);
  const { signal, release } = eitherOf(gone, closing);
  try {
    await answer(signal);
  } finally {
    release();
  }
  return reply;
}

/** @param through what becomes of the bytes on their way. Throws StatusError before the first byte. */
export async function streamJournal(
  { outputs, log }: Pick<OutputRoutePorts, 'outputs' | 'log'>,
  reply: FastifyReply,
  asked: JournalRequest,
  through: (bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array> = (bytes) => bytes,
): Promise<void> {
  const { bytes } = await outputs.open(asked);
  const raw = openStream(reply, 'text/plain; charset=utf-8');
  const { unit, machine, signal } = asked;
  await copyLines(through(bytes), raw, signal, (error) => log.warn('log stream broke off', { unit, machine, error }));
}

/** At the reader's pace. A stream that breaks is cut, so that the reader does not take what it has for all there is. */
async function copyLines(
  lines: AsyncIterable<Uint8Array>,
  raw: ServerResponse,
  signal: AbortSignal,
  broke: (error: unknown) => void,
): Promise<void> {
  try {
    for await (const chunk of lines) {
      if (signal.aborted) break;
      raw.write(chunk);
      await drainedOrClosed(raw);
    }
  } catch (error) {
    if (!signal.aborted) {
      broke(error);
      raw.destroy();
      return;
    }
  }
  if (raw.destroyed) return;
  const closed = once(raw, 'close');
  raw.end();
  await closed;
}
