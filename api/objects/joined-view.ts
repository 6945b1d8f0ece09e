/** Every joined object, kept up change by change: each is joined once per change, however many readers and watchers there are. */
import type { Keys } from '../resources/keys.js';
import { joinAssignment, joinDeleted, joinEvent, joinPlain, joinUnit } from './join.js';
import type { CacheBatch, CacheChange, Joined, ObjectEvent } from './ports.js';
import type { Rows } from './rows.js';
import { masked } from './secrets.js';
import type { UnitFragment } from './unit-fragment.js';

/** Tells objects of one kind apart: the name, but for Assignments and Events what their key says, since their names are made up of it. */
type Id = string;

export class JoinedView {
  readonly #tables = new Map<string, Table>();

  constructor(
    private readonly rows: Rows,
    private readonly keys: Keys,
  ) {}

  /** Joins again what the batch touched, and says by plural what that changed for whoever watches. */
  apply({ revision, changes }: CacheBatch): Map<string, ObjectEvent[]> {
    const touched = new Map<string, Set<Id>>();
    for (const change of changes) {
      for (const [plural, id] of this.#joinsOf(change)) {
        const ids = touched.get(plural);
        if (ids) ids.add(id);
        else touched.set(plural, new Set([id]));
      }
    }
    const events = new Map<string, ObjectEvent[]>();
    for (const [plural, ids] of touched) {
      const table = this.#table(plural);
      const ofPlural = [...ids].map((id) => table.replace(id, this.#join(plural, id), revision)).filter((event) => event !== undefined);
      if (ofPlural.length > 0) events.set(plural, ofPlural);
    }
    return events;
  }

  get(plural: string, name: string): Joined | undefined {
    const table = this.#tables.get(plural);
    if (!table) return undefined;
    if (plural === 'events') return table.named(name);
    return table.byId.get(plural === 'assignments' ? (this.#assignmentId(name) ?? '') : name);
  }

  /** Sorted by name. */
  all(plural: string): Joined[] {
    return this.#tables.get(plural)?.sorted() ?? [];
  }

  #table(plural: string): Table {
    const known = this.#tables.get(plural);
    if (known) return known;
    const table = new Table();
    this.#tables.set(plural, table);
    return table;
  }

  /** The objects that a row is joined into. Contents are not among them: they never change and are written no later than what names them. */
  #joinsOf(change: CacheChange): [plural: string, id: Id][] {
    switch (change.table) {
      case 'object':
      case 'condition':
        return [[change.plural, change.name]];
      case 'assignment':
        return [['assignments', `${change.machine}/${change.unit}`]];
      case 'state':
        return [
          ['units', change.unit],
          ['assignments', `${change.machine}/${change.unit}`],
        ];
      case 'event':
        return [['events', `${change.plural}/${change.object}/${change.id}`]];
      case 'presence':
      case 'content':
      case 'other':
        return [];
    }
  }

  #join(plural: string, id: Id): Joined | undefined {
    const { rows, keys } = this;
    if (plural === 'events') {
      const at = id.lastIndexOf('/');
      const row = rows.events.get(id.slice(0, at), id.slice(at + 1));
      return row && joinEvent(row);
    }
    if (plural === 'assignments') {
      const [machine = '', unit = ''] = id.split('/');
      const row = rows.assignmentsByMachine.get(machine, unit);
      return row && joinAssignment(row, rows.statesByMachine.get(machine, unit), rows.brokenRevision(keys.state(machine, unit)));
    }
    const own = rows.objects.get(plural, id);
    if (!own) return undefined;
    const fragment = rows.fragments.get(plural, id);
    const brokenFragment = rows.brokenRevision(keys.condition(plural, id));
    if (plural === 'secrets') return joinPlain({ ...own, value: masked(own.value) }, fragment, brokenFragment);
    if (plural !== 'units') return joinPlain(own, fragment, brokenFragment);

    const { machine } = (fragment?.value ?? {}) as UnitFragment;
    return joinUnit({
      own,
      fragment,
      state: machine === undefined ? undefined : rows.statesByMachine.get(machine, id),
      text: own.value.textHash === undefined ? undefined : rows.contents.get('', own.value.textHash)?.value,
      unreadableRevision: Math.max(brokenFragment, machine === undefined ? 0 : rows.brokenRevision(keys.state(machine, id))),
    });
  }

  /** An Assignment's name holds the first 8 characters of its machine's id only. */
  #assignmentId(name: string): Id | undefined {
    const at = name.lastIndexOf('.');
    const unit = name.slice(0, at);
    const machines = [...this.rows.assignmentsByUnit.all(unit).keys()].filter((id) => id.startsWith(name.slice(at + 1))).sort();
    return machines[0] === undefined ? undefined : `${machines[0]}/${unit}`;
  }
}

/** The joined objects of one kind. */
class Table {
  readonly byId = new Map<Id, Joined>();
  readonly #idByName = new Map<string, Id>();
  #order: Id[] = [];
  readonly #added = new Set<Id>();
  #removed = false;

  replace(id: Id, next: Joined | undefined, revision: number): ObjectEvent | undefined {
    const previous = this.byId.get(id);
    if (!next) {
      if (!previous) return undefined;
      this.byId.delete(id);
      this.#idByName.delete(previous.metadata.name);
      this.#added.delete(id);
      this.#removed = true;
      return { type: 'DELETED', object: joinDeleted(previous, revision), previous, revision };
    }
    this.byId.set(id, next);
    if (!previous) {
      this.#idByName.set(next.metadata.name, id);
      this.#added.add(id);
      return { type: 'ADDED', object: next, revision };
    }
    // A touched part need not be a joined one: the state on a machine where the unit is no longer assigned.
    if (previous.metadata.resourceVersion === next.metadata.resourceVersion) return undefined;
    return { type: 'MODIFIED', object: next, previous, revision };
  }

  named(name: string): Joined | undefined {
    return this.byId.get(this.#idByName.get(name) ?? '');
  }

  sorted(): Joined[] {
    if (this.#removed || this.#added.size > 0) {
      // What was sorted stays in front: sorting what is nearly sorted is cheap.
      const kept = this.#removed ? this.#order.filter((id) => this.byId.has(id) && !this.#added.has(id)) : this.#order;
      const name = (id: Id) => this.byId.get(id)?.metadata.name ?? '';
      this.#order = [...kept, ...this.#added].sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : a < b ? -1 : 1));
      this.#added.clear();
      this.#removed = false;
    }
    return this.#order.flatMap((id) => this.byId.get(id) ?? []);
  }
}
