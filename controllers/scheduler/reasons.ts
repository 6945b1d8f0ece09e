/** Sentences about why something is not placed. */

/** Reasons that are spelled out before the rest is summed up. */
const maxReasons = 5;

/** "2 machines: conflict with web@1.service, 1: cordoned". */
export function inSum(refused: ReadonlyMap<string, number>): string {
  const reasons = [...refused].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1));
  if (reasons.length === 0) return 'there is no machine yet';
  const spelled = reasons.slice(0, maxReasons).map(([reason, count], index) => `${index === 0 ? machines(count) : count}: ${reason}`);
  const rest = reasons.slice(maxReasons).reduce((sum, [, count]) => sum + count, 0);
  return rest === 0 ? spelled.join(', ') : `${spelled.join(', ')}, ${rest}: other reasons`;
}

export const machines = (count: number): string => `${count} ${count === 1 ? 'machine' : 'machines'}`;
