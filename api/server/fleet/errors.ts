/** fleet's form of an error, for everything that happens below its paths: our own refusals, the object door's, the framework's. */
import type { FastifyReply } from 'fastify';
import { StatusError } from '../../resources/errors.js';
import { sendJson } from '../reads.js';

/** The same tree twice: fleet's stable name for it, and the one before that. */
export const fleetPrefixes = ['/fleet/v1', '/v1-alpha'] as const;

export const serverHeader = (version: string): string => `fleetd/1.0.0+flotilla.${version}`;

/** What follows one of fleet's prefixes in a path: '' for the prefix itself; undefined when the path is not below one. */
function belowPrefix(pathname: string): string | undefined {
  const prefix = fleetPrefixes.find((one) => pathname === one || pathname.startsWith(`${one}/`));
  return prefix === undefined ? undefined : pathname.slice(prefix.length);
}

export const isFleetPath = (pathname: string): boolean => belowPrefix(pathname) !== undefined;

const onlyGet = 'only GET supported against this resource';
const methodRefusals: readonly { readonly path: RegExp; readonly message: string }[] = [
  { path: /^$/, message: '' },
  { path: /^\/machines$/, message: 'only GET and PATCH supported against this resource' },
  { path: /^\/units$/, message: onlyGet },
  { path: /^\/units\/[^/]+$/, message: 'only GET, PUT and DELETE supported against this resource' },
  { path: /^\/state$/, message: onlyGet },
  { path: /^\/state\/[^/]+$/, message: onlyGet },
];

/** What fleet says where no route answers: 405 for a known path under another method (discovery: 400), else 404. */
export function noFleetRoute(pathname: string): StatusError {
  const below = belowPrefix(pathname) ?? '/';
  if (below === '/discovery') return new StatusError('BadRequest', 'only HTTP GET supported against this resource');
  const known = methodRefusals.find(({ path }) => path.test(below));
  return known === undefined ? new StatusError('NotFound', '') : new StatusError('MethodNotAllowed', known.message);
}

export const unitDoesNotExist = (): StatusError => new StatusError('NotFound', 'unit does not exist');

/** Sentences of one answer; who has more wrong than this sees the rest next time. */
const maxSentences = 5;

/** fleet says the first contradiction between options and nothing else; a client of fleet knows no fields and has no line numbers. */
function invalidMessage({ message, details }: StatusError): string {
  const causes = details.causes ?? [];
  const contradiction = causes.find(({ field }) => field === 'spec.placement');
  if (contradiction) return contradiction.message;
  const sentences = causes.slice(0, maxSentences).map((cause) => cause.message.replace(/^line \d+: /, ''));
  return sentences.length === 0 ? message : sentences.join('; ');
}

/** fleet knows no 422. */
export const fleetError = (status: StatusError): { readonly code: number; readonly message: string } =>
  status.reason === 'Invalid' ? { code: 400, message: invalidMessage(status) } : { code: status.code, message: status.message };

export function sendFleetError(reply: FastifyReply, status: StatusError, version: string): FastifyReply {
  const error = fleetError(status);
  return sendJson(reply.header('server', serverHeader(version)), error.code, JSON.stringify({ error }));
}
