/** What the rest of the program asks about Assignments: read-only to clients, since only the leader writes them. */
import { z } from 'zod';
import { type Assignment, AssignmentSpec, UnitState } from './assignment.js';
import type { Kind } from './kinds.js';
import { apiVersion, type FlotillaObject, group, ObjectMeta, version } from './meta.js';
import { humanAge } from './table.js';

const nothing = '-';

const asAssignment = (object: FlotillaObject): Assignment => object as Assignment;

export const assignmentKind: Kind = {
  group,
  version,
  kind: 'Assignment',
  plural: 'assignments',
  singular: 'assignment',
  shortNames: ['as'],
  categories: ['flotilla'],
  description: "The scheduler's decision that a unit runs on a machine, with what that machine's agent saw of it.",
  schema: z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('Assignment'),
    metadata: ObjectMeta,
    spec: AssignmentSpec,
    status: UnitState.optional(),
  }),
  writable: false,
  listTypes: {},
  columns: [
    { name: 'Name', type: 'string', description: 'Unit and machine.', priority: 0, cell: ({ metadata }) => metadata.name },
    {
      name: 'Unit',
      type: 'string',
      description: 'The unit assigned.',
      priority: 0,
      cell: (object) => asAssignment(object).spec?.unit ?? nothing,
    },
    {
      name: 'Machine',
      type: 'string',
      description: 'Hostname of the machine that it is assigned to.',
      priority: 0,
      cell: (object, _now, machineName) => {
        const { spec } = asAssignment(object);
        return spec === undefined ? nothing : machineName(spec.machine);
      },
    },
    {
      name: 'Wanted',
      type: 'string',
      description: 'loaded or launched; "removed" while the machine is to let go of it.',
      priority: 0,
      cell: (object) => {
        const spec = asAssignment(object).spec;
        return spec?.remove === undefined ? (spec?.wanted ?? nothing) : 'removed';
      },
    },
    {
      name: 'Active',
      type: 'string',
      description: "systemd's active state.",
      priority: 0,
      cell: (object) => asAssignment(object).status?.active ?? nothing,
    },
    {
      name: 'Sub',
      type: 'string',
      description: "systemd's sub state.",
      priority: 0,
      cell: (object) => asAssignment(object).status?.sub ?? nothing,
    },
    {
      name: 'Age',
      type: 'string',
      description: 'Time since it was assigned.',
      priority: 0,
      cell: (object, now) => humanAge(asAssignment(object).spec?.assignedAt ?? object.metadata.creationTimestamp, now),
    },
    {
      name: 'Load',
      type: 'string',
      description: "systemd's load state.",
      priority: 1,
      cell: (object) => asAssignment(object).status?.load ?? nothing,
    },
    {
      name: 'Hash',
      type: 'string',
      description: 'First 7 digits of the sha256 of the text on the machine.',
      priority: 1,
      cell: (object) => asAssignment(object).status?.textHash.slice(0, 7) || nothing,
    },
    {
      name: 'Message',
      type: 'string',
      description: 'Why the machine does not do what is wanted, when it does not.',
      priority: 1,
      cell: (object) => asAssignment(object).status?.problem?.message ?? asAssignment(object).spec?.remove ?? null,
    },
  ],
  selectableFields: {
    'spec.unit': (object) => asAssignment(object).spec?.unit ?? '',
    'spec.machine': (object) => asAssignment(object).spec?.machine ?? '',
    'status.active': (object) => asAssignment(object).status?.active ?? '',
  },
  withDefaults: (object) => object,
  validate: () => [],
};
