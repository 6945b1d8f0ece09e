/**
 * Keeps the units of each set as the set says. Everything is written through the object door with the leader's fence (SEMANTICS 6), and
 * only while the set is as it was when it was decided: a set that was scaled, changed or deleted in between makes the write fail, and is
 * looked at again. Nothing is remembered that could not be found out anew, so a leader that dies half way leaves nothing to clear up.
 */
import type { CacheBatch, Joined, ObjectDoor, ObjectWritten, Row, StoredObject, WriteContext } from '../../api/objects/ports.js';
import { objectVersion } from '../../api/objects/resource-version.js';
import { StatusError } from '../../api/resources/errors.js';
import { controllerOf } from '../../api/resources/owners.js';
import type { UnitSet } from '../../api/resources/unitset.js';
import { selectorOf } from '../../api/resources/unitset-kind.js';
import { setNamesOf } from '../../api/resources/unitset-names.js';
import type { Fence, Store } from '../../runtime/store/store.js';
import { type Outcome, settled } from '../../runtime/work-queue.js';
import { fragmentRevision } from '../assignments/read.js';
import { fragmentWrite } from '../assignments/write.js';
import type { EventRecorder } from '../events.js';
import { type LoopPorts, runKeyedLoop } from '../keyed-loop.js';
import { sentence } from '../sentences.js';
import { type Member, memberManifest, planSet, type SetFacts } from './plan.js';
import { readSet } from './read.js';
import { statusOf, type UnitSetFragment } from './status.js';

export const unitSetLimits = {
  /** The sweep that finds what no event told of. */
  sweepEveryMs: 30_000,
  /** Sets that are worked on at a time, and units of one that are written at a time. */
  setsAtATime: 4,
  writesAtATime: 100,
  /** A status that differs in counts only is written at most this often. */
  countsEveryMs: 500,
  /** A race was lost: look again. */
  againMs: 100,
};

/** Field manager of what a set gives to its units. */
export const unitSetManager = 'unitset-controller';

export interface UnitSetsOptions extends LoopPorts {
  readonly door: ObjectDoor;
  readonly store: Pick<Store, 'commit'>;
  readonly fence: Fence;
  readonly events: EventRecorder;
  readonly limits?: Partial<typeof unitSetLimits>;
}

export function runUnitSets(options: UnitSetsOptions): Promise<void> {
  const { cache } = options;
  const limits = { ...unitSetLimits, ...options.limits };
  const controller = new UnitSets(options, limits);
  return runKeyedLoop({
    ...options,
    name: 'unitsets',
    concurrency: limits.setsAtATime,
    sweepEveryMs: limits.sweepEveryMs,
    keysOf: (batch) => controller.setsOf(batch),
    everything() {
      controller.forgetRefusals();
      return cache.objects('unitsets').keys();
    },
    work: (name, signal) => controller.look(name, signal),
  });
}

/** Hints that spare work; whatever is missing here is found out again. */
interface Memory {
  readonly uid: string;
  /** Unit → revision of its own key at which it is as the set made it. */
  readonly verified: Map<string, number>;
  /** Unit → why the door did not take it, and for which revision of the set. */
  readonly refused: Map<string, { readonly why: string; readonly setRevision: number }>;
  statusAtMs: number;
}

interface Target {
  readonly set: UnitSet;
  readonly row: Row<StoredObject>;
  readonly memory: Memory;
  readonly facts: SetFacts;
  readonly context: WriteContext;
}

class UnitSets {
  readonly #memories = new Map<string, Memory>();

  constructor(
    private readonly options: UnitSetsOptions,
    private readonly limits: typeof unitSetLimits,
  ) {}

  /** Sets that have to be looked at because of these changes. */
  *setsOf({ changes }: CacheBatch): Generator<string> {
    for (const change of changes) {
      if (change.table === 'object' && change.plural === 'unitsets') yield change.name;
      else if (change.table === 'object' && change.plural === 'units') yield* this.#setsAround(change.name, change.row, change.previous);
      else if (change.table === 'state') yield* this.#setOf(change.unit);
      else if (change.table === 'condition' && change.plural === 'units') yield* this.#setOf(change.name);
    }
  }

  /** Whoever owned it, owns it, or wants its name. */
  *#setsAround(unit: string, ...rows: readonly (Row<unknown> | undefined)[]): Generator<string> {
    const { cache } = this.options;
    for (const row of rows) {
      const owner = row && controllerOf((row.value as StoredObject).metadata);
      if (owner?.kind === 'UnitSet') yield owner.name;
    }
    for (const name of setNamesOf(unit)) if (cache.object('unitsets', name)) yield name;
  }

  *#setOf(unit: string): Generator<string> {
    const metadata = this.options.cache.object('units', unit)?.value.metadata;
    const owner = metadata && controllerOf(metadata);
    if (owner?.kind === 'UnitSet') yield owner.name;
  }

  /** What was refused may be taken now: whether it is depends on more than the set. */
  forgetRefusals(): void {
    for (const { refused } of this.#memories.values()) refused.clear();
  }

  async look(name: string, signal: AbortSignal): Promise<Outcome> {
    const { cache, fence } = this.options;
    const row = cache.object('unitsets', name);
    if (row === undefined) {
      this.#memories.delete(name);
      return settled;
    }
    const set = row.value as UnitSet;
    const memory = this.#memoryOf(name, set);
    const context = { manager: unitSetManager, fence, onlyWhile: { plural: 'unitsets', name, modRevision: row.modRevision } };
    const target = { set, row, memory, facts: this.#read(set, memory), context };
    const isRaced = await this.#carryOut(target, signal);
    // Somebody changed the set: that change has brought it here again.
    if (signal.aborted || cache.object('unitsets', name)?.modRevision !== row.modRevision) return settled;
    const told = await this.#tell(target, signal);
    return isRaced ? { next: 'again', afterMs: this.limits.againMs, why: 'a unit was changed by somebody else meanwhile' } : told;
  }

  #memoryOf(name: string, { metadata }: UnitSet): Memory {
    const known = this.#memories.get(name);
    if (known !== undefined && known.uid === metadata.uid) return known;
    const memory = { uid: metadata.uid ?? '', verified: new Map(), refused: new Map(), statusAtMs: Number.NEGATIVE_INFINITY };
    this.#memories.set(name, memory);
    return memory;
  }

  #read(set: UnitSet, { verified }: Memory): SetFacts {
    const facts = readSet(this.options.cache, set, (unit, modRevision) => verified.get(unit) === modRevision);
    const existing = new Set(facts.members.map(({ name }) => name));
    for (const unit of verified.keys()) if (!existing.has(unit)) verified.delete(unit);
    return facts;
  }

  /** Whether something was lost to another writer and has to be looked at again. */
  async #carryOut(target: Target, signal: AbortSignal): Promise<boolean> {
    const { set, row, memory, facts } = target;
    const { creates, updates, deletes } = planSet(facts);
    for (const [unit, { setRevision }] of memory.refused) if (setRevision !== row.modRevision) memory.refused.delete(unit);
    const isOpen = (unit: string) => !memory.refused.has(unit);
    let isRaced = false;
    const run = async <T>(items: readonly T[], nameOf: (item: T) => string, write: (item: T) => Promise<unknown>): Promise<string[]> => {
      const done: string[] = [];
      for (let from = 0; from < items.length && !signal.aborted; from += this.limits.writesAtATime) {
        const slice = items.slice(from, from + this.limits.writesAtATime);
        const outcomes = await Promise.all(slice.map((item) => this.#attempt(target, nameOf(item), () => write(item))));
        outcomes.forEach((outcome, at) => {
          if (outcome === 'written') done.push(nameOf(slice[at]!));
          if (outcome === 'raced') isRaced = true;
        });
      }
      return done;
    };

    const nameOf = ({ name }: Member) => name;
    const created = await run(creates.filter(isOpen), String, (unit) => this.#create(target, unit));
    const updated = await run(
      updates.filter(({ name }) => isOpen(name)),
      nameOf,
      (member) => this.#update(target, member),
    );
    const removed = await run(deletes, nameOf, (member) => this.#delete(target, member));
    this.#record(set, 'Created', created);
    this.#record(set, 'Updated', updated);
    // They go highest first; a range is read from its lower end.
    this.#record(set, 'Removed', removed.reverse());
    return isRaced;
  }

  /** A unit that the door does not take hurts only itself. What the store could not do is thrown, and the whole set tried again. */
  async #attempt(
    { row, memory }: Target,
    unit: string,
    write: () => Promise<unknown>,
  ): Promise<'written' | 'unchanged' | 'raced' | 'refused'> {
    try {
      return (await write()) === false ? 'unchanged' : 'written';
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      switch (error.reason) {
        case 'AlreadyExists':
        case 'Conflict':
        case 'NotFound':
          return 'raced';
        case 'ServiceUnavailable':
        case 'Timeout':
        case 'TooManyRequests':
          throw error;
        default:
          memory.refused.set(unit, { why: `is refused: ${error.message}`, setRevision: row.modRevision });
          return 'refused';
      }
    }
  }

  async #create({ set, memory, facts, context }: Target, unit: string): Promise<boolean> {
    const body = memberManifest(set, unit, facts.templateHash);
    return this.#note(memory, unit, await this.options.door.apply('units', unit, body, { ...context, createOnly: true }));
  }

  /**
   * Conditional on the revision at which the unit was seen to be the set's: many are written before it, and its owner may have let go of it
   * meanwhile. Forced: what the template says is the template's.
   */
  async #update({ set, memory, facts, context }: Target, { name, uid, modRevision }: Member): Promise<boolean> {
    const { metadata, ...manifest } = memberManifest(set, name, facts.templateHash);
    const body = { ...manifest, metadata: { ...metadata, uid, resourceVersion: objectVersion(modRevision) } };
    return this.#note(memory, name, await this.options.door.apply('units', name, body, { ...context, force: true }));
  }

  #note(memory: Memory, unit: string, { changed, ownRevision }: ObjectWritten): boolean {
    if (ownRevision !== undefined) memory.verified.set(unit, ownRevision);
    return changed;
  }

  /** On the same condition: a unit that was taken out of the set in time stays. */
  #delete({ context }: Target, { name, uid, modRevision }: Member): Promise<{ object: Joined }> {
    const options = { uid, resourceVersion: objectVersion(modRevision), propagationPolicy: 'Background' } as const;
    return this.options.door.remove('units', name, options, context);
  }

  #record({ metadata: { name, uid } }: UnitSet, what: string, units: readonly string[]): void {
    const [first] = units;
    if (first === undefined) return;
    const which = units.length === 1 ? `unit ${first}` : `${units.length} units: ${first} to ${units.at(-1)}`;
    const about = { kind: 'UnitSet', name, ...(uid === undefined ? {} : { uid }) };
    this.options.events.record(about, 'Normal', what, `${what} ${which}.`);
  }

  async #tell({ set, row, memory }: Target, signal: AbortSignal): Promise<Outcome> {
    const { cache, store, clock, fence, events } = this.options;
    const { name, uid } = set.metadata;
    const before = cache.fragment('unitsets', name)?.value as UnitSetFragment | undefined;
    const fragment = statusOf({
      ...this.#read(set, memory),
      refused: new Map([...memory.refused].map(([unit, { why }]) => [unit, why])),
      selector: selectorOf(name),
      before: before?.conditions,
      now: clock.now().toISOString(),
    });
    if (before !== undefined && sameStatus(fragment, before)) return settled;
    const waitMs = memory.statusAtMs + this.limits.countsEveryMs - clock.monotonicMs();
    if (before !== undefined && waitMs > 0 && sameMeaning(fragment, before)) {
      return { next: 'again', afterMs: waitMs, why: 'counts are written now and then' };
    }
    memory.statusAtMs = clock.monotonicMs();
    const { compares, operations } = fragmentWrite(cache.keys, 'unitsets', name, fragmentRevision(cache, 'unitsets', name), fragment);
    // What is said of a set vanishes with it, so nothing is said of one that is gone.
    const own = { key: row.key, modRevision: row.modRevision };
    const outcome = await store.commit({ compares: [...compares, own], operations }, { fence, signal });
    await cache.untilRevision(outcome.revision);
    if (!outcome.ok) return { next: 'again', afterMs: this.limits.againMs, why: 'the set was changed meanwhile' };
    const stuck = fragment.conditions.find(({ type, status }) => type === 'Progressing' && status === 'False');
    const was = before?.conditions.find(({ type }) => type === 'Progressing');
    if (stuck !== undefined && stuck.reason !== 'Deleting' && was?.message !== stuck.message) {
      events.record({ kind: 'UnitSet', name, ...(uid === undefined ? {} : { uid }) }, 'Warning', stuck.reason, sentence(stuck.message));
    }
    return settled;
  }
}

const sameStatus = (a: UnitSetFragment, b: UnitSetFragment): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Whoever waits for a condition is not kept waiting by the pace. */
const sameMeaning = (a: UnitSetFragment, b: UnitSetFragment): boolean =>
  a.observedGeneration === b.observedGeneration &&
  a.conditions.every(({ type, status, reason }) =>
    b.conditions.some((other) => other.type === type && other.status === status && other.reason === reason),
  );
