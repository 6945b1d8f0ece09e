/** From server to server: what a machine shows of a unit whose stream the other one holds. Never forwarded twice. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import { StatusError } from '../../resources/errors.js';
import { exitCodeHeader, journalFormats } from '../../resources/unit-output.js';
import { paramsOf } from '../access.js';
import { openStream } from '../http-stream.js';
import type { OutputRequest, UnitOutput } from '../ports.js';
import { flag, oneOf, queryOf, wholeNumber } from '../query.js';
import type { Route } from '../routes.js';
import type { ServerRegistry } from '../servers.js';
import type { IssuedKey, Pki } from '../trust/ca.js';
import { answerStatus, wholeStatus } from '../unit-status.js';
import type { AgentOutputs } from './unit-output.js';

const paths = { journal: '/servers/v1/logs', status: '/servers/v1/status' } as const;
const certificateLifeMs = 24 * 3_600_000;
/** Until the answer begins: a journal's at once, a status when systemctl has said it. */
const answerTimeoutMs = { journal: 5_000, status: 30_000 } as const;
const maxErrorBytes = 64 * 1024;

export interface ForwardPorts {
  readonly registry: Pick<ServerRegistry, 'all'>;
  readonly pki: Pick<Pki, 'issueAdmin' | 'caCertificate'>;
  readonly serverName: string;
  readonly clock: Clock;
}

/** Asks other servers, as an admin that calls itself a server: whoever holds the CA's key is one anyway. */
export function outputForwarder({ registry, pki, serverName, clock }: ForwardPorts) {
  let own: { readonly issued: Promise<IssuedKey>; readonly untilMs: number } | undefined;

  function certificate(): Promise<IssuedKey> {
    const nowMs = clock.now().getTime();
    if (!own || nowMs >= own.untilMs) {
      const issued = pki.issueAdmin(`system:server:${serverName}`, certificateLifeMs);
      own = { issued, untilMs: nowMs + certificateLifeMs / 2 };
      // One that could not be made is asked for again, not remembered for half a day.
      issued.catch(() => {
        if (own?.issued === issued) own = undefined;
      });
    }
    return own.issued;
  }

  return async (server: string, request: OutputRequest): Promise<UnitOutput> => {
    const url = registry.all().find(({ name }) => name === server)?.urls[0];
    if (url === undefined) throw unreachable(request.machine, server, 'it is not on the list of servers, or has no https listener');
    const { certificate: cert, key } = await certificate();
    const call = https.get(targetOf(url, request), {
      ca: pki.caCertificate,
      cert,
      key,
      agent: false,
      signal: request.signal,
      timeout: answerTimeoutMs[request.show],
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
    return { bytes: response, exitCode: () => Number(response.headers[exitCodeHeader] ?? 0) };
  };
}

function targetOf(url: string, request: OutputRequest): URL {
  const { machine, unit } = request;
  const target = new URL(`${paths[request.show]}/${machine}/${encodeURIComponent(unit)}`, url);
  if (request.show === 'status') return target;
  const { lines, follow, sinceSeconds, output } = request;
  for (const [name, value] of Object.entries({ lines, follow, sinceSeconds, output })) {
    if (value !== undefined) target.searchParams.set(name, String(value));
  }
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
export const forwardedOutputRoutes = (outputs: Pick<AgentOutputs, 'openHere'>, log: Logger): Route[] => [
  forwardedRoute(paths.journal, async (reply, about, query) => {
    const sinceSeconds = wholeNumber(query, 'sinceSeconds');
    const output = oneOf(query, 'output', journalFormats);
    const { bytes } = await outputs.openHere({
      ...about,
      show: 'journal',
      lines: wholeNumber(query, 'lines') ?? 0,
      follow: flag(query, 'follow') ?? false,
      ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
      ...(output === undefined ? {} : { output }),
    });
    const raw = openStream(reply, 'text/plain; charset=utf-8');
    // A journal that breaks off is cut, so that the reader does not take what it has for all there is.
    await pipeline(Readable.from(bytes, { objectMode: false }), raw).catch((error: unknown) =>
      log.debug('forwarded journal broke off', { error }),
    );
  }),
  forwardedRoute(paths.status, async (reply, about) => {
    answerStatus(reply, await wholeStatus(await outputs.openHere({ ...about, show: 'status' })));
  }),
];

type About = Pick<OutputRequest, 'machine' | 'unit' | 'signal'>;

function forwardedRoute(base: string, answer: (reply: FastifyReply, about: About, query: URLSearchParams) => Promise<void>): Route {
  const path = `${base}/:machine/:unit`;
  return {
    method: 'GET',
    path,
    audience: 'admin',
    attributes: () => ({ path, method: 'get' }),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const { machine = '', unit = '' } = paramsOf(request);
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      await answer(reply, { machine, unit, signal: gone.signal }, queryOf(request));
      return reply;
    },
  };
}
