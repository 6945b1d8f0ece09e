/**
 * `GET …/namespaces/kube-node-lease/leases/<node>`: what `kubectl describe node` asks beside the node. A machine's presence is such a lease;
 * when it was last renewed only etcd knows, and does not say. Nothing else about leases is served, so discovery does not name them.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { derivedUid } from '../../objects/join.js';
import type { ClusterCache } from '../../objects/ports.js';
import { objectVersion } from '../../objects/resource-version.js';
import { StatusError } from '../../resources/errors.js';
import { presenceTtlMs } from '../../resources/protocol.js';
import { paramsOf } from '../access.js';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';
import type { NodeNames } from './node-names.js';

const namespace = 'kube-node-lease';

export const leaseRoute = (cache: Pick<ClusterCache, 'presence'>, names: NodeNames): Route => ({
  method: 'GET',
  path: `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/:name`,
  audience: 'any-authenticated',
  attributes: ({ params }) => ({ resource: 'leases', verb: 'get', ...(params.name !== undefined && { name: params.name }) }),
  async handler(request: FastifyRequest, reply: FastifyReply) {
    const { name = '' } = paramsOf(request);
    const machine = names.idOf(name);
    const row = machine === undefined ? undefined : cache.presence(machine);
    if (!row) throw new StatusError('NotFound', `leases.coordination.k8s.io "${name}" not found: no server hears of its agent`);
    const { server, since, session } = row.value;
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name, namespace, uid: derivedUid(session), creationTimestamp: since, resourceVersion: objectVersion(row.modRevision) },
      // The server that holds the stream renews it, at each heartbeat of the agent.
      spec: { holderIdentity: server, leaseDurationSeconds: presenceTtlMs / 1_000, acquireTime: microTime(since) },
    };
    return sendJson(reply, 200, JSON.stringify(lease));
  },
});

/** Kubernetes' leases are dated to the microsecond, and Go reads no other form. */
const microTime = (iso: string): string => new Date(iso).toISOString().replace(/\.(\d{3})Z$/, '.$1000Z');
