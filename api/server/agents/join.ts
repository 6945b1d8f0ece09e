/**
 * How a machine becomes a member, and stays one. Joining: the token is claimed for this machine and key, the Machine object is made, the
 * certificate is signed, the token is deleted, the answer is sent, in this order: a crash anywhere leaves at most a Machine object that
 * nobody uses yet, and a token with which only the same machine can try again with the same key.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ZodType, z } from 'zod';
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import type { Store } from '../../../runtime/store/store.js';
import { CertificateError, publicKeySha256, readRequest } from '../../../runtime/x509/certificates.js';
import type { ClusterCache, ObjectDoor } from '../../objects/ports.js';
import { StatusError } from '../../resources/errors.js';
import { type JoinReply, JoinRequest, RenewRequest } from '../../resources/protocol.js';
import { bytesOf, parseJson } from '../body.js';
import { sendJson } from '../reads.js';
import { plainAttributes, type Route } from '../routes.js';
import type { Pki } from '../trust/ca.js';
import type { Tokens } from '../trust/tokens.js';
import { StreamEnd } from './ending.js';
import type { AgentLimits } from './limits.js';
import { currentMachine, type MachineEvent } from './opening.js';
import { registerMachine, removedLabels } from './registration.js';

export interface JoinPorts {
  readonly store: Pick<Store, 'get' | 'commit' | 'lease' | 'revision'>;
  readonly cache: ClusterCache;
  readonly door: Pick<ObjectDoor, 'apply'>;
  readonly pki: Pick<Pki, 'signMachine' | 'caCertificate' | 'clusterUid'>;
  readonly tokens: Pick<Tokens, 'claim'>;
  readonly servers: () => readonly string[];
  readonly recordEvent: (event: MachineEvent) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: AgentLimits;
}

const maxBodyDepth = 5;
/** While a machine is connected, nobody else can join under its id; after this its presence has run out. */
const connectedRetrySeconds = 5;

/** Throws StatusError. */
export async function join(ports: JoinPorts, body: unknown): Promise<JoinReply> {
  const { store, cache, door, pki, tokens, servers, recordEvent, log } = ports;
  const { token, machine, csr, labels } = parsed(JoinRequest, body);
  const keySha256 = await publicKeySha256(await readKey(csr));
  const claim = await tokens.claim(token, { machine, keySha256 });

  const known = await machineNow(ports, machine);
  if (known?.value.metadata.deletionTimestamp) throw tryLater(`Machine ${machine} is being deleted: it can join again once it is gone`);
  // A host that is connected needs no token. So this is its double, or a thief, or itself a moment after it lost its certificate.
  if ((await store.get(cache.keys.presence(machine))).entry) {
    recordEvent({
      machine,
      reason: 'JoinRefused',
      message:
        'Another host tried to join under the id of this machine, which is connected: was its disk copied, and /etc/machine-id with it?',
      warning: true,
    });
    throw tryLater(
      `machine ${machine} is connected right now: if this host is a copy of it, it needs a machine id of its own (systemd-machine-id-setup)`,
    );
  }

  const { uid, refused } = await registerMachine(door, machine, labels, claim.labels, known ? removedLabels(known.value) : []);
  if (refused.length > 0) log.warn('labels of a joining machine refused', { machine, labels: refused });
  const certificate = await pki.signMachine(csr, { id: machine, uid });
  try {
    await claim.consume();
  } catch (error) {
    // It is claimed: without this machine's key it is worth nothing, and within the hour it is gone.
    log.warn('a join token could not be deleted and expires by itself', { machine, error });
  }
  log.info('machine joined', { machine, uid, known: known !== undefined });
  recordEvent({ machine, reason: 'Joined', message: known ? 'Joined again with a new token.' : 'Joined the cluster.', warning: false });
  return { certificate, ca: pki.caCertificate, clusterUid: pki.clusterUid, machineUid: uid, servers: [...servers()] };
}

/** A new certificate for a machine that has a valid one. Throws StatusError. */
export async function renew(
  ports: JoinPorts,
  { machine, uid }: { readonly machine: string; readonly uid: string },
  body: unknown,
): Promise<JoinReply> {
  const { pki, servers, log } = ports;
  const { csr } = parsed(RenewRequest, body);
  await readKey(csr);
  const known = await machineNow(ports, machine);
  if (known?.value.metadata.uid !== uid) throw new StatusError('Forbidden', `Machine ${machine} was removed: join again with a new token`);
  const certificate = await pki.signMachine(csr, { id: machine, uid });
  log.info('machine certificate renewed', { machine });
  return { certificate, ca: pki.caCertificate, clusterUid: pki.clusterUid, machineUid: uid, servers: [...servers()] };
}

/** POST /agent/v1/join for everybody, POST /agent/v1/renew for machines. */
export function joinRoutes(ports: JoinPorts): Route[] {
  let underWay = 0;
  const limited = async (reply: FastifyReply, answer: () => Promise<JoinReply>) => {
    if (underWay >= ports.limits.maxJoins) {
      throw new StatusError('TooManyRequests', 'too many machines join at the same time; try again', { retryAfterSeconds: 1 });
    }
    underWay++;
    try {
      return sendJson(reply, 200, JSON.stringify(await answer()));
    } finally {
      underWay--;
    }
  };
  const body = (request: FastifyRequest) => parseJson(bytesOf(request), maxBodyDepth);
  return [
    {
      method: 'POST',
      path: '/agent/v1/join',
      audience: 'public',
      attributes: plainAttributes('POST', '/agent/v1/join'),
      handler: (request: FastifyRequest, reply: FastifyReply) => limited(reply, () => join(ports, body(request))),
    },
    {
      method: 'POST',
      path: '/agent/v1/renew',
      audience: 'machine',
      attributes: plainAttributes('POST', '/agent/v1/renew'),
      handler: (request: FastifyRequest, reply: FastifyReply) => {
        const { identity } = request;
        if (identity.kind !== 'machine') throw new StatusError('Forbidden', 'only a machine renews its certificate');
        return limited(reply, () => renew(ports, identity, body(request)));
      },
    },
  ];
}

const tryLater = (message: string): StatusError =>
  new StatusError('ServiceUnavailable', message, { retryAfterSeconds: connectedRetrySeconds });

function parsed<T>(schema: ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new StatusError('BadRequest', z.prettifyError(result.error));
}

async function readKey(csr: string) {
  try {
    return await readRequest(csr);
  } catch (error) {
    if (error instanceof CertificateError) throw new StatusError('BadRequest', `csr: ${error.message}`);
    throw error;
  }
}

async function machineNow(ports: JoinPorts, machine: string) {
  try {
    return await currentMachine(ports, machine);
  } catch (error) {
    if (error instanceof StreamEnd) throw tryLater(error.message);
    throw error;
  }
}
