/** `submit`, `load`, `start`: units from files, templates or the cluster into the state that the verb names. */
import type { DesiredState } from '../../../api/resources/unit.js';
import { isTemplateName, templateNameOf } from '../../../api/resources/unit-name.js';
import { assignmentsOf } from '../../assignments.js';
import type { Context } from '../../context.js';
import { CliError, exitCode } from '../../exit.js';
import { followObjects } from '../../following.js';
import { respectGitSync } from '../../gitsync-owner.js';
import { machineLabels } from '../../machines.js';
import type { WireObject } from '../../objects.js';
import { printLine, say } from '../../output.js';
import { type Named, unitsNamed } from './names.js';
import { isGlobal, type Outcome, outcomeOf, outcomeOfCopies } from './outcome.js';
import { type BringingVerb, type Planned, planUnit, verbs } from './plan.js';
import { askRestart, currentRuns, type Restart, type Runs, untilNewRuns } from './runs.js';
import { withStandardInput } from './standard-input.js';
import { checkText, localCandidate } from './unit-texts.js';
import { allNames, createUnit, eachOf, machineWords, patchUnit, readUnits, unitLine } from './units.js';
import { blockMs, codeOf, type Ended, untilSettled, type WaitFlags } from './waiting.js';

export interface BringFlags extends WaitFlags {
  readonly replace?: boolean;
  readonly force?: boolean;
  readonly sign?: boolean;
}

interface Step extends Planned {
  readonly name: string;
  readonly unit: WireObject | undefined;
}

interface Written {
  readonly name: string;
  readonly unit: WireObject;
  readonly isChanged: boolean;
  /** Set when it was started once more without any other change. */
  readonly anew?: Restart;
}

export async function bring(context: Context, verb: BringingVerb, given: readonly string[], flags: BringFlags): Promise<number> {
  if (flags.sign) say('--sign does nothing: unit files are not signed');
  const limitMs = blockMs(flags);
  const { words, text } = await withStandardInput(given, true);
  const names = await unitsNamed(words, () => allNames(context));
  const steps = await planned(context, verb, names, text, flags.replace ?? false);

  const refusals = steps.flatMap(({ change }) => (change.do === 'refuse' ? [change.why] : []));
  for (const why of refusals) say(`Error creating units: ${why}`);
  if (refusals.length > 0) return exitCode.failed;
  const isTouched = ({ change }: Step) => change.do === 'patch' || change.do === 'start again';
  respectGitSync(
    steps.flatMap((step) => (step.unit && isTouched(step) ? [step.unit] : [])),
    flags.force ?? false,
  );

  const runs = await currentRuns(
    context,
    steps.flatMap(({ name, change }) => (change.do === 'start again' ? [name] : [])),
  );
  const outcomes = await eachOf(steps, (step) => write(context, step, runs));
  const written: Written[] = [];
  let hadError = false;
  for (const [at, outcome] of outcomes.entries()) {
    const { change, warning, note } = steps[at]!;
    if (warning !== undefined) say(warning);
    if (note !== undefined) printLine(note);
    if (outcome instanceof CliError) {
      hadError = true;
      say(`Error creating units: ${outcome.message}`);
      continue;
    }
    // A global unit has no current state of its own: fleet's line ends after the name and a space.
    if (change.do === 'create') printLine(`Unit ${outcome.name} ${isGlobal(outcome.unit) ? '' : 'inactive'}`);
    written.push(outcome);
  }
  if (verb === 'submit') return hadError ? exitCode.failed : exitCode.ok;

  const templates = written.filter(({ name }) => isTemplateName(name));
  for (const { name } of templates) {
    hadError = true;
    const instance = name.replace('@', '@1');
    say(
      `Error ${verb === 'start' ? 'starting' : 'loading'} units: cannot activate template ${JSON.stringify(name)}: name an instance of it, such as ${instance}`,
    );
  }
  const active = written.filter(({ name }) => !isTemplateName(name));
  for (const { name, unit, isChanged } of active) if (isChanged && isGlobal(unit)) printLine(`Triggered global unit ${name} ${verb}`);
  if (!flags.block) {
    for (const { name, unit, isChanged } of active) if (isChanged && !isGlobal(unit)) printLine(`Triggered unit ${name} ${verb}`);
    return codeOf([], hadError);
  }
  return codeOf(await untilBrought(context, verb, active, limitMs), hadError);
}

/** What is to be done with each, before anything is. */
async function planned(
  context: Context,
  verb: BringingVerb,
  names: readonly Named[],
  text: string | undefined,
  replace: boolean,
): Promise<Step[]> {
  const templates = names.flatMap(({ name }) => templateNameOf(name) ?? []);
  const units = await readUnits(context, [...names.map(({ name }) => name), ...templates]);
  return Promise.all(
    names.map(async (one) => {
      const { name } = one;
      const unit = await unlessLeaving(context, units.get(name));
      const template = units.get(templateNameOf(name) ?? '');
      const local = text === undefined ? await localCandidate(one) : ({ text, from: 'standard input', kind: 'file' } as const);
      const failedOn = verb === 'start' && unit && isGlobal(unit) ? await failedMachines(context, unit) : [];
      const step = planUnit({ name, unit, template, local, failedOn }, verb, replace);
      const from = step.change.do === 'create' || step.change.do === 'patch' ? step.change.from : undefined;
      if (from && from.kind !== 'template in the cluster') {
        try {
          await checkText(name, from);
        } catch (error) {
          if (!(error instanceof CliError)) throw error;
          return { name, unit, change: { do: 'refuse', why: error.message } };
        }
      }
      return { name, unit, ...step };
    }),
  );
}

/** Where a global unit that is wanted started has failed. */
async function failedMachines(context: Context, unit: WireObject): Promise<string[]> {
  const copies = await assignmentsOf(context, unit.metadata.name);
  return copies.filter(({ spec, status }) => spec.remove === undefined && status?.active === 'failed').map(({ spec }) => spec.machine);
}

/** A unit that is being deleted is as good as none, once it is gone: `destroy --no-block` and then `start` is a common pair. */
async function unlessLeaving(context: Context, unit: WireObject | undefined): Promise<WireObject | undefined> {
  if (!unit?.metadata.deletionTimestamp) return unit;
  const { name, uid } = unit.metadata;
  let now: WireObject | undefined;
  const isGone = await followObjects(context, await context.kind('units'), [name], { timeoutMs: leavingMs }, (seen) => {
    now = seen;
    return seen?.metadata.uid !== uid;
  });
  if (!isGone) throw new CliError(`${name} is being deleted, and still there after ${leavingMs / 1_000} s`);
  return now;
}

/** How long a unit that is being deleted is waited for, before one of its name is made. */
const leavingMs = 60_000;

async function write(context: Context, { name, unit, change }: Step, runs: (unit: string) => Runs): Promise<Written> {
  switch (change.do) {
    case 'create':
      return { name, unit: await createUnit(context, name, change.spec), isChanged: true };
    case 'patch':
      return { name, unit: await patchUnit(context, name, { spec: change.spec }), isChanged: true };
    case 'start again': {
      const anew = await askRestart(context, unit!, runs(name), change.machines);
      return { name, unit: anew.unit, isChanged: true, anew };
    }
    case 'nothing':
    case 'refuse':
      return { name, unit: unit!, isChanged: false };
  }
}

async function untilBrought(context: Context, verb: 'load' | 'start', units: readonly Written[], limitMs: number): Promise<Ended['end'][]> {
  const wanted = verbs[verb];
  const written = new Map(units.map((one) => [one.name, one]));
  const machine = machineWords(context);
  const endAtMs = Date.now() + limitMs;
  await untilNewRuns(
    context,
    units.flatMap(({ anew }) => anew ?? []),
    limitMs,
  );
  return untilSettled(
    context,
    [...written.keys()],
    Math.max(1, endAtMs - Date.now()),
    async (seen, name) => {
      const { generation = 0 } = written.get(name)!.unit.metadata;
      return judged(context, seen, wanted, generation);
    },
    async ({ name, object, end, why }) => {
      if (end !== 'so') {
        const where = object?.status?.machine === undefined ? '' : ` on ${await machine(String(object.status.machine))}`;
        if (end === 'not so') say(`Error waiting for units: unit ${name} is not ${wanted}${where}: ${why}`);
        else
          say(`Error waiting for units: timed out after ${limitMs / 1_000} s waiting for unit ${name} to report state ${wanted}: ${why}`);
      } else if (written.get(name)!.isChanged && object && !isGlobal(object)) printLine(await unitLine(object, wanted, machine));
    },
  );
}

/** What the server shows of a unit, and of a global unit's copies. */
export async function judged(context: Context, unit: WireObject | undefined, wanted: DesiredState, generation: number): Promise<Outcome> {
  const own = outcomeOf(unit, wanted, generation);
  if (!unit || !isGlobal(unit) || wanted === 'inactive' || own.is === 'not so') return own;
  const [copies, label] = await Promise.all([assignmentsOf(context, unit.metadata.name), machineLabels(context)]);
  return outcomeOfCopies(own, copies, wanted, generation, label);
}
