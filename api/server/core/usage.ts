/**
 * metrics.k8s.io/v1beta1, what `kubectl top` asks: measured by the machines when somebody asks, for as many as the selectors let through.
 * What a host does not account for is absent (SEMANTICS 15); kubectl prints 0 for that, so the answer warns of it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Joined } from '../../objects/ports.js';
import { listVersion } from '../../objects/resource-version.js';
import { notFound } from '../../objects/status-errors.js';
import { StatusError } from '../../resources/errors.js';
import type { Kind } from '../../resources/kinds.js';
import type { FlotillaObject } from '../../resources/meta.js';
import type { MachineUsage } from '../../resources/protocol.js';
import { apiVersionOf } from '../../resources/registry.js';
import { paramsOf } from '../access.js';
import type { ServedResource } from '../discovery.js';
import { holdOpen, type StreamQuota } from '../http-stream.js';
import { negotiate } from '../negotiation.js';
import type { UsageSource } from '../ports.js';
import { queryOf, readOptions } from '../query.js';
import { fresh, isElsewhere, isWatch, sendJson } from '../reads.js';
import { renderList, renderObject, viewOf } from '../representation.js';
import type { RestPorts } from '../rest-ports.js';
import type { Route } from '../routes.js';
import { selection } from '../selection.js';
import { warningHeaders } from '../status.js';
import { column, coreKind, defaultNamespace, none } from './kind.js';
import { machineLabel, nodeKind } from './nodes.js';
import { containerName } from './pod.js';
import { podKind } from './pods.js';
import { nodeMetricsSchema, podMetricsSchema } from './schemas.js';

export interface UsagePorts {
  /** With a cache that shows nodes and pods. */
  readonly rest: RestPorts;
  readonly usage: UsageSource;
  readonly quota: StreamQuota;
}

/** Absent is what is not accounted for. */
interface Resources {
  readonly cpu?: string;
  readonly memory?: string;
}

type Measured = FlotillaObject & {
  readonly timestamp: string;
  readonly window: string;
  readonly usage?: Resources;
  readonly containers?: readonly { readonly name: string; readonly usage: Resources }[];
};

const usageOf = (object: FlotillaObject): Resources => {
  const { usage, containers } = object as Measured;
  return usage ?? containers?.[0]?.usage ?? {};
};

const group = { group: 'metrics.k8s.io', version: 'v1beta1' } as const;
const columns = [
  column('Name', 'Of the node or pod.', ({ metadata }) => metadata.name),
  column('CPU', 'Billionths of a core.', (object) => usageOf(object).cpu ?? none),
  column('Memory', 'Kibibytes.', (object) => usageOf(object).memory ?? none),
  column('Window', 'Time over which it was measured.', (object) => (object as Measured).window),
];

const nodeUsageKind = coreKind({
  ...group,
  schema: nodeMetricsSchema,
  kind: 'NodeMetrics',
  plural: 'nodes',
  singular: '',
  shortNames: [],
  namespaced: false,
  description: 'What a machine uses as a whole, measured when asked.',
  columns,
});
const podUsageKind = coreKind({
  ...group,
  schema: podMetricsSchema,
  kind: 'PodMetrics',
  plural: 'pods',
  singular: '',
  shortNames: [],
  namespaced: true,
  description: "What a unit's copy on a machine uses, measured when asked.",
  columns,
});

/** One of the two: what it is measured of, and how it looks. */
interface Measuring {
  readonly kind: Kind;
  readonly of: Kind;
  /** Id of the machine that is asked. */
  readonly machineOf: (shown: Joined) => string;
  /** Undefined when there is nothing to tell. */
  readonly view: (shown: Joined, usage: MachineUsage, timestamp: string) => Measured | undefined;
}

const labelOf = (name: string) => (shown: Joined) => shown.metadata.labels?.[name] ?? '';

const measuringNodes: Measuring = {
  kind: nodeUsageKind,
  of: nodeKind,
  machineOf: labelOf(machineLabel),
  view: (node, usage, timestamp) =>
    isNothing(usage.machine) ? undefined : { ...measured(nodeUsageKind, node, usage, timestamp), usage: resources(usage.machine) },
};

const unitOf = labelOf('flotilla.dev/unit');

const measuringPods: Measuring = {
  kind: podUsageKind,
  of: podKind,
  machineOf: labelOf(machineLabel),
  view(pod, usage, timestamp) {
    const rates = usage.units[unitOf(pod)];
    if (rates === undefined || isNothing(rates)) return undefined;
    return { ...measured(podUsageKind, pod, usage, timestamp), containers: [{ name: containerName, usage: resources(rates) }] };
  },
};

type Rates = MachineUsage['machine'];

const isNothing = ({ cpuNanoCores, memoryBytes }: Rates): boolean => cpuNanoCores === undefined && memoryBytes === undefined;

const resources = ({ cpuNanoCores, memoryBytes }: Rates): Resources => ({
  ...(cpuNanoCores === undefined ? {} : { cpu: `${cpuNanoCores}n` }),
  ...(memoryBytes === undefined ? {} : { memory: `${Math.ceil(memoryBytes / 1024)}Ki` }),
});

const measured = (kind: Kind, { metadata }: Joined, { windowMs }: MachineUsage, timestamp: string): Measured => ({
  apiVersion: apiVersionOf(kind),
  kind: kind.kind,
  metadata: {
    name: metadata.name,
    ...(metadata.namespace ? { namespace: metadata.namespace } : {}),
    creationTimestamp: timestamp,
    ...(metadata.labels ? { labels: metadata.labels } : {}),
  },
  timestamp,
  window: `${windowMs / 1_000}s`,
});

export function usageRoutes(ports: UsagePorts): { readonly routes: Route[]; readonly served: readonly ServedResource[] } {
  const base = `/apis/${group.group}/${group.version}`;
  return {
    routes: [
      ...routesOf(ports, measuringNodes, [`${base}/nodes`]),
      ...routesOf(ports, measuringPods, [`${base}/pods`, `${base}/namespaces/:namespace/pods`]),
    ],
    served: [nodeUsageKind, podUsageKind].map((kind) => ({ kind, verbs: ['get', 'list'], subresources: [] })),
  };
}

function routesOf(ports: UsagePorts, measuring: Measuring, collections: readonly string[]): Route[] {
  const { kind, of } = measuring;
  const { rest } = ports;

  async function list(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { options, as } = asked(request);
    const matches = selection(of, options, paramsOf(request).namespace);
    const warnings = await fresh(rest, options);
    const shown = rest.cache.joinedAll(of.plural).filter((one) => matches?.(one) ?? true);
    const found = await measure(ports, measuring, request, reply, shown);
    reply.headers(withWarnings(warnings, found));
    const metadata = { resourceVersion: listVersion(rest.cache.revision) };
    return sendJson(reply, 200, [...renderList(kind, found as unknown as Joined[], metadata, as, viewOf(rest))].join(''));
  }

  async function get(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { options, as } = asked(request);
    const name = paramsOf(request).name ?? '';
    const warnings = await fresh(rest, options);
    const shown = rest.cache.joined(of.plural, name);
    if (!shown || isElsewhere(of, shown, request)) throw notFound(of, name);
    const found = await measure(ports, measuring, request, reply, [shown]);
    const [one] = found;
    if (!one) throw new StatusError('NotFound', `${of.singular}metrics.${kind.group} "${name}" not found: ${silence(of)}`);
    reply.headers(withWarnings(warnings, found));
    return sendJson(reply, 200, renderObject(kind, one as unknown as Joined, as, viewOf(rest)));
  }

  return collections.flatMap((path) => [route(path, kind, 'list', list), route(`${path}/:name`, kind, 'get', get)]);
}

const silence = (of: Kind): string =>
  of === nodeKind
    ? 'its agent does not tell what it uses'
    : `it does not run, or its agent does not tell (in namespace ${defaultNamespace})`;

function asked(request: FastifyRequest) {
  const query = queryOf(request);
  if (isWatch(query)) throw new StatusError('MethodNotAllowed', 'usage is measured when it is asked for, and cannot be watched');
  const options = readOptions(query);
  return { options, as: negotiate(request.headers.accept, options.includeObject) };
}

const route = (path: string, kind: Kind, verb: 'list' | 'get', handler: Route['handler']): Route => ({
  method: 'GET',
  path,
  audience: 'any-authenticated',
  attributes: ({ params }) => ({ resource: kind.plural, verb, ...(params.name !== undefined && { name: params.name }) }),
  handler,
});

async function measure(
  { rest, usage, quota }: UsagePorts,
  { machineOf, view }: Measuring,
  request: FastifyRequest,
  reply: FastifyReply,
  shown: readonly Joined[],
): Promise<readonly Measured[]> {
  const gone = holdOpen(request, reply, quota);
  const told = await usage.of(new Set(shown.map(machineOf)), gone);
  const timestamp = rest.clock.now().toISOString();
  return shown.flatMap((one) => {
    const answer = told.get(machineOf(one));
    return (answer && view(one, answer, timestamp)) ?? [];
  });
}

function withWarnings(headers: Record<string, string[]>, found: readonly Measured[]): Record<string, string[]> {
  const lacking = (resource: keyof Resources): string[] => {
    const count = found.filter((one) => usageOf(one)[resource] === undefined).length;
    return count === 0
      ? []
      : [`the ${resource} of ${count} of ${found.length} is not accounted for there: kubectl shows 0 for what is absent`];
  };
  const warnings = [...lacking('cpu'), ...lacking('memory')];
  return warnings.length === 0 ? headers : { warning: [...(headers.warning ?? []), ...warningHeaders(warnings)] };
}
