/** `flotilla ssh`: the user's own ssh to a machine, or to the machine that has a unit. */
import { assignmentsOf } from '../assignments.js';
import { type Context, objectPath } from '../context.js';
import { CliError, usageError } from '../exit.js';
import { listMachines, machineLabels, machinesNamed, resolveMachine } from '../machines.js';
import type { WireMachine } from '../objects.js';
import { parseTunnel, sshArguments, sshOptionsOf } from '../ssh/arguments.js';
import { runSsh } from '../ssh/program.js';
import { machinesOf } from '../unit-machines.js';
import { named } from './fleet/names.js';

export interface SshVerbOptions {
  readonly machine?: string;
  readonly unit?: string;
  readonly forwardAgent?: boolean;
  readonly sshPort?: number;
}

/** Resolves with ssh's exit code: the remote command's, or 255 when ssh itself failed. */
export async function ssh(context: Context, words: readonly string[], options: SshVerbOptions): Promise<number> {
  if (options.machine !== undefined && options.unit !== undefined) {
    throw usageError('--machine and --unit both say where to go: give one of them');
  }
  const isNamed = options.machine !== undefined || options.unit !== undefined;
  const command = isNamed ? words : words.slice(1);
  const machine = await targetOf(context, words[0], options);
  const address = machine.status?.info?.address;
  if (!address) throw new CliError(`machine ${machine.metadata.name} has told no address yet`);
  const { tunnel } = context.options;
  const args = sshArguments(sshOptionsOf(context.options), {
    target: { host: address, ...(options.sshPort === undefined ? {} : { port: options.sshPort }) },
    forwardAgent: options.forwardAgent ?? false,
    ...(tunnel === undefined ? {} : { through: parseTunnel(tunnel) }),
    command,
  });
  return runSsh(args);
}

async function targetOf(context: Context, word: string | undefined, { machine, unit }: SshVerbOptions): Promise<WireMachine> {
  if (machine !== undefined) return resolveMachine(context, machine);
  if (unit !== undefined) return machineOfUnit(context, named(unit).name);
  if (word === undefined) throw usageError('ssh to where? Name a machine or a unit: ssh MACHINE|UNIT [COMMAND...]');
  const { name } = named(word);
  const [machines, assignments] = await Promise.all([listMachines(context), assignmentsOf(context, name)]);
  const found = machinesNamed(machines, word);
  if (found.length > 0 && assignments.length > 0) {
    throw new CliError(`"${word}" is a machine and a unit: say which with --machine ${word} or --unit ${word}`);
  }
  if (found.length > 0) return resolveMachine(context, word);
  if (assignments.length > 0) return machineOfUnit(context, name);
  const { status } = await context.client.fetch(objectPath(await context.kind('units'), name));
  if (status === 404) throw new CliError(`"${word}" is no machine and no unit; list-machines and list-units show those that there are`);
  return machineOfUnit(context, name);
}

async function machineOfUnit(context: Context, unit: string): Promise<WireMachine> {
  const [machine, ...more] = await machinesOf(context, unit, 'machine');
  if (more.length > 0) {
    const label = await machineLabels(context);
    const all = [machine!, ...more].map(label).sort();
    throw new CliError(`${unit} is on ${all.length} machines: choose one with --machine, of ${all.join(', ')}`);
  }
  return resolveMachine(context, machine!);
}
