/**
 * Garbage collection by owner references: what an owner that is being deleted asks for its dependents is carried out, and what names
 * owners that are not there is cleared up. Each object is looked at by itself, as owner and as dependent.
 */

import { Freshness } from '../../api/objects/freshness.js';
import type { CacheBatch, ObjectDoor, ObjectId, Row, StoredObject, WriteContext } from '../../api/objects/ports.js';
import { waitsFor } from '../../api/objects/references.js';
import { objectVersion } from '../../api/objects/resource-version.js';
import { StatusError } from '../../api/resources/errors.js';
import { storedPlurals } from '../../api/resources/keys.js';
import { controllerOf } from '../../api/resources/owners.js';
import { kindByPlural } from '../../api/resources/registry.js';
import type { Fence, Store } from '../../runtime/store/store.js';
import { type Outcome, settled } from '../../runtime/work-queue.js';
import type { EventRecorder } from '../events.js';
import { type LoopPorts, runKeyedLoop } from '../keyed-loop.js';
import { areTooMany, type OwnerStep, planDependent, planOwner } from './plan.js';
import { type Census, census, ownerFacts, ownerId, standingOf } from './read.js';

export const ownersLimits = {
  sweepEveryMs: 60_000,
  /** Objects that are looked at at a time, and dependents of one that are written at a time. */
  objectsAtATime: 16,
  writesAtATime: 100,
  /** An owner has to be missing for this long before that counts: what vanishes one by one may be many. */
  graceMs: 60_000,
  /** The owners of all objects are counted at most this often, however many have lost theirs: what counts has been so for the grace. */
  censusEveryMs: 1_000,
  /** A race was lost: look again. */
  againMs: 100,
};

export const ownersManager = 'owner-references';

export interface OwnersOptions extends LoopPorts {
  readonly door: ObjectDoor;
  readonly store: Pick<Store, 'revision'>;
  readonly fence: Fence;
  readonly events: EventRecorder;
  /** While caution lasts, nothing is pruned (SEMANTICS 22). */
  readonly isCautious: () => boolean;
  readonly limits?: Partial<typeof ownersLimits>;
}

export function runOwners(options: OwnersOptions): Promise<void> {
  const limits = { ...ownersLimits, ...options.limits };
  const controller = new Owners(options, limits);
  return runKeyedLoop({
    ...options,
    name: 'owners',
    concurrency: limits.objectsAtATime,
    sweepEveryMs: limits.sweepEveryMs,
    keysOf: (batch) => controller.touchedBy(batch),
    everything: () => controller.everything(),
    work: (key) => controller.look(key),
  });
}

class Owners {
  /** Object → when an owner of it was first seen to be missing, by the monotonic clock. */
  readonly #missedSince = new Map<string, number>();
  readonly #freshness: Freshness;
  #counted: { readonly atMs: number; readonly owners: Census } | undefined;

  constructor(
    private readonly options: OwnersOptions,
    private readonly limits: typeof ownersLimits,
  ) {
    this.#freshness = new Freshness(options.store, options.cache);
  }

  *everything(): Generator<string> {
    for (const key of this.#missedSince.keys()) if (this.#rowOf(key) === undefined) this.#missedSince.delete(key);
    for (const plural of storedPlurals) {
      for (const [name, { value }] of this.options.cache.objects(plural)) {
        if (value.metadata.deletionTimestamp || value.metadata.ownerReferences?.length) yield `${plural}/${name}`;
      }
    }
  }

  *touchedBy({ changes }: CacheBatch): Generator<string> {
    const { cache } = this.options;
    for (const change of changes) {
      if (change.table !== 'object') continue;
      const rows = [change.row, change.previous] as readonly (Row<StoredObject> | undefined)[];
      const [after, before] = rows.map((row) => row?.value.metadata);
      const references = [...(after?.ownerReferences ?? []), ...(before?.ownerReferences ?? [])];
      if (after && (after.deletionTimestamp || after.ownerReferences?.length)) yield `${change.plural}/${change.name}`;
      for (const reference of references) {
        const owner = ownerId(reference);
        if (owner && standingOf(cache, reference) === 'going') yield `${owner.plural}/${owner.name}`;
      }
      if (!after && before?.uid) for (const { plural, name } of cache.dependentsOf(before.uid)) yield `${plural}/${name}`;
    }
  }

  #rowOf(key: string): Row<StoredObject> | undefined {
    const { plural, name } = idOf(key);
    return this.options.cache.object(plural, name);
  }

  async look(key: string): Promise<Outcome> {
    const { plural, name } = idOf(key);
    if (kindByPlural(plural)?.writable !== true) return settled;
    try {
      const row = this.#rowOf(key);
      const outcome = row?.value.metadata.ownerReferences?.length ? await this.#asDependent(key, plural, name, row) : settled;
      const now = this.#rowOf(key);
      if (now?.value.metadata.deletionTimestamp) await this.#asOwner(plural, name, now);
      return outcome;
    } catch (error) {
      const isRace = error instanceof StatusError && ['Conflict', 'NotFound', 'AlreadyExists'].includes(error.reason);
      if (!isRace) throw error;
      return { next: 'again', afterMs: this.limits.againMs, why: error.message };
    }
  }

  get #context(): WriteContext {
    return { manager: ownersManager, fence: this.options.fence };
  }

  async #asOwner(plural: string, name: string, row: Row<StoredObject>): Promise<void> {
    const steps = planOwner(ownerFacts(this.options.cache, row.value.metadata));
    for (let from = 0; from < steps.length; from += this.limits.writesAtATime) {
      await Promise.all(steps.slice(from, from + this.limits.writesAtATime).map((step) => this.#take(step, plural, name, row)));
    }
  }

  async #take(step: OwnerStep, plural: string, name: string, row: Row<StoredObject>): Promise<void> {
    const { cache, door } = this.options;
    const { uid = '' } = row.value.metadata;
    switch (step.do) {
      case 'delete': {
        const { dependent, foreground } = step;
        // Only while the owner is as it was: its keeper may have thought better of what becomes of the dependents.
        const onlyWhile = { plural, name, modRevision: row.modRevision };
        const policy = foreground ? 'Foreground' : 'Background';
        const options = { uid: dependent.uid, propagationPolicy: policy } as const;
        await door.remove(dependent.plural, dependent.name, options, { ...this.#context, onlyWhile });
        return;
      }
      case 'release':
        await this.#release(step.dependent.plural, step.dependent.name, [uid]);
        return;
      case 'unfinalize': {
        const finalizers = (row.value.metadata.finalizers ?? []).filter((finalizer) => finalizer !== step.finalizer);
        await this.#patch(plural, name, row, { finalizers: orNull(finalizers) });
        return;
      }
      case 'remove': {
        const kind = kindByPlural(plural)!;
        if (waitsFor(cache, kind, row).length === 0) await door.remove(plural, name, { uid }, this.#context);
        return;
      }
    }
  }

  /** Takes owners out of the references of an object, which stays. */
  async #release(plural: string, name: string, owners: readonly string[]): Promise<void> {
    const row = this.options.cache.object(plural, name);
    if (row === undefined) return;
    const ownerReferences = (row.value.metadata.ownerReferences ?? []).filter(({ uid }) => !owners.includes(uid));
    await this.#patch(plural, name, row, { ownerReferences: orNull(ownerReferences) });
  }

  /** A list is replaced as a whole, so it is written only over the one that was read. */
  async #patch(plural: string, name: string, row: Row<StoredObject>, metadata: Readonly<Record<string, unknown>>): Promise<void> {
    const { uid } = row.value.metadata;
    const body = { metadata: { ...metadata, uid, resourceVersion: objectVersion(row.modRevision) } };
    await this.options.door.patch(plural, name, { type: 'merge', body }, this.#context);
  }

  /** What speaks for a loss rather than a deletion (invariant 13); undefined when nothing does. */
  #whyLeft({ value }: Row<StoredObject>): string | undefined {
    const { cache } = this.options;
    const controller = controllerOf(value.metadata);
    // A controller's own objects are told before it goes: one that is gone without a word was lost.
    if (controller !== undefined && standingOf(cache, controller) === 'absent') {
      return `${controller.kind} ${controller.name}, which controls it, is missing though nobody deleted it`;
    }
    const { all, absent } = this.#census();
    return areTooMany(absent, all) ? `${absent} of ${all} owners of objects are missing together, this one's among them` : undefined;
  }

  #census(): Census {
    const { cache, clock } = this.options;
    const nowMs = clock.monotonicMs();
    if (this.#counted === undefined || nowMs - this.#counted.atMs >= this.limits.censusEveryMs) {
      this.#counted = { atMs: nowMs, owners: census(cache) };
    }
    return this.#counted.owners;
  }

  async #asDependent(key: string, plural: string, name: string, row: Row<StoredObject>): Promise<Outcome> {
    const { cache, clock, door, events, isCautious, log } = this.options;
    const ownersOf = ({ value }: Row<StoredObject>) =>
      (value.metadata.ownerReferences ?? []).map((reference) => ({ uid: reference.uid, standing: standingOf(cache, reference) }));
    if (planDependent(ownersOf(row)) === 'keep') {
      this.#missedSince.delete(key);
      return settled;
    }
    const sinceMs = this.#missedSince.get(key) ?? clock.monotonicMs();
    this.#missedSince.set(key, sinceMs);
    const waitMs = sinceMs + this.limits.graceMs - clock.monotonicMs();
    if (waitMs > 0) return { next: 'again', afterMs: waitMs, why: 'an owner is missing, for less than the grace' };
    // Absence is a reason to look: the cache may lag behind another server's write.
    await this.#freshness.confirm();
    const now = cache.object(plural, name);
    if (now === undefined || now.value.metadata.uid !== row.value.metadata.uid || isCautious()) return settled;
    const verdict = planDependent(ownersOf(now));
    if (verdict === 'keep') return settled;
    const why = this.#whyLeft(now);
    if (why !== undefined) {
      log.error('owners are missing that nobody deleted; what they own is left as it is', { object: `${plural}/${name}`, why });
      const message = `${why}: it is left as it is. Delete it, or take its ownerReferences away.`;
      const about = { kind: now.value.kind, name, ...(now.value.metadata.uid === undefined ? {} : { uid: now.value.metadata.uid }) };
      events.record(about, 'Warning', 'OwnersMissing', message);
    } else if (verdict !== 'delete') await this.#release(plural, name, verdict);
    else if (!now.value.metadata.deletionTimestamp) {
      const { uid = '' } = now.value.metadata;
      await door.remove(
        plural,
        name,
        { uid, resourceVersion: objectVersion(now.modRevision), propagationPolicy: 'Background' },
        this.#context,
      );
    }
    return settled;
  }
}

/** A list with nothing in it is no field at all. */
const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list);

/** `plural/name`, and neither has a slash. */
const idOf = (key: string): ObjectId => {
  const slash = key.indexOf('/');
  return { plural: key.slice(0, slash), name: key.slice(slash + 1) };
};
