/**
 * Kinds that are served and not stored: each object is another view of a stored one, made when somebody asks. They are read through the
 * same handlers as all kinds, from a cache and a hub that show the cluster's own ones in another form.
 */
import type { Joined, ObjectEvent, WatchHub } from '../../objects/ports.js';
import { objectVersion } from '../../objects/resource-version.js';
import { StatusError } from '../../resources/errors.js';
import type { Kind } from '../../resources/kinds.js';
import type { ReadableCache } from '../readable-cache.js';

/** Objects seen through others that are stored, one for one. */
export interface Projection {
  readonly kind: Kind;
  /** Plural of the stored kind. */
  readonly of: string;
  /** The object as it is shown now; undefined when none is shown for it. Equal answers are the same object, so that they can be shared. */
  view(stored: Joined): Joined | undefined;
  /** As it was last shown, however much of what it was made from is gone by now. */
  lastView(stored: Joined): Joined | undefined;
  /** The stored name that a shown name means. */
  storedName(name: string): string | undefined;
  /** Other stored kinds that a view is made from, by plural: what an event of theirs changes. */
  readonly also?: Readonly<Record<string, (event: ObjectEvent) => readonly { readonly before: Joined; readonly after: Joined }[]>>;
}

/** Objects that are always there and never change. */
export interface FixedKind {
  readonly kind: Kind;
  readonly objects: readonly Joined[];
}

export class ProjectedCache implements ReadableCache {
  readonly #projections: ReadonlyMap<string, Projection>;
  readonly #fixed: ReadonlyMap<string, FixedKind>;

  constructor(
    private readonly cache: ReadableCache,
    projections: readonly Projection[],
    fixed: readonly FixedKind[],
  ) {
    this.#projections = byPlural(projections);
    this.#fixed = byPlural(fixed);
  }

  get revision(): number {
    return this.cache.revision;
  }

  get synced(): boolean {
    return this.cache.synced;
  }

  untilRevision = (revision: number, timeoutMs?: number): Promise<void> => this.cache.untilRevision(revision, timeoutMs);
  fragment: ReadableCache['fragment'] = (plural, name) => this.cache.fragment(plural, name);

  joined(plural: string, name: string): Joined | undefined {
    const projection = this.#projections.get(plural);
    if (!projection) return this.#fixed.get(plural)?.objects.find(({ metadata }) => metadata.name === name);
    const storedName = projection.storedName(name);
    const stored = storedName === undefined ? undefined : this.cache.joined(projection.of, storedName);
    return stored && projection.view(stored);
  }

  joinedAll(plural: string): Joined[] {
    const projection = this.#projections.get(plural);
    if (!projection) return [...(this.#fixed.get(plural)?.objects ?? [])];
    return this.cache
      .joinedAll(projection.of)
      .flatMap((stored) => projection.view(stored) ?? [])
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0));
  }
}

/** Told when the names of shown objects are others than before: what was said of them under the old names cannot be taken back. */
export interface Renames {
  /** Revision up to which the history is under old names; 0 when none is. */
  readonly lastRevision: number;
  subscribe(listener: () => void): () => void;
}

type Listener = Parameters<WatchHub['watch']>[2];

export class ProjectedHub implements WatchHub {
  readonly #projections: ReadonlyMap<string, Projection>;
  /** Each event is turned over once, however many watch it. */
  readonly #turned = new WeakMap<ObjectEvent, Map<string, readonly ObjectEvent[]>>();

  constructor(
    private readonly hub: WatchHub,
    private readonly renames: Renames,
    projections: readonly Projection[],
  ) {
    this.#projections = byPlural(projections);
  }

  watch(plural: string, from: number, listener: Listener): () => void {
    const projection = this.#projections.get(plural);
    if (!projection) return this.hub.watch(plural, from, listener);
    if (from <= 2 * this.renames.lastRevision) {
      throw new StatusError('Expired', `too old resource version: ${from}: ${plural} were renamed after it`);
    }
    const undo: (() => void)[] = [];
    const stop = () => {
      for (const each of undo.splice(0)) each();
    };
    const expire = () => {
      stop();
      listener.onExpired();
    };
    // History comes one stored kind after the other: it is put in order before anybody hears it.
    let replayed: { readonly events: readonly ObjectEvent[]; readonly revision: number }[] | undefined = [];
    const take = (events: readonly ObjectEvent[], revision: number): void => {
      if (events.length === 0) return;
      if (replayed) replayed.push({ events, revision });
      else listener.onEvents(events, revision);
    };
    const follow = (stored: string, turn: (event: ObjectEvent) => readonly ObjectEvent[]): void => {
      const onEvents = (events: readonly ObjectEvent[], revision: number) =>
        take(
          events.flatMap((event) => this.#once(plural, event, turn)),
          revision,
        );
      undo.push(this.hub.watch(stored, from, { onEvents, onExpired: expire }));
    };
    try {
      follow(projection.of, (event) => turned(projection, event));
      for (const [stored, changes] of Object.entries(projection.also ?? {})) follow(stored, (event) => changed(event, changes(event)));
      undo.push(this.renames.subscribe(expire));
    } catch (error) {
      stop();
      throw error;
    }
    const history = replayed.sort((a, b) => a.revision - b.revision);
    replayed = undefined;
    for (const { events, revision } of history) listener.onEvents(events, revision);
    return stop;
  }

  /** What a view was made from besides its stored object is not remembered: a list that another server began has to begin anew. */
  rewound = (): undefined => undefined;

  #once(plural: string, event: ObjectEvent, turn: (event: ObjectEvent) => readonly ObjectEvent[]): readonly ObjectEvent[] {
    const known = this.#turned.get(event) ?? new Map<string, readonly ObjectEvent[]>();
    const events = known.get(plural) ?? turn(event);
    known.set(plural, events);
    this.#turned.set(event, known);
    return events;
  }
}

/** What happened to the stored object, as something that happened to the shown one. */
function turned(projection: Projection, { type, object, previous, revision }: ObjectEvent): readonly ObjectEvent[] {
  const before = previous && projection.lastView(previous);
  if (type === 'DELETED') {
    const last = before ?? projection.lastView(object);
    return last ? [{ type, object: dated(last, revision), previous: last, revision }] : [];
  }
  // A view may hold what is newer than this event: told as that, who comes back with it would miss what lies between.
  const shown = projection.view(object);
  const after = shown && dated(shown, revision);
  if (!after) return before ? [{ type: 'DELETED', object: dated(before, revision), previous: before, revision }] : [];
  return [before ? { type: 'MODIFIED', object: after, previous: before, revision } : { type: 'ADDED', object: after, revision }];
}

const changed = (
  { revision }: ObjectEvent,
  changes: readonly { readonly before: Joined; readonly after: Joined }[],
): readonly ObjectEvent[] =>
  changes.map(({ before, after }) => ({ type: 'MODIFIED', object: dated(after, revision), previous: before, revision }));

const dated = (object: Joined, revision: number): Joined => ({
  ...object,
  metadata: { ...object.metadata, resourceVersion: objectVersion(revision) },
});

const byPlural = <T extends { readonly kind: Kind }>(all: readonly T[]): ReadonlyMap<string, T> =>
  new Map(all.map((one) => [one.kind.plural, one]));
