/** `flotilla describe`: everything about one object, the reason for whatever is not happening first. */
import { humanAge, renderTable } from '../../api/resources/table.js';
import { templateNameOf } from '../../api/resources/unit-name.js';
import { assignmentsOf, assignmentsOn } from '../assignments.js';
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import type { KindInfo } from '../kinds.js';
import { escapeSelector, listAll } from '../listing.js';
import { machineLabels } from '../machines.js';
import {
  byTime,
  conditionOf,
  type MachineInfo,
  type WireAssignment,
  type WireCondition,
  type WireEvent,
  type WireList,
  type WireMachine,
  type WireObject,
} from '../objects.js';
import { dataText, forTerminal, print, printLine } from '../output.js';

export async function describe(context: Context, words: readonly string[], options: { selector?: string }): Promise<number> {
  let isFirst = true;
  for (const { kind, names } of await context.targets(words)) {
    const objects =
      names.length > 0
        ? await Promise.all(names.map((name) => context.client.json<WireObject>(objectPath(kind, name))))
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

/** A heading and its text; without text there is no heading. */
interface Section {
  readonly title: string;
  readonly text: string;
}

async function describeOne(context: Context, kind: KindInfo, object: WireObject): Promise<string> {
  const now = new Date();
  const { apiVersion: _, kind: __, metadata, spec = {}, status = {}, ...others } = object;
  const { conditions = [], observedGeneration, ...seen } = status;
  const { content, ...asked } = spec as Record<string, unknown> & { content?: string };
  const own = await ownSections(context, kind, object, seen, now);

  const sections: Section[] = [
    { title: 'Not as it should be', text: troubleText(conditions) },
    { title: 'About', text: about(object, observedGeneration, now) },
    ...own,
    { title: 'Conditions', text: conditionsText(conditions, now) },
    // An Event, say, has neither spec nor status: its fields are all there is.
    { title: 'Fields', text: await yamlText(others) },
    { title: 'Spec', text: await yamlText(asked) },
    content === undefined ? await templateSection(context, kind, metadata.name) : { title: 'Content', text: content },
    { title: 'Events', text: kind.plural === 'events' ? '' : await eventsText(context, object, now) },
  ];
  const blocks = sections.filter(({ text }) => text !== '').map(({ title, text }) => `${title}:\n${indent(text)}\n`);
  return [`Name:  ${metadata.name}\nKind:  ${object.kind}\n`, ...blocks].join('\n');
}

/** What an instance runs that has no text of its own. */
async function templateSection(context: Context, kind: KindInfo, name: string): Promise<Section> {
  const template = kind.plural === 'units' ? templateNameOf(name) : undefined;
  if (template === undefined) return { title: 'Content', text: '' };
  const { status, text } = await context.client.fetch(objectPath(kind, template));
  const { content = '' } = status === 200 ? ((JSON.parse(text) as WireObject).spec as { readonly content?: string }) : {};
  return { title: `Content, of its template ${template}`, text: content };
}

/** The one sentence that a person in trouble came for, once, however many conditions say it. */
function troubleText(conditions: readonly WireCondition[]): string {
  const types = new Map<string, string[]>();
  for (const { type, message } of conditions.filter((condition) => isTrouble(condition, conditions)))
    types.set(message, [...(types.get(message) ?? []), type]);
  return [...types].map(([message, of]) => `${of.join(', ')}: ${message}`).join('\n');
}

/** Caution is bad news when it is true; all others when they are not. What needs no machine to be ready (a template) lacks none. */
function isTrouble({ type, status }: WireCondition, all: readonly WireCondition[]): boolean {
  if (type === 'Caution' || type === 'Stalled') return status === 'True';
  // It goes on by itself, and Ready says how far it is.
  if (type === 'Reconciling') return false;
  if (status === 'True') return false;
  return type !== 'Scheduled' || all.find((condition) => condition.type === 'Ready')?.status !== 'True';
}

function about({ metadata }: WireObject, observedGeneration: number | undefined, now: Date): string {
  const { labels, annotations, creationTimestamp, deletionTimestamp, generation } = metadata;
  return fields([
    ['Labels', labels && pairs(labels)],
    ['Annotations', annotations && pairs(annotations)],
    ['Created', creationTimestamp && when(creationTimestamp, now)],
    ['Deleting since', deletionTimestamp && when(deletionTimestamp, now)],
    ['Generation', generation && `${generation}${observedGeneration === undefined ? '' : ` (seen: ${observedGeneration})`}`],
  ]);
}

/** What a kind has to show beside what all kinds have. */
async function ownSections(
  context: Context,
  kind: KindInfo,
  object: WireObject,
  status: Readonly<Record<string, unknown>>,
  now: Date,
): Promise<Section[]> {
  const { name } = object.metadata;
  switch (kind.plural) {
    case 'units': {
      const [places, label] = await Promise.all([assignmentsOf(context, name), machineLabels(context)]);
      const place = ({ spec: { machine } }: WireAssignment) => `${label(machine)} (${machine.slice(0, 8)})`;
      return [{ title: 'On machines', text: assignmentTable(places, 'MACHINE', place, now) }];
    }
    case 'machines': {
      const units = await assignmentsOn(context, name);
      return [
        { title: 'Machine', text: machineText(object as WireMachine) },
        { title: 'Units', text: units.length === 0 ? 'none' : assignmentTable(units, 'UNIT', ({ spec }) => spec.unit, now) },
      ];
    }
    case 'unitsets': {
      const units = await listAll(context, await context.kind('units'), { selector: unitsOf(name) });
      return [
        { title: 'Status', text: await yamlText(status) },
        { title: 'Units', text: units.length === 0 ? 'none' : unitTable(units, await machineLabels(context)) },
      ];
    }
    default:
      return [{ title: 'Status', text: await yamlText(status) }];
  }
}

function machineText({ status, spec }: WireMachine): string {
  const info: Partial<MachineInfo> = status?.info ?? {};
  return fields([
    ['Hostname', info.hostname],
    ['Address', info.address],
    ['Takes units', spec?.unschedulable || spec?.drain ? `no, it is ${spec.drain ? 'being drained' : 'cordoned'}` : 'yes'],
    ['System', info.osImage && `${info.osImage}, systemd ${info.systemdVersion}, kernel ${info.kernelVersion}`],
    ['Agent', info.agentVersion],
    ['CPUs', info.cpus],
    ['Memory', info.memoryBytes && `${(info.memoryBytes / 2 ** 30).toFixed(1)} GiB`],
    ['Boot', info.bootID],
  ]);
}

const unitsOf = (set: string): string => `flotilla.dev/unitset=${set}`;

function unitTable(units: readonly WireObject[], label: (id: string) => string): string {
  const rows = units.map((unit) => {
    const { machine, active } = (unit.status ?? {}) as { readonly machine?: string; readonly active?: string };
    const ready = conditionOf(unit, 'Ready');
    const note = ready === undefined || ready.status === 'True' ? null : ready.message;
    return [unit.metadata.name, machine === undefined ? '-' : label(machine), active ?? '-', ready?.status ?? '-', note];
  });
  return renderTable(['UNIT', 'MACHINE', 'ACTIVE', 'READY', rows.some((row) => row[4]) ? 'NOTE' : ''], rows);
}

function assignmentTable(places: readonly WireAssignment[], title: string, name: (place: WireAssignment) => string, now: Date): string {
  if (places.length === 0) return '';
  const rows = places.map((place) => {
    const { spec, status = {} } = place;
    const note = status.problem?.message ?? (spec.remove === undefined ? null : `being removed: ${spec.remove}`);
    const { active = '-', sub = '-', mainPID, restarts, since } = status;
    const wanted = spec.remove === undefined ? spec.wanted : 'removed';
    return [name(place), wanted, active, sub, mainPID ?? '-', restarts ?? '-', since ? humanAge(since, now) : '-', note];
  });
  return renderTable([title, 'WANTED', 'ACTIVE', 'SUB', 'PID', 'RESTARTS', 'SINCE', rows.some((row) => row[7]) ? 'NOTE' : ''], rows);
}

/** Conditions that say the same in the same words share a row. */
function conditionsText(conditions: readonly WireCondition[], now: Date): string {
  if (conditions.length === 0) return '';
  const rows = new Map<string, { types: string[]; condition: WireCondition }>();
  for (const condition of conditions) {
    const key = JSON.stringify([condition.status, condition.reason, condition.message]);
    const row = rows.get(key) ?? { types: [], condition };
    row.types.push(condition.type);
    rows.set(key, row);
  }
  return renderTable(
    ['TYPE', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'],
    [...rows.values()].map(({ types, condition: { status, reason, message, lastTransitionTime } }) => [
      types.join(', '),
      status,
      reason,
      humanAge(lastTransitionTime, now),
      message,
    ]),
  );
}

async function eventsText(context: Context, object: WireObject, now: Date): Promise<string> {
  const fieldSelector = `involvedObject.kind=${object.kind},involvedObject.name=${escapeSelector(object.metadata.name)}`;
  const { items } = await context.client.json<WireList>('/api/v1/events', { query: { fieldSelector } });
  const events = (items as readonly WireEvent[]).toSorted(byTime);
  if (events.length === 0) return 'none';
  const rows = events.map(({ type, reason, count, lastTimestamp, source, message }) => [
    type,
    reason,
    `${humanAge(lastTimestamp, now)}${count > 1 ? ` (x${count})` : ''}`,
    source?.component ?? null,
    message,
  ]);
  return renderTable(['TYPE', 'REASON', 'AGE', 'FROM', 'MESSAGE'], rows);
}

const when = (time: string, now: Date) => `${time} (${humanAge(time, now)} ago)`;

function fields(rows: readonly (readonly [string, string | number | undefined])[]): string {
  const known = rows.filter(([, value]) => value !== undefined && value !== '');
  return known.length === 0
    ? ''
    : renderTable(
        undefined,
        known.map(([name, value]) => [`${name}:`, value ?? null]),
      );
}

const pairs = (map: Readonly<Record<string, string>>) =>
  Object.entries(map)
    .map(([key, value]) => `${key}=${value.length > 80 ? `${value.slice(0, 77)}...` : value}`)
    .join(', ');
const indent = (text: string) => text.trimEnd().replace(/^(?=.)/gm, '  ');
const yamlText = async (value: object) => (Object.keys(value).length === 0 ? '' : dataText(value, 'yaml'));
