/**
 * The one way to write an object (SEMANTICS 6): HTTP and controllers come through here alike. Every write is decided on what the cache
 * holds, committed on condition that it still is so, and decided anew when it was not. An answer that depends on what there is ("unchanged",
 * a conflict, "not found") is confirmed in the store before it is given, since the cache may be behind another server's writes.
 */
import { randomUUID } from 'node:crypto';
import { type Clock, type Random, systemClock } from '../../runtime/clock.js';
import { type Logger, silentLogger } from '../../runtime/log.js';
import { type Compare, type Entry, OutcomeUnknown, type Store, StoreUnavailable, type Write } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { apiVersionOf } from '../resources/registry.js';
import { unitTypes } from '../resources/unit-name.js';
import { Admission, type Admitted, type Live, liveOf, UnmetReference } from './admission.js';
import { type Candidate, readCandidate } from './candidate.js';
import { isObject, type JsonObject, unsafeJson } from './json.js';
import { KeyedMutex } from './keyed-mutex.js';
import { type Patch, patched } from './patch.js';
import type { BrokenRow, ClusterCache, DeleteOptions, Joined, ObjectDoor, ObjectWritten, WriteContext } from './ports.js';
import { followersOf, isAssignable, someOf, waitsFor } from './references.js';
import { objectVersion, revisionSeen } from './resource-version.js';
import { SchemaCheck } from './schema-check.js';
import { badRequest, conflict, invalid, modified, notFound } from './status-errors.js';
import { deleteOperations, putOperations, type WholeObject } from './storage.js';

export interface ObjectDoorOptions {
  readonly kinds: readonly Kind[];
  readonly cache: ClusterCache;
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly keys: Keys;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Makes the uids of objects. */
  readonly uuid?: () => string;
  readonly log?: Logger;
}

export const doorLimits = {
  /** Races that one write may lose against other servers before it gives up. */
  maxAttempts: 30,
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

/** What one look at the cache led to: nothing to do, or a write that holds as long as its compares do. */
type Decision<T> =
  | { readonly done: T; readonly reads?: readonly Compare[] }
  | { readonly write: Write; readonly committed: (revision: number) => Promise<T>; readonly wrote?: (entry: Entry | undefined) => boolean };

class Door implements ObjectDoor {
  private readonly desks: ReadonlyMap<string, Desk>;
  private readonly cache: ClusterCache;
  private readonly keys: Keys;
  private readonly store: Pick<Store, 'get' | 'commit'>;
  private readonly random: Random;
  private readonly log: Logger;
  private readonly mutex = new KeyedMutex();

  constructor({
    kinds,
    cache,
    store,
    keys,
    clock = systemClock,
    random = Math.random,
    uuid = randomUUID,
    log = silentLogger,
  }: ObjectDoorOptions) {
    this.cache = cache;
    this.store = store;
    this.keys = keys;
    this.random = random;
    this.log = log;
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

  private createNamed(desk: Desk, candidate: Candidate, name: string, context: WriteContext): Promise<ObjectWritten> {
    return this.decided(desk, name, context, (live) => {
      const admitted = desk.admission.create(candidate, name, context);
      return this.putting(desk, live, admitted, candidate.warnings, context);
    });
  }

  async update(plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const candidate = readCandidate(desk.kind, desk.schema, body, name, context.fieldValidation);
    return this.decided(desk, name, context, (live) => {
      if (!live) throw notFound(desk.kind, name);
      return this.putting(desk, live, desk.admission.update(live, candidate, context), candidate.warnings, context);
    });
  }

  async patch(plural: string, name: string, patch: Patch, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const unsafe = unsafeJson(patch.body);
    if (unsafe !== undefined) throw badRequest(`the patch cannot be taken: ${unsafe}`);
    return this.decided(desk, name, context, (live) => {
      if (!live) throw notFound(desk.kind, name);
      const { resourceVersion: shown } = live.joined.metadata;
      const document = patched(live.joined as unknown as JsonObject, patch);
      const read = readCandidate(desk.kind, desk.schema, document, name, context.fieldValidation);
      // A version that the patch did not touch is the one just shown to it: no condition of the client's.
      const candidate = metadataOf(document).resourceVersion === shown ? { ...read, resourceVersion: undefined } : read;
      return this.putting(desk, live, desk.admission.update(live, candidate, context), candidate.warnings, context);
    });
  }

  async apply(plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten> {
    const desk = this.desk(plural, context);
    const candidate = readCandidate(desk.kind, desk.schema, body, name, context.fieldValidation);
    return this.decided(desk, name, context, (live) =>
      this.putting(desk, live, desk.admission.apply(live, candidate, name, context), candidate.warnings, context),
    );
  }

  async remove(plural: string, name: string, options: DeleteOptions, context: WriteContext): Promise<{ object: Joined; gone: boolean }> {
    const desk = this.desk(plural, context);
    if (this.brokenRow(desk.kind, name)) return this.removeBroken(desk.kind, name, context);
    const marked = await this.decided(desk, name, context, (live) => this.marking(desk, live, name, options, context));
    if (marked.gone || context.dryRun) return marked;
    // From here on nothing new can come to depend on it: whoever would compares its revision or sees the mark (decisions/0005).
    return this.decided(desk, name, context, (live) => {
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
    if (!isAssignable(kind) && waitsFor(this.cache, kind, live.row).length === 0) {
      return context.dryRun ? { done: { object: live.joined, gone: true } } : this.deleting(desk, live);
    }
    // Zero seconds of grace, as kubectl's --force says it, tells the leader not to wait for machines that do not answer (SEMANTICS 8).
    const forced = context.force === true && metadata.deletionGracePeriodSeconds !== 0;
    if (isMarked && !forced) return { done: { object: live.joined, gone: false } };
    const object: WholeObject = {
      ...live.object,
      metadata: {
        ...metadata,
        deletionTimestamp: metadata.deletionTimestamp ?? desk.admission.now(),
        ...(context.force ? { deletionGracePeriodSeconds: 0 } : {}),
        ...(live.managedFields.length > 0 ? { managedFields: [...live.managedFields] } : {}),
      },
    };
    if (context.dryRun) return { done: { object: this.joinedAs(object, live.joined, live.joined.metadata.resourceVersion), gone: false } };
    const stored = { ...live.row.value, metadata: object.metadata };
    return {
      write: { compares: [this.unchanged(desk, live)], operations: putOperations(this.keys, kind, { stored }, stored.textHash) },
      committed: async (revision) => ({ object: await this.seen(desk, object, live, revision), gone: false }),
    };
  }

  private deleting(desk: Desk, live: Live): Decision<{ object: Joined; gone: boolean }> {
    const { kind } = desk;
    return {
      write: { compares: [this.unchanged(desk, live)], operations: deleteOperations(this.keys, kind, live.object.metadata.name) },
      committed: async (revision) => {
        await this.caughtUp(revision);
        return { object: live.joined, gone: true };
      },
    };
  }

  /** What cannot be read can still be thrown away, once nothing on a machine depends on it: nothing else would ever get rid of it. */
  private removeBroken(kind: Kind, name: string, context: WriteContext): Promise<{ object: Joined; gone: boolean }> {
    const key = this.keys.object(kind.plural, name);
    return this.mutex.run(key, () =>
      asStatus(kind, name, async () => {
        const broken = this.brokenRow(kind, name);
        if (!broken) throw modified(kind, name);
        const machines = isAssignable(kind) ? [...this.cache.assignmentsOf(name).keys()] : [];
        if (machines.length > 0) throw conflict(kind, name, `it cannot be read, and is still on ${someOf(machines, 'machine').join(', ')}`);
        if (!context.dryRun) {
          const write = { compares: [{ key, modRevision: broken.modRevision }], operations: deleteOperations(this.keys, kind, name) };
          const outcome = await this.store.commit(write, context.fence ? { fence: context.fence } : {});
          if (!outcome.ok) throw modified(kind, name);
          await this.caughtUp(outcome.revision);
        }
        const metadata = { name, uid: '', resourceVersion: objectVersion(broken.modRevision) };
        return { object: { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata }, gone: true };
      }),
    );
  }

  private brokenRow(kind: Kind, name: string): BrokenRow | undefined {
    return this.cache.broken.get(this.keys.object(kind.plural, name));
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
    { object, form, changed, compares }: Admitted,
    warnings: readonly string[],
    { dryRun = false }: WriteContext,
  ): Decision<ObjectWritten> {
    const created = live === undefined;
    const result = { created, changed, warnings };
    if (live !== undefined && !changed) return { done: { ...result, object: live.joined }, reads: compares };
    if (dryRun)
      return { done: { ...result, object: this.joinedAs(object, live?.joined, live?.joined.metadata.resourceVersion) }, reads: compares };

    const endsNow = live !== undefined && Boolean(object.metadata.deletionTimestamp) && this.nothingHolds(desk, live, object);
    const operations = endsNow
      ? deleteOperations(this.keys, desk.kind, object.metadata.name)
      : putOperations(this.keys, desk.kind, form, live?.row.value.textHash);
    return {
      write: { compares: [this.unchanged(desk, live, object.metadata.name), ...compares], operations },
      committed: async (revision) => ({ ...result, object: await this.seen(desk, object, live, revision) }),
      // Only a create can be told from everybody else's writes: by its uid.
      ...(created ? { wrote: (entry: Entry | undefined) => entry?.value.includes(JSON.stringify(object.metadata.uid)) === true } : {}),
    };
  }

  private nothingHolds({ kind }: Desk, { row }: Live, { metadata }: WholeObject): boolean {
    return waitsFor(this.cache, kind, { ...row, value: { ...row.value, metadata } }).length === 0;
  }

  private unchanged({ kind }: Desk, live: Live | undefined, name = live?.object.metadata.name ?? ''): Compare {
    return { key: this.keys.object(kind.plural, name), modRevision: live?.row.modRevision ?? 0 };
  }

  /** Decides, writes, and decides again while somebody else was faster: one caller at a time per object of this process. */
  private decided<T>({ kind }: Desk, name: string, context: WriteContext, decide: (live: Live | undefined) => Decision<T>): Promise<T> {
    const key = this.keys.object(kind.plural, name);
    if (!isPathSegment(name)) {
      return Promise.reject(
        invalid(kind, name.slice(0, maxNameLength), [
          {
            field: 'metadata.name',
            message: `Invalid value: it must have at most ${maxNameLength} characters and no "/", and cannot be "." or ".."`,
          },
        ]),
      );
    }
    return this.mutex.run(key, () =>
      asStatus(kind, name, async () => {
        for (let attempt = 1; attempt <= doorLimits.maxAttempts; attempt++) {
          const live = this.live(kind, name);
          const own = { key, modRevision: live?.row.modRevision ?? 0 };
          let decision: Decision<T>;
          try {
            decision = decide(live);
          } catch (error) {
            const reads = error instanceof UnmetReference ? [own, ...error.reads] : [own];
            if (await this.isCurrent(reads)) throw error instanceof UnmetReference ? error.status : error;
            continue;
          }
          if ('done' in decision) {
            if (await this.isCurrent([own, ...(decision.reads ?? [])])) return decision.done;
            continue;
          }
          const outcome = await this.commit(decision.write, key, decision.wrote, context);
          if (outcome.ok) return decision.committed(outcome.revision);
          this.log.debug('lost a race', { kind: kind.kind, name, attempt });
          await this.cache.untilRevision(outcome.revision);
        }
        throw conflict(kind, name, `other writers were faster ${doorLimits.maxAttempts} times; please try again`);
      }),
    );
  }

  private async commit(write: Write, key: string, wrote: ((entry: Entry | undefined) => boolean) | undefined, { fence }: WriteContext) {
    try {
      return await this.store.commit(write, fence ? { fence } : {});
    } catch (error) {
      if (!(error instanceof OutcomeUnknown) || !wrote) throw error;
      const { entry } = await this.store.get(key);
      if (entry === undefined || !wrote(entry)) throw error;
      return { ok: true, revision: entry.modRevision } as const;
    }
  }

  /** Whether the store still has what the cache showed; waits for the cache to catch up when it has not. */
  private async isCurrent(reads: readonly Compare[]): Promise<boolean> {
    for (const read of reads) {
      const { entry, revision } = await this.store.get(read.key);
      if ('modRevision' in read && (entry?.modRevision ?? 0) === read.modRevision) continue;
      await this.cache.untilRevision(entry?.modRevision ?? revision);
      return false;
    }
    return true;
  }

  private live(kind: Kind, name: string): Live | undefined {
    const broken = this.cache.broken.get(this.keys.object(kind.plural, name));
    if (broken)
      throw new StatusError('InternalError', `what is stored of ${kind.kind} ${JSON.stringify(name)} cannot be read: ${broken.message}`);
    return liveOf(this.cache, kind, name);
  }

  /** What was written, with the status that the cache has for it by now. */
  private async seen({ kind }: Desk, object: WholeObject, live: Live | undefined, revision: number): Promise<Joined> {
    await this.caughtUp(revision);
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

  /** The write has happened: a cache that lags is no reason to tell the client otherwise. */
  private async caughtUp(revision: number): Promise<void> {
    try {
      await this.cache.untilRevision(revision);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.log.warn('the cache is behind a write of this server', { revision, behind: this.cache.revision });
    }
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

/** What the store says of itself, in a client's terms. Losing the leadership is its holder's own matter. */
async function asStatus<T>(kind: Kind, name: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    const what = `${kind.kind} ${JSON.stringify(name)}`;
    if (error instanceof StoreUnavailable) {
      throw new StatusError('ServiceUnavailable', `${what} was not written: ${error.message}`, { retryAfterSeconds: 1 });
    }
    if (error instanceof OutcomeUnknown) {
      throw new StatusError('Timeout', `${what} may or may not have been written: ${error.message}; it is safe to repeat the request`, {
        retryAfterSeconds: 1,
      });
    }
    throw error;
  }
}

const maxNameLength = 256;
/** A name is a step of URLs and of keys in the store, whatever else its kind asks of it. */
const isPathSegment = (name: string): boolean => name.length <= maxNameLength && !name.includes('/') && name !== '.' && name !== '..';

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
