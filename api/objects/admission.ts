/**
 * From what a client wants and what there is to what shall be: every rule that an object has to pass, and who owns its fields then. Pure
 * but for the cache that cross-object rules read; writing is the door's business.
 */
import type { Clock } from '../../runtime/clock.js';
import type { Compare } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';
import type { ManagedFieldsEntry, ObjectMeta } from '../resources/meta.js';
import { apiVersionOf } from '../resources/registry.js';
import type { Candidate } from './candidate.js';
import { isObject, sameJson } from './json.js';
import { conflictError } from './ownership/conflicts.js';
import { conflictsBeyondLastApplied, kubectlManager, withLastApplied } from './ownership/last-applied.js';
import { isReset, type Owners, readOwners, writeOwners } from './ownership/managers.js';
import { applyConfiguration, type Owned, trackUpdate, type Writer } from './ownership/ownership.js';
import type { ClusterCache, Joined, Row, StoredObject, WriteContext } from './ports.js';
import { checkReferences, machinesOf, someOf } from './references.js';
import { revisionSeen } from './resource-version.js';
import type { SchemaCheck } from './schema-check.js';
import { alreadyExists, badRequest, conflict, invalid, modified } from './status-errors.js';
import { type StoredForm, storedFormOf, type WholeObject, wholeOf } from './storage.js';

/** An object as it is now. */
export interface Live {
  readonly row: Row<StoredObject>;
  readonly joined: Joined;
  /** Without status, version and managed fields. */
  readonly object: WholeObject;
  readonly managedFields: readonly ManagedFieldsEntry[];
}

/** What shall be stored. */
export interface Admitted {
  readonly object: WholeObject;
  readonly form: StoredForm;
  /** False when it is what there is already. */
  readonly changed: boolean;
  /** What other keys must still be when it is written. */
  readonly compares: readonly Compare[];
}

export function liveOf(cache: ClusterCache, kind: Kind, name: string): Live | undefined {
  const row = cache.object(kind.plural, name);
  const joined = cache.joined(kind.plural, name);
  if (row === undefined || joined === undefined) return undefined;
  const { metadata, ...rest } = wholeOf(joined);
  const { managedFields = [], ...kept } = metadata;
  return { row, joined, object: { ...rest, metadata: kept }, managedFields };
}

export interface AdmissionOptions {
  readonly kind: Kind;
  readonly schema: SchemaCheck;
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly uuid: () => string;
}

export class Admission {
  constructor(private readonly options: AdmissionOptions) {}

  /** POST. */
  create(candidate: Candidate, name: string, context: WriteContext): Admitted {
    const { kind, cache } = this.options;
    const existing = liveOf(cache, kind, name);
    if (existing) throw alreadyExists(kind, name, this.whyStillThere(existing));
    if (candidate.resourceVersion !== undefined) throw badRequest('metadata.resourceVersion should not be set on objects to be created');
    const object = this.born({ ...candidate.object, metadata: { ...candidate.object.metadata, name } });
    return this.admit(undefined, this.shaped(object), (complete) => this.tracked(undefined, complete, candidate.managedFields, context));
  }

  /** PUT, and a patch once it has been carried out on the live object. */
  update(live: Live, candidate: Candidate, context: WriteContext): Admitted {
    this.checkPreconditions(live, candidate);
    const object = keptSystemMetadata(live, candidate.object);
    const given = candidate.managedFields;
    const entries = given !== undefined && !sameJson(given, live.managedFields) ? given : undefined;
    return this.admit(live, this.shaped(object), (complete) => this.tracked(live, complete, entries, context));
  }

  /** Server-side apply. */
  apply(live: Live | undefined, candidate: Candidate, name: string, context: WriteContext): Admitted {
    const { kind, schema } = this.options;
    if (candidate.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
    const repeated = schema.duplicateErrors(candidate.object);
    if (repeated.length > 0) throw invalid(kind, name, repeated);
    if (live && context.createOnly) throw alreadyExists(kind, name, this.whyStillThere(live));
    if (live) {
      this.checkPreconditions(live, candidate);
      // An apply says "let there be": answering "unchanged" for something on its way out would be a lie.
      if (live.object.metadata.deletionTimestamp && candidate.object.spec !== undefined) throw this.isBeingDeleted(live);
    } else if (candidate.uid !== undefined || candidate.resourceVersion !== undefined) {
      throw conflict(kind, name, `Precondition failed: UID in precondition: ${candidate.uid ?? ''}, UID in object meta: `);
    }

    const base: WholeObject = live?.object ?? { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata: { name } };
    const { object: merged, owners } = this.merged(live, base, candidate.object, context);
    const object = context.manager === kubectlManager ? withLastApplied(merged, candidate.object) : merged;
    return this.admit(live, this.shaped(live ? object : this.born(object)), () => owners);
  }

  /** Another attempt to bring an object to life while it is dying: says who is waited for. */
  isBeingDeleted(live: Live): StatusError {
    return conflict(this.options.kind, live.object.metadata.name, `the object is being deleted${this.whoIsWaitedFor(live)}`);
  }

  private whyStillThere(live: Live): string {
    return live.object.metadata.deletionTimestamp ? `: it is being deleted${this.whoIsWaitedFor(live)}` : '';
  }

  private whoIsWaitedFor({ object }: Live): string {
    const { name, finalizers = [] } = object.metadata;
    const machines = machinesOf(this.options.cache, name);
    const waited = [...someOf(this.options.kind.plural === 'units' ? machines : [], 'machine'), ...someOf(finalizers, 'finalizer')];
    return waited.length === 0 ? '' : ` and waits for ${waited.join(', ')}`;
  }

  private checkPreconditions({ row, object }: Live, { uid, resourceVersion }: Pick<Candidate, 'uid' | 'resourceVersion'>): void {
    const { kind } = this.options;
    const { name, uid: liveUid = '' } = object.metadata;
    if (uid !== undefined && uid !== liveUid) {
      throw conflict(kind, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${liveUid}`);
    }
    // Status lies under other keys: what the system saw meanwhile is no conflict (SEMANTICS 2).
    if (resourceVersion !== undefined && row.modRevision > revisionSeen(resourceVersion)) throw modified(kind, name);
  }

  private born(object: WholeObject): WholeObject {
    const { labels, annotations, finalizers, ownerReferences, name, generateName } = object.metadata;
    const kept = { name, generateName, labels, annotations, finalizers, ownerReferences };
    const metadata = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined)) as ObjectMeta;
    return {
      ...object,
      metadata: { ...metadata, uid: this.options.uuid(), creationTimestamp: this.now(), generation: 1 },
    };
  }

  /** The object once its shape is known to be right; from here on its type can be trusted. */
  private shaped(object: WholeObject): WholeObject {
    const { kind, schema } = this.options;
    const errors = schema.errors(object);
    if (errors.length > 0) throw invalid(kind, object.metadata.name, errors);
    return kind.withDefaults(object) as WholeObject;
  }

  /** The rules that every write has in common, then ownership, then whether there is anything to write at all. */
  private admit(live: Live | undefined, object: WholeObject, ownersOf: (object: WholeObject) => Owners): Admitted {
    const { kind, cache } = this.options;
    const { name } = object.metadata;
    const errors = kind.validate(object, live?.object);
    if (errors.length > 0) throw invalid(kind, name, errors);
    if (live?.object.metadata.deletionTimestamp) this.checkDying(live, object);

    const form = storedFormOf(kind, object);
    if (live !== undefined && form.text === undefined) checkTextIsKnown(live);
    const references = checkReferences(cache, kind, form, live?.row.value);
    if (references.errors.length > 0) throw invalid(kind, name, references.errors);

    const managedFields = managedFieldsFor(live, ownersOf(object));
    const contentChanged = live === undefined || !sameApartFromMetadata(object, live.object);
    const changed = contentChanged || !sameJson(object.metadata, live.object.metadata) || managedFields !== live.managedFields;
    const generation = (live?.object.metadata.generation ?? 0) + (contentChanged ? 1 : 0);
    const metadata = { ...object.metadata, generation, ...(managedFields.length === 0 ? {} : { managedFields: [...managedFields] }) };
    return {
      object: { ...object, metadata },
      form: { ...form, stored: { ...form.stored, metadata } },
      changed,
      compares: references.compares,
    };
  }

  /** What is being deleted can be let go of, and nothing else. */
  private checkDying(live: Live, object: WholeObject): void {
    if (!sameApartFromMetadata(object, live.object)) throw this.isBeingDeleted(live);
    const before = live.object.metadata.finalizers ?? [];
    const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.includes(finalizer));
    if (added.length === 0) return;
    throw invalid(this.options.kind, object.metadata.name, [
      {
        field: 'metadata.finalizers',
        message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
        reason: 'FieldValueForbidden',
      },
    ]);
  }

  private tracked(
    live: Live | undefined,
    after: WholeObject,
    given: readonly ManagedFieldsEntry[] | undefined,
    context: WriteContext,
  ): Owners {
    const owners = isReset(given) ? noOwners : (readOwners(given) ?? readOwners(live?.managedFields) ?? noOwners);
    // Ownership that somebody reset stays away until somebody applies: half of it would be worse than none.
    if (live !== undefined && owners.size === 0) return owners;
    return trackUpdate(this.options.schema.ownable, { before: live?.object ?? {}, after, owners, writer: this.writer(context.manager) });
  }

  private merged(live: Live | undefined, base: WholeObject, config: WholeObject, context: WriteContext): Owned<WholeObject> {
    const type = this.options.schema.ownable;
    let owners = readOwners(live?.managedFields) ?? noOwners;
    if (live !== undefined && owners.size === 0) {
      owners = trackUpdate(type, { before: {}, after: base, owners, writer: this.writer('before-first-apply') });
    }
    const request = { live: base, config, owners, writer: this.writer(context.manager) };
    const result = applyConfiguration(type, { ...request, force: context.force ?? false });
    if (!('conflicts' in result)) return result;
    const conflicts = context.manager === kubectlManager ? conflictsBeyondLastApplied(type, base, result.conflicts) : result.conflicts;
    const forced = conflicts.length === 0 ? applyConfiguration(type, { ...request, force: true }) : result;
    if ('conflicts' in forced) throw conflictError(conflicts);
    return forced;
  }

  private writer(manager: string): Writer {
    return { manager, apiVersion: apiVersionOf(this.options.kind), time: this.now() };
  }

  /** To the second, as Kubernetes' timestamps are. */
  now(): string {
    return `${this.options.clock.now().toISOString().slice(0, -'.000Z'.length)}Z`;
  }
}

/** A text that is named and not there must not be taken for one that its keeper dropped. */
function checkTextIsKnown({ row, object }: Live): void {
  if (row.value.textHash === undefined || storesText(object)) return;
  const what = `the text of ${JSON.stringify(object.metadata.name)} (sha256 ${row.value.textHash})`;
  throw new StatusError('InternalError', `${what} is missing from the store: give the unit its content again`);
}

const storesText = ({ spec }: WholeObject): boolean => isObject(spec) && (spec.content !== undefined || spec.sections !== undefined);

const noOwners: Owners = new Map();

/** The live entries themselves when nothing about them changed. */
function managedFieldsFor(live: Live | undefined, owners: Owners): readonly ManagedFieldsEntry[] {
  const written = writeOwners(owners);
  return live !== undefined && sameJson(written, live.managedFields) ? live.managedFields : written;
}

function keptSystemMetadata({ object: live }: Live, object: WholeObject): WholeObject {
  const { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds, generateName } = live.metadata;
  const system = { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds, generateName };
  return {
    ...object,
    metadata: { ...object.metadata, ...(Object.fromEntries(Object.entries(system).filter(([, value]) => value !== undefined)) as object) },
  };
}

/** Whether the same is asked for: metadata is about the object, all else is the object (and counts as a new generation). */
function sameApartFromMetadata({ metadata: _a, ...a }: WholeObject, { metadata: _b, ...b }: WholeObject): boolean {
  return sameJson(a, b);
}
