/** The one way to write an object (SEMANTICS 6): HTTP and controllers come through here alike. docs/decisions/0005 says why it is as it is. */
import { randomUUID } from 'node:crypto';
import { type Clock, type Random, systemClock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { Compare, Store } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { apiVersionOf } from '../resources/registry.js';
import { unitTypes } from '../resources/unit-name.js';
import { Admission, type Admitted, type Live } from './admission.js';
import { type Candidate, readCandidate, readPatched } from './candidate.js';
import { ConditionalWrites, type Decision } from './conditional-write.js';
import { isObject, type JsonObject, sameJson, unsafeJson } from './json.js';
import { type Patch, patched } from './patch.js';
import type { ClusterCache, DeleteOptions, Joined, ObjectDoor, ObjectWritten, WriteContext } from './ports.js';
import { finalizersFor, followersOf, isAssignable, machinesOf, someOf, waitsFor } from './references.js';
import { objectVersion, revisionSeen } from './resource-version.js';
import { SchemaCheck } from './schema-check.js';
import type { SecretBox } from './secret-box.js';
import { sealed, takeIn } from './secrets.js';
import { badRequest, conflict, modified, notFound } from './status-errors.js';
import { deleteOperations, putOperations, type WholeObject } from './storage.js';

export interface ObjectDoorOptions {
  readonly kinds: readonly Kind[];
  readonly cache: ClusterCache;
  readonly store: Pick<Store, 'get' | 'commit' | 'revision'>;
  readonly keys: Keys;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Makes the uids of objects. */
  readonly uuid?: () => string;
  readonly log?: Logger;
  /** Seals the values of Secrets; without it none are stored. */
  readonly secretBox?: SecretBox | undefined;
}

export const doorLimits = {
  /** Names that are tried for a generateName before it gives up. */
  maxGeneratedNames: 8,
  maxManagerLength: 128,
};

export const openObjectDoor = (options: ObjectDoorOptions): ObjectDoor => new Door(options);

interface Desk {
  readonly kind: Kind;
  readonly schema: SchemaCheck;
  readonly admission: Admission;
}

class Door implements ObjectDoor {
  private readonly desks: ReadonlyMap<string, Desk>;
  private readonly cache: ClusterCache;
  private readonly keys: Keys;
  private readonly store: Pick<Store, 'commit'>;
  private readonly random: Random;
  private readonly writes: ConditionalWrites;
  private readonly secretBox: SecretBox | undefined;

  constructor({
    kinds,
    cache,
    store,
    keys,
    clock = systemClock,
    random = Math.random,
    uuid = randomUUID,
    log,
    secretBox,
  }: ObjectDoorOptions) {
    this.secretBox = secretBox;
    this.cache = cache;
    this.store = store;
    this.keys = keys;
    this.random = random;
    this.writes = new ConditionalWrites({ cache, store, keys, ...(log ? { log } : {}) });
    this.desks = new Map(
      kinds.map((kind) => {
        const schema = new SchemaCheck(kind);
        return [kind.plural, { kind, schema, admission: new Admission({ kind, schema, cache, clock, uuid }) }];
      }),
    );
  }

  async create(plural: string, body: unknown, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const candidate = readCandidate(desk.kind, desk.schema, body, undefined, context.fieldValidation);
    const { name, generateName } = candidate.object.metadata;
    if (name) return this.createNamed(desk, candidate, name, context);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.createNamed(desk, candidate, generatedName(generateName!, this.random), context);
      } catch (error) {
        const taken = error instanceof StatusError && error.reason === 'AlreadyExists';
        if (!taken || attempt === doorLimits.maxGeneratedNames) throw error;
      }
    }
  }

  private createNamed(desk: Desk, given: Candidate, name: string, context: WriteContext): Promise<ObjectWritten> {
    const candidate = this.takenIn(desk, given, name);
    return this.writes.run(desk.kind, name, context.fence, (live) => {
      const admitted = desk.admission.create(candidate, name, context);
      return this.putting(desk, live, admitted, candidate, context);
    });
  }

  async update(plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const candidate = this.takenIn(desk, readCandidate(desk.kind, desk.schema, body, name, context.fieldValidation), name);
    return this.writes.run(desk.kind, name, context.fence, (live) => {
      if (!live) throw notFound(desk.kind, name);
      return this.putting(desk, live, desk.admission.update(live, candidate, context), candidate, context);
    });
  }

  async patch(plural: string, name: string, patch: Patch, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const unsafe = unsafeJson(patch.body);
    if (unsafe !== undefined) throw badRequest(`the patch cannot be taken: ${unsafe}`);
    return this.writes.run(desk.kind, name, context.fence, (live) => {
      if (!live) throw notFound(desk.kind, name);
      const { resourceVersion: shown } = live.joined.metadata;
      const document = patched(live.joined as unknown as JsonObject, patch);
      const read = this.takenIn(desk, readPatched(desk.kind, desk.schema, document, name, context.fieldValidation), name);
      // A version that the patch did not touch is the one just shown to it: no condition of the client's.
      const candidate = metadataOf(document).resourceVersion === shown ? { ...read, resourceVersion: undefined } : read;
      return this.putting(desk, live, desk.admission.update(live, candidate, context), candidate, context);
    });
  }

  async apply(plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const candidate = this.takenIn(desk, readCandidate(desk.kind, desk.schema, body, name, context.fieldValidation), name);
    return this.writes.run(desk.kind, name, context.fence, (live) =>
      this.putting(desk, live, desk.admission.apply(live, candidate, name, context), candidate, context),
    );
  }

  async remove(plural: string, name: string, options: DeleteOptions, context: WriteContext): Promise<{ object: Joined; gone: boolean }> {
    const desk = this.desk(plural, context);
    if (this.writes.brokenRow(desk.kind, name)) return this.removeBroken(desk.kind, name, context);
    const marked = await this.writes.run(desk.kind, name, context.fence, (live) => this.marking(desk, live, name, options, context));
    if (marked.gone || context.dryRun) return marked;
    // From here on nothing new can come to depend on it: whoever would compares its revision or sees the mark (decisions/0005).
    return this.writes.run(desk.kind, name, context.fence, (live) => {
      if (!live || live.object.metadata.uid !== marked.object.metadata.uid) return { done: { ...marked, gone: true } };
      if (waitsFor(this.cache, desk.kind, live.row).length > 0) return { done: { object: live.joined, gone: false } };
      return this.deleting(desk, live);
    });
  }

  /** The first half of a deletion: the mark, or the whole of it where nothing can depend on the object. */
  private marking(
    desk: Desk,
    live: Live | undefined,
    name: string,
    options: DeleteOptions,
    context: WriteContext,
  ): Decision<{ object: Joined; gone: boolean }> {
    const { kind } = desk;
    if (!live) throw notFound(kind, name);
    this.checkDeletePreconditions(kind, live, options);
    const { metadata } = live.object;
    const isMarked = Boolean(metadata.deletionTimestamp);
    const followers = isMarked ? [] : followersOf(this.cache, kind, name);
    if (followers.length > 0) {
      throw conflict(kind, name, `it is the template of ${someOf(followers, 'unit').join(', ')}: delete what follows it first`);
    }
    const finalizers = this.finalizersOf(live, options);
    const isDecidedAnew = !sameJson(finalizers, metadata.finalizers ?? []);
    const row = isDecidedAnew ? { ...live.row, value: { ...live.row.value, metadata: { ...metadata, finalizers } } } : live.row;
    if (!isAssignable(kind) && waitsFor(this.cache, kind, row).length === 0) {
      return context.dryRun ? { done: { object: live.joined, gone: true } } : this.deleting(desk, live, context);
    }
    // Zero seconds of grace, as kubectl's --force says it, tells the leader not to wait for machines that do not answer (SEMANTICS 8).
    const forced = context.force === true && metadata.deletionGracePeriodSeconds !== 0;
    if (isMarked && !forced && !isDecidedAnew) return { done: { object: live.joined, gone: false } };
    const { finalizers: _before, ...kept } = metadata;
    const object: WholeObject = {
      ...live.object,
      metadata: {
        ...kept,
        ...(finalizers.length > 0 ? { finalizers } : {}),
        deletionTimestamp: metadata.deletionTimestamp ?? desk.admission.now(),
        ...(context.force ? { deletionGracePeriodSeconds: 0 } : {}),
        ...(live.managedFields.length > 0 ? { managedFields: [...live.managedFields] } : {}),
      },
    };
    if (context.dryRun) return { done: { object: this.joinedAs(object, live.joined, live.joined.metadata.resourceVersion), gone: false } };
    const stored = { ...live.row.value, metadata: object.metadata };
    return {
      write: {
        compares: [this.unchanged(desk, live), ...this.guards(context)],
        operations: putOperations(this.keys, kind, { stored }, false),
      },
      committed: (revision) => ({ object: this.seen(desk, object, live, revision), gone: false }),
    };
  }

  private finalizersOf({ object: { metadata } }: Live, { propagationPolicy }: DeleteOptions): string[] {
    const [dependent] = metadata.uid === undefined ? [] : this.cache.dependentsOf(metadata.uid);
    return finalizersFor(metadata.finalizers ?? [], propagationPolicy, dependent !== undefined);
  }

  private deleting(desk: Desk, live: Live, context: WriteContext = { manager: '' }): Decision<{ object: Joined; gone: boolean }> {
    const { kind } = desk;
    const compares = [this.unchanged(desk, live), ...this.guards(context)];
    return {
      write: { compares, operations: deleteOperations(this.keys, kind, live.object.metadata.name) },
      committed: () => ({ object: live.joined, gone: true }),
    };
  }

  /** What cannot be read can still be thrown away, once nothing on a machine depends on it: nothing else would ever get rid of it. */
  private removeBroken(kind: Kind, name: string, context: WriteContext): Promise<{ object: Joined; gone: boolean }> {
    return this.writes.exclusively(kind, name, async (key) => {
      const broken = this.writes.brokenRow(kind, name);
      if (!broken) throw modified(kind, name);
      const machines = isAssignable(kind) ? machinesOf(this.cache, name) : [];
      if (machines.length > 0) throw conflict(kind, name, `it cannot be read, and is still on ${someOf(machines, 'machine').join(', ')}`);
      if (!context.dryRun) {
        const write = { compares: [{ key, modRevision: broken.modRevision }], operations: deleteOperations(this.keys, kind, name) };
        const outcome = await this.store.commit(write, context.fence ? { fence: context.fence } : {});
        if (!outcome.ok) throw modified(kind, name);
        await this.writes.caughtUp(outcome.revision);
      }
      const metadata = { name, uid: '', resourceVersion: objectVersion(broken.modRevision) };
      return { object: { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata }, gone: true };
    });
  }

  private checkDeletePreconditions(kind: Kind, { object, row }: Live, { uid, resourceVersion }: DeleteOptions): void {
    const { name, uid: liveUid = '' } = object.metadata;
    if (uid !== undefined && uid !== liveUid) {
      throw conflict(kind, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${liveUid}`);
    }
    if (resourceVersion === undefined || resourceVersion === '') return;
    if (!/^\d{1,15}$/.test(resourceVersion)) throw badRequest('preconditions.resourceVersion is not one of ours');
    if (row.modRevision > revisionSeen(Number(resourceVersion))) throw modified(kind, name);
  }

  /** Stores what was admitted, or nothing when there is nothing new in it. The last finalizer that goes takes a marked object along. */
  private putting(
    desk: Desk,
    live: Live | undefined,
    { object, form: shown, changed, compares }: Admitted,
    { warnings, clear = new Map() }: Candidate,
    context: WriteContext,
  ): Decision<ObjectWritten> {
    const { dryRun = false } = context;
    const created = live === undefined;
    const result = { created, changed, warnings };
    if (live !== undefined && !changed) return { done: { ...result, object: live.joined, ownRevision: live.row.modRevision } };
    const isSecret = desk.kind.plural === 'secrets';
    const form = isSecret ? { stored: sealed(this.secretBox, shown.stored, clear, live?.row.value) } : shown;
    if (dryRun) return { done: { ...result, object: this.joinedAs(object, live?.joined, live?.joined.metadata.resourceVersion) } };

    const { name, uid } = object.metadata;
    const own = this.unchanged(desk, live, name);
    const committed = (revision: number) => ({ ...result, object: this.seen(desk, object, live, revision), ownRevision: revision });
    if (live !== undefined && object.metadata.deletionTimestamp && this.nothingHolds(desk, live, object)) {
      return { write: { compares: [own], operations: deleteOperations(this.keys, desk.kind, name) }, committed };
    }

    const hash = form.stored.textHash;
    const beginsToName = hash !== undefined && hash !== live?.row.value.textHash;
    const witness = beginsToName ? this.writes.texts.witness(hash) : undefined;
    const puts = beginsToName && witness === undefined;
    return {
      write: {
        compares: [own, ...compares, ...(witness ? [witness] : []), ...this.guards(context)],
        operations: putOperations(this.keys, desk.kind, form, puts),
      },
      committed,
      names: beginsToName ? { hash, puts } : undefined,
      // Only a create can be told from everybody else's writes: by its uid.
      wrote: created ? ({ value }) => value.includes(JSON.stringify(uid)) : undefined,
    };
  }

  /** Secrets show masks from here on; their values go beside them. Every other kind is taken as it is. */
  private takenIn({ kind }: Desk, candidate: Candidate, name: string): Candidate {
    if (kind.plural !== 'secrets') return candidate;
    const { metadata, ...rest } = candidate.object;
    return { ...candidate, ...takeIn(this.secretBox, { ...rest, metadata: { ...metadata, name } }) };
  }

  private nothingHolds({ kind }: Desk, { row }: Live, { metadata }: WholeObject): boolean {
    return waitsFor(this.cache, kind, { ...row, value: { ...row.value, metadata } }).length === 0;
  }

  private unchanged({ kind }: Desk, live: Live | undefined, name = live?.object.metadata.name ?? ''): Compare {
    return { key: this.keys.object(kind.plural, name), modRevision: live?.row.modRevision ?? 0 };
  }

  /** What was decided about another object holds only while that one is as it was. */
  private guards({ onlyWhile }: WriteContext): Compare[] {
    if (onlyWhile === undefined) return [];
    const { plural, name, modRevision } = onlyWhile;
    if (this.cache.object(plural, name)?.modRevision === modRevision) return [{ key: this.keys.object(plural, name), modRevision }];
    throw new StatusError('Conflict', `${plural} ${JSON.stringify(name)} has changed meanwhile`, { kind: plural, name });
  }

  /** What was written, with the status that the cache has for it by now. */
  private seen({ kind }: Desk, object: WholeObject, live: Live | undefined, revision: number): Joined {
    const { name, uid } = object.metadata;
    const joined = this.cache.joined(kind.plural, name);
    if (joined !== undefined && this.cache.object(kind.plural, name)?.modRevision === revision) return joined;
    // Somebody wrote it again already, or it is gone: the answer is still about this write.
    return this.joinedAs(object, joined?.metadata.uid === uid ? joined : live?.joined, objectVersion(revision));
  }

  private joinedAs(object: WholeObject, from: Joined | undefined, resourceVersion: string | undefined): Joined {
    const metadata = { ...object.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    // A dry run that would create has no version to show: clients tell by that (kubernetes-wire 9).
    return { ...object, metadata, ...(from?.status === undefined ? {} : { status: from.status }) } as Joined;
  }

  private desk(plural: string, { manager }: WriteContext): Desk {
    const desk = this.desks.get(plural);
    if (!desk) throw new StatusError('NotFound', 'the server could not find the requested resource');
    if (!desk.kind.writable) {
      throw new StatusError(
        'MethodNotAllowed',
        `${plural} are written by the system: the server does not allow this method on the requested resource`,
      );
    }
    const problem =
      manager === '' ? 'Required value' : manager.length > doorLimits.maxManagerLength ? 'Too long: at most 128 characters' : undefined;
    if (problem === undefined) return desk;
    const field = 'fieldManager';
    throw new StatusError('Invalid', `PatchOptions.meta.k8s.io "" is invalid: ${field}: ${problem}`, {
      causes: [{ reason: manager === '' ? 'FieldValueRequired' : 'FieldValueTooLong', message: problem, field }],
    });
  }
}

const metadataOf = (document: JsonObject): JsonObject => (isObject(document.metadata) ? document.metadata : {});

/** Without vowels and look-alikes, as Kubernetes does: no words, no mistakes in reading aloud. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
const unitSuffix = new RegExp(`^(.*)(\\.(?:${unitTypes.join('|')}))$`);

/** `web-` becomes `web-x7k2p`; a name that ends in a unit type keeps it at its end: `web-.service` becomes `web-x7k2p.service`. */
function generatedName(prefix: string, random: Random): string {
  const suffix = Array.from({ length: 5 }, () => alphabet[Math.floor(random() * alphabet.length)]).join('');
  const [, stem, type] = unitSuffix.exec(prefix) ?? [];
  return stem === undefined ? prefix + suffix : stem + suffix + type;
}
