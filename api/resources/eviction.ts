/**
 * The wish that one copy of a unit leaves its machine, as an annotation on the Unit: so it is stored with the Unit, read by whoever leads,
 * and kept when the leader changes. It names one life of one assignment and the cordon under which it was asked, so once the copy has left,
 * or the machine takes units again, it means nothing any more, whatever is placed there later.
 */
export const evictAnnotation = 'flotilla.dev/evict';

export interface Eviction {
  /** Full machine id. */
  readonly machine: string;
  /** Of the Machine when it was asked: grows with each cordon and uncordon. */
  readonly machineGeneration: number;
  /** Of the assignment. */
  readonly assignedAt: string;
}

export const evictionText = ({ machine, machineGeneration, assignedAt }: Eviction): string =>
  `${machine} ${machineGeneration} ${assignedAt}`;

const form = /^([0-9a-f]{32}) (\d{1,15}) (\S{1,64})$/;

/** Undefined for what `evictionText` did not make: somebody's own words ask for nothing. */
export function readEviction(text: string | undefined): Eviction | undefined {
  const [, machine, machineGeneration, assignedAt] = form.exec(text ?? '') ?? [];
  return machine === undefined || assignedAt === undefined
    ? undefined
    : { machine, machineGeneration: Number(machineGeneration), assignedAt };
}

/** Reason of the Scheduled condition while the wish cannot be fulfilled; the message says why. */
export const evictionReason = 'Evicting';
