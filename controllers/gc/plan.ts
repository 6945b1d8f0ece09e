/** What lies in the store and is named by nothing any more. Pure: what there is in, what may go out. */

import type { ClusterCache, Row } from '../../api/objects/ports.js';
import type { AssignmentSpec, UnitState } from '../../api/resources/assignment.js';
import type { Event } from '../../api/resources/event.js';
import { type ParsedKey, parseKey } from '../../api/resources/keys.js';

/** A key and the revision at which it was seen to be garbage: whoever writes it again in the meantime keeps it. */
export interface Garbage {
  readonly key: string;
  readonly modRevision: number;
}

/** SEMANTICS 10. */
export const maxEventsPerObject = 100;

/**
 * Texts that no Unit and no Assignment names, and states whose assignment is gone. While a Unit or an Assignment cannot be read, nobody
 * knows what it names: then there are none (invariant 13).
 */
export function unnamed(
  cache: Pick<ClusterCache, 'keys' | 'broken' | 'objects' | 'assignmentsOf' | 'assignmentsOn' | 'statesOf' | 'statesOn' | 'contents'>,
): Garbage[] {
  const { keys, broken } = cache;
  if ([...broken.keys()].some((key) => mayName(parseKey(keys.root, key)))) return [];
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

const mayName = (key: ParsedKey): boolean => key.table === 'assignment' || (key.table === 'object' && key.plural === 'units');

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
