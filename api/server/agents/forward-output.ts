/** From server to server: what a machine shows of a unit whose stream the other one holds. Never forwarded twice. */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../../runtime/log.js';
import { StatusError } from '../../resources/errors.js';
import { exitCodeHeader, journalFormats } from '../../resources/unit-output.js';
import { paramsOf } from '../access.js';
import { openStream } from '../http-stream.js';
import type { OutputRequest, UnitOutput } from '../ports.js';
import { flag, oneOf, queryOf, wholeNumber } from '../query.js';
import type { Route } from '../routes.js';
import { answerStatus, wholeStatus } from '../unit-status.js';
import { PeerSilent, type Peers } from './peers.js';
import type { AgentOutputs } from './unit-output.js';

const paths = { journal: '/servers/v1/logs', status: '/servers/v1/status' } as const;
/** Until the answer begins: a journal's at once, a status when systemctl has said it. */
const answerTimeoutMs = { journal: 5_000, status: 30_000 } as const;
const maxErrorBytes = 64 * 1024;

/** Asks another server, by its name. */
export const outputForwarder =
  (peers: Peers) =>
  async (server: string, request: OutputRequest): Promise<UnitOutput> => {
    const response = await peers
      .ask(server, (url) => targetOf(url, request), request.signal, answerTimeoutMs[request.show])
      .catch((error) => {
        if (error instanceof PeerSilent) throw unreachable(request.machine, server, error.message);
        throw error;
      });
    // Silence is normal from here on: a journal may have nothing to say.
    response.socket.setTimeout(0);
    if (response.statusCode !== 200) throw await statusIn(response, server);
    return { bytes: response, exitCode: () => Number(response.headers[exitCodeHeader] ?? 0) };
  };

function targetOf(url: URL, request: OutputRequest): URL {
  const { machine, unit } = request;
  const target = new URL(`${paths[request.show]}/${machine}/${encodeURIComponent(unit)}`, url);
  if (request.show === 'status') return target;
  const { lines, follow, sinceSeconds, sinceMs, output, previous, field } = request;
  for (const [name, value] of Object.entries({ lines, follow, sinceSeconds, sinceMs, output, previous, field })) {
    if (value !== undefined) target.searchParams.set(name, String(value));
  }
  return target;
}

const unreachable = (machine: string, server: string, why: string): StatusError =>
  new StatusError('ServiceUnavailable', `machine ${machine} is connected to server ${server}, which cannot be asked: ${why}`, {
    retryAfterSeconds: 5,
  });

const told = ['BadRequest', 'NotFound', 'TooManyRequests'] as const;
const isTold = (reason: unknown): reason is (typeof told)[number] => told.some((one) => one === reason);

/** What the other server answered instead, in its own words. */
async function statusIn(response: IncomingMessage, server: string): Promise<StatusError> {
  let text = '';
  for await (const chunk of response) {
    text += chunk;
    if (text.length > maxErrorBytes) break;
  }
  try {
    const { reason, message } = JSON.parse(text) as { reason: unknown; message: unknown };
    if (typeof message === 'string' && isTold(reason)) return new StatusError(reason, message);
    if (typeof message === 'string') return new StatusError('ServiceUnavailable', message);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new StatusError('ServiceUnavailable', `server ${server} answered ${response.statusCode}`);
}

/** The other end: answers from the streams of this server only. */
export const forwardedOutputRoutes = (outputs: Pick<AgentOutputs, 'openHere'>, log: Logger): Route[] => [
  forwardedRoute(paths.journal, async (reply, about, query) => {
    const [sinceSeconds, sinceMs] = [wholeNumber(query, 'sinceSeconds'), wholeNumber(query, 'sinceMs')];
    const field = oneOf(query, 'field', ['MESSAGE']);
    const output = oneOf(query, 'output', journalFormats);
    const { bytes } = await outputs.openHere({
      ...about,
      show: 'journal',
      lines: wholeNumber(query, 'lines') ?? 0,
      follow: flag(query, 'follow') ?? false,
      ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
      ...(sinceMs === undefined ? {} : { sinceMs }),
      previous: flag(query, 'previous') ?? false,
      ...(field === undefined ? {} : { field }),
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
