/** `flotilla logs`, and fleet's `journal`: a unit's journal, streamed through server and agent. */
import { defaultJournalFormat, type JournalFormat } from '../../api/resources/unit-output.js';
import { linesOf } from '../client.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { machineLabels, resolveMachine } from '../machines.js';
import { complain, forTerminal, printLine } from '../output.js';
import { machinesOf } from '../unit-machines.js';

export interface LogsOptions {
  readonly follow?: boolean;
  readonly lines: number;
  readonly machine?: string;
  readonly sinceSeconds?: number;
  /** Default `defaultJournalFormat`. */
  readonly output?: JournalFormat;
}

/** Resolves with 130 after a Ctrl-C; the journal processes end with the connections. */
export async function logs(context: Context, unit: string, options: LogsOptions): Promise<number> {
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  process.once('SIGINT', interrupt);
  try {
    return await show(context, unit, options, interruption.signal);
  } catch (error) {
    if (interruption.signal.aborted) return exitCode.interrupted;
    throw error;
  } finally {
    process.off('SIGINT', interrupt);
  }
}

async function show(context: Context, unit: string, options: LogsOptions, signal: AbortSignal): Promise<number> {
  const machines =
    options.machine === undefined
      ? await machinesOf(context, unit, 'journal')
      : [(await resolveMachine(context, options.machine)).metadata.name];
  // Lines say themselves which host they are from. What is there already is put in the order of time; what comes is shown as it comes.
  const isMerged = machines.length > 1 && !options.follow;
  const gathered: string[][] = [];
  const outcomes = await Promise.allSettled(
    machines.map(async (machine, index) => {
      const own: string[] = [];
      gathered[index] = own;
      for await (const line of journal(context, unit, machine, options, signal)) {
        if (isMerged) own.push(line);
        else printLine(line);
      }
    }),
  );
  signal.throwIfAborted();
  for (const line of inOrder(gathered, options.output)) printLine(line);

  const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
  const label = failures.length === 0 || machines.length === 1 ? undefined : await machineLabels(context);
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') continue;
    if (!(outcome.reason instanceof CliError)) throw outcome.reason;
    complain(`${label ? `${label(machines[index]!)}: ` : ''}${outcome.reason.message}`);
  }
  return failures.length === 0 ? exitCode.ok : exitCode.failed;
}

async function* journal(
  context: Context,
  unit: string,
  machine: string,
  options: LogsOptions,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const kind = await context.kind('units');
  const response = await context.client.open(`${objectPath(kind, unit)}/log`, {
    accept: 'text/plain, application/json',
    query: {
      machine,
      tailLines: options.lines,
      follow: options.follow ?? false,
      sinceSeconds: options.sinceSeconds,
      output: options.output,
    },
    signal,
  });
  const status = response.statusCode ?? 0;
  if (status >= 400) {
    let text = '';
    for await (const chunk of response) text += String(chunk);
    throw context.client.refusal({ status, text });
  }
  try {
    for await (const line of linesOf(response)) yield forTerminal(line);
  } catch (error) {
    throw new CliError(`the log stream broke off: ${(error as Error).message}`);
  }
}

/** When a line was written, in milliseconds; NaN for a line that does not say. */
const timeOf: Partial<Record<JournalFormat, (line: string) => number>> = {
  'short-iso': (line) => Date.parse(firstWord(line)),
  'short-iso-precise': (line) => Date.parse(firstWord(line)),
  'short-unix': (line) => Number(firstWord(line)) * 1_000,
  json: (line) => Number(/"__REALTIME_TIMESTAMP" ?: ?"(\d+)"/.exec(line)?.[1]) / 1_000,
};
const firstWord = (line: string) => line.slice(0, line.indexOf(' '));

/**
 * Journals of several machines as one: by the time of each line, and a line without one belongs to the line before it. In the formats whose
 * times say no year or zone, one machine comes after the other.
 */
export function inOrder(journals: readonly (readonly string[])[], format: JournalFormat = defaultJournalFormat): string[] {
  const time = timeOf[format];
  if (!time) return journals.flat();
  const entries = journals.flatMap((lines) => {
    let at = Number.NEGATIVE_INFINITY;
    return lines.map((line) => {
      const own = time(line);
      if (!Number.isNaN(own)) at = own;
      return { at, line };
    });
  });
  return entries.sort((a, b) => a.at - b.at).map(({ line }) => line);
}
