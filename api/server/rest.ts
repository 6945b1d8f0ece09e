/** The Kubernetes-style routes of each kind, read-only or not. */
import type { FastifyRequest } from 'fastify';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { apiVersionOf } from '../resources/registry.js';
import type { ServedResource } from './discovery.js';
import type { RequestAttributes } from './identity.js';
import { getHandler, isWatch, listHandler } from './reads.js';
import type { RestPorts } from './rest-ports.js';
import type { Method, RequestPoint, Route } from './routes.js';
import { scaleHandlers, servedScale } from './scale.js';
import { createHandler, deleteHandler, patchHandler, updateHandler } from './writes.js';

export type Verb = Extract<RequestAttributes, { readonly resource: string }>['verb'];

/** What can be done with a kind's objects, and what is said to whoever wants more. */
export interface Serving {
  readonly verbs: readonly Verb[];
  /** Throws the sentence. */
  readonly refuse: (verb: Verb, request: FastifyRequest) => never;
}

export const readVerbs: readonly Verb[] = ['get', 'list', 'watch'];
const allVerbs: readonly Verb[] = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];

const servingOf = (kind: Kind): Serving =>
  kind.writable ? { verbs: allVerbs, refuse: oneByOne(kind) } : { verbs: readVerbs, refuse: readOnly(kind) };

export const groupPath = (kind: Kind): string => (kind.group === '' ? `/api/${kind.version}` : `/apis/${apiVersionOf(kind)}`);

/**
 * Where a kind's collection lies. The kinds of the core group also answer below a namespace, since that is where clients of Kubernetes
 * look for them; the namespace counts for nothing.
 */
const collectionPaths = (kind: Kind): readonly string[] =>
  kind.group === '' && kind.namespaced !== false
    ? [`${groupPath(kind)}/${kind.plural}`, `${groupPath(kind)}/namespaces/:namespace/${kind.plural}`]
    : [`${groupPath(kind)}/${kind.plural}`];

export const servedKind = (kind: Kind, { verbs }: Pick<Serving, 'verbs'> = servingOf(kind)): ServedResource => ({
  kind,
  verbs,
  subresources: [{ name: 'status', verbs: ['get'] }, ...(kind.scale ? [servedScale] : [])],
});

/** @param verb what the method means here; a function where the query decides */
const attributesOf =
  (kind: Kind, verb: Verb | ((at: RequestPoint) => Verb), subresource?: string) =>
  (at: RequestPoint): RequestAttributes => ({
    resource: kind.plural,
    verb: typeof verb === 'function' ? verb(at) : verb,
    ...(at.params.name !== undefined && { name: at.params.name }),
    ...(subresource !== undefined && { subresource }),
  });

const orWatch =
  (verb: Verb) =>
  ({ query }: RequestPoint): Verb =>
    isWatch(query) ? 'watch' : verb;

export function kindRoutes(ports: RestPorts, kind: Kind, { verbs, refuse }: Serving = servingOf(kind)): Route[] {
  return collectionPaths(kind).flatMap((collection) => {
    const one = `${collection}/:name`;
    const status = `${one}/status`;
    const routes: Route[] = [];
    const add = (method: Method, path: string, attributes: Route['attributes'], handler: Route['handler']): void =>
      void routes.push({ method, path, audience: 'any-authenticated', attributes, handler });

    add('GET', collection, attributesOf(kind, orWatch('list')), listHandler(ports, kind));
    add('GET', one, attributesOf(kind, orWatch('get')), getHandler(ports, kind));
    add('GET', status, attributesOf(kind, orWatch('get'), 'status'), getHandler(ports, kind));

    const refusal = (method: Method, path: string, attributes: Route['attributes'], handler: Route['handler']): void =>
      void routes.push({ method, path, audience: 'any-authenticated', isRefusal: true, attributes, handler });
    const change = (method: Method, path: string, verb: Verb, handler: Route['handler']): void => {
      const attributes = attributesOf(kind, verb);
      if (verbs.includes(verb)) add(method, path, attributes, handler);
      else refusal(method, path, attributes, (request) => refuse(verb, request));
    };
    change('POST', collection, 'create', createHandler(ports, kind));
    change('PUT', one, 'update', updateHandler(ports, kind));
    change('PATCH', one, 'patch', patchHandler(ports, kind));
    change('DELETE', one, 'delete', deleteHandler(ports, kind));
    change('DELETE', collection, 'deletecollection', (request) => refuse('deletecollection', request));
    refusal('PUT', status, attributesOf(kind, 'update', 'status'), statusIsOurs(kind));
    refusal('PATCH', status, attributesOf(kind, 'patch', 'status'), statusIsOurs(kind));
    if (kind.scale) {
      const scale = scaleHandlers(ports, kind, kind.scale);
      add('GET', `${one}/scale`, attributesOf(kind, 'get', 'scale'), scale.get);
      add('PUT', `${one}/scale`, attributesOf(kind, 'update', 'scale'), scale.update);
      add('PATCH', `${one}/scale`, attributesOf(kind, 'patch', 'scale'), scale.patch);
    }
    return routes;
  });
}

const readOnly = (kind: Kind) => (): never => {
  throw new StatusError('MethodNotAllowed', `${kind.plural} are written by the system: they can be read and watched, not changed`, {
    kind: kind.plural,
  });
};

const oneByOne = (kind: Kind) => (): never => {
  throw new StatusError('MethodNotAllowed', `${kind.plural} are deleted one by one, by name, never as a whole collection`, {
    kind: kind.plural,
  });
};

/** SEMANTICS 3. */
const statusIsOurs = (kind: Kind) => (): never => {
  throw new StatusError('Forbidden', `the status of ${kind.plural} says what was seen: the system writes it, and nobody else can`, {
    kind: kind.plural,
  });
};
