/**
 * Joins what lies under several keys into the objects that users see (SEMANTICS 2, 3, 9, 10). Pure: rows of one revision in, a frozen
 * object out. Nothing here looks at a clock, so every server shows the same status for the same revision.
 */
import { createHash } from 'node:crypto';
import { type AssignmentSpec, assignmentName, type UnitState } from '../resources/assignment.js';
import type { Event } from '../resources/event.js';
import { apiVersion, type Condition, type FlotillaObject } from '../resources/meta.js';
import type { UnitSpec, UnitStatus } from '../resources/unit.js';
import type { Joined, Row, StatusFragment, StoredObject } from './ports.js';
import { objectVersion } from './resource-version.js';
import { currentStateOf, unitConditions } from './unit-conditions.js';
import type { UnitFragment } from './unit-fragment.js';

export interface UnitParts {
  readonly own: Row<StoredObject>;
  readonly fragment: Row<StatusFragment> | undefined;
  /** The state on `fragment.machine`. */
  readonly state: Row<UnitState> | undefined;
  /** What lies under its textHash. */
  readonly text: string | undefined;
  /** Newest revision among joined parts that exist but cannot be read: they count for the resourceVersion, which never goes back. */
  readonly unreadableRevision: number;
}

export function joinUnit({ own, fragment, state, text, unreadableRevision }: UnitParts): Joined {
  const { textHash: _stored, spec: storedSpec, ...envelope } = own.value;
  const stored = (storedSpec ?? {}) as UnitSpec;
  const spec: UnitSpec = text === undefined || stored.sections !== undefined ? stored : { ...stored, content: text };
  const decided = (fragment?.value ?? {}) as UnitFragment;
  const isGlobal = stored.placement?.global === true || decided.desiredMachines !== undefined;
  const status = isGlobal ? globalUnitStatus(own.value, decided) : placedUnitStatus(own.value, stored, decided, state?.value);
  return joined(envelope, Math.max(own.modRevision, fragment?.modRevision ?? 0, state?.modRevision ?? 0, unreadableRevision), spec, status);
}

function placedUnitStatus(own: StoredObject, spec: UnitSpec, fragment: UnitFragment, reported: UnitState | undefined): UnitStatus {
  // A state of an earlier Unit of this name says nothing about this one.
  const state = reported?.unitUid === own.metadata.uid ? reported : undefined;
  const { conditions, observedGeneration } = unitConditions({ own, spec, fragment, state });
  return compact({
    observedGeneration,
    conditions,
    currentState: currentStateOf(spec, state),
    machine: fragment.machine,
    load: state?.load,
    active: state?.active,
    sub: state?.sub,
    result: state?.result,
    since: state?.since,
    mainPID: state?.mainPID,
    restarts: state?.restarts,
    contentHash: state && (state.runningHash ?? (state.textHash || undefined)),
  });
}

function globalUnitStatus(own: StoredObject, fragment: UnitFragment): UnitStatus {
  const { observedGeneration, desiredMachines, currentMachines, readyMachines } = fragment;
  const conditions = fragment.conditions?.length ? [...fragment.conditions] : unscheduledConditions(own);
  return compact({ observedGeneration, conditions, desiredMachines, currentMachines, readyMachines });
}

const unscheduledConditions = (own: StoredObject): Condition[] =>
  unitConditions({ own, spec: { desiredState: 'launched' }, fragment: {}, state: undefined }).conditions;

/** Any kind whose status is what its controller wrote, Machine included. */
export function joinPlain(own: Row<StoredObject>, fragment: Row<StatusFragment> | undefined, unreadableRevision: number): Joined {
  const { textHash: _stored, spec, ...envelope } = own.value;
  return joined(envelope, Math.max(own.modRevision, fragment?.modRevision ?? 0, unreadableRevision), spec, fragment?.value);
}

export function joinAssignment(row: Row<AssignmentSpec>, state: Row<UnitState> | undefined, unreadableRevision: number): Joined {
  const { unit, machine, unitUid, assignedAt, removeAt } = row.value;
  const metadata = {
    name: assignmentName(unit, machine),
    uid: derivedUid(`${machine}/${unitUid}`),
    creationTimestamp: assignedAt,
    ...(removeAt === undefined ? {} : { deletionTimestamp: removeAt }),
    labels: { 'flotilla.dev/unit': unit, 'flotilla.dev/machine': machine },
  };
  const revision = Math.max(row.modRevision, state?.modRevision ?? 0, unreadableRevision);
  return joined({ apiVersion, kind: 'Assignment', metadata }, revision, row.value, state?.value);
}

export function joinEvent(row: Row<Event>): Joined {
  const { metadata, ...rest } = row.value;
  const uid = metadata.uid ?? derivedUid(row.key);
  return Object.freeze({ ...rest, metadata: Object.freeze({ ...metadata, uid, resourceVersion: objectVersion(row.modRevision) }) });
}

/** The object as it is told to have been deleted: what it last was, dated by the deletion (SEMANTICS 2). */
export function joinDeleted(last: Joined, revision: number): Joined {
  return Object.freeze({ ...last, metadata: Object.freeze({ ...last.metadata, resourceVersion: objectVersion(revision) }) });
}

function joined(envelope: Omit<FlotillaObject, 'spec' | 'status'>, revision: number, spec: unknown, status: unknown): Joined {
  const { metadata } = envelope;
  const versioned = { ...metadata, uid: metadata.uid ?? '', resourceVersion: objectVersion(revision) };
  return Object.freeze({
    ...envelope,
    metadata: Object.freeze(versioned),
    ...(spec === undefined ? {} : { spec: Object.freeze(spec) }),
    ...(status === undefined ? {} : { status: Object.freeze(status) }),
  });
}

/** A UUID (version 8: custom) that is the same on every server and in every life of the process. */
export function derivedUid(from: string): string {
  const hex = createHash('sha256').update(from).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

type Present<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

/** Without the fields that are not known: absent, not null. */
function compact<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
