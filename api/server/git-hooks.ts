/**
 * `POST /hooks/git/NAME`: a forge says that somebody has pushed. Whoever sends it proves that they know the GitSync's token; then the
 * GitSync is asked to sync, through the store, so that any server can take the call and the leader wakes.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { ClusterCache, ObjectDoor } from '../objects/ports.js';
import { reconcileRequestedAnnotation } from '../resources/annotations.js';
import { StatusError } from '../resources/errors.js';
import type { GitSync } from '../resources/gitsync.js';
import { bytesOf } from './body.js';
import { sendJson } from './reads.js';
import type { Route } from './routes.js';

export interface GitHookOptions {
  readonly cache: Pick<ClusterCache, 'joined'>;
  readonly door: Pick<ObjectDoor, 'patch'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** The clear values of a Secret, by key; undefined when there is no such Secret. */
  readonly readSecret: (name: string) => Promise<ReadonlyMap<string, Buffer> | undefined>;
}

/** What forges send about a push is some kilobytes; GitHub ends at 25 MB, which no push that anybody looks at reaches. */
export const maxHookBytes = 1_048_576;

/** The key of the Secret that holds what both sides know, as in Flux' Receivers. */
const tokenKey = 'token';
const manager = 'git-webhook';
const path = '/hooks/git/:name';

export function gitHookRoute({ cache, door, clock, log, readSecret }: GitHookOptions): Route {
  return {
    method: 'POST',
    path,
    audience: 'public',
    attributes: ({ params }) => ({ method: 'post', path: `/hooks/git/${params.name}` }),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const { name } = request.params as { name: string };
      const body = bytesOf(request);
      if (body.length > maxHookBytes) throw new StatusError('RequestEntityTooLarge', `a webhook has at most ${maxHookBytes} bytes`);
      const sync = cache.joined('gitsyncs', name) as GitSync | undefined;
      const secret = sync?.spec?.webhook?.secretRef.name;
      const token = secret === undefined ? undefined : (await readSecret(secret))?.get(tokenKey);
      if (token === undefined || token.length === 0 || !isSigned(request.headers, body, token)) {
        log.warn('a webhook was refused', { gitsync: name, why: whyRefused(sync, secret, token) });
        // One answer for all: a stranger does not learn which GitSyncs there are.
        throw new StatusError('Unauthorized', 'no webhook of this name takes this signature');
      }
      const now = clock.now().toISOString();
      const annotations = { [reconcileRequestedAnnotation]: now };
      await door.patch('gitsyncs', name, { type: 'merge', body: { metadata: { annotations } } }, { manager });
      return sendJson(reply, 202, JSON.stringify({ gitsync: name, requestedAt: now }));
    },
  };
}

function whyRefused(sync: GitSync | undefined, secret: string | undefined, token: Buffer | undefined): string {
  if (sync === undefined) return 'there is no such GitSync';
  if (secret === undefined) return 'it has no spec.webhook';
  return token === undefined || token.length === 0 ? `its Secret has no key "${tokenKey}"` : 'the signature is missing or wrong';
}

/** GitHub's and Gitea's HMAC over the body, or GitLab's token as it is; compared without telling by time how much of it was right. */
export function isSigned(headers: IncomingHttpHeaders, body: Uint8Array, rawToken: Buffer): boolean {
  const token = rawToken.toString('utf8').trim();
  const digest = () => createHmac('sha256', token).update(body).digest('hex');
  const github = headerOf(headers, 'x-hub-signature-256');
  if (github !== undefined) return same(github, `sha256=${digest()}`);
  const gitea = headerOf(headers, 'x-gitea-signature') ?? headerOf(headers, 'x-forgejo-signature') ?? headerOf(headers, 'x-gogs-signature');
  if (gitea !== undefined) return same(gitea, digest());
  const gitlab = headerOf(headers, 'x-gitlab-token');
  return gitlab !== undefined && same(gitlab, token);
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** Over digests of equal length, so that the length tells nothing either. */
function same(given: string, expected: string): boolean {
  const key = 'compare';
  const [a, b] = [given, expected].map((text) => createHmac('sha256', key).update(text).digest());
  return timingSafeEqual(a!, b!);
}
