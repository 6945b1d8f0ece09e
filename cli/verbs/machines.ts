/** Verbs about machines: `cordon`, `uncordon`, `drain`, `failover`. */
import { renderTable } from '../../api/resources/table.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { imperativeManager } from '../field-managers.js';
import { listMachines, machineLabel, resolveMachine } from '../machines.js';
import { conditionOf, type WireMachine, type WireObject } from '../objects.js';
import { complain, print, printLine, say } from '../output.js';
import { followObject } from './wait.js';

/** After this long without an end, a drain says what it is waiting for. */
const sayWhyAfterMs = 2_000;

async function patchMachine(context: Context, machine: WireObject, body: unknown): Promise<WireMachine> {
  const kind = await context.kind('machines');
  return context.client.json<WireMachine>(objectPath(kind, machine.metadata.name), {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    query: { fieldManager: imperativeManager },
    body,
  });
}

/** All words are understood before the first machine is touched. */
const resolveAll = (context: Context, words: readonly string[]) => Promise.all(words.map((word) => resolveMachine(context, word)));

export async function cordon(context: Context, words: readonly string[], isCordoned: boolean): Promise<number> {
  for (const machine of await resolveAll(context, words)) {
    // Uncordoning ends a drain too: nobody wants a machine that takes units and pushes them off again.
    await patchMachine(context, machine, { spec: { unschedulable: isCordoned ? true : null, ...(isCordoned ? {} : { drain: null }) } });
    printLine(`machine/${machineLabel(machine)} ${isCordoned ? 'cordoned' : 'uncordoned'}`);
  }
  return exitCode.ok;
}

/** Marks the machines as draining and waits until the leader says that only what cannot run elsewhere is left. */
export async function drain(context: Context, words: readonly string[], options: { timeoutMs: number; wait: boolean }): Promise<number> {
  const draining: WireMachine[] = [];
  for (const machine of await resolveAll(context, words)) {
    draining.push(await patchMachine(context, machine, { spec: { unschedulable: true, drain: true } }));
    printLine(`machine/${machineLabel(machine)} cordoned`);
  }
  if (!options.wait) return exitCode.ok;
  const outcomes = await Promise.all(draining.map((machine) => untilDrained(context, machine, options.timeoutMs)));
  return outcomes.every(Boolean) ? exitCode.ok : exitCode.timedOut;
}

async function untilDrained(context: Context, machine: WireMachine, timeoutMs: number): Promise<boolean> {
  const { name, generation = 0 } = machine.metadata;
  const label = machineLabel(machine);
  let why = 'the leader has not looked at it yet';
  let isTalkative = false;
  const timer = setTimeout(() => {
    isTalkative = true;
    say(`machine/${label}: ${why}`);
  }, sayWhyAfterMs);
  const isDrained = await followObject(context, await context.kind('machines'), name, timeoutMs, (seen) => {
    if (seen === undefined) return true;
    const condition = conditionOf(seen, 'Drained');
    if (!condition || (condition.observedGeneration ?? 0) < generation) return false;
    const isNews = why !== condition.message;
    why = condition.message;
    if (condition.status === 'True') return true;
    if (isTalkative && isNews) say(`machine/${label}: ${why}`);
    return false;
  });
  clearTimeout(timer);
  if (isDrained) {
    printLine(`machine/${label} drained`);
    const [, staying] = /(staying: .*)$/i.exec(why) ?? [];
    if (staying) say(`machine/${label}: ${staying}`);
  } else complain(`machine/${label} is not drained after ${timeoutMs / 1_000} s: ${why}`);
  return isDrained;
}

/** Machines whose units are held back by the caution rule (SEMANTICS 22); `--confirm` says that they are really gone. */
export async function failover(context: Context, words: readonly string[], options: { confirm: boolean }): Promise<number> {
  if (!options.confirm) {
    if (words.length > 0) throw usageError('to let the units of these machines start elsewhere: flotilla failover --confirm MACHINE...');
    const lost = (await listMachines(context)).filter((machine) => conditionOf(machine, 'Ready')?.status !== 'True');
    const rows = lost.map((machine) => [
      machine.metadata.name,
      machineLabel(machine),
      conditionOf(machine, 'Ready')?.message ?? 'Nobody has looked at it yet.',
      conditionOf(machine, 'Caution')?.message ?? null,
    ]);
    print(renderTable(undefined, rows));
    if (lost.length === 0) say('Every machine is ready.');
    return exitCode.ok;
  }
  if (words.length === 0) throw usageError('which machines are gone? flotilla failover --confirm MACHINE...');
  const machines = await resolveAll(context, words);
  const ready = machines.find((machine) => conditionOf(machine, 'Ready')?.status === 'True');
  if (ready) throw new CliError(`machine ${machineLabel(ready)} is ready; to move its units, use drain`);
  for (const machine of machines) {
    await patchMachine(context, machine, { metadata: { annotations: { 'flotilla.dev/failover-confirmed': new Date().toISOString() } } });
    printLine(`machine/${machineLabel(machine)} failover confirmed`);
  }
  return exitCode.ok;
}
