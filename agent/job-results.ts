/** How a start job can end that leaves the unit down and its state without a word about why. */
import { startResultReasons } from '../api/resources/start-results.js';
import type { JobResult } from './systemd.js';
import type { Problem } from './unit-state.js';

/** As systemctl says it. */
const words: Readonly<Record<keyof typeof startResultReasons, (name: string) => string>> = {
  failed: (name) => `job for ${name} failed before anything of it ran; what it needs may be missing`,
  unsupported: (name) => `operation on or unit type of ${name} not supported on this system`,
  dependency: (name) => `a dependency job for ${name} failed: a unit that it requires did not start`,
  assert: (name) => `assertion failed on job for ${name}: an Assert...= of it does not hold here`,
  timeout: (name) => `job for ${name} timed out`,
  once: (name) => `unit ${name} was started already once and cannot be started again`,
};

const hasWords = (result: JobResult): result is keyof typeof words => Object.hasOwn(words, result);

/** What is said of a unit whose start job ended so; undefined when its state tells. */
export const whyNotStarted = (name: string, result: JobResult): Problem | undefined =>
  hasWords(result) ? { reason: startResultReasons[result], message: `systemd: ${words[result](name)} (job result ${result})` } : undefined;
