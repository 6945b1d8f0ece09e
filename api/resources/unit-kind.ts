/** What the rest of the program asks about Units: columns, defaults, validation. */
import { z } from 'zod';
import { conditionOf } from './conditions.js';
import type { Column, Kind } from './kinds.js';
import { apiVersion, type FlotillaObject, group, ObjectMeta, version } from './meta.js';
import { humanAge } from './table.js';
import { type Unit, UnitSpec, UnitStatus } from './unit.js';
import { withUnitDefaults } from './unit-defaults.js';
import { isTemplateName } from './unit-name.js';
import { unitWarnings, validateUnit } from './unit-validation.js';

/** What a cell shows when there is nothing to show: a dash keeps the columns countable for awk. */
const nothing = '-';

const asUnit = (object: FlotillaObject): Unit => object as Unit;

const isGlobal = ({ status }: Unit): boolean => status?.desiredMachines !== undefined;

/** Why the unit is not as wanted: the sentence of the first firm condition that is not True. A template is ready on no machine at all. */
function trouble(unit: Unit): string | null {
  if (isTemplateName(unit.metadata.name)) return null;
  for (const type of ['Scheduled', 'Ready', 'UpToDate']) {
    const condition = conditionOf(unit, type);
    if (condition !== undefined && condition.status !== 'True') return condition.message || condition.reason;
  }
  return null;
}

function readiness(unit: Unit): string {
  if (isGlobal(unit)) return `${unit.status?.readyMachines ?? 0}/${unit.status?.desiredMachines ?? 0}`;
  return conditionOf(unit, 'Ready')?.status ?? nothing;
}

const columns: readonly Column[] = [
  { name: 'Name', type: 'string', description: 'The systemd unit name.', priority: 0, cell: ({ metadata }) => metadata.name },
  {
    name: 'Desired',
    type: 'string',
    description: 'What was asked for: inactive, loaded or launched.',
    priority: 0,
    cell: (object) => asUnit(object).spec?.desiredState ?? nothing,
  },
  {
    name: 'Active',
    type: 'string',
    description: "systemd's active state on its machine.",
    priority: 0,
    cell: (object) => asUnit(object).status?.active ?? nothing,
  },
  {
    name: 'Sub',
    type: 'string',
    description: "systemd's sub state on its machine.",
    priority: 0,
    cell: (object) => asUnit(object).status?.sub ?? nothing,
  },
  {
    name: 'Machine',
    type: 'string',
    description: 'Hostname of the machine that it is assigned to, or "global".',
    priority: 0,
    cell: (object, _now, machineName) => {
      const { status } = asUnit(object);
      if (isGlobal(asUnit(object))) return 'global';
      return status?.machine === undefined ? nothing : machineName(status.machine);
    },
  },
  {
    name: 'Ready',
    type: 'string',
    description: 'The Ready condition; for a global unit, on how many of its machines it is ready.',
    priority: 0,
    cell: (object) => readiness(asUnit(object)),
  },
  {
    name: 'Age',
    type: 'string',
    description: 'Time since it was created.',
    priority: 0,
    cell: ({ metadata }, now) => humanAge(metadata.creationTimestamp, now),
  },
  {
    name: 'Load',
    type: 'string',
    description: "systemd's load state on its machine.",
    priority: 1,
    cell: (object) => asUnit(object).status?.load ?? nothing,
  },
  {
    name: 'Hash',
    type: 'string',
    description: 'First 7 digits of the sha256 of the text on its machine.',
    priority: 1,
    cell: (object) => asUnit(object).status?.contentHash?.slice(0, 7) || nothing,
  },
  {
    name: 'Message',
    type: 'string',
    description: 'Why it is not as wanted, when it is not.',
    priority: 1,
    cell: (object) => trouble(asUnit(object)),
  },
];

/** Lists below the spec of a Unit, wherever one is: how server-side apply treats them. */
export const unitSpecListTypes: Kind['listTypes'] = {
  'placement.machineOf': { type: 'set' },
  'placement.machineMetadata': { type: 'set' },
  'placement.conflicts': { type: 'set' },
  'placement.replaces': { type: 'set' },
  'placement.tolerations': { type: 'atomic' },
  'placement.machineSelector.matchExpressions': { type: 'atomic' },
};

/** The same below another path, as in `spec.template.spec`. */
export const listTypesBelow = (path: string, types: Kind['listTypes']): Kind['listTypes'] =>
  Object.fromEntries(Object.entries(types).map(([name, type]) => [`${path}.${name}`, type]));

export const unitKind: Kind = {
  group,
  version,
  kind: 'Unit',
  plural: 'units',
  singular: 'unit',
  shortNames: ['un'],
  categories: ['all', 'flotilla'],
  description: 'One systemd unit that should exist; its name is the systemd unit name.',
  schema: z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('Unit'),
    metadata: ObjectMeta,
    spec: UnitSpec.optional().describe('What should be.'),
    status: UnitStatus.optional().describe('What was seen; written by the system.'),
  }),
  writable: true,
  listTypes: {
    ...listTypesBelow('spec', unitSpecListTypes),
    'status.conditions': { type: 'map', keys: ['type'] },
  },
  columns,
  selectableFields: {
    'spec.desiredState': (object) => asUnit(object).spec?.desiredState ?? '',
    'status.currentState': (object) => asUnit(object).status?.currentState ?? '',
    'status.machine': (object) => asUnit(object).status?.machine ?? '',
    'status.load': (object) => asUnit(object).status?.load ?? '',
    'status.active': (object) => asUnit(object).status?.active ?? '',
    'status.sub': (object) => asUnit(object).status?.sub ?? '',
  },
  withDefaults: withUnitDefaults,
  validate: validateUnit,
  warnings: unitWarnings,
};
