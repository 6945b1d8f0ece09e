/** What the rest of the program asks about Machines: columns, defaults, validation. */
import { z } from 'zod';
import { conditionOf } from './conditions.js';
import type { Column, Kind } from './kinds.js';
import { type Machine, MachineSpec, MachineStatus } from './machine.js';
import { validateMachine } from './machine-validation.js';
import { apiVersion, type FlotillaObject, group, ObjectMeta, version } from './meta.js';
import { humanAge } from './table.js';

const nothing = '-';

const asMachine = (object: FlotillaObject): Machine => object as Machine;

/** As `kubectl get nodes` words it. */
function standing(machine: Machine): string {
  const ready = conditionOf(machine, 'Ready')?.status;
  const words = [ready === 'True' ? 'Ready' : ready === 'False' ? 'NotReady' : 'Unknown'];
  if (machine.spec?.unschedulable || machine.spec?.drain) words.push('SchedulingDisabled');
  return words.join(',');
}

/** `k=v,k=v` sorted by key, as fleet lists a machine's metadata. */
export function metadataWords(labels: Readonly<Record<string, string>> | undefined): string {
  const pairs = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.length === 0 ? nothing : pairs.map(([key, value]) => `${key}=${value}`).join(',');
}

const columns: readonly Column[] = [
  { name: 'Name', type: 'string', description: 'The machine id.', priority: 0, cell: ({ metadata }) => metadata.name },
  {
    name: 'Hostname',
    type: 'string',
    description: "The machine's host name.",
    priority: 0,
    cell: (object) => asMachine(object).status?.info?.hostname ?? nothing,
  },
  {
    name: 'Address',
    type: 'string',
    description: "The machine's primary IP address.",
    priority: 0,
    cell: (object) => asMachine(object).status?.info?.address ?? nothing,
  },
  {
    name: 'Status',
    type: 'string',
    description: 'Ready, NotReady or Unknown; SchedulingDisabled when it is cordoned or drained.',
    priority: 0,
    cell: (object) => standing(asMachine(object)),
  },
  {
    name: 'Units',
    type: 'integer',
    description: 'How many units are assigned to it.',
    priority: 0,
    cell: (object) => asMachine(object).status?.units ?? 0,
  },
  {
    name: 'Age',
    type: 'string',
    description: 'Time since it joined.',
    priority: 0,
    cell: ({ metadata }, now) => humanAge(metadata.creationTimestamp, now),
  },
  {
    name: 'Metadata',
    type: 'string',
    description: 'Its labels, which placement matches.',
    priority: 1,
    cell: ({ metadata }) => metadataWords(metadata.labels),
  },
  {
    name: 'Boot',
    type: 'string',
    description: 'First 8 characters of its boot id.',
    priority: 1,
    cell: (object) => asMachine(object).status?.info?.bootID.slice(0, 8) ?? nothing,
  },
  {
    name: 'Agent',
    type: 'string',
    description: 'Version of its agent.',
    priority: 1,
    cell: (object) => asMachine(object).status?.info?.agentVersion ?? nothing,
  },
  {
    name: 'OS',
    type: 'string',
    description: 'Its operating system.',
    priority: 1,
    cell: (object) => asMachine(object).status?.info?.osImage ?? nothing,
  },
];

export const machineKind: Kind = {
  group,
  version,
  kind: 'Machine',
  plural: 'machines',
  singular: 'machine',
  shortNames: ['ma'],
  categories: ['flotilla'],
  description: "A host that runs the agent; its name is the host's machine id.",
  schema: z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('Machine'),
    metadata: ObjectMeta,
    spec: MachineSpec.optional().describe('What its keepers want of it.'),
    status: MachineStatus.optional().describe('What was seen; written by the system.'),
  }),
  writable: true,
  listTypes: {
    'spec.taints': { type: 'map', keys: ['key', 'effect'] },
    'status.conditions': { type: 'map', keys: ['type'] },
  },
  columns,
  selectableFields: {
    'spec.unschedulable': (object) => String(asMachine(object).spec?.unschedulable ?? false),
    'status.info.hostname': (object) => asMachine(object).status?.info?.hostname ?? '',
    'status.info.address': (object) => asMachine(object).status?.info?.address ?? '',
  },
  withDefaults: (object) => ({ ...object, spec: object.spec ?? {} }),
  validate: validateMachine,
};
