/** What a server is told of a unit, put together from what was seen, what is on disk and what was recorded. Pure. */
import type { UnitState } from '../api/resources/assignment.js';
import type { AgentAssignment } from '../api/resources/protocol.js';
import { type Observation, unseen } from './observe.js';
import type { UnitRecord } from './records.js';
import { isDown } from './systemd.js';

export type Problem = NonNullable<UnitState['problem']>;

/** The unit's file as it was last read: sha256 of the user's text in it, and the Type= that it names. */
export interface FileOnDisk {
  readonly textHash: string;
  readonly type: string | undefined;
}

export interface Known {
  readonly name: string;
  readonly assignment: AgentAssignment;
  readonly observation: Observation;
  readonly record: UnitRecord | undefined;
  readonly onDisk: FileOnDisk | undefined;
  readonly problem: Problem | undefined;
  readonly bootID: string;
}

export function unitState({ name, assignment, observation, record, onDisk, problem: given, bootID }: Known): UnitState {
  const problem = given ?? (isDown(observation.seen) ? record?.unstarted : undefined);
  const isGone = assignment.remove !== undefined && !record && !onDisk;
  // A unit of the machine that has this name is none of ours.
  const isTaken = problem?.reason === 'NameTaken';
  const shown: Observation = isTaken || isGone ? { seen: unseen(name), run: {} } : observation;
  const { seen, run, service } = shown;
  const type = shown.type ?? onDisk?.type;
  const runningHash = !isDown(seen) && record?.started?.boot === bootID ? record.started.textHash : undefined;
  const isRecordOfThis = record?.uid === assignment.unitUid;
  return {
    unitUid: assignment.unitUid,
    generation: (isRecordOfThis ? record.generation : undefined) ?? 0,
    ...(isRecordOfThis && record.template ? { template: record.template } : {}),
    textHash: onDisk?.textHash ?? '',
    ...(runningHash === undefined ? {} : { runningHash }),
    load: seen.load,
    active: seen.active,
    sub: seen.sub,
    ...(service?.result === undefined ? {} : { result: service.result }),
    ...(type === undefined ? {} : { type }),
    ...(service?.exitStatus === undefined ? {} : { exitStatus: service.exitStatus }),
    ...(service?.exitCode === undefined ? {} : { exitCode: service.exitCode }),
    since: run.sinceMs === undefined ? assignment.assignedAt : new Date(run.sinceMs).toISOString(),
    ...(service?.mainPID === undefined ? {} : { mainPID: service.mainPID }),
    ...(run.invocationID === undefined ? {} : { invocationID: run.invocationID }),
    ...(service?.restarts === undefined ? {} : { restarts: service.restarts }),
    ...(isGone ? { gone: true } : {}),
    ...(problem && !isGone ? { problem } : {}),
  };
}
