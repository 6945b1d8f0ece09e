/** The one way to write an object (SEMANTICS 6): HTTP and controllers come through here alike. docs/decisions/0005 says why it is as it is. */
import { randomUUID } from 'node:crypto';
import { type Clock, type Random, systemClock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { Store } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { unitTypes } from '../resources/unit-name.js';
import type { Admitted, Live } from './admission.js';
import { type Candidate, readCandidate, readPatched } from './candidate.js';
import { ConditionalWrites, type Decision } from './conditional-write.js';
import { Deletions, type Removed } from './deletion.js';
import { Desk, joinedAs } from './desk.js';
import { isObject, type JsonObject, unsafeJson } from './json.js';
import { type Patch, patched } from './patch.js';
import type { ClusterCache, DeleteOptions, ObjectDoor, ObjectWritten, WriteContext } from './ports.js';
import { waitsFor } from './references.js';
import type { SecretBox } from './secret-box.js';
import { sealed, takeIn } from './secrets.js';
import { badRequest, notFound } from './status-errors.js';
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

class Door implements ObjectDoor {
  private readonly desks: ReadonlyMap<string, Desk>;
  private readonly cache: ClusterCache;
  private readonly keys: Keys;
  private readonly random: Random;
  private readonly writes: ConditionalWrites;
  private readonly deletions: Deletions;
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
    this.keys = keys;
    this.random = random;
    this.writes = new ConditionalWrites({ cache, store, keys, ...(log ? { log } : {}) });
    this.deletions = new Deletions({ cache, store, keys, writes: this.writes });
    this.desks = new Map(kinds.map((kind) => [kind.plural, new Desk(kind, { cache, keys, clock, uuid })]));
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

  remove(plural: string, name: string, options: DeleteOptions, context: WriteContext): Promise<Removed> {
    return this.deletions.remove(this.desk(plural, context), name, options, context);
  }

  /** Stores what was admitted, or nothing when there is nothing new in it. The last finalizer that goes takes a marked object along. */
  private putting(
    desk: Desk,
    live: Live | undefined,
    { object, form: shown, changed, compares }: Admitted,
    { warnings: about, clear = new Map() }: Candidate,
    context: WriteContext,
  ): Decision<ObjectWritten> {
    const { dryRun = false } = context;
    const created = live === undefined;
    const warnings = changed ? [...about, ...(desk.kind.warnings?.(object) ?? [])] : about;
    const result = { created, changed, warnings };
    if (live !== undefined && !changed) return { done: { ...result, object: live.joined, ownRevision: live.row.modRevision } };
    const isSecret = desk.kind.plural === 'secrets';
    const form = isSecret ? { stored: sealed(this.secretBox, shown.stored, clear, live?.row.value) } : shown;
    if (dryRun) return { done: { ...result, object: joinedAs(object, live?.joined, live?.joined.metadata.resourceVersion) } };

    const { name, uid } = object.metadata;
    const own = desk.unchanged(live, name);
    const committed = (revision: number) => ({ ...result, object: desk.seen(object, live, revision), ownRevision: revision });
    if (live !== undefined && object.metadata.deletionTimestamp && this.nothingHolds(desk, live, object)) {
      return { write: { compares: [own], operations: deleteOperations(this.keys, desk.kind, name) }, committed };
    }

    const hash = form.stored.textHash;
    const beginsToName = hash !== undefined && hash !== live?.row.value.textHash;
    const witness = beginsToName ? this.writes.texts.witness(hash) : undefined;
    const puts = beginsToName && witness === undefined;
    return {
      write: {
        compares: [own, ...compares, ...(witness ? [witness] : []), ...desk.guards(context)],
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
