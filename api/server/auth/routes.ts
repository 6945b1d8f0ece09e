/** `kubectl auth can-i`, `--list` and `whoami`: reviews are posted, answered, and stored nowhere. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { isObject } from '../../objects/json.js';
import { StatusError } from '../../resources/errors.js';
import { apiVersionOf } from '../../resources/registry.js';
import { parseObject } from '../body.js';
import { coreKind } from '../core/kind.js';
import type { ServedResource } from '../discovery.js';
import type { Identity } from '../identity.js';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';
import { mayThey, type ReviewPorts, rulesFor, userInfo } from './reviews.js';

interface Review {
  readonly group: string;
  readonly kind: string;
  readonly description: string;
  /** The status of the answer. */
  readonly answer: (identity: Identity, review: unknown) => object;
}

const reviews = (ports: ReviewPorts): readonly Review[] => [
  {
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectAccessReview',
    description: 'Asks whether whoever asks may do something.',
    answer(identity, review) {
      const decision = mayThey(ports, identity, review);
      return decision.allowed ? decision : { ...decision, denied: true };
    },
  },
  {
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectRulesReview',
    description: 'Asks what whoever asks may do.',
    answer: (identity) => rulesFor(ports, identity),
  },
  {
    group: 'authentication.k8s.io',
    kind: 'SelfSubjectReview',
    description: 'Asks whom the server takes the asker for.',
    answer: (identity) => ({ userInfo: userInfo(identity) }),
  },
];

export function reviewRoutes(ports: ReviewPorts & { readonly maxBodyDepth: number }): { routes: Route[]; served: ServedResource[] } {
  const routes: Route[] = [];
  const served: ServedResource[] = [];
  for (const { group, kind: name, description, answer } of reviews(ports)) {
    const singular = name.toLowerCase();
    const plural = `${singular}s`;
    // What is asked and answered is read and written here field by field, and is not kept.
    const schema = z.looseObject({});
    const kind = coreKind({ group, schema, kind: name, plural, singular, shortNames: [], namespaced: false, description, columns: [] });
    served.push({ kind, verbs: ['create'], subresources: [] });
    routes.push({
      method: 'POST',
      path: `/apis/${apiVersionOf(kind)}/${plural}`,
      audience: 'any-authenticated',
      attributes: () => ({ resource: plural, verb: 'create' }),
      handler(request: FastifyRequest, reply: FastifyReply) {
        const review = parseObject(request, ports.maxBodyDepth);
        if (!isObject(review) || (review.kind !== undefined && review.kind !== name)) {
          throw new StatusError('BadRequest', `expected a ${name} of ${apiVersionOf(kind)}`);
        }
        const { spec = {} } = review;
        const status = answer(request.identity, review);
        const metadata = { creationTimestamp: null };
        return sendJson(reply, 201, JSON.stringify({ kind: name, apiVersion: apiVersionOf(kind), metadata, spec, status }));
      },
    });
  }
  return { routes, served };
}
