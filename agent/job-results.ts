/** How a start job can end that leaves the unit down and its state without a word about why. */
import type { JobResult } from './systemd.js';
import type { Problem } from './unit-state.js';

/** The words are those that systemctl has for the result; where it has none beyond the word itself, the unit's state says enough. */
const words: Readonly<Record<JobResult, readonly [reason: string, says: (name: string) => string]>> = {
  unsupported: ['Unsupported', (name) => `operation on or unit type of ${name} not supported on this system`],
  dependency: ['DependencyFailed', (name) => `a dependency job for ${name} failed: a unit that it requires did not start`],
  assert: ['AssertFailed', (name) => `assertion failed on job for ${name}: an Assert...= of it does not hold here`],
  timeout: ['JobTimedOut', (name) => `job for ${name} timed out`],
  once: ['RanOnce', (name) => `unit ${name} was started already once and cannot be started again`],
};

/** What is said of a unit whose start job ended so; undefined when its state tells. */
export const whyNotStarted = (name: string, result: JobResult): Problem | undefined => {
  const known = words[result];
  return known && { reason: known[0], message: `systemd: ${known[1](name)} (job result ${result})` };
};
