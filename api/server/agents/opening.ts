/** From an agent's hello to its machine's presence in this server's hand: who may, what is written, and why not. */
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import type { Store } from '../../../runtime/store/store.js';
import type { ClusterCache, ObjectDoor, Row, StoredObject } from '../../objects/ports.js';
import type { FromAgent } from '../../resources/protocol.js';
import { duplicateMachine, machineRemoved, StreamEnd } from './ending.js';
import type { AgentLimits } from './limits.js';
import { type HeldPresence, takeOver } from './presence.js';
import { allowedLabels, registerMachine, removedLabels } from './registration.js';

/** A sentence about a machine or a unit on it, to be recorded as an Event. */
export interface MachineEvent {
  readonly machine: string;
  /** About this unit; else about the machine. */
  readonly unit?: string;
  readonly reason: string;
  readonly message: string;
  readonly warning: boolean;
}

export interface OpeningPorts {
  readonly store: Pick<Store, 'get' | 'commit' | 'lease' | 'revision'>;
  readonly cache: ClusterCache;
  readonly door: Pick<ObjectDoor, 'apply'>;
  readonly clusterUid: string;
  readonly serverName: string;
  readonly recordEvent: (event: MachineEvent) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: AgentLimits;
}

/** Who opened the stream: from the certificate. */
export interface Caller {
  readonly machine: string;
  readonly uid: string;
  /** Until when the certificate is valid, by the wall clock. */
  readonly validToMs: number;
  /** What the agent says it knows beyond the first version of the protocol. */
  readonly features: ReadonlySet<string>;
}

/**
 * Registers the machine and takes it over; resolves once the cache shows the take-over, and with it everything that an earlier stream had
 * written. Throws StreamEnd, or rejects as store and door do.
 *
 * @param wanted asked before the take-over: false when the agent has gone meanwhile
 */
export async function openPresence(
  ports: OpeningPorts,
  { machine, uid }: Caller,
  hello: Extract<FromAgent, { type: 'hello' }>,
  session: string,
  wanted: () => boolean,
): Promise<HeldPresence> {
  const { store, cache, door, clusterUid, serverName, clock, limits, log, recordEvent } = ports;
  if (hello.clusterUid !== undefined && hello.clusterUid !== clusterUid) {
    throw new StreamEnd('refused', `this server is of cluster ${clusterUid}, the agent of cluster ${hello.clusterUid}`);
  }
  const row = await currentMachine(ports, machine);
  if (row?.value.metadata.uid !== uid) throw machineRemoved();

  const { refused } = await registerMachine(door, machine, hello.labels, allowedLabels(row.value), removedLabels(row.value));
  if (refused.length > 0) {
    log.warn('labels of an agent refused', { machine, labels: refused });
    const message = `Not set: ${refused.slice(0, 20).join(', ')}. The machine's join token did not list them, or no label can be called so.`;
    recordEvent({ machine, reason: 'LabelsRefused', message, warning: true });
  }

  if (!wanted()) throw new StreamEnd('closed', 'the agent has gone');
  const takeover = await takeOver(
    { store, keys: cache.keys, clock, serverName, duplicateHoldMs: limits.duplicateHoldMs },
    { machine, machineUid: uid, machineCreateRevision: row.createRevision, info: hello.info, session },
  );
  switch (takeover.outcome) {
    case 'removed':
      throw machineRemoved();
    case 'outrun':
      throw new StreamEnd('superseded', 'other streams of this machine were faster');
    case 'duplicate': {
      const [a, b] = takeover.bootIDs;
      const cure = 'Give the copy an id of its own: rm /etc/machine-id && systemd-machine-id-setup, then join it with a new token.';
      const message = `Two hosts use the machine id ${machine} (boot ids ${a} and ${b}); both are kept out. ${cure}`;
      recordEvent({ machine, reason: 'DuplicateMachineID', message, warning: true });
      throw duplicateMachine(takeover.bootIDs);
    }
    case 'held':
      await cache.untilRevision(takeover.presence.revision);
      return takeover.presence;
  }
}

/**
 * The Machine object as the store has it now: absence is believed only of a cache that has caught up (invariant 13). Throws StreamEnd when
 * what is stored cannot be read.
 */
export async function currentMachine(
  { store, cache }: Pick<OpeningPorts, 'store' | 'cache'>,
  machine: string,
): Promise<Row<StoredObject> | undefined> {
  await cache.untilRevision(await store.revision());
  const broken = cache.broken.get(cache.keys.object('machines', machine));
  if (broken) throw new StreamEnd('refused', `the Machine object cannot be read: ${broken.message}`);
  return cache.object('machines', machine);
}
