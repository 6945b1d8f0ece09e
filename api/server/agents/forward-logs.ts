/** From server to server: a journal of a machine whose stream the other one holds. Never forwarded twice. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import { StatusError } from '../../resources/errors.js';
import { paramsOf } from '../access.js';
import { openStream } from '../http-stream.js';
import type { LogRequest } from '../ports.js';
import { flag, queryOf, wholeNumber } from '../query.js';
import type { Route } from '../routes.js';
import type { ServerRegistry } from '../servers.js';
import type { IssuedKey, Pki } from '../trust/ca.js';
import type { AgentLogs } from './logs.js';

const path = '/servers/v1/logs/:machine/:unit';
const certificateLifeMs = 24 * 3_600_000;
const connectTimeoutMs = 5_000;
const maxErrorBytes = 64 * 1024;

export interface ForwardPorts {
  readonly registry: Pick<ServerRegistry, 'all'>;
  readonly pki: Pick<Pki, 'issueAdmin' | 'caCertificate'>;
  readonly serverName: string;
  readonly clock: Clock;
}

/** Asks other servers, as an admin that calls itself a server: whoever holds the CA's key is one anyway. */
export function logForwarder({ registry, pki, serverName, clock }: ForwardPorts) {
  let own: { readonly issued: Promise<IssuedKey>; readonly untilMs: number } | undefined;

  function certificate(): Promise<IssuedKey> {
    const nowMs = clock.now().getTime();
    if (!own || nowMs >= own.untilMs) {
      own = { issued: pki.issueAdmin(`system:server:${serverName}`, certificateLifeMs), untilMs: nowMs + certificateLifeMs / 2 };
    }
    return own.issued;
  }

  return async (server: string, request: LogRequest): Promise<AsyncIterable<Uint8Array>> => {
    const url = registry.all().find(({ name }) => name === server)?.urls[0];
    if (url === undefined) throw unreachable(request.machine, server, 'it is not on the list of servers, or has no https listener');
    const { certificate: cert, key } = await certificate();
    const call = https.get(targetOf(url, request), {
      ca: pki.caCertificate,
      cert,
      key,
      agent: false,
      signal: request.signal,
      timeout: connectTimeoutMs,
    });
    call.on('timeout', () => call.destroy(new Error('it does not answer')));
    let response: IncomingMessage;
    try {
      [response] = (await once(call, 'response')) as [IncomingMessage];
    } catch (error) {
      throw unreachable(request.machine, server, (error as Error).message);
    }
    // Silence is normal from here on: a journal may have nothing to say.
    call.setTimeout(0);
    if (response.statusCode !== 200) throw await statusIn(response, server);
    return response;
  };
}

function targetOf(url: string, { machine, unit, lines, follow, sinceSeconds }: LogRequest): URL {
  const target = new URL(`/servers/v1/logs/${machine}/${encodeURIComponent(unit)}`, url);
  target.searchParams.set('lines', String(lines));
  target.searchParams.set('follow', String(follow));
  if (sinceSeconds !== undefined) target.searchParams.set('sinceSeconds', String(sinceSeconds));
  return target;
}

const unreachable = (machine: string, server: string, why: string): StatusError =>
  new StatusError('ServiceUnavailable', `machine ${machine} is connected to server ${server}, which cannot be asked: ${why}`, {
    retryAfterSeconds: 5,
  });

/** What the other server answered instead, in its own words. */
async function statusIn(response: IncomingMessage, server: string): Promise<StatusError> {
  let text = '';
  for await (const chunk of response) {
    text += chunk;
    if (text.length > maxErrorBytes) break;
  }
  try {
    const { reason, message } = JSON.parse(text) as { reason: unknown; message: unknown };
    if (typeof message === 'string' && (reason === 'NotFound' || reason === 'TooManyRequests')) return new StatusError(reason, message);
    if (typeof message === 'string') return new StatusError('ServiceUnavailable', message);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new StatusError('ServiceUnavailable', `server ${server} answered ${response.statusCode}`);
}

/** The other end: answers from the streams of this server only. */
export const forwardedLogsRoute = (logs: Pick<AgentLogs, 'openHere'>, log: Logger): Route => ({
  method: 'GET',
  path,
  audience: 'admin',
  attributes: () => ({ path, method: 'get' }),
  async handler(request: FastifyRequest, reply: FastifyReply) {
    const { machine = '', unit = '' } = paramsOf(request);
    const query = queryOf(request);
    const sinceSeconds = wholeNumber(query, 'sinceSeconds');
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const bytes = await logs.openHere({
      machine,
      unit,
      lines: wholeNumber(query, 'lines') ?? 0,
      follow: flag(query, 'follow') ?? false,
      ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
      signal: gone.signal,
    });
    const raw = openStream(reply, 'text/plain; charset=utf-8');
    // A journal that breaks off is cut, so that the reader does not take what it has for all there is.
    await pipeline(Readable.from(bytes, { objectMode: false }), raw).catch((error: unknown) =>
      log.debug('forwarded journal broke off', { error }),
    );
    return reply;
  },
});
