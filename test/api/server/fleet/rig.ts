/** The app's rig with machines that are heard of, and a hand that writes what leader and agents would write. */
import type { AssignmentSpec, UnitState } from '../../../../api/resources/assignment.js';
import { textHash } from '../../../../api/resources/unit-text.js';
import type { AppOptions } from '../../../../api/server/app.js';
import { activeState, assignmentOf, at, keys, put, remove, scheduledOn, write } from '../../objects/cluster-writer.js';
import { type Answer, type Rig, startRig } from '../rig.js';

export const base = '/fleet/v1';

export const hello = [
  { name: 'Description', section: 'Unit', value: 'Hello' },
  { name: 'ExecStart', section: 'Service', value: '/bin/sleep infinity' },
];
/** fleet's hash of `hello`. */
export const helloHash = '3585129a937fa3d1ba1d97bf61790801d7efb4fd';

export interface MachineFacts {
  readonly address: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export async function startFleetRig(options: Partial<AppOptions> = {}) {
  const rig = await startRig(options);
  return { ...rig, ...worldOf(rig), fleet: (method: string, path: string, body?: unknown) => fleetCall(rig, method, path, body) };
}

export type FleetRig = Awaited<ReturnType<typeof startFleetRig>>;

/** As fleetctl calls. */
const fleetCall = (rig: Rig, method: string, path: string, body?: unknown): Promise<Answer> =>
  rig.call(method, `${base}/${path}${path.includes('?') ? '&' : '?'}alt=json`, { ...(body !== undefined && { body }) });

/** What leader and agents do, one step at a time. Each resolves once the rig's cache has it. */
function worldOf({ store, cache }: Rig) {
  const commit = async (...operations: Parameters<typeof write>[1]): Promise<void> => cache.untilRevision(await write(store, operations));
  const unit = (name: string) => {
    const row = cache.object('units', name);
    if (row === undefined) throw new Error(`there is no unit ${name}`);
    return row.value;
  };
  const textOf = (name: string): string => cache.content(unit(name).textHash ?? '')?.value ?? '';
  return {
    /** A machine that has joined and whose agent is connected. */
    machine: (id: string, { address, labels = {} }: MachineFacts) =>
      commit(
        put(keys.object('machines', id), {
          apiVersion: 'flotilla.dev/v1',
          kind: 'Machine',
          metadata: { name: id, uid: `uid-${id}`, generation: 1, creationTimestamp: at, labels },
          spec: {},
        }),
        put(keys.presence(id), {
          info: { hostname: `host-${id.slice(-2)}`, address, bootID: 'boot', agentVersion: '0', cpus: 1, memoryBytes: 1 },
          machineUid: `uid-${id}`,
          session: 's',
          server: 'alpha',
          leaseId: '1',
          since: at,
        }),
      ),
    silence: (id: string) => commit(remove(keys.presence(id))),
    /** The scheduler's decision. A global unit's status names no machine. */
    schedule(name: string, machine: string, more: Partial<AssignmentSpec> & { readonly global?: boolean } = {}) {
      const { metadata } = unit(name);
      const { global = false, ...assignment } = more;
      const fragment = global
        ? { desiredMachines: 1, currentMachines: 1, readyMachines: 0 }
        : scheduledOn(machine, metadata.generation ?? 1);
      const decided = assignmentOf(name, machine, metadata.uid ?? '', metadata.generation ?? 1, textOf(name));
      return commit(put(keys.condition('units', name), fragment), put(keys.assignment(machine, name), { ...decided, ...assignment }));
    },
    /** What its agent saw. */
    report(name: string, machine: string, seen: Partial<UnitState> = {}) {
      const { metadata } = unit(name);
      return commit(put(keys.state(machine, name), activeState(metadata.uid ?? '', metadata.generation ?? 1, textOf(name), seen)));
    },
    /** Process and file are gone, and the leader has seen it. */
    unschedule: (name: string, ...machines: readonly string[]) =>
      commit(
        put(keys.condition('units', name), {}),
        ...machines.flatMap((machine) => [remove(keys.assignment(machine, name)), remove(keys.state(machine, name))]),
      ),
    /** The leader's last step of a deletion. */
    finishDeletion: (name: string, ...machines: readonly string[]) =>
      commit(
        remove(keys.object('units', name)),
        remove(keys.condition('units', name)),
        ...machines.flatMap((machine) => [remove(keys.assignment(machine, name)), remove(keys.state(machine, name))]),
      ),
    textOf,
    textHash,
  };
}

export const dead = { active: 'inactive', sub: 'dead' } as const;
/** Loaded and never started. */
export const fresh: Partial<UnitState> = { ...dead, runningHash: undefined, result: undefined } as Partial<UnitState>;
