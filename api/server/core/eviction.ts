/**
 * Deleting or evicting a pod: the wish that this copy of a unit moves is written into its Unit, for the scheduler. Nothing is moved off a
 * machine that takes units still, since it might come back to where it was; and the answer waits a moment for the leader's word, so that
 * whoever drains a node hears why a unit stays.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../../runtime/clock.js';
import { isObject } from '../../objects/json.js';
import type { ClusterCache, DeleteOptions, Joined, ObjectDoor, WriteContext } from '../../objects/ports.js';
import { badRequest, conflict, notFound } from '../../objects/status-errors.js';
import type { UnitFragment } from '../../objects/unit-fragment.js';
import type { Assignment, AssignmentSpec } from '../../resources/assignment.js';
import { StatusError } from '../../resources/errors.js';
import { type Eviction, evictAnnotation, evictionReason, evictionText } from '../../resources/eviction.js';
import type { MachineSpec } from '../../resources/machine.js';
import { paramsOf } from '../access.js';
import { parseObject } from '../body.js';
import { queryOf } from '../query.js';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';
import { contextOf, deleteRequest, readWrite } from '../writes.js';
import { defaultNamespace } from './kind.js';
import type { NodeNames } from './node-names.js';
import { boundAnnotation } from './pod.js';
import { type Pods, podKind } from './pods.js';

export const evictionLimits = {
  /** How long an eviction waits for what the leader says to it. */
  verdictMs: 2_000,
};

export interface EvictionPorts {
  readonly cache: ClusterCache;
  readonly door: Pick<ObjectDoor, 'patch'>;
  readonly clock: Clock;
  readonly pods: Pods;
  readonly names: NodeNames;
}

/** Resolves once the copy is on its way off its machine, or nobody has said that it will not be. Throws StatusError. */
export async function evict(
  ports: EvictionPorts,
  name: string,
  options: DeleteOptions,
  context: WriteContext,
): Promise<{ object: Joined; gone: boolean }> {
  const { cache, door, pods } = ports;
  const assignment = cache.joined('assignments', name);
  if (!assignment) throw notFound(podKind, name);
  const pod = pods.view(assignment)!;
  const { uid, resourceVersion } = pod.metadata;
  if (options.uid !== undefined && options.uid !== uid) {
    throw conflict(podKind, name, `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${uid}`);
  }
  if (options.resourceVersion && pods.hasChangedSince(options.resourceVersion, assignment)) {
    throw conflict(podKind, name, `Precondition failed: it is at resourceVersion ${resourceVersion}, not ${options.resourceVersion}`);
  }
  const { unit, machine, remove, assignedAt, unitUid } = (assignment as Assignment).spec!;
  if (remove !== undefined) return { object: pod, gone: false };
  if (pod.metadata.annotations?.[boundAnnotation] !== undefined) {
    throw conflict(podKind, name, `${unit} belongs to this node and cannot run elsewhere: change or delete unit ${unit} to stop it`);
  }
  const on = cache.joined('machines', machine);
  const spec = on?.spec as MachineSpec | undefined;
  if (!on || !(spec?.unschedulable || spec?.drain)) {
    const node = on ? ports.names.nameOf(on) : machine;
    throw new StatusError(
      'TooManyRequests',
      `Cannot evict pod as ${unit} could be placed on node ${node} again: cordon it first (kubectl cordon ${node})`,
    );
  }
  const eviction = { machine, machineGeneration: on.metadata.generation ?? 0, assignedAt };
  const body = { metadata: { uid: unitUid, annotations: { [evictAnnotation]: evictionText(eviction) } } };
  await door.patch('units', unit, { type: 'merge', body }, context);
  if (context.dryRun) return { object: pod, gone: false };
  const refusal = await refusalOf(ports, unit, eviction);
  if (refusal !== undefined) throw new StatusError('TooManyRequests', `Cannot evict pod now: ${unit}: ${refusal}`);
  const now = cache.joined('assignments', name);
  return now ? { object: pods.view(now)!, gone: false } : { object: pod, gone: true };
}

/** What the leader has against it; undefined when it moves, or when nobody has said anything in time. */
function refusalOf({ cache, clock }: EvictionPorts, unit: string, { machine, assignedAt }: Eviction): Promise<string | undefined> {
  const look = (): { readonly refusal?: string } | undefined => {
    const copy: AssignmentSpec | undefined = cache.assignment(machine, unit)?.value;
    if (copy?.assignedAt !== assignedAt || copy.remove !== undefined) return {};
    const said = (cache.fragment('units', unit)?.value as UnitFragment | undefined)?.conditions?.find(({ type }) => type === 'Scheduled');
    return said?.reason === evictionReason ? { refusal: said.message } : undefined;
  };
  return new Promise((resolve) => {
    const first = look();
    if (first) return resolve(first.refusal);
    const settle = (refusal: string | undefined) => {
      cancel();
      unsubscribe();
      resolve(refusal);
    };
    const unsubscribe = cache.subscribe(() => {
      const seen = look();
      if (seen) settle(seen.refusal);
    });
    const cancel = clock.after(evictionLimits.verdictMs, () => settle(undefined));
  });
}

export const evictionSubresource = {
  name: 'eviction',
  verbs: ['create'],
  kind: { group: 'policy', version: 'v1', kind: 'Eviction' },
} as const;

export function evictionRoutes(ports: EvictionPorts & { readonly maxBodyDepth: number }): Route[] {
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { name = '', namespace = defaultNamespace } = paramsOf(request);
    const query = readWrite(request);
    const body = parseObject(request, ports.maxBodyDepth);
    if (!isObject(body) || body.kind !== 'Eviction') throw badRequest('expected an Eviction of policy/v1');
    const named = isObject(body.metadata) ? body.metadata.name : undefined;
    if (named !== undefined && named !== '' && named !== name) {
      throw badRequest(`the name of the eviction (${String(named)}) does not match the pod in the URL (${name})`);
    }
    const { options, dryRun } = deleteRequest(body.deleteOptions ?? {}, queryOf(request));
    if (namespace !== defaultNamespace) throw notFound(podKind, name);
    await evict(ports, name, options, { ...contextOf(query), dryRun: query.dryRun || dryRun });
    return sendJson(reply, 201, JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }));
  };
  return [`/api/v1/${podKind.plural}`, `/api/v1/namespaces/:namespace/${podKind.plural}`].map((collection) => ({
    method: 'POST',
    path: `${collection}/:name/${evictionSubresource.name}`,
    audience: 'any-authenticated',
    attributes: ({ params }) => ({
      resource: podKind.plural,
      subresource: evictionSubresource.name,
      verb: 'create',
      ...(params.name !== undefined && { name: params.name }),
    }),
    handler,
  }));
}
