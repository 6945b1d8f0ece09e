/** `stop` and `unload`: units that run come to rest, on their machine or on none. */
import type { Context } from '../../context.js';
import { CliError, exitCode } from '../../exit.js';
import { respectGitSync } from '../../gitsync-owner.js';
import type { WireObject } from '../../objects.js';
import { printLine, say } from '../../output.js';
import { unitsNamed } from './names.js';
import { isGlobal, type Outcome, outcomeOf } from './outcome.js';
import { withStandardInput } from './standard-input.js';
import { allNames, eachOf, machineWords, missingUnits, patchUnit, readUnits, unitLine } from './units.js';
import { blockMs, codeOf, untilSettled, type WaitFlags } from './waiting.js';

export interface StopFlags extends WaitFlags {
  readonly force?: boolean;
}

interface Verb {
  readonly word: 'stop' | 'unload';
  readonly done: 'stopped' | 'unloaded';
  readonly state: 'loaded' | 'inactive';
}

export const stopVerb: Verb = { word: 'stop', done: 'stopped', state: 'loaded' };
export const unloadVerb: Verb = { word: 'unload', done: 'unloaded', state: 'inactive' };

export async function stop(context: Context, verb: Verb, given: readonly string[], flags: StopFlags): Promise<number> {
  const limitMs = blockMs(flags);
  const { words } = await withStandardInput(given, false);
  const names = (await unitsNamed(words, () => allNames(context))).map(({ name }) => name);
  const units = await readUnits(context, names);
  let hadError = await missingUnits(context, names, units);

  const wanted: WireObject[] = [];
  const written = new Map<string, WireObject>();
  for (const unit of units.values()) {
    const problem = whyNot(unit, verb);
    if (problem !== undefined) {
      hadError = true;
      say(problem);
    } else if (unit.spec?.desiredState !== verb.state) wanted.push(unit);
    // Somebody has asked for it already, and did not wait.
    else if (atRest(unit, verb, unit.metadata.generation ?? 0).is !== 'so') written.set(unit.metadata.name, unit);
  }
  respectGitSync(wanted, flags.force ?? false);

  const outcomes = await eachOf(wanted, ({ metadata }) => patchUnit(context, metadata.name, { spec: { desiredState: verb.state } }));
  for (const outcome of outcomes) {
    if (outcome instanceof CliError) {
      hadError = true;
      say(outcome.message);
    } else written.set(outcome.metadata.name, outcome);
  }
  for (const unit of written.values()) if (isGlobal(unit)) printLine(`Triggered global unit ${unit.metadata.name} ${verb.word}`);
  if (!flags.block) {
    for (const unit of written.values()) if (!isGlobal(unit)) printLine(`Triggered unit ${unit.metadata.name} ${verb.word}`);
    return hadError ? exitCode.failed : exitCode.ok;
  }

  const machine = machineWords(context);
  const stopped: string[] = [];
  const ends = await untilSettled(
    context,
    [...written.keys()],
    limitMs,
    (seen, name) => atRest(seen, verb, written.get(name)!.metadata.generation ?? 0),
    async ({ name, object, end, why }) => {
      if (end !== 'so') {
        say(`Failed to ${verb.word} units [${name}]: ${end === 'out of time' ? `still not after ${limitMs / 1_000} s: ` : ''}${why}`);
        return;
      }
      if (!object || isGlobal(object)) return;
      stopped.push(name);
      const isPlaced = object.status?.machine !== undefined;
      printLine(await unitLine(object, isPlaced ? verb.state : 'inactive', machine));
    },
  );
  if (ends.every((end) => end === 'so') && !hadError) {
    say(`Successfully ${verb.done} units [${[...written.keys()].filter((name) => stopped.includes(name)).join(' ')}].`);
  }
  return codeOf(ends, hadError);
}

/** Why the verb says nothing to this unit; undefined when it does. */
function whyNot(unit: WireObject, verb: Verb): string | undefined {
  const { metadata, spec, status } = unit;
  const { name, deletionTimestamp } = metadata;
  if (deletionTimestamp) return `Unable to ${verb.word} unit ${name}: it is being deleted`;
  if (verb.state === 'inactive') return undefined;
  if (spec?.desiredState === 'inactive') return `Unable to stop unit ${name} in state inactive`;
  const active = String(status?.active ?? 'inactive');
  const isUp = active === 'active' || active === 'reloading';
  const isCarriedOut = outcomeOf(unit, 'loaded', unit.metadata.generation ?? 0).is === 'so';
  return spec?.desiredState === 'loaded' && isUp && isCarriedOut
    ? `Unable to stop unit ${name}: it is not wanted started, and ${active} all the same: something on its machine started it, such as a timer or a socket. "unload" takes it off`
    : undefined;
}

/** A unit that could not be placed runs nowhere: it is stopped as soon as nobody wants it started any more. */
function atRest(unit: WireObject | undefined, verb: Verb, generation: number): Outcome {
  if (unit === undefined) return { is: 'so' };
  const outcome = outcomeOf(unit, verb.state, generation);
  const isNowhere = !isGlobal(unit) && unit.status?.machine === undefined && (unit.status?.observedGeneration ?? 0) >= generation;
  return outcome.is === 'pending' && isNowhere ? { is: 'so' } : outcome;
}
