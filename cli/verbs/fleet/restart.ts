/** `restart`: a new process in place of the old one, seen by its InvocationID; one machine after the other for a global unit. */
import { isTemplateName } from '../../../api/resources/unit-name.js';
import type { Context } from '../../context.js';
import { CliError, exitCode } from '../../exit.js';
import { respectGitSync } from '../../gitsync-owner.js';
import { machineLabel, machineLabels, resolveMachine } from '../../machines.js';
import type { WireMachine, WireObject } from '../../objects.js';
import { printLine, say } from '../../output.js';
import { judged } from './bring.js';
import { unitsNamed } from './names.js';
import { isGlobal } from './outcome.js';
import { askRestart, currentRuns, type Restart, type Runs, untilNewRuns } from './runs.js';
import { withStandardInput } from './standard-input.js';
import type { StopFlags } from './stop.js';
import { allNames, eachOf, machineWords, missingUnits, patchUnit, readUnits, unitLine } from './units.js';
import { blockMs, codeOf, type Ended, untilSettled } from './waiting.js';

export interface RestartFlags extends StopFlags {
  readonly machine?: string;
}

/** What was written for one unit; without `restart` it was not started yet, and is started. */
interface Asked {
  readonly name: string;
  readonly unit: WireObject;
  readonly restart?: Restart;
}

export async function restart(context: Context, given: readonly string[], flags: RestartFlags): Promise<number> {
  const limitMs = blockMs(flags);
  const { words } = await withStandardInput(given, false);
  const names = (await unitsNamed(words, () => allNames(context))).map(({ name }) => name);
  const units = await readUnits(context, names);
  let hadError = await missingUnits(context, names, units);
  const machine = flags.machine === undefined ? undefined : await resolveMachine(context, flags.machine);
  const wanted: WireObject[] = [];
  for (const unit of units.values()) {
    const problem = whyNot(unit) ?? (machine && whyNotThere(unit, machine));
    if (problem === undefined) wanted.push(unit);
    else {
      hadError = true;
      say(problem);
    }
  }
  respectGitSync(wanted, flags.force ?? false, 'restarted');

  const asked: Asked[] = [];
  const runs = await currentRuns(
    context,
    wanted.map(({ metadata }) => metadata.name),
  );
  for (const outcome of await eachOf(wanted, (unit) => ask(context, unit, runs(unit.metadata.name), machine?.metadata.name))) {
    if (outcome instanceof CliError) {
      hadError = true;
      say(`Error restarting units: ${outcome.message}`);
    } else asked.push(outcome);
  }
  for (const { name, unit } of asked) if (isGlobal(unit)) printLine(`Triggered global unit ${name} restart`);
  if (!flags.block) {
    for (const { name, unit } of asked) if (!isGlobal(unit)) printLine(`Triggered unit ${name} restart`);
    return hadError ? exitCode.failed : exitCode.ok;
  }
  return codeOf(await untilRestarted(context, asked, limitMs), hadError);
}

function whyNot({ metadata: { name, deletionTimestamp }, spec }: WireObject): string | undefined {
  if (deletionTimestamp) return `Unable to restart unit ${name}: it is being deleted`;
  if (isTemplateName(name)) return `Unable to restart unit ${name}: it is a template, only its instances run`;
  return spec?.desiredState === 'inactive' ? `Unable to restart unit ${name} in state inactive` : undefined;
}

function whyNotThere({ metadata: { name }, status }: WireObject, machine: WireMachine): string | undefined {
  const where = status?.machine as string | undefined;
  if (where === undefined || where === machine.metadata.name) return undefined;
  return `Unable to restart unit ${name} on machine ${machineLabel(machine)}: it is on machine ${where.slice(0, 8)}`;
}

async function ask(context: Context, unit: WireObject, before: Runs, machine: string | undefined): Promise<Asked> {
  const { name } = unit.metadata;
  if (unit.spec?.desiredState === 'loaded') return { name, unit: await patchUnit(context, name, { spec: { desiredState: 'launched' } }) };
  const restart = await askRestart(context, unit, before, machine !== undefined && isGlobal(unit) ? [machine] : undefined);
  return { name, unit: restart.unit, restart };
}

async function untilRestarted(context: Context, asked: readonly Asked[], limitMs: number): Promise<Ended['end'][]> {
  const endAtMs = Date.now() + limitMs;
  const late = await untilNewRuns(
    context,
    asked.flatMap(({ restart: one }) => one ?? []),
    limitMs,
  );
  const ends: Ended['end'][] = [];
  for (const [name, machines] of late) {
    ends.push('out of time');
    const label = await machineLabels(context);
    say(`Error waiting for units: ${name} was not restarted within ${limitMs / 1_000} s on ${machines.map((id) => label(id)).join(', ')}`);
  }
  const begun = new Map(asked.filter(({ name }) => !late.has(name)).map((one) => [one.name, one]));
  const machine = machineWords(context);
  const settled = await untilSettled(
    context,
    [...begun.keys()],
    Math.max(1, endAtMs - Date.now()),
    (seen, name) => {
      const { generation = 0 } = begun.get(name)!.unit.metadata;
      return judged(context, seen, 'launched', generation);
    },
    async ({ name, object, end, why }) => {
      if (end === 'so' && object && !isGlobal(object)) printLine(await unitLine(object, 'launched', machine));
      else if (end === 'not so') say(`Error waiting for units: unit ${name} is not launched: ${why}`);
      else if (end === 'out of time')
        say(`Error waiting for units: timed out after ${limitMs / 1_000} s waiting for unit ${name} to be launched again: ${why}`);
    },
  );
  return [...ends, ...settled];
}
