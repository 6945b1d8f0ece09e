/** `destroy`: units and their files go, and the verb ends when their processes have. */
import { isTemplateName } from '../../../api/resources/unit-name.js';
import { type Context, objectPath } from '../../context.js';
import { CliError, exitCode } from '../../exit.js';
import { respectGitSync } from '../../gitsync-owner.js';
import { conditionOf, type WireObject } from '../../objects.js';
import { complain, printLine, say } from '../../output.js';
import { unitsNamed } from './names.js';
import type { Outcome } from './outcome.js';
import { withStandardInput } from './standard-input.js';
import type { StopFlags } from './stop.js';
import { allNames, eachOf, readUnits } from './units.js';
import { blockMs, codeOf, type Ended, untilSettled } from './waiting.js';

export async function destroy(context: Context, given: readonly string[], flags: StopFlags): Promise<number> {
  const limitMs = blockMs(flags);
  const { words } = await withStandardInput(given, false);
  const names = (await unitsNamed(words, () => allNames(context))).map(({ name }) => name);
  const units = await readUnits(context, names);
  // What is to be gone and is not there is as it should be; only that it was there is not said.
  if (units.size === 0) {
    say('Units not found in registry');
    return exitCode.ok;
  }
  for (const name of names) if (!units.has(name)) say(`${name} is not in the registry`);
  respectGitSync(units.values(), flags.force ?? false, 'destroyed');

  // A template cannot go while an instance follows it.
  const there = names.flatMap((name) => units.get(name) ?? []);
  const [templates, others] = [there.filter(isTemplate), there.filter((unit) => !isTemplate(unit))];
  const ends = new Map<string, Ended['end']>();
  for (const group of [others, templates]) {
    const asked = await eachOf(group, (unit) => remove(context, unit));
    const leaving: WireObject[] = [];
    for (const [at, outcome] of asked.entries()) {
      const unit = group[at]!;
      if (outcome instanceof CliError) {
        ends.set(unit.metadata.name, 'not so');
        complain(`Error destroying units: ${outcome.message}`);
      } else if (outcome === 'gone' || !flags.block) ends.set(unit.metadata.name, 'so');
      else leaving.push(unit);
    }
    await untilGone(context, leaving, limitMs, ends);
  }
  for (const name of names) if (ends.get(name) === 'so') printLine(`Destroyed ${name}`);
  return codeOf([...ends.values()]);
}

const isTemplate = ({ metadata }: WireObject): boolean => isTemplateName(metadata.name);

async function remove(context: Context, { metadata }: WireObject): Promise<'gone' | 'leaving'> {
  const kind = await context.kind('units');
  const reply = await context.client.fetch(objectPath(kind, metadata.name), {
    method: 'DELETE',
    body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions: { uid: metadata.uid } },
  });
  if (reply.status === 404) return 'gone';
  if (reply.status >= 400) throw context.client.refusal(reply);
  const answer = JSON.parse(reply.text) as WireObject;
  return answer.kind === kind.kind ? 'leaving' : 'gone';
}

async function untilGone(context: Context, units: readonly WireObject[], limitMs: number, ends: Map<string, Ended['end']>): Promise<void> {
  const uids = new Map(units.map(({ metadata }) => [metadata.name, metadata.uid]));
  await untilSettled(
    context,
    [...uids.keys()],
    limitMs,
    (seen, name): Outcome => {
      if (seen?.metadata.uid !== uids.get(name)) return { is: 'so' };
      return {
        is: 'pending',
        why: conditionOf(seen!, 'Ready')?.message ?? conditionOf(seen!, 'Scheduled')?.message ?? 'nobody has looked at it yet',
      };
    },
    ({ name, end, why }) => {
      ends.set(name, end);
      if (end !== 'so') say(`${name} is still there after ${limitMs / 1_000} s: ${why}`);
    },
  );
}
