/** A small cluster in the rig: machines that have told of themselves, and units that run on them. */
import { type AssignmentSpec, assignmentName, type UnitState } from '../../../../api/resources/assignment.js';
import type { MachineInfo } from '../../../../api/resources/machine.js';
import { activeState, assignmentOf, at, keys, put, remove, scheduledOn, write } from '../../objects/cluster-writer.js';
import { type Rig, unitBody, units } from '../rig.js';

export const machineA = 'a'.repeat(32);
export const machineB = 'b'.repeat(32);

export const infoOf = (hostname: string, more: Partial<MachineInfo> = {}): MachineInfo => ({
  hostname,
  address: '10.0.0.1',
  bootID: 'boot',
  agentVersion: '0.1.0',
  systemdVersion: '252',
  kernelVersion: '6.1.0',
  osImage: 'Debian 12',
  cpus: 2,
  memoryBytes: 2 * 1024 ** 3,
  ...more,
});

export const ready = (status: 'True' | 'False', message = 'Its agent answers.') => ({
  type: 'Ready',
  status,
  reason: status === 'True' ? 'AgentConnected' : 'PresenceLost',
  message,
  lastTransitionTime: at,
  observedGeneration: 1,
});

export async function writeMachine(rig: Rig, id: string, info: MachineInfo | undefined, condition = ready('True')): Promise<void> {
  if (!rig.cache.object('machines', id)) {
    await rig.call('POST', '/apis/flotilla.dev/v1/machines', {
      body: { apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata: { name: id } },
    });
  }
  const fragment = { observedGeneration: 1, conditions: [condition], ...(info ? { info } : {}), units: 0 };
  await rig.cache.untilRevision(await write(rig.store, [put(keys.condition('machines', id), fragment)]));
}

export async function writeCopy(
  rig: Rig,
  unit: string,
  machine: string,
  more: { labels?: Record<string, string>; spec?: object; state?: Partial<UnitState> | null; assignment?: Partial<AssignmentSpec> } = {},
): Promise<string> {
  if (!rig.cache.object('units', unit)) await rig.call('POST', units, { body: unitBody(unit, more) });
  const uid = rig.cache.joined('units', unit)!.metadata.uid;
  const revision = await write(rig.store, [
    put(keys.assignment(machine, unit), { ...assignmentOf(unit, machine, uid, 1, 'x'), ...more.assignment }),
    ...(more.state === null ? [] : [put(keys.state(machine, unit), activeState(uid, 1, 'x', more.state))]),
    put(keys.condition('units', unit), scheduledOn(machine, 1)),
  ]);
  await rig.cache.untilRevision(revision);
  return assignmentName(unit, machine);
}

export async function removeCopy(rig: Rig, unit: string, machine: string): Promise<void> {
  const revision = await write(rig.store, [
    remove(keys.assignment(machine, unit)),
    remove(keys.state(machine, unit)),
    put(keys.condition('units', unit), { conditions: [] }),
  ]);
  await rig.cache.untilRevision(revision);
}
