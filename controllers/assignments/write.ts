/** From decisions to conditional writes. */
import type { Row, StoredObject } from '../../api/objects/ports.js';
import type { Keys } from '../../api/resources/keys.js';
import type { Compare, Operation, Write } from '../../runtime/store/store.js';
import type { CopyFacts } from './facts.js';
import type { PairChange } from './global-plan.js';
import type { Changes } from './plan.js';

/** Assignments that one write changes at most, each with two operations; what is left follows in the next pass. */
const maxChanges = 20;

export interface Rows {
  readonly own: Row<StoredObject> | undefined;
  /** Revision of the conditions key, also when what lies there cannot be read; 0 when there is none. */
  readonly fragmentRevision: number;
  readonly copies: readonly CopyFacts[];
  /** The machine has a state for the unit, left over from an earlier life of the assignment. */
  readonly hasState: (machine: string) => boolean;
  /** Revision of the machine's presence; 0 when there is none. */
  readonly presence: (machine: string) => number;
}

/**
 * One write for one unit. It compares the Unit's own revision, so a delete or a new spec that came in between makes it fail, and the
 * revision of each assignment and of the conditions key, so that it can be repeated safely. Whatever is given up because its machine does
 * not answer is given up only if it has not come back by then: the write compares its presence too.
 *
 * "No assignment is left" needs no compare of its own when the Unit goes: only the leader writes assignments, its fence is in the
 * transaction, its cache holds all that it wrote, and it works on a unit in one place only. So what it knows of is all there is, and the
 * ones that it knows of are deleted here, compared by revision.
 */
export function unitWrite(keys: Keys, name: string, rows: Rows, changes: Changes): Write {
  const compares: Compare[] = [];
  const operations: Operation[] = [];
  const { own, fragmentRevision } = rows;
  if (own) compares.push({ key: keys.object('units', name), modRevision: own.modRevision });

  const drops = changes.drops.slice(0, maxChanges);
  const puts = changes.puts.slice(0, maxChanges - drops.length);
  const isComplete = drops.length === changes.drops.length && puts.length === changes.puts.length;
  for (const copy of drops) dropCopy(keys, name, copy, compares, operations);
  const isPlacing = puts.some((put) => put.remove === undefined && !rows.copies.some(({ machine }) => machine === put.machine));
  for (const copy of rows.copies) {
    if (drops.includes(copy) ? isAbsent(copy) : isPlacing && isAbsent(copy)) compares.push(stillAbsent(keys, copy.machine, rows));
  }
  for (const put of puts) {
    const before = rows.copies.find(({ machine }) => machine === put.machine);
    const key = keys.assignment(put.machine, name);
    compares.push({ key, modRevision: before?.row.modRevision ?? 0 });
    operations.push({ do: 'put', key, value: JSON.stringify(put) });
    // What was seen of an earlier life says nothing about this one.
    if (!before && rows.hasState(put.machine)) operations.push({ do: 'delete', key: keys.state(put.machine, name) });
  }
  const conditions = keys.condition('units', name);
  if (changes.deleteUnit && isComplete) {
    operations.push({ do: 'delete', key: keys.object('units', name) }, { do: 'delete', key: conditions });
  } else if (changes.fragment) {
    compares.push({ key: conditions, modRevision: fragmentRevision });
    operations.push({ do: 'put', key: conditions, value: JSON.stringify(changes.fragment) });
  }
  return { compares, operations };
}

/** One machine's copy of a global unit. */
export function pairWrite(keys: Keys, name: string, machine: string, rows: Rows, change: PairChange): Write {
  const compares: Compare[] = [];
  const operations: Operation[] = [];
  if (rows.own) compares.push({ key: keys.object('units', name), modRevision: rows.own.modRevision });
  if ('drop' in change) {
    dropCopy(keys, name, change.drop, compares, operations);
    if (isAbsent(change.drop)) compares.push(stillAbsent(keys, machine, rows));
  } else {
    const before = rows.copies.find((copy) => copy.machine === machine);
    const key = keys.assignment(machine, name);
    compares.push({ key, modRevision: before?.row.modRevision ?? 0 });
    operations.push({ do: 'put', key, value: JSON.stringify(change.put) });
    if (!before && rows.hasState(machine)) operations.push({ do: 'delete', key: keys.state(machine, name) });
  }
  return { compares, operations };
}

export function fragmentWrite(keys: Keys, plural: string, name: string, revision: number, fragment: object): Write {
  const key = keys.condition(plural, name);
  return {
    compares: [{ key, modRevision: revision }],
    operations: [{ do: 'put', key, value: JSON.stringify(fragment) }],
  };
}

const isAbsent = ({ health }: CopyFacts): boolean => health === 'lost' || health === 'held';

const stillAbsent = (keys: Keys, machine: string, rows: Rows): Compare => ({
  key: keys.presence(machine),
  modRevision: rows.presence(machine),
});

function dropCopy(keys: Keys, name: string, { machine, row }: CopyFacts, compares: Compare[], operations: Operation[]): void {
  const key = keys.assignment(machine, name);
  compares.push({ key, modRevision: row.modRevision });
  operations.push({ do: 'delete', key }, { do: 'delete', key: keys.state(machine, name) });
}
