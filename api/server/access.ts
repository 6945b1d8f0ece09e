/** Every request, in this order: who is it, is the route for such a one, may they. Nothing of a request's content is read before. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { StatusError } from '../resources/errors.js';
import { kindByPlural } from '../resources/registry.js';
import type { Identity, RequestAttributes } from './identity.js';
import type { Authorize, IdentityOf } from './ports.js';
import { queryOf } from './query.js';
import type { Route } from './routes.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, as their connection says. */
    identity: Identity;
    /** What they ask for; absent where no route matched. */
    attributes: RequestAttributes | undefined;
  }
  interface FastifyContextConfig {
    route?: Route;
  }
}

/** For messages, logs and limits: one name per identity. */
export function identityName(identity: Identity): string {
  switch (identity.kind) {
    case 'admin':
      return `admin ${identity.name}`;
    case 'machine':
      return `machine ${identity.machine}`;
    case 'anonymous':
      return 'anonymous';
  }
}

/** As Kubernetes words it: `units.flotilla.dev "web.service" is forbidden: …`. */
export function forbidden(attributes: RequestAttributes, identity: Identity, reason: string): StatusError {
  if (!('resource' in attributes))
    return new StatusError('Forbidden', `${attributes.path} is forbidden to ${identityName(identity)}: ${reason}`);
  const { resource, subresource, name, verb } = attributes;
  const group = kindByPlural(resource)?.group ?? '';
  const what = `${resource}${group === '' ? '' : `.${group}`}${name === undefined ? '' : ` "${name}"`}`;
  const on = subresource === undefined ? `${verb} ${resource}` : `${verb} ${resource}/${subresource}`;
  return new StatusError('Forbidden', `${what} is forbidden: ${identityName(identity)} cannot ${on}: ${reason}`, {
    kind: resource,
    ...(group !== '' && { group }),
    ...(name !== undefined && { name }),
  });
}

const unauthorized = (): StatusError =>
  new StatusError('Unauthorized', 'this connection proves no identity: use the unix socket or a client certificate');

/** Names of headers by which a client asks to be taken for somebody else. */
const impersonation = 'impersonate-';

/** The first hook of each request. Throws StatusError: 401, 403. */
export function accessHook(identityOf: IdentityOf, authorize: Authorize) {
  return async (request: FastifyRequest, _reply: FastifyReply): Promise<void> => {
    const { route } = request.routeOptions.config;
    const identity = identityOf(request.raw);
    request.identity = identity;
    if (route) request.attributes = route.attributes({ params: paramsOf(request), query: queryOf(request) });

    // Refused rather than ignored: a client that asks for fewer rights must not be served with more.
    const header = Object.keys(request.headers).find((name) => name.startsWith(impersonation));
    if (header !== undefined) throw new StatusError('Forbidden', `this server takes nobody for somebody else: remove the header ${header}`);

    if (route?.audience === 'public') return;
    // Before the 404 of an unknown path: a stranger learns nothing about what exists.
    if (identity.kind === 'anonymous') throw unauthorized();
    if (route === undefined || request.attributes === undefined) return;
    if (route.audience !== 'any-authenticated' && route.audience !== identity.kind) {
      throw forbidden(request.attributes, identity, `it is for ${route.audience}s only`);
    }
    const decision = authorize(identity, request.attributes);
    if (!decision.allowed) throw forbidden(request.attributes, identity, decision.reason);
  };
}

/** Path parameters, percent-decoded. */
export const paramsOf = (request: FastifyRequest): Readonly<Record<string, string>> => request.params as Record<string, string>;
