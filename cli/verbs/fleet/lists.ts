/** fleet's own listings, in fleet's columns: `list-units`, `list-machines`, `list-unit-files`; or the same as JSON. */
import type { Unit } from '../../../api/resources/unit.js';
import { fleetHash } from '../../../api/resources/unit-file/fleet-hash.js';
import { parseUnitFile, UnitFileError, valuesOf } from '../../../api/resources/unit-file/parse.js';
import { desiredStateOf, templateNameOf } from '../../../api/resources/unit-text.js';
import type { Context } from '../../context.js';
import { CliError, exitCode } from '../../exit.js';
import { fleetMachine, shortMachine } from '../../fleet-words.js';
import { listAll } from '../../listing.js';
import { listMachines as readMachines } from '../../machines.js';
import type { WireAssignment, WireMachine, WireObject } from '../../objects.js';
import { forTerminal, print, say } from '../../output.js';
import { isGlobal } from './outcome.js';
import { tabAligned } from './tab-writer.js';
import { clusterText } from './unit-texts.js';

export interface FleetListOptions {
  readonly full?: boolean;
  readonly legend: boolean;
  readonly fields?: string;
  readonly output?: 'json';
}

/** A field as data, and as fleet writes it: shortened, unless the whole is asked for. */
interface Field<Item> {
  readonly value: (item: Item) => unknown;
  readonly cell?: (item: Item, isFull: boolean) => string;
}
type Fields<Item> = Readonly<Record<string, Field<Item>>>;

const missing = '-';
const cellOf = (value: unknown): string => (value === undefined || value === null || value === '' ? missing : String(value));

export async function listMachines(context: Context, options: FleetListOptions): Promise<number> {
  const labels = ({ metadata }: WireMachine) => Object.entries(metadata.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const fields: Fields<WireMachine> = {
    machine: { value: ({ metadata }) => metadata.name, cell: ({ metadata }, isFull) => shortMachine(metadata.name, isFull) },
    ip: { value: ({ status }) => status?.info?.address },
    metadata: {
      value: (machine) => Object.fromEntries(labels(machine)),
      cell: (machine) =>
        cellOf(
          labels(machine)
            .map(([key, value]) => `${key}=${value}`)
            .join(','),
        ),
    },
  };
  const chosen = chosenFields(fields, ['machine', 'ip', 'metadata'], options);
  return show(await readMachines(context), fields, chosen, options);
}

interface UnitOnMachine {
  readonly assignment: WireAssignment;
  readonly machine: WireMachine | undefined;
  readonly hash: string | undefined;
}

export async function listUnits(context: Context, options: FleetListOptions): Promise<number> {
  const fields: Fields<UnitOnMachine> = {
    unit: { value: ({ assignment }) => assignment.spec.unit },
    machine: {
      value: ({ assignment }) => assignment.spec.machine,
      cell: ({ assignment, machine }, isFull) => fleetMachine(machine, assignment.spec.machine, isFull),
    },
    load: { value: ({ assignment }) => assignment.status?.load },
    active: { value: ({ assignment }) => assignment.status?.active },
    sub: { value: ({ assignment }) => assignment.status?.sub },
    hash: hashField(({ hash }) => hash),
  };
  const chosen = chosenFields(fields, ['unit', 'machine', 'active', 'sub'], options);
  const [machines, units, assignments] = await Promise.all([
    byName(context, 'machines'),
    byName(context, 'units'),
    listAll(context, await context.kind('assignments')) as Promise<WireAssignment[]>,
  ]);
  const rows = assignments
    .filter(({ status }) => status?.active !== undefined)
    .map((assignment) => ({
      assignment,
      machine: machines.get(assignment.spec.machine),
      hash: hashOf(textOf(units.get(assignment.spec.unit), units)),
    }))
    .sort((a, b) => byText(a.assignment.spec.unit, b.assignment.spec.unit) || byText(a.assignment.spec.machine, b.assignment.spec.machine));
  return show(rows, fields, chosen, options);
}

interface UnitFile {
  readonly unit: WireObject;
  readonly machine: WireMachine | undefined;
  readonly text: string | undefined;
}

export async function listUnitFiles(context: Context, options: FleetListOptions): Promise<number> {
  const machineId = ({ unit }: UnitFile) => (isGlobal(unit) ? undefined : (unit.status?.machine as string | undefined));
  const machineCell = (file: UnitFile, isFull: boolean) => {
    const id = machineId(file);
    return id === undefined ? missing : fleetMachine(file.machine, id, isFull);
  };
  const fields: Fields<UnitFile> = {
    unit: { value: ({ unit }) => unit.metadata.name },
    hash: hashField(({ text }) => hashOf(text)),
    dstate: { value: ({ unit }) => desiredStateOf(unit as Unit) },
    state: { value: ({ unit }) => (isGlobal(unit) ? undefined : (unit.status?.currentState ?? 'inactive')) },
    target: {
      value: (file) => (isGlobal(file.unit) ? 'global' : machineId(file)),
      cell: (file, isFull) => (isGlobal(file.unit) ? 'global' : machineCell(file, isFull)),
    },
    tmachine: { value: machineId, cell: machineCell },
    global: { value: ({ unit }) => isGlobal(unit) },
    desc: { value: ({ text }) => descriptionOf(text), cell: ({ text }) => forTerminal(cellOf(descriptionOf(text))) },
  };
  const chosen = chosenFields(fields, ['unit', 'hash', 'dstate', 'state', 'target'], options);
  if (chosen.includes('tmachine') && options.fields !== undefined) say('WARNING: The "tmachine" field is deprecated. Use "target" instead');
  const [machines, units] = await Promise.all([byName(context, 'machines'), byName(context, 'units')]);
  const rows = [...units.values()].map((unit) => ({
    unit,
    machine: machines.get(String(unit.status?.machine)),
    text: textOf(unit, units),
  }));
  return show(rows, fields, chosen, options);
}

const byText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

const byName = async (context: Context, plural: string): Promise<ReadonlyMap<string, WireObject>> =>
  new Map((await listAll(context, await context.kind(plural))).map((object) => [object.metadata.name, object]));

const textOf = (unit: WireObject | undefined, units: ReadonlyMap<string, WireObject>): string | undefined =>
  unit && clusterText(unit, units.get(templateNameOf(unit.metadata.name) ?? ''));

const hashOf = (text: string | undefined): string | undefined => (text === undefined ? undefined : fleetHash(text));

const hashField = <Item>(hash: (item: Item) => string | undefined): Field<Item> => ({
  value: hash,
  cell: (item, isFull) => cellOf(isFull ? hash(item) : hash(item)?.slice(0, 7)),
});

function descriptionOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return valuesOf(parseUnitFile(text), 'Unit', 'Description')[0];
  } catch (error) {
    // A unit that nobody can read is listed all the same.
    if (error instanceof UnitFileError) return undefined;
    throw error;
  }
}

/** Before anything is asked of the server. JSON has all fields, unless some are chosen. */
function chosenFields<Item>(fields: Fields<Item>, defaults: readonly string[], options: FleetListOptions): readonly string[] {
  if (options.fields === '') throw new CliError('Must define output format', exitCode.usage);
  if (options.fields === undefined) return options.output === 'json' ? Object.keys(fields).filter((name) => name !== 'tmachine') : defaults;
  const chosen = options.fields.split(',');
  for (const name of chosen) {
    if (Object.hasOwn(fields, name)) continue;
    throw new CliError(
      `Invalid key in output format: ${JSON.stringify(name)}; there are ${Object.keys(fields).join(', ')}`,
      exitCode.usage,
    );
  }
  return chosen;
}

function show<Item>(items: readonly Item[], fields: Fields<Item>, chosen: readonly string[], options: FleetListOptions): number {
  if (options.output === 'json') {
    const rows = items.map((item) => Object.fromEntries(chosen.map((name) => [name, fields[name]!.value(item) ?? null])));
    print(`${JSON.stringify(rows, undefined, 2)}\n`);
    return exitCode.ok;
  }
  const isFull = options.full ?? false;
  const lines = items.map((item) =>
    chosen.map((name) => {
      const { value, cell = (one: Item) => cellOf(value(one)) } = fields[name]!;
      return cell(item, isFull);
    }),
  );
  print(tabAligned(options.legend ? [chosen.map((name) => name.toUpperCase()), ...lines] : lines));
  return exitCode.ok;
}
