/** What lies in the store and is named by nothing any more. Pure: what there is in, what may go out. */

import type { ClusterCache, Row } from '../../api/objects/ports.js';
import type { AssignmentSpec, UnitState } from '../../api/resources/assignment.js';
import type { Event } from '../../api/resources/event.js';

/** A key and the revision at which it was seen to be garbage: whoever writes it again in the meantime keeps it. */
export interface Garbage {
  readonly key: string;
  readonly modRevision: number;
}

/** SEMANTICS 10. */
export const maxEventsPerObject = 100;

/** Texts that no Unit and no Assignment names, and states whose assignment is gone. */
export function unnamed(
  cache: Pick<ClusterCache, 'objects' | 'assignmentsOf' | 'assignmentsOn' | 'statesOf' | 'statesOn' | 'contents'>,
): Garbage[] {
  const named = new Set<string>();
  const states = new Map<string, Row<UnitState>>();
  const note = (assignments: ReadonlyMap<string, Row<AssignmentSpec>>, seen: ReadonlyMap<string, Row<UnitState>>) => {
    for (const { value } of assignments.values()) named.add(value.textHash);
    for (const [other, row] of seen) if (!assignments.has(other)) states.set(row.key, row);
  };
  for (const [unit, { value }] of cache.objects('units')) {
    if (value.textHash !== undefined) named.add(value.textHash);
    note(cache.assignmentsOf(unit), cache.statesOf(unit));
  }
  // Assignments of units that do not exist any more.
  for (const machine of cache.objects('machines').keys()) note(cache.assignmentsOn(machine), cache.statesOn(machine));
  const contents = [...cache.contents()].filter(([hash]) => !named.has(hash)).map(([, row]) => row);
  return [...contents, ...states.values()].map(({ key, modRevision }) => ({ key, modRevision }));
}

/** The oldest events of objects that have too many. */
export function overflow(events: Iterable<Row<Event>>): Garbage[] {
  const byObject = new Map<string, Row<Event>[]>();
  for (const row of events) {
    const { kind, name } = row.value.involvedObject;
    const about = `${kind}/${name}`;
    const rows = byObject.get(about);
    if (rows) rows.push(row);
    else byObject.set(about, [row]);
  }
  return [...byObject.values()]
    .filter((rows) => rows.length > maxEventsPerObject)
    .flatMap((rows) => rows.sort((a, b) => b.modRevision - a.modRevision).slice(maxEventsPerObject))
    .map(({ key, modRevision }) => ({ key, modRevision }));
}
