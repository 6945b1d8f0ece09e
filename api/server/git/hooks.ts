/**
 * `POST /hooks/git/NAME`: a forge says that somebody has pushed. Whoever sends it proves that they know the GitSync's token; then the
 * GitSync is asked to sync, through the store, so that any server can take the call and the leader wakes.
 */
import { randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import type { Metrics } from '../../../runtime/metrics.js';
import type { ClusterCache, ObjectDoor } from '../../objects/ports.js';
import { reconcileRequestedAnnotation } from '../../resources/annotations.js';
import { StatusError } from '../../resources/errors.js';
import type { GitSync } from '../../resources/gitsync.js';
import { bytesOf } from '../body.js';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';
import { concerns, isSigned, readDelivery } from './deliveries.js';
import { Refusals } from './refusals.js';
import { Wakes } from './wakes.js';

export interface GitHookOptions {
  readonly cache: Pick<ClusterCache, 'joined'>;
  readonly door: Pick<ObjectDoor, 'patch'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The clear values of a Secret, by key; undefined when there is no such Secret. */
  readonly readSecret: (name: string) => Promise<ReadonlyMap<string, Buffer> | undefined>;
}

/** What forges send about a push is some kilobytes; GitHub ends at 25 MB, which no push that anybody looks at reaches. */
export const maxHookBytes = 1_048_576;

/** The key of the Secret that holds what both sides know, as in Flux' Receivers. */
const tokenKey = 'token';
const manager = 'git-webhook';
const path = '/hooks/git/:name';

const results = ['accepted', 'ignored', 'unsigned', 'unknown', 'too_large', 'failed'] as const;
type Result = (typeof results)[number];

export function gitHookRoute({ cache, door, clock, log, metrics, readSecret }: GitHookOptions): Route {
  const counts = metrics.counter('flotilla_git_webhooks_total', 'Webhooks of forges, by what became of them.', ['result']);
  // There from the start: the first that is refused is an increase, too.
  for (const result of results) counts.inc({ result }, 0);
  const refusals = new Refusals(clock, log);
  // A call for a GitSync that takes none is weighed all the same: how long the answer takes does not tell which there are.
  const nobodysToken = randomBytes(32);
  const wakes = new Wakes(clock, async (name) => {
    const annotations = { [reconcileRequestedAnnotation]: clock.now().toISOString() };
    await door.patch('gitsyncs', name, { type: 'merge', body: { metadata: { annotations } } }, { manager });
  });

  /** What the sender has to know, and why a call is refused when it does not. */
  async function tokenOf(sync: GitSync | undefined): Promise<{ readonly token?: Buffer; readonly why: string }> {
    if (sync === undefined) return { why: 'there is no such GitSync' };
    const secret = sync.spec?.webhook?.secretRef.name;
    if (secret === undefined) return { why: 'it has no spec.webhook' };
    try {
      const token = (await readSecret(secret))?.get(tokenKey);
      if (token?.toString('utf8').trim()) return { token, why: 'the signature is missing or wrong' };
      return { why: `its Secret ${secret} has no key "${tokenKey}"` };
    } catch (error) {
      return { why: `its Secret ${secret} cannot be read: ${(error as Error).message}` };
    }
  }

  async function answer(request: FastifyRequest, reply: FastifyReply, result: (is: Result) => void) {
    const { name } = request.params as { name: string };
    const body = bytesOf(request);
    const sync = cache.joined('gitsyncs', name) as GitSync | undefined;
    const known = sync && name;
    if (body.length > maxHookBytes) {
      result('too_large');
      refusals.refused(known, { gitsync: name, why: `it has ${body.length} bytes` });
      throw new StatusError('RequestEntityTooLarge', `a webhook has at most ${maxHookBytes} bytes`);
    }
    const found = await tokenOf(sync);
    if (!isSigned(request.headers, body, found.token ?? nobodysToken) || found.token === undefined || sync === undefined) {
      result(found.token === undefined ? 'unknown' : 'unsigned');
      refusals.refused(known, { gitsync: name, why: found.why, from: request.ip });
      // One answer for all: a stranger does not learn which GitSyncs there are.
      throw new StatusError('Unauthorized', 'no webhook of this name takes this signature');
    }
    const delivery = readDelivery(request.headers, body);
    if (!concerns(delivery, sync.spec?.ref)) {
      result('ignored');
      const about = delivery.isPush ? `a push to ${delivery.refs?.join(', ')}` : `the event "${delivery.event}"`;
      return sendJson(reply, 200, JSON.stringify({ gitsync: name, ignored: `${about} changes nothing of what this GitSync follows` }));
    }
    await wakes.ask(name);
    result('accepted');
    return sendJson(reply, 202, JSON.stringify({ gitsync: name, requestedAt: clock.now().toISOString() }));
  }

  return {
    method: 'POST',
    path,
    audience: 'public',
    attributes: ({ params }) => ({ method: 'post', path: `/hooks/git/${params.name}` }),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      let result: Result = 'failed';
      try {
        return await answer(request, reply, (is) => {
          result = is;
        });
      } finally {
        counts.inc({ result });
      }
    },
  };
}
