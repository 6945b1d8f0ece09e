/** What is served here, in the forms in which Kubernetes clients ask: by group, and all at once. Fixed while the server runs. */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Kind } from '../resources/kinds.js';
import { type MediaRange, mediaRanges } from './negotiation.js';
import { type Method, plainAttributes, type Route } from './routes.js';

export interface ServedSubresource {
  readonly name: string;
  readonly verbs: readonly string[];
  /** What is sent and answered, when it is not the kind itself. */
  readonly kind?: { readonly group: string; readonly version: string; readonly kind: string };
}

/** A kind as it is served. */
export interface ServedResource {
  readonly kind: Kind;
  readonly verbs: readonly string[];
  readonly subresources: readonly ServedSubresource[];
}

/** A document and the hash that names its content. */
export interface Document {
  readonly body: string | Uint8Array;
  readonly contentType: string;
  readonly etag: string;
}

export function documentOf(value: unknown, contentType = 'application/json'): Document {
  const body = JSON.stringify(value);
  return { body, contentType, etag: `"${createHash('sha256').update(body).digest('hex').toUpperCase()}"` };
}

/** Answers with the document, or 304 when the client has it. */
export function sendDocument(request: FastifyRequest, reply: FastifyReply, document: Document): FastifyReply {
  reply.header('etag', document.etag).header('vary', 'Accept');
  if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-cache, private');
  const known = (request.headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  if (known.includes(document.etag)) return reply.code(304).send();
  return reply.header('content-type', document.contentType).send(Buffer.from(document.body));
}

const discoveryGroup = 'apidiscovery.k8s.io';
const aggregatedType = (version: string): string => `application/json;g=${discoveryGroup};v=${version};as=APIGroupDiscoveryList`;

/** Which aggregated form the client asks for; undefined: it wants the plain one. */
function aggregatedVersion(ranges: readonly MediaRange[]): 'v2' | 'v2beta1' | undefined {
  for (const { type, parameters } of ranges) {
    if (type !== 'application/json') continue;
    if (!parameters.has('as')) return undefined;
    const version = parameters.get('v');
    const known = version === 'v2' || version === 'v2beta1';
    if (parameters.get('as') === 'APIGroupDiscoveryList' && parameters.get('g') === discoveryGroup && known) return version;
  }
  return undefined;
}

const groupVersionOf = (group: string, version: string): string => (group === '' ? version : `${group}/${version}`);

const resourceList = (resources: readonly ServedResource[], group: string, version: string) => ({
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: groupVersionOf(group, version),
  resources: resources.flatMap(({ kind, verbs, subresources }) => [
    {
      name: kind.plural,
      singularName: kind.singular,
      namespaced: kind.namespaced ?? false,
      kind: kind.kind,
      verbs,
      ...(kind.shortNames.length > 0 && { shortNames: kind.shortNames }),
      ...(kind.categories.length > 0 && { categories: kind.categories }),
    },
    ...subresources.map((sub) => ({
      name: `${kind.plural}/${sub.name}`,
      singularName: '',
      namespaced: kind.namespaced ?? false,
      ...(sub.kind ? { group: sub.kind.group, version: sub.kind.version } : {}),
      kind: sub.kind?.kind ?? kind.kind,
      verbs: sub.verbs,
    })),
  ]),
});

/** @param group '' for the core group, whose discovery item carries no name */
const aggregated = (group: string, version: string, resources: readonly ServedResource[]) => ({
  metadata: { ...(group !== '' && { name: group }), creationTimestamp: null },
  versions: [
    {
      version,
      freshness: 'Current',
      resources: resources.map(({ kind, verbs, subresources }) => ({
        resource: kind.plural,
        responseKind: { group, version, kind: kind.kind },
        scope: kind.namespaced ? 'Namespaced' : 'Cluster',
        singularResource: kind.singular,
        verbs,
        ...(kind.shortNames.length > 0 && { shortNames: kind.shortNames }),
        ...(kind.categories.length > 0 && { categories: kind.categories }),
        ...(subresources.length > 0 && {
          subresources: subresources.map((sub) => ({
            subresource: sub.name,
            responseKind: sub.kind ?? { group, version, kind: kind.kind },
            verbs: sub.verbs,
          })),
        }),
      })),
    },
  ],
});

const groupOf = (group: string, version: string) => {
  const versions = { groupVersion: groupVersionOf(group, version), version };
  return { name: group, versions: [versions], preferredVersion: versions };
};

/** All discovery routes. There is one version of each group. */
export function discoveryRoutes(served: readonly ServedResource[]): Route[] {
  const byGroup = new Map<string, ServedResource[]>();
  for (const resource of served) byGroup.set(resource.kind.group, [...(byGroup.get(resource.kind.group) ?? []), resource]);
  const core = byGroup.get('') ?? [];
  const groups = [...byGroup]
    .filter(([group]) => group !== '')
    .map(([group, resources]) => ({ group, resources, version: resources[0]!.kind.version }));
  const routes: Route[] = [];
  const get = (path: string, choose: (request: FastifyRequest) => Document): void => {
    const method: Method = 'GET';
    routes.push({
      method,
      path,
      audience: 'any-authenticated',
      attributes: plainAttributes(method, path),
      handler: (request, reply) => sendDocument(request, reply, choose(request)),
    });
  };
  const fixed = (path: string, value: unknown): void => {
    const document = documentOf(value);
    get(path, () => document);
  };
  /** `/api` and `/apis`: the plain list, and everything below it in one answer. */
  const root = (path: string, plain: unknown, items: readonly object[]): void => {
    const plainDocument = documentOf(plain);
    const list = (version: string) => ({ kind: 'APIGroupDiscoveryList', apiVersion: `${discoveryGroup}/${version}`, metadata: {}, items });
    const documents = {
      v2: documentOf(list('v2'), aggregatedType('v2')),
      v2beta1: documentOf(list('v2beta1'), aggregatedType('v2beta1')),
    };
    get(path, (request) => {
      const version = aggregatedVersion(mediaRanges(request.headers.accept ?? ''));
      return version === undefined ? plainDocument : documents[version];
    });
  };

  root('/api', { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }, [aggregated('', 'v1', core)]);
  fixed('/api/v1', resourceList(core, '', 'v1'));

  root(
    '/apis',
    { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(({ group, version }) => groupOf(group, version)) },
    groups.map(({ group, version, resources }) => aggregated(group, version, resources)),
  );
  for (const { group, version, resources } of groups) {
    fixed(`/apis/${group}`, { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(group, version) });
    fixed(`/apis/${group}/${version}`, resourceList(resources, group, version));
  }
  return routes;
}
