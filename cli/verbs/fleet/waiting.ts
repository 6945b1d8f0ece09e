/** Waits until units are as a verb asked, says what it waits for, and never waits for ever. */
import type { Context } from '../../context.js';
import { exitCode, usageError } from '../../exit.js';
import { followObjects } from '../../following.js';
import type { WireObject } from '../../objects.js';
import { say } from '../../output.js';
import type { Outcome } from './outcome.js';

export interface WaitFlags {
  /** False with --no-block. */
  readonly block: boolean;
  /** --block-attempts: fleet's attempts, of two seconds each; 0 or absent: the limit of ours. */
  readonly blockAttempts?: number;
}

/** What one of fleet's attempts takes. */
const attemptMs = 2_000;
/** fleet waited for ever; as long as systemd gives a start, and an image that has to be fetched before it. */
export const defaultBlockMs = 300_000;
const maxAttempts = 1_000_000;
/** After this long without an end, the verb says what it waits for. */
export const sayWhyAfterMs = 2_000;
/** Units about which it says so; many that wait, wait for the same. */
export const maxSaid = 10;

export function blockMs({ blockAttempts = 0 }: WaitFlags): number {
  if (blockAttempts > maxAttempts) throw usageError(`--block-attempts ${blockAttempts}: at most ${maxAttempts}`);
  return blockAttempts === 0 ? defaultBlockMs : blockAttempts * attemptMs;
}

export interface Ended {
  readonly name: string;
  readonly object: WireObject | undefined;
  readonly end: 'so' | 'not so' | 'out of time';
  readonly why: string;
}

interface Waiting {
  why: string;
  object: WireObject | undefined;
  /** Ends the wait when nothing else is said until then. */
  patience?: NodeJS.Timeout;
  again?: NodeJS.Timeout;
}

export type Judge = (object: WireObject | undefined, name: string) => Outcome | Promise<Outcome>;

/** Follows the units until each has ended well or badly, or the time is up; `ended` hears of each as it happens. */
export async function untilSettled(
  context: Context,
  names: readonly string[],
  limitMs: number,
  judge: Judge,
  ended: (one: Ended) => void | Promise<void>,
): Promise<Ended['end'][]> {
  const kind = await context.kind('units');
  const pending = new Map<string, Waiting>(names.map((name) => [name, { why: 'no answer yet', object: undefined }]));
  const ends: Ended['end'][] = [];
  const abort = new AbortController();
  // One after the other, in the order in which they ended, whatever a caller does to print one.
  let told: Promise<void> = Promise.resolve();
  const finish = (name: string, end: Ended['end'], why: string) => {
    const waiting = pending.get(name);
    if (!waiting) return;
    clearTimeout(waiting.again);
    clearTimeout(waiting.patience);
    pending.delete(name);
    ends.push(end);
    told = told.then(() => ended({ name, object: waiting.object, end, why }));
    if (pending.size === 0) abort.abort();
  };

  let isTalkative = false;
  let said = 0;
  const tell = (name: string, why: string) => {
    if (said++ < maxSaid) say(`${name}: ${why}`);
  };
  const talk = setTimeout(() => {
    isTalkative = true;
    for (const [name, { why }] of pending) tell(name, why);
  }, sayWhyAfterMs);

  const look = async (object: WireObject | undefined, name: string): Promise<boolean> => {
    const waiting = pending.get(name);
    if (!waiting) return true;
    waiting.object = object;
    const outcome = await judge(object, name);
    if (!pending.has(name)) return true;
    clearTimeout(waiting.again);
    if (outcome.is !== 'pending') {
      finish(name, outcome.is, outcome.is === 'so' ? '' : outcome.why);
      return true;
    }
    if (outcome.againMs !== undefined) waiting.again = setTimeout(() => lookAgain(name), outcome.againMs);
    if (waiting.why === outcome.why) return false;
    clearTimeout(waiting.patience);
    waiting.why = outcome.why;
    if (isTalkative) tell(name, outcome.why);
    if (outcome.patienceMs !== undefined) waiting.patience = setTimeout(() => finish(name, 'not so', outcome.why), outcome.patienceMs);
    return false;
  };
  let failure: unknown;
  const lookAgain = (name: string) => {
    look(pending.get(name)?.object, name).catch((error: unknown) => {
      failure = error;
      abort.abort();
    });
  };
  try {
    await followObjects(context, kind, names, { timeoutMs: limitMs, signal: abort.signal }, look);
    if (failure !== undefined) throw failure;
    for (const [name, { why }] of [...pending]) finish(name, 'out of time', why);
  } finally {
    clearTimeout(talk);
    for (const { again, patience } of pending.values()) for (const timer of [again, patience]) clearTimeout(timer);
    // What has ended is told first, whatever comes behind it.
    await Promise.allSettled([told]);
  }
  await told;
  return ends;
}

/** The exit code of a verb from how its units ended: a failure says more than a limit that was reached. */
export function codeOf(ends: readonly Ended['end'][], hadError = false): number {
  if (hadError || ends.includes('not so')) return exitCode.failed;
  return ends.includes('out of time') ? exitCode.timedOut : exitCode.ok;
}
