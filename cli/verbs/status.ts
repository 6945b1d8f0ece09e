/** `flotilla status`: what `systemctl status` says on the machines that have the units, by way of server and agent. */
import { exitCodeHeader } from '../../api/resources/unit-output.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { listMachines, machineLabel, resolveMachine } from '../machines.js';
import { complain, forTerminal, print, printLine } from '../output.js';
import { machinesOf, unitNames } from '../unit-machines.js';

export interface StatusOptions {
  readonly machine?: string;
}

/** Machines that are asked at a time about a global unit. */
const askedAtATime = 16;

/** The exit code is systemctl's: of several, the first that is not 0. What cannot be shown is 1. */
export async function status(context: Context, words: readonly string[], options: StatusOptions): Promise<number> {
  let code: number = exitCode.ok;
  const machine = options.machine === undefined ? undefined : (await resolveMachine(context, options.machine)).metadata.name;
  for (const [index, unit] of (await unitNames(context, words)).entries()) {
    if (index > 0) printLine('');
    const own = await statusOf(context, unit, machine).catch(failed);
    code ||= own;
  }
  return code;
}

async function statusOf(context: Context, unit: string, machine: string | undefined): Promise<number> {
  const machines = machine === undefined ? await machinesOf(context, unit, 'status') : [machine];
  const heading = machines.length === 1 ? undefined : await headings(context);
  let code: number = exitCode.ok;
  for (let from = 0; from < machines.length; from += askedAtATime) {
    const asked = machines.slice(from, from + askedAtATime);
    const answers = await Promise.allSettled(asked.map((one) => ask(context, unit, one)));
    for (const [index, answer] of answers.entries()) {
      if (heading) printLine(`${from + index > 0 ? '\n' : ''}${heading(asked[index]!)}`);
      const own = answer.status === 'rejected' ? failed(answer.reason) : answer.value.code;
      if (answer.status === 'fulfilled') print(answer.value.text);
      code ||= own;
    }
  }
  return code;
}

/** One that cannot be shown hides none of the others. */
function failed(error: unknown): number {
  if (!(error instanceof CliError)) throw error;
  complain(error);
  return error.code;
}

async function ask(context: Context, unit: string, machine: string): Promise<{ readonly text: string; readonly code: number }> {
  const path = `${objectPath(await context.kind('units'), unit)}/systemd-status`;
  const reply = await context.client.fetch(path, { accept: 'text/plain, application/json', query: { machine } });
  if (reply.status >= 400) throw context.client.refusal(reply);
  const code = Number(reply.headers[exitCodeHeader]);
  if (!Number.isInteger(code)) throw new CliError('the server did not say how systemctl ended: is it older than this program?');
  return { text: reply.text.split('\n').map(forTerminal).join('\n'), code };
}

/** As fleet names a machine, with its hostname before it. */
async function headings(context: Context): Promise<(id: string) => string> {
  const machines = new Map((await listMachines(context)).map((machine) => [machine.metadata.name, machine]));
  return (id) => {
    const machine = machines.get(id);
    const address = machine?.status?.info?.address;
    return forTerminal(`==> ${machine ? machineLabel(machine) : id.slice(0, 8)} (${id.slice(0, 8)}...${address ? `/${address}` : ''})`);
  };
}
