/**
 * The half of the object door that takes objects away: the mark, and the deletion of what nothing depends on any more (SEMANTICS 8,
 * docs/decisions/0005). What is marked and stays is the leader's to carry through.
 */
import type { Store } from '../../runtime/store/store.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { apiVersionOf } from '../resources/registry.js';
import type { Live } from './admission.js';
import type { ConditionalWrites, Decision } from './conditional-write.js';
import { type Desk, joinedAs } from './desk.js';
import { sameJson } from './json.js';
import type { ClusterCache, DeleteOptions, Joined, WriteContext } from './ports.js';
import { finalizersFor, followersOf, gainsDependents, isAssignable, machinesOf, someOf, waitsFor } from './references.js';
import { objectVersion, revisionSeen } from './resource-version.js';
import { badRequest, conflict, modified, notFound } from './status-errors.js';
import { deleteOperations, putOperations, type WholeObject } from './storage.js';

export interface Removed {
  /** As it last was, or as it is marked. */
  readonly object: Joined;
  readonly gone: boolean;
}

export interface DeletionsPorts {
  readonly cache: ClusterCache;
  readonly keys: Keys;
  readonly store: Pick<Store, 'commit'>;
  readonly writes: ConditionalWrites;
}

export class Deletions {
  constructor(private readonly ports: DeletionsPorts) {}

  /** @throws StatusError */
  async remove(desk: Desk, name: string, options: DeleteOptions, context: WriteContext): Promise<Removed> {
    if (this.ports.writes.brokenRow(desk.kind, name)) return this.removeBroken(desk.kind, name, options, context);
    const marked = await this.ports.writes.run(desk.kind, name, context.fence, (live) => this.marking(desk, live, name, options, context));
    if (marked.gone || context.dryRun) return marked;
    // From here on nothing new can come to depend on it: whoever would compares its revision or sees the mark (decisions/0005).
    return this.ports.writes.run(desk.kind, name, context.fence, (live) => {
      if (!live || live.object.metadata.uid !== marked.object.metadata.uid) return { done: { ...marked, gone: true } };
      if (waitsFor(this.ports.cache, desk.kind, this.asItStands(live)).length > 0) return { done: { object: live.joined, gone: false } };
      return this.deleting(desk, live);
    });
  }

  /** The first half of a deletion: the mark, or the whole of it where nothing can depend on the object. */
  private marking(desk: Desk, live: Live | undefined, name: string, options: DeleteOptions, context: WriteContext): Decision<Removed> {
    const { kind } = desk;
    if (!live) throw notFound(kind, name);
    this.checkDeletePreconditions(kind, live, options);
    const { metadata } = live.object;
    const isMarked = Boolean(metadata.deletionTimestamp);
    const followers = isMarked ? [] : followersOf(this.ports.cache, kind, name);
    if (followers.length > 0) {
      throw conflict(kind, name, `it is the template of ${someOf(followers, 'unit').join(', ')}: delete what follows it first`);
    }
    const finalizers = this.finalizersOf(kind, live, options);
    const isDecidedAnew = !sameJson(finalizers, metadata.finalizers ?? []);
    const row = isDecidedAnew ? { ...live.row, value: { ...live.row.value, metadata: { ...metadata, finalizers } } } : live.row;
    if (!gainsDependents(kind) && waitsFor(this.ports.cache, kind, row).length === 0) {
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
    if (context.dryRun) return { done: { object: joinedAs(object, live.joined, live.joined.metadata.resourceVersion), gone: false } };
    const stored = { ...live.row.value, metadata: object.metadata };
    return {
      write: {
        compares: [desk.unchanged(live), ...desk.guards(context)],
        operations: putOperations(this.ports.keys, kind, { stored }, false),
      },
      committed: (revision) => ({ object: desk.seen(object, live, revision), gone: false }),
    };
  }

  private finalizersOf(kind: Kind, live: Live, { propagationPolicy }: DeleteOptions): string[] {
    const { finalizers = [] } = live.object.metadata;
    // Units of a set that nobody here has heard of yet are to be let go of as well.
    const mayHave = kind.plural === 'unitsets' || this.hasDependents(live);
    return finalizersFor(finalizers, propagationPolicy, mayHave);
  }

  private hasDependents({ object: { metadata } }: Live): boolean {
    const [dependent] = metadata.uid === undefined ? [] : this.ports.cache.dependentsOf(metadata.uid);
    return dependent !== undefined;
  }

  /** Without dependents there is nobody to tell what becomes of them, and nothing to wait for on that account. */
  private asItStands(live: Live): Live['row'] {
    const { row } = live;
    if (this.hasDependents(live)) return row;
    const { finalizers = [], ...metadata } = row.value.metadata;
    return { ...row, value: { ...row.value, metadata: { ...metadata, finalizers: finalizersFor(finalizers, 'Background', false) } } };
  }

  private deleting(desk: Desk, live: Live, context: WriteContext = { manager: '' }): Decision<Removed> {
    const { kind } = desk;
    const compares = [desk.unchanged(live), ...desk.guards(context)];
    return {
      write: { compares, operations: deleteOperations(this.ports.keys, kind, live.object.metadata.name) },
      committed: () => ({ object: live.joined, gone: true }),
    };
  }

  /** What cannot be read can still be thrown away, once nothing on a machine depends on it: nothing else would ever get rid of it. */
  private removeBroken(kind: Kind, name: string, options: DeleteOptions, context: WriteContext): Promise<Removed> {
    return this.ports.writes.exclusively(kind, name, async (key) => {
      const broken = this.ports.writes.brokenRow(kind, name);
      if (!broken) throw modified(kind, name);
      // What is asked for has to be known before it can be promised.
      if (options.uid !== undefined) throw conflict(kind, name, 'it cannot be read, so nobody knows whether it has that uid');
      if (options.propagationPolicy === 'Orphan') throw conflict(kind, name, 'it cannot be read, so what it owns cannot be let go of');
      this.checkVersion(kind, name, broken.modRevision, options);
      const machines = isAssignable(kind) ? machinesOf(this.ports.cache, name) : [];
      if (machines.length > 0) throw conflict(kind, name, `it cannot be read, and is still on ${someOf(machines, 'machine').join(', ')}`);
      if (!context.dryRun) {
        const write = { compares: [{ key, modRevision: broken.modRevision }], operations: deleteOperations(this.ports.keys, kind, name) };
        const outcome = await this.ports.store.commit(write, context.fence ? { fence: context.fence } : {});
        if (!outcome.ok) throw modified(kind, name);
        await this.ports.writes.caughtUp(outcome.revision);
      }
      const metadata = { name, uid: '', resourceVersion: objectVersion(broken.modRevision) };
      return { object: { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata }, gone: true };
    });
  }

  private checkDeletePreconditions(kind: Kind, { object, row }: Live, options: DeleteOptions): void {
    const { uid } = options;
    const { name, uid: liveUid = '' } = object.metadata;
    if (uid !== undefined && uid !== liveUid) {
      throw conflict(kind, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${liveUid}`);
    }
    this.checkVersion(kind, name, row.modRevision, options);
  }

  private checkVersion(kind: Kind, name: string, modRevision: number, { resourceVersion }: DeleteOptions): void {
    if (resourceVersion === undefined || resourceVersion === '') return;
    if (!/^\d{1,15}$/.test(resourceVersion)) throw badRequest('preconditions.resourceVersion is not one of ours');
    if (modRevision > revisionSeen(Number(resourceVersion))) throw modified(kind, name);
  }
}
