/** The decoded rows of the whole cluster with their indexes: a cut at one revision, changed batch by batch. */

import type { KeyBatch } from '../../runtime/informer.js';
import type { Entry } from '../../runtime/store/store.js';
import type { AssignmentSpec, UnitState } from '../resources/assignment.js';
import type { Event } from '../resources/event.js';
import { type Keys, parseKey } from '../resources/keys.js';
import type { Presence } from '../resources/machine.js';
import { decode, type KnownKey, Unreadable } from './decode.js';
import { Dependents } from './dependents.js';
import type { BrokenRow, CacheBatch, CacheChange, Row, RowValue, StatusFragment, StoredObject } from './ports.js';

/** Two-level maps, so that one machine's or one object's rows are found without looking at any other. */
class Index<T> {
  readonly #byFirst = new Map<string, Map<string, Row<T>>>();

  get(first: string, second: string): Row<T> | undefined {
    return this.#byFirst.get(first)?.get(second);
  }

  all(first: string): ReadonlyMap<string, Row<T>> {
    return this.#byFirst.get(first) ?? new Map<string, never>();
  }

  set(first: string, second: string, row: Row<T> | undefined): void {
    const inner = this.#byFirst.get(first);
    if (row) {
      if (inner) inner.set(second, row);
      else this.#byFirst.set(first, new Map([[second, row]]));
    } else if (inner?.delete(second) && inner.size === 0) {
      this.#byFirst.delete(first);
    }
  }

  get size(): number {
    let size = 0;
    for (const inner of this.#byFirst.values()) size += inner.size;
    return size;
  }

  *rows(): Generator<Row<T>> {
    for (const inner of this.#byFirst.values()) yield* inner.values();
  }
}

export class Rows {
  /** By plural and name. */
  readonly objects = new Index<StoredObject>();
  readonly fragments = new Index<StatusFragment>();
  readonly dependents = new Dependents();
  /** By '' and machine id. */
  readonly presences = new Index<Presence>();
  readonly assignmentsByMachine = new Index<AssignmentSpec>();
  readonly assignmentsByUnit = new Index<AssignmentSpec>();
  readonly statesByMachine = new Index<UnitState>();
  readonly statesByUnit = new Index<UnitState>();
  /** By '' and sha256. */
  readonly contents = new Index<string>();
  /** By `<plural>/<object>` and id. */
  readonly events = new Index<Event>();
  readonly broken = new Map<string, BrokenRow>();

  constructor(
    private readonly keys: Keys,
    /** Told of each value that could not be read. */
    private readonly onBroken: (row: BrokenRow) => void,
  ) {}

  apply({ revision, changes, relisted }: KeyBatch): CacheBatch {
    const applied: CacheChange[] = [];
    for (const { key, entry } of changes) {
      const parsed = parseKey(this.keys.root, key);
      if (parsed.table === 'other') continue;
      const places = this.#places(parsed);
      const previous = places[0]?.index.get(places[0].first, places[0].second);
      const row = entry && this.#decode(parsed, entry);
      if (!entry) this.broken.delete(key);
      for (const { index, first, second } of places) index.set(first, second, row);
      if (parsed.table === 'object') this.dependents.note(parsed.plural, parsed.name, this.objects.get(parsed.plural, parsed.name)?.value);
      applied.push({ ...parsed, key, ...(row ? { row } : {}), ...(previous ? { previous } : {}) });
    }
    return { revision, changes: applied, relisted };
  }

  /** Revision of a row that exists and cannot be read; 0 when there is none under this key. */
  brokenRevision(key: string): number {
    return this.broken.size === 0 ? 0 : (this.broken.get(key)?.modRevision ?? 0);
  }

  sizes(): [table: string, rows: number][] {
    return [
      ['objects', this.objects.size],
      ['conditions', this.fragments.size],
      ['presence', this.presences.size],
      ['assignments', this.assignmentsByMachine.size],
      ['states', this.statesByMachine.size],
      ['contents', this.contents.size],
      ['events', this.events.size],
    ];
  }

  #decode(parsed: KnownKey, entry: Entry): Row<RowValue> | undefined {
    const { key, value, createRevision, modRevision, lease } = entry;
    try {
      const row = { key, value: decode(parsed, value), createRevision, modRevision, ...(lease === undefined ? {} : { lease }) };
      this.broken.delete(key);
      return row;
    } catch (error) {
      // Whatever it is that decoding chokes on (a value nested ten thousand deep ends the stack): it is this row's trouble and nobody else's.
      const broken = { key, modRevision, message: error instanceof Unreadable ? error.message : `it cannot be read: ${String(error)}` };
      this.broken.set(key, broken);
      this.onBroken(broken);
      return undefined;
    }
  }

  /** Where a row of this key lies: the same row in each place. */
  #places(key: KnownKey): Place[] {
    switch (key.table) {
      case 'object':
        return [place(this.objects, key.plural, key.name)];
      case 'condition':
        return [place(this.fragments, key.plural, key.name)];
      case 'presence':
        return [place(this.presences, '', key.machine)];
      case 'assignment':
        return [place(this.assignmentsByMachine, key.machine, key.unit), place(this.assignmentsByUnit, key.unit, key.machine)];
      case 'state':
        return [place(this.statesByMachine, key.machine, key.unit), place(this.statesByUnit, key.unit, key.machine)];
      case 'content':
        return [place(this.contents, '', key.sha256)];
      case 'event':
        return [place(this.events, `${key.plural}/${key.object}`, key.id)];
    }
  }
}

interface Place {
  readonly index: Index<RowValue>;
  readonly first: string;
  readonly second: string;
}

// decode() has checked that a value is of the type that its key says, which is the type of the index.
const place = <T extends RowValue>(index: Index<T>, first: string, second: string): Place => ({
  index: index as unknown as Index<RowValue>,
  first,
  second,
});
