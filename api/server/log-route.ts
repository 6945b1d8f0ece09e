/** `GET …/units/<name>/log`: a unit's journal as text, streamed from its machine. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { ClusterCache } from '../objects/ports.js';
import { notFound } from '../objects/status-errors.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { paramsOf } from './access.js';
import { drainedOrClosed, holdOpen, openStream, type StreamQuota } from './http-stream.js';
import type { ServerLimits } from './limits.js';
import type { LogRequest, LogSource } from './ports.js';
import { flag, queryOf, wholeNumber } from './query.js';
import { groupPath } from './rest.js';
import type { Route } from './routes.js';

export interface LogPorts {
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<ServerLimits, 'maxLogLines'>;
  readonly logs: LogSource;
  readonly quota: StreamQuota;
  readonly closing: AbortSignal;
}

/** As many lines as `systemctl status` users expect to scroll through; `tailLines` asks for others. */
const defaultLines = 100;

/** The machine whose journal is meant: the one asked for, by its id or the beginning of it, or the only one there is. */
export function chooseMachine(unit: string, machines: readonly string[], asked: string): string {
  if (machines.length === 0) {
    throw new StatusError('NotFound', `${unit} is assigned to no machine: there is nobody who could have its journal`);
  }
  const chosen = asked === '' ? machines : machines.filter((machine) => machine.startsWith(asked));
  if (chosen.length === 0)
    throw new StatusError('NotFound', `${unit} is not assigned to a machine ${asked}; it is on ${machines.join(', ')}`);
  if (chosen.length > 1) {
    throw new StatusError('BadRequest', `${unit} is on ${chosen.length} machines: name one with machine=, of ${chosen.join(', ')}`);
  }
  return chosen[0]!;
}

function readRequest(query: URLSearchParams, clock: Clock, maxLogLines: number): Pick<LogRequest, 'lines' | 'follow' | 'sinceSeconds'> {
  const lines = wholeNumber(query, 'tailLines') ?? defaultLines;
  if (lines > maxLogLines) throw new StatusError('BadRequest', `the query parameter tailLines must be at most ${maxLogLines}`);
  const sinceTime = query.get('sinceTime') ?? '';
  const sinceMs = Date.parse(sinceTime);
  if (sinceTime !== '' && Number.isNaN(sinceMs))
    throw new StatusError('BadRequest', 'the query parameter sinceTime must be a time as 2006-01-02T15:04:05Z');
  const sinceSeconds =
    sinceTime === '' ? wholeNumber(query, 'sinceSeconds') : Math.max(0, Math.ceil((clock.now().getTime() - sinceMs) / 1000));
  return { lines, follow: flag(query, 'follow') ?? false, ...(sinceSeconds !== undefined && { sinceSeconds }) };
}

/** @param kind the kind of units: its instances are what machines run */
export function logRoute(ports: LogPorts, kind: Kind): Route {
  return {
    method: 'GET',
    path: `${groupPath(kind)}/${kind.plural}/:name/log`,
    audience: 'any-authenticated',
    attributes: ({ params }) => ({
      resource: kind.plural,
      subresource: 'log',
      verb: 'get',
      ...(params.name !== undefined && { name: params.name }),
    }),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const query = queryOf(request);
      const unit = paramsOf(request).name!;
      const wanted = readRequest(query, ports.clock, ports.limits.maxLogLines);
      const machines = [...ports.cache.assignmentsOf(unit).keys()];
      if (machines.length === 0 && ports.cache.object(kind.plural, unit) === undefined) throw notFound(kind, unit);
      const machine = chooseMachine(unit, machines, query.get('machine') ?? '');
      const gone = holdOpen(request, reply, ports.quota);
      const { signal, release } = eitherOf(gone, ports.closing);
      try {
        const lines = await ports.logs.open({ unit, machine, ...wanted, signal });
        const raw = openStream(reply, 'text/plain; charset=utf-8');
        await copyLines(lines, raw, signal, (error) => ports.log.warn('log stream broke off', { unit, machine, error }));
      } finally {
        release();
      }
      return reply;
    },
  };
}

/** Aborts with the first of the two. Unlike `AbortSignal.any`, it leaves nothing behind in the one that outlives it. */
function eitherOf(first: AbortSignal, second: AbortSignal): { readonly signal: AbortSignal; readonly release: () => void } {
  const either = new AbortController();
  const abort = () => either.abort();
  for (const signal of [first, second]) {
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
  }
  const release = () => {
    for (const signal of [first, second]) signal.removeEventListener('abort', abort);
  };
  return { signal: either.signal, release };
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
