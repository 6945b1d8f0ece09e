/** `flotilla logs`: a unit's journal, streamed through server and agent. */
import { assignmentsOf } from '../assignments.js';
import { linesOf } from '../client.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { machineLabels, resolveMachine } from '../machines.js';
import { complain, forTerminal, printLine } from '../output.js';

export interface LogsOptions {
  readonly follow?: boolean;
  readonly lines: number;
  readonly machine?: string;
  readonly sinceSeconds?: number;
}

export async function logs(context: Context, unit: string, options: LogsOptions): Promise<number> {
  const machines =
    options.machine === undefined ? await machinesOf(context, unit) : [(await resolveMachine(context, options.machine)).metadata.name];
  // Lines say themselves which host they are from. What is there already is put in the order of time; what comes is shown as it comes.
  const isMerged = machines.length > 1 && !options.follow;
  const gathered: string[][] = [];
  const outcomes = await Promise.allSettled(
    machines.map(async (machine, index) => {
      const own: string[] = [];
      gathered[index] = own;
      for await (const line of journal(context, unit, machine, options)) {
        if (isMerged) own.push(line);
        else printLine(line);
      }
    }),
  );
  for (const line of byTime(gathered)) printLine(line);

  const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
  const label = failures.length === 0 || machines.length === 1 ? undefined : await machineLabels(context);
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') continue;
    if (!(outcome.reason instanceof CliError)) throw outcome.reason;
    complain(`${label ? `${label(machines[index]!)}: ` : ''}${outcome.reason.message}`);
  }
  return failures.length === 0 ? exitCode.ok : exitCode.failed;
}

/** Where the unit is assigned: one machine, or several for a global unit. */
async function machinesOf(context: Context, unit: string): Promise<string[]> {
  const all = await assignmentsOf(context, unit);
  const staying = all.filter(({ spec }) => spec.remove === undefined);
  const machines = (staying.length > 0 ? staying : all).map(({ spec }) => spec.machine);
  if (machines.length > 0) return machines;
  // Not there at all is the server's to say, in its words.
  await context.client.json(objectPath(await context.kind('units'), unit));
  if (/@\.[a-z]+$/.test(unit)) throw new CliError(`${unit} is a template: its instances have journals, it has none`);
  throw new CliError(`${unit} is on no machine, so it has no journal; "flotilla describe unit ${unit}" says why`);
}

async function* journal(context: Context, unit: string, machine: string, options: LogsOptions): AsyncGenerator<string> {
  const kind = await context.kind('units');
  const response = await context.client.open(`${objectPath(kind, unit)}/log`, {
    accept: 'text/plain, application/json',
    query: { machine, tailLines: options.lines, follow: options.follow ?? false, sinceSeconds: options.sinceSeconds },
  });
  if ((response.statusCode ?? 0) >= 400) {
    let text = '';
    for await (const chunk of response) text += String(chunk);
    throw context.client.refusal({ status: response.statusCode ?? 0, text });
  }
  try {
    for await (const line of linesOf(response)) yield forTerminal(line);
  } catch (error) {
    throw new CliError(`the log stream broke off: ${(error as Error).message}`);
  }
}

/** Merges journals by the time at the start of each line; a line without one belongs to the line before it. */
function byTime(journals: readonly (readonly string[])[]): string[] {
  const entries = journals.flatMap((lines) => {
    let at = Number.NEGATIVE_INFINITY;
    return lines.map((line) => {
      const time = Date.parse(line.slice(0, line.indexOf(' ')));
      if (!Number.isNaN(time)) at = time;
      return { at, line };
    });
  });
  return entries.sort((a, b) => a.at - b.at).map(({ line }) => line);
}
