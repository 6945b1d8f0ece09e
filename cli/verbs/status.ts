/** `flotilla status`: what `systemctl status` says on the machines that have the units, by way of server and agent. */
import { exitCodeHeader } from '../../api/resources/unit-output.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { fleetMachine } from '../fleet-words.js';
import { listMachines, machineLabel, resolveMachine } from '../machines.js';
import { complain, forTerminal, print, printLine } from '../output.js';
import { machinesOf } from '../unit-machines.js';
import { unitsNamed } from './fleet/names.js';
import { withStandardInput } from './fleet/standard-input.js';
import { allNames, eachOf } from './fleet/units.js';

export interface StatusOptions {
  readonly machine?: string;
}

/** What systemctl said on one machine, and how it ended. */
interface Answer {
  readonly text: string;
  readonly code: number;
}

/** The exit code is systemctl's: of several, the first that is not 0. What cannot be shown is 1, and hides none of the others. */
export async function status(context: Context, given: readonly string[], options: StatusOptions): Promise<number> {
  const { words } = await withStandardInput(given, false);
  const units = await unitsNamed(words, () => allNames(context));
  const machine = options.machine === undefined ? undefined : (await resolveMachine(context, options.machine)).metadata.name;
  let code: number = exitCode.ok;
  for (const [index, { name }] of units.entries()) {
    if (index > 0) printLine('');
    const own = await statusOf(context, name, machine).catch(complained);
    code ||= own;
  }
  return code;
}

async function statusOf(context: Context, unit: string, machine: string | undefined): Promise<number> {
  const machines = machine === undefined ? await machinesOf(context, unit, 'status') : [machine];
  const heading = machines.length === 1 ? undefined : await headings(context);
  const answers = await eachOf(machines, (one) => ask(context, unit, one));
  let code: number = exitCode.ok;
  for (const [index, answer] of answers.entries()) {
    if (heading) printLine(`${index > 0 ? '\n' : ''}${heading(machines[index]!)}`);
    const own = answer instanceof CliError ? complained(answer) : answer.code;
    if (!(answer instanceof CliError)) print(answer.text);
    code ||= own;
  }
  return code;
}

function complained(error: unknown): number {
  if (!(error instanceof CliError)) throw error;
  complain(error);
  return error.code;
}

async function ask(context: Context, unit: string, machine: string): Promise<Answer> {
  const path = `${objectPath(await context.kind('units'), unit)}/systemd-status`;
  const reply = await context.client.fetch(path, { accept: 'text/plain, application/json', query: { machine } });
  if (reply.status >= 400) throw context.client.refusal(reply);
  const code = Number(reply.headers[exitCodeHeader] ?? Number.NaN);
  if (Number.isNaN(code)) throw new CliError('the server did not say how systemctl ended: it is older than this program');
  return { text: reply.text.split('\n').map(forTerminal).join('\n'), code };
}

/** Its hostname, and what fleet writes for a machine. */
async function headings(context: Context): Promise<(id: string) => string> {
  const machines = new Map((await listMachines(context)).map((machine) => [machine.metadata.name, machine]));
  return (id) => {
    const machine = machines.get(id);
    return forTerminal(`==> ${machine ? machineLabel(machine) : id} (${fleetMachine(machine, id)})`);
  };
}
