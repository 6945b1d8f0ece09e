/** GET: one object, a list, a watch. All from the cache: a cut of the whole cluster at one revision. */
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { StoreUnavailable } from '../../runtime/store/store.js';
import type { Joined } from '../objects/ports.js';
import { listVersion, revisionSeen } from '../objects/resource-version.js';
import { notFound } from '../objects/status-errors.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { paramsOf } from './access.js';
import { holdOpen, openStream, watchSink } from './http-stream.js';
import { negotiate } from './negotiation.js';
import { type ContinueToken, cutPage, decodeContinue, encodeContinue } from './paging.js';
import { flag, queryOf, type ReadOptions, readOptions, watchOptions } from './query.js';
import { type ListMeta, renderList, renderObject, viewOf } from './representation.js';
import type { RestPorts } from './rest-ports.js';
import { selection } from './selection.js';
import { warningHeaders } from './status.js';
import { runWatch, startWatch } from './watch.js';

export const jsonType = 'application/json';

/** Sends bytes, since fastify would add a charset to text, and some clients compare the type as a whole. */
export const sendJson = (reply: FastifyReply, code: number, body: string): FastifyReply =>
  reply.code(code).header('content-type', jsonType).header('cache-control', 'no-cache, private').send(Buffer.from(body));

export const isWatch = (query: URLSearchParams): boolean => flag(query, 'watch') ?? false;

/**
 * Waits until the cache holds what the client has seen elsewhere; a client that names no resourceVersion, not even 0, wants to see
 * everything that was written before it asked. Returns what it has to be warned of, as a header.
 */
export async function fresh(
  { cache, consistent, limits }: RestPorts,
  options: Pick<ReadOptions, 'resourceVersion'>,
  token?: ContinueToken,
): Promise<Record<string, string[]>> {
  if (!cache.synced) {
    throw new StatusError('ServiceUnavailable', 'this server has not read the cluster from etcd yet', { retryAfterSeconds: 1 });
  }
  if (options.resourceVersion === undefined && token?.revision === undefined) {
    const warning = await consistent.settle();
    return warning === undefined ? {} : { warning: warningHeaders([warning]) };
  }
  const asked = token?.revision ?? revisionSeen(options.resourceVersion ?? 0);
  if (asked <= cache.revision) return {};
  try {
    await cache.untilRevision(asked, limits.freshnessTimeoutMs);
    return {};
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    const message = `Too large resource version: ${options.resourceVersion ?? listVersion(asked)}, current: ${listVersion(cache.revision)}`;
    // Clients of Kubernetes know this cause and list again without a resourceVersion.
    throw new StatusError('Timeout', message, {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    });
  }
}

/** It lies in another namespace than the URL says. */
export const isElsewhere = (kind: Kind, { metadata }: Joined, request: FastifyRequest): boolean => {
  const { namespace } = paramsOf(request);
  return kind.namespaced === true && namespace !== undefined && metadata.namespace !== namespace;
};

export function getHandler(ports: RestPorts, kind: Kind) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const query = queryOf(request);
    const name = paramsOf(request).name!;
    if (isWatch(query)) return serveWatch(ports, kind, request, reply, name);
    const options = readOptions(query);
    const as = negotiate(request.headers.accept, options.includeObject);
    reply.headers(await fresh(ports, options));
    const object = ports.cache.joined(kind.plural, name);
    if (object === undefined || isElsewhere(kind, object, request)) throw notFound(kind, name);
    return sendJson(reply, 200, renderObject(kind, object, as, viewOf(ports)));
  };
}

export function listHandler(ports: RestPorts, kind: Kind) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const query = queryOf(request);
    if (isWatch(query)) return serveWatch(ports, kind, request, reply);
    const options = readOptions(query);
    const as = negotiate(request.headers.accept, options.includeObject);
    const matches = selection(kind, options, paramsOf(request).namespace);
    const token = options.continue === '' ? undefined : decodeContinue(options.continue);
    if (token !== undefined && (options.resourceVersion ?? 0) > 0) {
      throw new StatusError('BadRequest', 'a list is continued without a resourceVersion: the continue token names it');
    }
    reply.headers(await fresh(ports, options, token));
    const { objects, metadata } = listPage(ports, kind, options, token, matches);
    const pieces = renderList(kind, objects, metadata, as, viewOf(ports));
    const first = pieces.next();
    // Most lists are one piece and go out whole; long ones are written at the client's pace.
    const second = pieces.next();
    if (second.done) return sendJson(reply, 200, first.value ?? '');
    const rest = function* () {
      yield first.value ?? '';
      yield second.value ?? '';
      yield* pieces;
    };
    return reply
      .code(200)
      .header('content-type', jsonType)
      .header('cache-control', 'no-cache, private')
      .send(Readable.from(rest(), { objectMode: false }));
  };
}

/** The page that the options ask for. Throws Expired (410) when nobody here knows any more what the list was then. */
function listPage(
  { cache, hub, snapshots, limits }: RestPorts,
  kind: Kind,
  options: ReadOptions,
  token: ContinueToken | undefined,
  matches: ((object: Joined) => boolean) | undefined,
): { readonly objects: readonly Joined[]; readonly metadata: ListMeta } {
  const exact = options.resourceVersionMatch === 'Exact' ? revisionSeen(options.resourceVersion ?? 0) : undefined;
  const revision = token?.revision ?? exact ?? cache.revision;
  const snapshot =
    revision === cache.revision
      ? cache.joinedAll(kind.plural)
      : // Another server may have handed the token out: the history of changes leads back to what it saw.
        (snapshots.get(kind.plural, revision) ?? hub.rewound(kind.plural, revision, cache.joinedAll(kind.plural)));
  if (snapshot === undefined) {
    if (token === undefined) throw new StatusError('Expired', 'The provided resourceVersion is too old: list again without it');
    const goOn = encodeContinue({ revision: undefined, after: token.after });
    throw new StatusError(
      'Expired',
      'The provided continue parameter is too old for one consistent list: list again from the start, or go on with the token in ' +
        'metadata.continue of this answer, which shows the rest as it is now',
      {},
      goOn,
    );
  }
  const limit = options.limit === 0 ? 0 : Math.min(options.limit, limits.maxPageSize);
  const page = cutPage(snapshot, token?.after, limit, matches);
  if (page.after !== undefined) snapshots.keep(kind.plural, revision, snapshot);
  return {
    objects: page.objects,
    metadata: {
      resourceVersion: listVersion(revision),
      ...(page.after !== undefined && { continue: encodeContinue({ revision, after: page.after }) }),
      ...(page.remaining !== undefined && { remainingItemCount: page.remaining }),
    },
  };
}

/** @param name watch this object alone, as an old form of the URL asks for */
async function serveWatch(ports: RestPorts, kind: Kind, request: FastifyRequest, reply: FastifyReply, name?: string): Promise<unknown> {
  const options = watchOptions(queryOf(request));
  const as = negotiate(request.headers.accept, options.includeObject);
  const selected = selection(kind, options, paramsOf(request).namespace);
  const matches = name === undefined ? selected : (object: Joined) => object.metadata.name === name && (selected?.(object) ?? true);
  const headers = await fresh(ports, options);
  const start = startWatch(ports.cache, kind, options);
  const gone = holdOpen(request, reply, ports.watchQuota);
  const sink = watchSink(openStream(reply, jsonType, headers));
  ports.watchMetrics.opened(kind.plural);
  try {
    ports.watchMetrics.ended(kind.plural, await runWatch(ports, { kind, as, matches, options }, start, sink, gone, ports.closing));
  } catch (error) {
    // The head is sent: all that is left is to end the stream, so that the client comes back.
    ports.log.error('watch failed', { resource: kind.plural, error });
    ports.watchMetrics.ended(kind.plural, 'failed');
    sink.cut();
  }
  return reply;
}
