/** `flotilla logs`: a unit's journal, streamed through server and agent. */
import { linesOf } from '../client.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { forTerminal, printLine, say } from '../output.js';
import { listAll } from './get.js';
import { resolveMachine } from './machines.js';

export interface LogsOptions {
  readonly follow?: boolean;
  readonly lines: number;
  readonly machine?: string;
  readonly sinceSeconds?: number;
}

export async function logs(context: Context, unit: string, options: LogsOptions): Promise<number> {
  const machines =
    options.machine === undefined ? await machinesOf(context, unit) : [(await resolveMachine(context, options.machine)).metadata.name];
  const outcomes = await Promise.allSettled(machines.map((machine) => follow(context, unit, machine, options, machines.length > 1)));
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue;
    if (!(outcome.reason instanceof CliError)) throw outcome.reason;
    say(`error: ${outcome.reason.message}`);
  }
  return outcomes.every(({ status }) => status === 'fulfilled') ? exitCode.ok : exitCode.failed;
}

/** Where the unit is assigned: one machine, or several for a global unit. */
async function machinesOf(context: Context, unit: string): Promise<string[]> {
  const all = (await listAll(context, await context.kind('assignments'))).filter((assignment) => assignment.spec?.unit === unit);
  const staying = all.filter((assignment) => assignment.spec?.remove === undefined);
  const machines = (staying.length > 0 ? staying : all).map((assignment) => String(assignment.spec?.machine));
  if (machines.length > 0) return machines;
  // Not there at all is the server's to say, in its words.
  await context.client.json(objectPath(await context.kind('units'), unit));
  throw new CliError(`${unit} is on no machine, so it has no journal; "flotilla describe unit ${unit}" says why`);
}

async function follow(context: Context, unit: string, machine: string, options: LogsOptions, isOneOfMany: boolean): Promise<void> {
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
  const prefix = isOneOfMany ? `[${machine.slice(0, 8)}] ` : '';
  try {
    for await (const line of linesOf(response)) printLine(prefix + forTerminal(line));
  } catch (error) {
    throw new CliError(`the log stream from ${machine.slice(0, 8)} broke off: ${(error as Error).message}`);
  }
}
