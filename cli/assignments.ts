/** Assignments, which say what runs where: found by unit or by machine, without reading those of the whole cluster. */
import type { Context } from './context.js';
import { escapeSelector, listAll } from './listing.js';
import type { WireAssignment } from './objects.js';

export const assignmentsOf = (context: Context, unit: string) => assignmentsWhere(context, 'spec.unit', unit);

export const assignmentsOn = (context: Context, machine: string) => assignmentsWhere(context, 'spec.machine', machine);

const assignmentsWhere = async (context: Context, field: string, value: string) =>
  (await listAll(context, await context.kind('assignments'), {
    fieldSelector: `${field}=${escapeSelector(value)}`,
  })) as WireAssignment[];
