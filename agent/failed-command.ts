/**
 * How the commands beside a service's main process ended. systemd's Result may be about one of them, an ExecStartPre= say, and then the main
 * process has no exit status, or a good one.
 */
import type { ServiceFacts } from './systemd.js';

/** Properties of a service that list such commands: every option that can make it fail. */
export const commandProperties = ['ExecCondition', 'ExecStartPre', 'ExecStartPost', 'ExecReload', 'ExecStop', 'ExecStopPost'] as const;

/** One entry of such a property, D-Bus type (sasbttttuii); times are microseconds. */
type Command = readonly [
  path: string,
  argv: readonly string[],
  mayFail: boolean,
  startedAt: bigint,
  startedAtMonotonic: bigint,
  endedAt: bigint,
  endedAtMonotonic: bigint,
  pid: number,
  code: number,
  status: number,
];

/** CLD_EXITED, CLD_KILLED, CLD_DUMPED of waitid(2). */
export const exitCodes: Readonly<Record<number, string>> = { 1: 'exited', 2: 'killed', 3: 'dumped' };

/** Whether the result says that a process failed, and the main one did not. */
export const isUnexplained = ({ result, exitCode, exitStatus }: ServiceFacts): boolean =>
  ['exit-code', 'signal', 'core-dump'].includes(result ?? '') && (exitCode === undefined || (exitCode === 'exited' && exitStatus === 0));

/** The newest failure among the commands, leaving out those that may fail (`-` in front); empty when there is none. */
export function failedCommand(lists: readonly unknown[]): Pick<ServiceFacts, 'exitCode' | 'exitStatus'> {
  const failed = (lists.flat() as Command[])
    .filter(([, , mayFail, , , , , , code, status]) => !mayFail && code in exitCodes && !(code === 1 && status === 0))
    .sort(([, , , , , , a], [, , , , , , b]) => Number(b - a))[0];
  return failed ? { exitCode: exitCodes[failed[8]]!, exitStatus: failed[9] } : {};
}
