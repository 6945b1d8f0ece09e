/** Sentences about why something is not placed. */
import { shortId } from './match.js';
import type { PlannedUnit } from './types.js';

/** Reasons that are spelled out before the rest is summed up. */
const maxReasons = 5;

/** "2 machines: conflict with web@1.service, 1: cordoned". */
export function inSum(refused: ReadonlyMap<string, number>): string {
  if (refused.size === 0) return 'there is no machine yet';
  const most: [reason: string, count: number][] = [];
  let rest = 0;
  // There can be as many reasons as machines: only the first few are sorted.
  for (const entry of refused) {
    let at = most.length;
    while (at > 0 && isBefore(entry, most[at - 1]!)) at--;
    if (at < maxReasons) most.splice(at, 0, entry);
    else rest += entry[1];
    if (most.length > maxReasons) rest += most.pop()![1];
  }
  const spelled = most.map(([reason, count], index) => `${index === 0 ? machines(count) : count}: ${reason}`);
  return rest === 0 ? spelled.join(', ') : `${spelled.join(', ')}, ${rest}: other reasons`;
}

const isBefore = ([a, countA]: [string, number], [b, countB]: [string, number]): boolean => countA > countB || (countA === countB && a < b);

export const machines = (count: number): string => `${count} ${count === 1 ? 'machine' : 'machines'}`;

/** Why a unit is not to run anywhere, if so. */
export function idleReason(unit: PlannedUnit): { reason: string; message: string } | undefined {
  if (unit.deleting) return { reason: 'Deleting', message: `${unit.name} is being deleted` };
  if (unit.template) return { reason: 'Template', message: `${unit.name} is a template: its instances are placed, not it` };
  return unit.wanted === 'inactive' ? { reason: 'Inactive', message: `the desired state of ${unit.name} is inactive` } : undefined;
}

export const stopping = (machine: string, why: string | undefined): string =>
  `waiting for machine ${shortId(machine)} to stop it${why === undefined ? '' : `: ${why}`}`;

export const ambiguous = (machineID: string): string => `more than one machine id begins with ${machineID}: name it in full`;
