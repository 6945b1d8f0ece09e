/** fleet's own listings, in fleet's columns: `list-units`, `list-machines`, `list-unit-files` (docs/from-fleet.md). */

import type { Unit } from '../../api/resources/unit.js';
import { fleetHash } from '../../api/resources/unit-file/fleet-hash.js';
import { unitText } from '../../api/resources/unit-text.js';
import type { Context } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { listAll } from '../listing.js';
import type { WireMachine, WireObject } from '../objects.js';
import { print } from '../output.js';
import { isGlobal } from './fleet/outcome.js';

export interface FleetListOptions {
  readonly full?: boolean;
  readonly legend: boolean;
  readonly fields?: string;
}

type Row = Readonly<Record<string, string>>;

const missing = '-';
const shortMachine = (id: string, full: boolean) => (full ? id : `${id.slice(0, 8)}...`);
const machineCell = (machine: WireMachine | undefined, id: string, full: boolean) => {
  const address = machine?.status?.info?.address;
  return shortMachine(id, full) + (address ? `/${address}` : '');
};

const text = (value: unknown): string => (value === undefined || value === null || value === '' ? missing : String(value));

export async function listMachines(context: Context, options: FleetListOptions): Promise<number> {
  const machines = (await listAll(context, await context.kind('machines'))) as WireMachine[];
  const rows = machines.map((machine) => ({
    machine: shortMachine(machine.metadata.name, options.full ?? false),
    ip: text(machine.status?.info?.address),
    metadata: text(
      Object.entries(machine.metadata.labels ?? {})
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    ),
  }));
  return show(rows, ['machine', 'ip', 'metadata'], ['machine', 'ip', 'metadata'], options);
}

export async function listUnits(context: Context, options: FleetListOptions): Promise<number> {
  const full = options.full ?? false;
  const [machines, units, assignments] = await Promise.all([
    byName(context, 'machines'),
    byName(context, 'units'),
    listAll(context, await context.kind('assignments')),
  ]);
  const rows = assignments
    .filter((assignment) => assignment.status?.active !== undefined)
    .map((assignment) => {
      const name = String(assignment.spec?.unit);
      const machine = String(assignment.spec?.machine);
      const { load, active, sub } = assignment.status ?? {};
      const hash = hashOf(units.get(name), units, full);
      return {
        name,
        machine,
        row: {
          unit: name,
          machine: machineCell(machines.get(machine) as WireMachine, machine, full),
          load: text(load),
          active: text(active),
          sub: text(sub),
          hash,
        },
      };
    })
    .sort((a, b) => (a.name === b.name ? (a.machine < b.machine ? -1 : 1) : a.name < b.name ? -1 : 1))
    .map(({ row }) => row);
  return show(rows, ['unit', 'machine', 'active', 'sub'], ['unit', 'machine', 'load', 'active', 'sub', 'hash'], options);
}

export async function listUnitFiles(context: Context, options: FleetListOptions): Promise<number> {
  const full = options.full ?? false;
  const [machines, units] = await Promise.all([byName(context, 'machines'), byName(context, 'units')]);
  const rows = [...units.values()].map((unit) => {
    const isOnAll = isGlobal(unit);
    const machine = unit.status?.machine as string | undefined;
    const target = machine === undefined ? missing : machineCell(machines.get(machine) as WireMachine, machine, full);
    return {
      unit: unit.metadata.name,
      hash: hashOf(unit, units, full),
      dstate: text(unit.spec?.desiredState),
      state: isOnAll ? missing : text(unit.status?.currentState ?? 'inactive'),
      target: isOnAll ? 'global' : target,
      tmachine: isOnAll ? missing : target,
      global: String(isOnAll),
      desc: text(descriptionOf(unit)),
    };
  });
  return show(
    rows,
    ['unit', 'hash', 'dstate', 'state', 'target'],
    ['unit', 'hash', 'dstate', 'state', 'target', 'tmachine', 'global', 'desc'],
    options,
  );
}

const byName = async (context: Context, plural: string) =>
  new Map((await listAll(context, await context.kind(plural))).map((object) => [object.metadata.name, object]));

/** fleet's hash of the unit text; an instance without text of its own has its template's. First 7 digits unless full. */
function hashOf(unit: WireObject | undefined, units: ReadonlyMap<string, WireObject>, full: boolean): string {
  const own = unit === undefined ? undefined : unitText(unit as Unit);
  const template = unit === undefined ? undefined : units.get(unit.metadata.name.replace(/@[^.]*/, '@'));
  const content = own ?? (template === undefined ? undefined : unitText(template as Unit));
  if (content === undefined) return missing;
  const hash = fleetHash(content);
  return full ? hash : hash.slice(0, 7);
}

function descriptionOf(unit: WireObject): string | undefined {
  const content = unitText(unit as Unit);
  return content === undefined ? undefined : /^\s*Description\s*=\s*(.*?)\s*$/m.exec(content)?.[1];
}

function show(rows: readonly Row[], defaults: readonly string[], known: readonly string[], options: FleetListOptions): number {
  const fields = options.fields === undefined ? defaults : options.fields.split(',');
  if (options.fields === '') throw new CliError('Must define output format');
  for (const field of fields) if (!known.includes(field)) throw new CliError(`Invalid key in output format: "${field}"`);
  const lines = rows.map((row) => fields.map((field) => row[field] ?? missing));
  print(tabAligned(options.legend ? [fields.map((field) => field.toUpperCase()), ...lines] : lines));
  return exitCode.ok;
}

/** Go's text/tabwriter with minwidth 0, tabwidth 8, padding 1 and tabs for padding: what fleetctl printed, byte for byte. */
export function tabAligned(lines: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, at) => {
    const widest = Math.max(0, ...lines.map((line) => line[at]?.length ?? 0));
    return Math.ceil((widest + 1) / 8) * 8;
  });
  return lines
    .map((line) =>
      line.map((cell, at) => (at === line.length - 1 ? cell : cell + '\t'.repeat(Math.ceil((widths[at]! - cell.length) / 8)))).join(''),
    )
    .map((line) => `${line}\n`)
    .join('');
}
