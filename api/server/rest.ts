/** The Kubernetes-style routes of each kind, read-only or not. */
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import { apiVersionOf } from '../resources/registry.js';
import type { ServedResource } from './discovery.js';
import type { RequestAttributes } from './identity.js';
import { getHandler, isWatch, listHandler } from './reads.js';
import type { RestPorts } from './rest-ports.js';
import type { Method, RequestPoint, Route } from './routes.js';
import { createHandler, deleteHandler, patchHandler, updateHandler } from './writes.js';

type Verb = Extract<RequestAttributes, { readonly resource: string }>['verb'];

const readVerbs = ['get', 'list', 'watch'];
const allVerbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];

export const groupPath = (kind: Kind): string => (kind.group === '' ? `/api/${kind.version}` : `/apis/${apiVersionOf(kind)}`);

/**
 * Where a kind's collection lies. The kinds of the core group also answer below a namespace, since that is where clients of Kubernetes
 * look for them; the namespace counts for nothing.
 */
const collectionPaths = (kind: Kind): readonly string[] =>
  kind.group === ''
    ? [`${groupPath(kind)}/${kind.plural}`, `${groupPath(kind)}/namespaces/:namespace/${kind.plural}`]
    : [`${groupPath(kind)}/${kind.plural}`];

export const servedKind = (kind: Kind): ServedResource => ({
  kind,
  verbs: kind.writable ? allVerbs : readVerbs,
  subresources: [{ name: 'status', verbs: ['get'] }],
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

export function kindRoutes(ports: RestPorts, kind: Kind): Route[] {
  return collectionPaths(kind).flatMap((collection) => {
    const one = `${collection}/:name`;
    const status = `${one}/status`;
    const routes: Route[] = [];
    const add = (method: Method, path: string, attributes: Route['attributes'], handler: Route['handler']): void =>
      void routes.push({ method, path, audience: 'any-authenticated', attributes, handler });

    add('GET', collection, attributesOf(kind, orWatch('list')), listHandler(ports, kind));
    add('GET', one, attributesOf(kind, orWatch('get')), getHandler(ports, kind));
    add('GET', status, attributesOf(kind, orWatch('get'), 'status'), getHandler(ports, kind));

    const refuse = readOnly(kind);
    add('POST', collection, attributesOf(kind, 'create'), kind.writable ? createHandler(ports, kind) : refuse);
    add('PUT', one, attributesOf(kind, 'update'), kind.writable ? updateHandler(ports, kind) : refuse);
    add('PATCH', one, attributesOf(kind, 'patch'), kind.writable ? patchHandler(ports, kind) : refuse);
    add('DELETE', one, attributesOf(kind, 'delete'), kind.writable ? deleteHandler(ports, kind) : refuse);
    add('DELETE', collection, attributesOf(kind, 'deletecollection'), kind.writable ? oneByOne(kind) : refuse);
    add('PUT', status, attributesOf(kind, 'update', 'status'), statusIsOurs(kind));
    add('PATCH', status, attributesOf(kind, 'patch', 'status'), statusIsOurs(kind));
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
