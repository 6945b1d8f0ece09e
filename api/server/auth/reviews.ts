/**
 * What clients ask about themselves: may I (SelfSubjectAccessReview), what may I (SelfSubjectRulesReview), who am I (SelfSubjectReview).
 * Answered by the same authorizer that every request is asked of, and from the list of routes, so an answer is never only a promise.
 */
import { isObject } from '../../objects/json.js';
import { StatusError } from '../../resources/errors.js';
import { kindByPlural } from '../../resources/registry.js';
import type { Decision, Identity, RequestAttributes } from '../identity.js';
import type { Authorize } from '../ports.js';
import type { Route } from '../routes.js';

type ResourceAttributes = Extract<RequestAttributes, { readonly resource: string }>;

const verbs: readonly ResourceAttributes['verb'][] = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];
const isVerb = (verb: string): verb is ResourceAttributes['verb'] => (verbs as readonly string[]).includes(verb);

export interface ReviewPorts {
  readonly authorize: Authorize;
  /** Everything that this server answers. */
  readonly routes: Iterable<Route>;
}

/** A decision, and what else there is to say to who may. */
type Answer = Decision | { readonly allowed: true; readonly reason: string };

const refused = (reason: string): Decision => ({ allowed: false, reason });

/** @throws StatusError BadRequest when the review asks nothing, or two things at once */
export function mayThey(ports: ReviewPorts, identity: Identity, review: unknown): Answer {
  const spec = memberOf(review, 'spec');
  const [resource, path] = [memberOf(spec, 'resourceAttributes'), memberOf(spec, 'nonResourceAttributes')];
  if ((resource === undefined) === (path === undefined)) {
    throw new StatusError('BadRequest', 'a SelfSubjectAccessReview needs either spec.resourceAttributes or spec.nonResourceAttributes');
  }
  return resource === undefined ? mayAskPath(ports, identity, path!) : mayUseResource(ports, identity, resource);
}

function mayUseResource({ authorize, routes }: ReviewPorts, identity: Identity, wanted: object): Answer {
  const [verb, resource] = [textOf(wanted, 'verb'), textOf(wanted, 'resource')];
  const [subresource, name] = [textOf(wanted, 'subresource'), textOf(wanted, 'name')];
  if (verb === 'impersonate') return refused('this server takes nobody for somebody else');
  // Of a verb that no route has, the authorizer knows what it knows of all changes.
  const asked = isAny(verb) ? verbs : [isVerb(verb) ? verb : 'update'];
  const refusal = (one: string): Decision | undefined =>
    asked
      .map((what) =>
        authorize(identity, {
          resource: one,
          verb: what,
          ...(subresource === '' ? {} : { subresource }),
          ...(name === '' ? {} : { name }),
        }),
      )
      .find((decision) => !decision.allowed);
  if (isAny(resource)) {
    const { kinds, others } = resourcesOf(routes);
    // One refusal is a refusal of "everything", which are the kinds; what can only be sent somewhere is told of beside them.
    const refused = [...kinds].map(refusal).find((decision) => decision !== undefined);
    if (refused) return refused;
    const except = [...others].filter((one) => refusal(one) !== undefined);
    return { allowed: true, ...(except.length === 0 ? {} : { reason: `everything but ${except.join(', ')}` }) };
  }
  const refusedHere = refusal(resource);
  if (refusedHere) return refusedHere;
  const isNobodys = !isAny(verb) && isOnlyRefused(routes, { resource, subresource, verb });
  return isNobodys ? refused('the server does this for nobody') : { allowed: true };
}

/** There is a route for it, and all that it does is to say why not. */
function isOnlyRefused(
  routes: Iterable<Route>,
  wanted: { readonly resource: string; readonly subresource: string; readonly verb: string },
): boolean {
  let isKnown = false;
  for (const route of routes) {
    for (const attributes of attributesOf(route)) {
      const isSame = 'resource' in attributes && attributes.resource === wanted.resource && attributes.verb === wanted.verb;
      if (!isSame || (attributes.subresource ?? '') !== wanted.subresource) continue;
      if (!route.isRefusal) return false;
      isKnown = true;
    }
  }
  return isKnown;
}

/** A GET of a collection is a list or a watch, as its query says. */
const attributesOf = (route: Route): readonly RequestAttributes[] =>
  ['', 'watch=true'].map((query) => route.attributes({ params: {}, query: new URLSearchParams(query) }));

const isAny = (word: string): boolean => word === '*' || word === '';

/** What routes are about: kinds, whose objects can be listed, and the rest. */
function resourcesOf(routes: Iterable<Route>): { readonly kinds: ReadonlySet<string>; readonly others: ReadonlySet<string> } {
  const [kinds, others] = [new Set<string>(), new Set<string>()];
  for (const route of routes) {
    const attributes = route.attributes({ params: {}, query: new URLSearchParams() });
    if ('resource' in attributes) (attributes.verb === 'list' ? kinds : others).add(attributes.resource);
  }
  for (const kind of kinds) others.delete(kind);
  return { kinds, others };
}

function mayAskPath({ authorize, routes }: ReviewPorts, identity: Identity, wanted: object): Decision {
  const path = textOf(wanted, 'path');
  const method = textOf(wanted, 'verb').toLowerCase();
  for (const route of routes) {
    if (route.method.toLowerCase() !== method || !isAt(route, path)) continue;
    if (route.audience === 'public') return { allowed: true };
    if (route.audience !== 'any-authenticated' && route.audience !== identity.kind) return refused(`it is for ${route.audience}s only`);
    return authorize(identity, route.attributes({ params: paramsAt(route, path), query: new URLSearchParams() }));
  }
  return authorize(identity, { path, method });
}

const partsOf = (path: string): string[] => path.replace(/(.)\/$/, '$1').split('/');

function isAt(route: Route, path: string): boolean {
  const [pattern, parts] = [partsOf(route.path), partsOf(path)];
  return (
    pattern.length === parts.length &&
    pattern.every((part, index) => part === parts[index] || (part.startsWith(':') && parts[index] !== ''))
  );
}

const paramsAt = (route: Route, path: string): Record<string, string> => {
  const parts = partsOf(path);
  return Object.fromEntries(partsOf(route.path).flatMap((part, index) => (part.startsWith(':') ? [[part.slice(1), parts[index]!]] : [])));
};

export interface Rules {
  readonly resourceRules: readonly { readonly verbs: string[]; readonly apiGroups: string[]; readonly resources: string[] }[];
  readonly nonResourceRules: readonly { readonly verbs: string[]; readonly nonResourceURLs: string[] }[];
  readonly incomplete: boolean;
}

/** Each route is asked for, as the identity would ask for it: what is listed is what would be answered. */
export function rulesFor({ authorize, routes }: ReviewPorts, identity: Identity): Rules {
  const resources = new Map<string, Set<string>>();
  const paths = new Map<string, Set<string>>();
  const note = (rules: Map<string, Set<string>>, key: string, verb: string) => {
    const known = rules.get(key) ?? new Set<string>();
    known.add(verb);
    rules.set(key, known);
  };
  for (const route of routes) {
    if (route.isRefusal) continue;
    if (route.audience !== 'public' && route.audience !== 'any-authenticated' && route.audience !== identity.kind) continue;
    for (const attributes of attributesOf(route)) {
      if (route.audience !== 'public' && !authorize(identity, attributes).allowed) continue;
      if ('path' in attributes) note(paths, route.path.replace(/\/:.*$/, '/*'), attributes.method);
      else note(resources, resourceKey(route, attributes), attributes.verb);
    }
  }
  return {
    resourceRules: [...resources].map(([key, allowed]) => {
      const [group = '', resource = ''] = key.split(' ');
      return { verbs: [...allowed].sort(), apiGroups: [group], resources: [resource] };
    }),
    nonResourceRules: [...paths].map(([path, allowed]) => ({ verbs: [...allowed].sort(), nonResourceURLs: [path] })),
    incomplete: false,
  };
}

const groupInPath = /^\/apis\/([^/]+)\//;
const resourceKey = ({ path }: { readonly path: string }, { resource, subresource }: ResourceAttributes): string =>
  `${groupInPath.exec(path)?.[1] ?? kindByPlural(resource)?.group ?? ''} ${resource}${subresource === undefined ? '' : `/${subresource}`}`;

/** In the words of Kubernetes; the extra says by which way they came. */
export function userInfo(identity: Identity): object {
  switch (identity.kind) {
    case 'admin':
      return {
        username: identity.name,
        groups: ['flotilla:admins', 'system:authenticated'],
        extra: { 'flotilla.dev/via': [identity.via] },
      };
    case 'machine':
      return { username: `machine:${identity.machine}`, uid: identity.uid, groups: ['flotilla:machines', 'system:authenticated'] };
    case 'anonymous':
      return { username: 'system:anonymous', groups: ['system:unauthenticated'] };
  }
}

function memberOf(value: unknown, field: string): Readonly<Record<string, unknown>> | undefined {
  const member = isObject(value) ? value[field] : undefined;
  if (member === undefined || member === null) return undefined;
  if (!isObject(member)) throw new StatusError('BadRequest', `${field} must be an object`);
  return member;
}

function textOf(value: object, field: string): string {
  const member = (value as Readonly<Record<string, unknown>>)[field];
  if (member === undefined || member === null) return '';
  if (typeof member !== 'string') throw new StatusError('BadRequest', `${field} must be a string`);
  return member;
}
