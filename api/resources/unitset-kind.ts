/** What the rest of the program asks about UnitSets: columns, defaults, validation, scale. */
import { z } from 'zod';
import { conditionOf } from './conditions.js';
import type { Column, Kind } from './kinds.js';
import { apiVersion, type FlotillaObject, group, ObjectMeta, version } from './meta.js';
import { humanAge } from './table.js';
import { listTypesBelow, unitSpecListTypes } from './unit-kind.js';
import { replicasOf, type UnitSet, UnitSetSpec, UnitSetStatus, unitSetLabel } from './unitset.js';
import { unitSetWarnings, validateUnitSet } from './unitset-validation.js';

const asSet = (object: FlotillaObject): UnitSet => object as UnitSet;

/** Why it is not as wanted: the sentence of the first condition that is not True. */
function trouble(set: UnitSet): string | null {
  for (const type of ['Available', 'Progressing']) {
    const condition = conditionOf(set, type);
    if (condition !== undefined && condition.status !== 'True') return condition.message || condition.reason;
  }
  return null;
}

export const selectorOf = (set: string): string => `${unitSetLabel}=${set}`;

const columns: readonly Column[] = [
  { name: 'Name', type: 'string', description: 'The name of the set.', priority: 0, cell: ({ metadata }) => metadata.name },
  {
    name: 'Desired',
    type: 'integer',
    description: 'How many units there should be.',
    priority: 0,
    cell: (object) => replicasOf(asSet(object)),
  },
  {
    name: 'Ready',
    type: 'integer',
    description: 'How many of its units are ready.',
    priority: 0,
    cell: (object) => asSet(object).status?.readyReplicas ?? 0,
  },
  {
    name: 'Updated',
    type: 'integer',
    description: 'How many of its units have carried out the newest template.',
    priority: 0,
    cell: (object) => asSet(object).status?.updatedReplicas ?? 0,
  },
  {
    name: 'Age',
    type: 'string',
    description: 'Time since it was created.',
    priority: 0,
    cell: ({ metadata }, now) => humanAge(metadata.creationTimestamp, now),
  },
  {
    name: 'Selector',
    type: 'string',
    description: 'Label selector that finds its units.',
    priority: 1,
    cell: ({ metadata }) => selectorOf(metadata.name),
  },
  {
    name: 'Message',
    type: 'string',
    description: 'Why it is not as wanted, when it is not.',
    priority: 1,
    cell: (object) => trouble(asSet(object)),
  },
];

export const unitSetKind: Kind = {
  group,
  version,
  kind: 'UnitSet',
  plural: 'unitsets',
  singular: 'unitset',
  shortNames: ['us'],
  categories: ['all', 'flotilla'],
  description: 'A number of units made from one template and spread over machines.',
  schema: z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('UnitSet'),
    metadata: ObjectMeta,
    spec: UnitSetSpec.optional().describe('What should be.'),
    status: UnitSetStatus.optional().describe('What was seen; written by the system.'),
  }),
  writable: true,
  listTypes: {
    ...listTypesBelow('spec.template.spec', unitSpecListTypes),
    'status.conditions': { type: 'map', keys: ['type'] },
  },
  columns,
  selectableFields: {},
  withDefaults: (object) => ({ ...object, spec: { ...asSet(object).spec, replicas: replicasOf(asSet(object)) } }),
  validate: validateUnitSet,
  warnings: unitSetWarnings,
  scale: (object) => ({
    wanted: replicasOf(asSet(object)),
    existing: asSet(object).status?.replicas ?? 0,
    selector: selectorOf(object.metadata.name),
  }),
};
