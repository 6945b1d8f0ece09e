/** What the front doors and the controllers share: one cache that is a cut of the whole cluster at one revision, and one way to write. */

import type { Fence } from '../../runtime/store/store.js';
import type { AssignmentSpec, UnitState } from '../resources/assignment.js';
import type { Event } from '../resources/event.js';
import type { Keys, ParsedKey } from '../resources/keys.js';
import type { Presence } from '../resources/machine.js';
import type { FlotillaObject } from '../resources/meta.js';

export interface Row<T> {
  readonly key: string;
  readonly value: T;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly lease?: string;
}

/**
 * An object as it lies under its own key: without status and resourceVersion, and a Unit without `spec.content`: its text lies once under
 * `/contents/<textHash>` (SEMANTICS 5). `textHash` is also set for a Unit with `sections` (the rendered text); it is absent for an instance
 * that follows its template.
 */
export interface StoredObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: FlotillaObject['metadata'];
  readonly spec?: unknown;
  readonly textHash?: string;
}

/** What the leader stores under `/conditions/<plural>/<name>`: its part of the kind's status (UnitStatus, MachineStatus...). */
export type StatusFragment = Readonly<Record<string, unknown>>;

export type RowValue = StoredObject | Presence | AssignmentSpec | UnitState | StatusFragment | Event | string;

/** A value that cannot be read. It is kept out of everything; whoever acts on absence has to look here first (invariants 7 and 13). */
export interface BrokenRow {
  readonly key: string;
  readonly modRevision: number;
  /** What is wrong, without quoting the value. */
  readonly message: string;
}

/** One key's change, old and new value; `row` is absent when it was deleted. */
export type CacheChange = ParsedKey & { readonly key: string; readonly row?: Row<RowValue>; readonly previous?: Row<RowValue> };

/** All changes of one revision (or, after a relist, of all the revisions that were missed). */
export interface CacheBatch {
  readonly revision: number;
  readonly changes: readonly CacheChange[];
  /** The watch's history was lost before this batch: what lies between is not known change by change. */
  readonly relisted: boolean;
}

/** A joined object with its status and its wire resourceVersion (SEMANTICS 1, 2). */
export type Joined = FlotillaObject & { readonly metadata: FlotillaObject['metadata'] & { resourceVersion: string; uid: string } };

/** Names one stored object. */
export interface ObjectId {
  readonly plural: string;
  readonly name: string;
}

export interface ClusterCache {
  readonly keys: Keys;
  /** Everything up to and including this revision is in the cache. */
  readonly revision: number;
  readonly synced: boolean;
  untilSynced(signal?: AbortSignal): Promise<void>;
  /** Resolves once `revision` is in the cache; rejects with StoreUnavailable after `timeoutMs`. */
  untilRevision(revision: number, timeoutMs?: number): Promise<void>;

  object(plural: string, name: string): Row<StoredObject> | undefined;
  objects(plural: string): ReadonlyMap<string, Row<StoredObject>>;
  /** Objects with an ownerReference to this uid, those that cannot be read left out. */
  dependentsOf(uid: string): Iterable<ObjectId>;
  fragment(plural: string, name: string): Row<StatusFragment> | undefined;
  presence(machine: string): Row<Presence> | undefined;
  presences(): ReadonlyMap<string, Row<Presence>>;
  assignment(machine: string, unit: string): Row<AssignmentSpec> | undefined;
  /** By unit name. */
  assignmentsOn(machine: string): ReadonlyMap<string, Row<AssignmentSpec>>;
  /** By machine id. */
  assignmentsOf(unit: string): ReadonlyMap<string, Row<AssignmentSpec>>;
  state(machine: string, unit: string): Row<UnitState> | undefined;
  statesOn(machine: string): ReadonlyMap<string, Row<UnitState>>;
  /** By machine id. */
  statesOf(unit: string): ReadonlyMap<string, Row<UnitState>>;
  content(sha256: string): Row<string> | undefined;
  contents(): ReadonlyMap<string, Row<string>>;
  events(): Iterable<Row<Event>>;
  /** By event id. */
  eventsAbout(plural: string, object: string): ReadonlyMap<string, Row<Event>>;
  /** By key: what is stored and cannot be read. */
  readonly broken: ReadonlyMap<string, BrokenRow>;

  /** plural: a stored kind's, or `assignments` (by `<unit>.<first 8 of machine>`), or `events`. */
  joined(plural: string, name: string): Joined | undefined;
  /** Sorted by name. */
  joinedAll(plural: string): Joined[];
  /** Called synchronously after each batch was applied. Returns the unsubscriber. */
  subscribe(listener: (batch: CacheBatch) => void): () => void;
}

export type ObjectEvent = {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: Joined;
  readonly previous?: Joined;
  readonly revision: number;
};

/** Joined change history of all kinds, bounded, for HTTP watches (SEMANTICS 1, 2). */
export interface WatchHub {
  /**
   * What the list was at an earlier revision, sorted by name: `now`, all objects of `plural`, with the changes since then undone. Undefined
   * when the hub does not remember that far back.
   */
  rewound(plural: string, revision: number, now: readonly Joined[]): readonly Joined[] | undefined;
  /**
   * Every change of objects of `plural` from wire resourceVersion `from` on: an even number replays that whole revision, an odd one starts
   * after it. Throws StatusError Expired (410) when the hub does not remember that far back. `onEvents` is called synchronously with whole
   * revisions; `onExpired` when the cache was relisted: the watch must end with 410.
   */
  watch(
    plural: string,
    from: number,
    listener: { onEvents(events: readonly ObjectEvent[], revision: number): void; onExpired(): void },
  ): () => void;
}

export interface WriteContext {
  /** Field manager. */
  readonly manager: string;
  /** Run everything, store nothing. */
  readonly dryRun?: boolean;
  /** Server-side apply: take fields over from other managers. Delete: do not wait for machines (`deletionGracePeriodSeconds: 0`). */
  readonly force?: boolean;
  /** What to do with unknown fields. Default Strict. */
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  /** The leader's own writes. */
  readonly fence?: Fence;
  /** Server-side apply: only if there is no such object yet; else 409 AlreadyExists. */
  readonly createOnly?: boolean;
  /** Only while this other object is at this revision of its own key: what was decided about it then. Else 409 Conflict. */
  readonly onlyWhile?: ObjectId & { readonly modRevision: number };
}

export interface ObjectWritten {
  /** As written. On a dry run that would create it, `metadata.resourceVersion` is absent: that tells clients that it would be new. */
  readonly object: Joined;
  readonly created: boolean;
  /** False when the write changed nothing, and so no revision was made. */
  readonly changed: boolean;
  /** Revision of the object's own key after the write; absent on a dry run. */
  readonly ownRevision?: number;
  readonly warnings: readonly string[];
}

export interface DeleteOptions {
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** What becomes of its dependents; absent: as its finalizers say, and Background where they say nothing. */
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
}

/** The one way to write an object. Every method throws StatusError; each returns once the cache holds what it wrote. */
export interface ObjectDoor {
  create(plural: string, body: unknown, context: WriteContext): Promise<ObjectWritten>;
  /** PUT: with metadata.resourceVersion it is conditional (409 Conflict when stale). */
  update(plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten>;
  patch(plural: string, name: string, patch: { type: 'merge' | 'json'; body: unknown }, context: WriteContext): Promise<ObjectWritten>;
  /** Server-side apply. */
  apply(plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten>;
  /** Sets deletionTimestamp, or deletes at once where nothing has to be waited for (SEMANTICS 8). */
  remove(plural: string, name: string, options: DeleteOptions, context: WriteContext): Promise<{ object: Joined; gone: boolean }>;
}
