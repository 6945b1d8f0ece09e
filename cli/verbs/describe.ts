/** `flotilla describe`: everything about one object, the reason for whatever is not happening first. */
import { humanAge, renderTable } from '../../api/resources/table.js';
import { type Context, type KindInfo, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { conditionOf, type WireList, type WireObject } from '../objects.js';
import { forTerminal, print, printLine } from '../output.js';
import { dataText, escapeSelector, listAll } from './get.js';
import { resolveMachine } from './machines.js';

export async function describe(context: Context, words: readonly string[], options: { selector?: string }): Promise<number> {
  let isFirst = true;
  for (const { kind, names } of await context.targets(words)) {
    const objects =
      names.length > 0
        ? await Promise.all(names.map((name) => one(context, kind, name)))
        : await listAll(context, kind, options.selector ? { selector: options.selector } : {});
    if (objects.length === 0) throw new CliError(`No ${kind.plural} found.`);
    for (const object of objects) {
      if (!isFirst) printLine('\n');
      isFirst = false;
      print(forTerminal(await describeOne(context, kind, object)));
    }
  }
  return exitCode.ok;
}

async function one(context: Context, kind: KindInfo, name: string): Promise<WireObject> {
  if (name === '') throw usageError(`which ${kind.singular}?`);
  if (kind.plural === 'machines') return resolveMachine(context, name);
  return context.client.json<WireObject>(objectPath(kind, name));
}

async function describeOne(context: Context, kind: KindInfo, object: WireObject): Promise<string> {
  const now = new Date();
  const { metadata, spec = {}, status = {} } = object;
  const { conditions = [], observedGeneration, ...rest } = status;
  const lines: string[] = [];
  const field = (name: string, value: string) => lines.push(`${`${name}:`.padEnd(16)}${value}`);

  field('Name', metadata.name);
  field('Kind', object.kind);
  if (metadata.labels) field('Labels', pairs(metadata.labels));
  if (metadata.annotations) field('Annotations', pairs(metadata.annotations));
  if (metadata.creationTimestamp) field('Created', `${metadata.creationTimestamp} (${humanAge(metadata.creationTimestamp, now)} ago)`);
  if (metadata.deletionTimestamp)
    field('Deleting since', `${metadata.deletionTimestamp} (${humanAge(metadata.deletionTimestamp, now)} ago)`);
  if (metadata.generation !== undefined)
    field('Generation', `${metadata.generation}${observedGeneration === undefined ? '' : ` (seen: ${observedGeneration})`}`);

  // The one sentence that a person in trouble came for.
  const unmet = conditions.filter((condition) => condition.status !== 'True');
  if (unmet.length > 0) {
    lines.push('', 'Not as it should be:');
    for (const { type, message } of unmet) lines.push(`  ${type}: ${message}`);
  }
  if (Object.keys(rest).length > 0) lines.push('', 'Status:', await block(rest));
  if (conditions.length > 0) {
    const rows = conditions.map(({ type, status: is, reason, message, lastTransitionTime }) => [
      type,
      is,
      reason,
      humanAge(lastTransitionTime, now),
      message,
    ]);
    lines.push('', 'Conditions:', indent(renderTable(['TYPE', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'], rows)));
  }
  if (kind.plural === 'units') lines.push(...(await placesOf(context, metadata.name)));
  if (kind.plural === 'machines') lines.push(...(await unitsOn(context, metadata.name)));

  const { content, ...others } = spec as Record<string, unknown> & { content?: string };
  if (Object.keys(others).length > 0) lines.push('', 'Spec:', await block(others));
  if (content !== undefined) lines.push('', 'Content:', indent(content));
  lines.push(...(await eventsOf(context, object, now)));
  return `${lines.join('\n').trimEnd()}\n`;
}

/** Where a unit is: one line per machine, with what its agent saw. */
async function placesOf(context: Context, unit: string): Promise<string[]> {
  const places = (await assignments(context)).filter((assignment) => assignment.spec?.unit === unit);
  return places.length === 0
    ? []
    : ['', 'On machines:', indent(assignmentTable(places, 'MACHINE', (place) => String(place.spec?.machine ?? '')))];
}

async function unitsOn(context: Context, machine: string): Promise<string[]> {
  const units = (await assignments(context)).filter((assignment) => assignment.spec?.machine === machine);
  return units.length === 0
    ? ['', 'Units: none']
    : ['', 'Units:', indent(assignmentTable(units, 'UNIT', (place) => String(place.spec?.unit ?? '')))];
}

const assignments = async (context: Context) => listAll(context, await context.kind('assignments'));

function assignmentTable(places: readonly WireObject[], title: string, name: (place: WireObject) => string): string {
  const text = (value: unknown) => (value === undefined ? '' : String(value));
  const rows = places.map((place) => {
    const { status = {}, spec = {} } = place;
    const problem = status.problem as { message: string } | undefined;
    const note = problem?.message ?? (spec.remove === undefined ? '' : `being removed: ${spec.remove}`);
    return [
      name(place),
      text(spec.wanted),
      text(status.active),
      text(status.sub),
      text(status.mainPID),
      text(status.restarts),
      text(status.since),
      note,
    ];
  });
  return renderTable([title, 'WANTED', 'ACTIVE', 'SUB', 'PID', 'RESTARTS', 'SINCE', 'NOTE'], rows);
}

interface WireEvent extends WireObject {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly lastTimestamp: string;
  readonly source?: { readonly component?: string };
}

async function eventsOf(context: Context, object: WireObject, now: Date): Promise<string[]> {
  const fieldSelector = `involvedObject.kind=${object.kind},involvedObject.name=${escapeSelector(object.metadata.name)}`;
  const { items } = await context.client.json<WireList>('/api/v1/events', { query: { fieldSelector } });
  const events = (items as readonly WireEvent[]).toSorted((a, b) => (a.lastTimestamp < b.lastTimestamp ? -1 : 1));
  if (events.length === 0) return ['', 'Events: none'];
  const rows = events.map(({ type, reason, count, lastTimestamp, source, message }) => [
    type,
    reason,
    `${humanAge(lastTimestamp, now)}${count > 1 ? ` (x${count})` : ''}`,
    source?.component ?? '',
    message,
  ]);
  return ['', 'Events:', indent(renderTable(['TYPE', 'REASON', 'AGE', 'FROM', 'MESSAGE'], rows))];
}

export const readyOf = (object: WireObject) => conditionOf(object, 'Ready')?.status === 'True';
const pairs = (map: Readonly<Record<string, string>>) =>
  Object.entries(map)
    .map(([key, value]) => `${key}=${value.length > 80 ? `${value.slice(0, 77)}...` : value}`)
    .join(', ');
const indent = (text: string) => text.trimEnd().replace(/^(?=.)/gm, '  ');
const block = async (value: unknown) => indent(await dataText(value, 'yaml'));
