/** Verbs about machines: `cordon`, `uncordon`, `drain`, `failover`. */
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { conditionOf, type WireMachine, type WireObject } from '../objects.js';
import { printLine, say } from '../output.js';
import { imperativeManager } from './apply.js';
import { listAll } from './get.js';

/** A machine by its id, the beginning of its id, or its hostname. */
export async function resolveMachine(context: Context, word: string): Promise<WireMachine> {
  const machines = (await listAll(context, await context.kind('machines'))) as WireMachine[];
  const exact = machines.filter((machine) => machine.metadata.name === word || machine.status?.info?.hostname === word);
  const found = exact.length > 0 ? exact : machines.filter((machine) => word.length > 0 && machine.metadata.name.startsWith(word));
  const [machine, ...more] = found;
  if (!machine) throw new CliError(`machine "${word}" is not known; "flotilla get machines" lists those that are`);
  if (more.length > 0)
    throw new CliError(`machine "${word}" could be ${found.map(({ metadata }) => metadata.name).join(' or ')}; give more of the id`);
  return machine;
}

async function patchMachine(context: Context, machine: WireObject, body: unknown): Promise<void> {
  const kind = await context.kind('machines');
  await context.client.json(objectPath(kind, machine.metadata.name), {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    query: { fieldManager: imperativeManager },
    body,
  });
}

const label = (machine: WireMachine) => machine.status?.info?.hostname ?? machine.metadata.name.slice(0, 8);

export async function cordon(context: Context, words: readonly string[], isCordoned: boolean): Promise<number> {
  if (words.length === 0) throw usageError('which machine?');
  for (const word of words) {
    const machine = await resolveMachine(context, word);
    // Uncordoning ends a drain too: nobody wants a machine that takes units and pushes them off again.
    await patchMachine(context, machine, { spec: { unschedulable: isCordoned ? true : null, ...(isCordoned ? {} : { drain: null }) } });
    printLine(`machine/${label(machine)} ${isCordoned ? 'cordoned' : 'uncordoned'}`);
  }
  return exitCode.ok;
}

/** Marks the machine as draining and waits until only what cannot run elsewhere is left. */
export async function drain(context: Context, words: readonly string[], options: { timeoutMs: number; wait: boolean }): Promise<number> {
  if (words.length === 0) throw usageError('which machine?');
  let code: number = exitCode.ok;
  for (const word of words) {
    const machine = await resolveMachine(context, word);
    await patchMachine(context, machine, { spec: { unschedulable: true, drain: true } });
    printLine(`machine/${label(machine)} cordoned`);
    if (!options.wait) continue;
    const deadline = performance.now() + options.timeoutMs;
    for (;;) {
      const [moving, staying] = await leftOn(context, machine.metadata.name);
      if (moving.length === 0) {
        printLine(`machine/${label(machine)} drained`);
        for (const { unit, why } of staying) say(`${unit} stays: ${why}`);
        break;
      }
      if (performance.now() > deadline) {
        for (const { unit, why } of moving) say(`error: ${unit} is still on ${label(machine)}: ${why}`);
        code = exitCode.timedOut;
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
  return code;
}

interface Left {
  readonly unit: string;
  readonly why: string;
}

/** What is still on a machine: what will move, and what will not (global, or pinned there). */
async function leftOn(context: Context, machine: string): Promise<[Left[], Left[]]> {
  const here = (await listAll(context, await context.kind('assignments'))).filter((assignment) => assignment.spec?.machine === machine);
  const units = new Map((await listAll(context, await context.kind('units'))).map((unit) => [unit.metadata.name, unit]));
  const moving: Left[] = [];
  const staying: Left[] = [];
  for (const assignment of here) {
    const unit = String(assignment.spec?.unit);
    const policy = String(assignment.spec?.failover);
    const scheduled = units.get(unit) && conditionOf(units.get(unit)!, 'Scheduled');
    if (policy === 'stay' && assignment.spec?.remove === undefined) staying.push({ unit, why: 'it is global or pinned to this machine' });
    else moving.push({ unit, why: scheduled?.message ?? 'waiting for its agent to stop it' });
  }
  return [moving, staying];
}

/** Machines whose units are held back by the caution rule (SEMANTICS 22); `--confirm` says that they are really gone. */
export async function failover(context: Context, words: readonly string[], options: { confirm: boolean }): Promise<number> {
  if (!options.confirm) {
    if (words.length > 0) throw usageError('to let the units of these machines start elsewhere: flotilla failover --confirm MACHINE...');
    const machines = (await listAll(context, await context.kind('machines'))) as WireMachine[];
    const lost = machines.filter((machine) => conditionOf(machine, 'Ready')?.status !== 'True');
    for (const machine of lost)
      printLine(`${machine.metadata.name}  ${label(machine)}  ${conditionOf(machine, 'Ready')?.message ?? 'not known'}`);
    if (lost.length === 0) say('Every machine is ready.');
    return exitCode.ok;
  }
  if (words.length === 0) throw usageError('which machines are gone? flotilla failover --confirm MACHINE...');
  for (const word of words) {
    const machine = await resolveMachine(context, word);
    if (conditionOf(machine, 'Ready')?.status === 'True')
      throw new CliError(`machine ${label(machine)} is ready; to move its units, use drain`);
    await patchMachine(context, machine, { metadata: { annotations: { 'flotilla.dev/failover-confirmed': new Date().toISOString() } } });
    printLine(`machine/${label(machine)} failover confirmed`);
  }
  return exitCode.ok;
}
