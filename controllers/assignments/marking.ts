/**
 * What makes the leader look: changes in the cache, writes that did not come about, and the sweep, which finds what no event told of.
 * Levels, not edges (invariant 4): all of them lead to the same marks.
 */
import type { CacheBatch, ClusterCache } from '../../api/objects/ports.js';
import { parseKey } from '../../api/resources/keys.js';
import { templateNameOf } from '../../api/resources/unit-name.js';
import type { Logger } from '../../runtime/log.js';
import type { World } from '../scheduler/world.js';
import type { Job } from './committer.js';
import type { Dirty } from './dirty.js';
import type { UnitSources } from './source.js';
import type { WaitingUnits } from './waiting.js';

export interface MarkingOptions {
  readonly cache: ClusterCache;
  readonly world: World;
  readonly sources: UnitSources;
  readonly waiting: Pick<WaitingUnits, 'broken'>;
  readonly dirty: Dirty;
  readonly log: Logger;
  readonly limits: { readonly sweepEveryMs: number; readonly unitsPerSweep: number };
}

export class Marking {
  readonly #options: MarkingOptions;
  #sweepDueMs = 0;
  #sweepFrom: string[] = [];
  #orphansSeen = new Set<string>();

  constructor(options: MarkingOptions) {
    this.#options = options;
  }

  /** When the next sweep is to be, by the monotonic clock. */
  get sweepDueMs(): number {
    return this.#sweepDueMs;
  }

  changed(batch: CacheBatch): void {
    const { dirty, sources, waiting } = this.#options;
    if (batch.relisted) this.everything();
    for (const change of batch.changes) {
      switch (change.table) {
        case 'object':
          if (change.plural === 'units') {
            dirty.markUnit(change.name);
            for (const follower of sources.followersOf(change.name)) dirty.markUnit(follower);
            if (!change.row) this.#markTemplateOf(change.name);
          } else if (change.plural === 'machines') {
            dirty.markMachine(change.name);
            dirty.health = true;
          }
          break;
        case 'presence':
          dirty.markMachine(change.machine);
          dirty.health = true;
          break;
        case 'assignment':
        case 'state':
          dirty.markCopy(change.unit, change.machine);
          break;
        case 'content':
          for (const unit of waiting.broken()) {
            sources.forget(unit);
            dirty.markUnit(unit);
          }
          break;
        default:
      }
    }
    if (dirty.hasWork) dirty.wake();
  }

  /** A template that is being deleted waits for its followers. */
  #markTemplateOf(unit: string): void {
    const template = templateNameOf(unit);
    if (template !== undefined) this.#options.dirty.markUnit(template);
  }

  everything(): void {
    const { cache, world, dirty } = this.#options;
    dirty.health = true;
    for (const machine of cache.objects('machines').keys()) dirty.markMachine(machine);
    for (const slot of world.slots) {
      dirty.markMachine(slot.id);
      for (const unit of slot.units) dirty.markCopy(unit, slot.id);
    }
    for (const unit of cache.objects('units').keys()) dirty.markUnit(unit);
    for (const unit of world.unitNames()) dirty.markUnit(unit);
    // What cannot be read is there all the same: unknown, it would be taken for gone.
    for (const key of cache.broken.keys()) {
      const parsed = parseKey(cache.keys.root, key);
      if (parsed.table !== 'object') continue;
      if (parsed.plural === 'units') dirty.markUnit(parsed.name);
      if (parsed.plural === 'machines') dirty.markMachine(parsed.name);
    }
    for (const machine of cache.objects('machines').keys()) {
      for (const unit of cache.assignmentsOn(machine).keys()) dirty.markCopy(unit, machine);
    }
    for (const unit of cache.objects('units').keys()) {
      for (const machine of cache.assignmentsOf(unit).keys()) dirty.markCopy(unit, machine);
    }
    dirty.wake();
  }

  /** It was not written: what the index took for decided is put right from the cache. */
  notWritten({ unit, machine }: Job): void {
    const { cache, world, dirty } = this.#options;
    if (unit === undefined) {
      if (machine !== undefined) dirty.markMachine(machine);
      return;
    }
    if (machine !== undefined) {
      dirty.markCopy(unit, machine);
      return;
    }
    dirty.markUnit(unit);
    for (const at of new Set([...world.copiesOf(unit).keys(), ...cache.assignmentsOf(unit).keys()])) dirty.markCopy(unit, at);
  }

  /** Everything is looked at again now and then, by the same code; a large cluster in several sweeps. */
  sweepIfDue(nowMs: number): void {
    if (this.#sweepDueMs > nowMs) return;
    const { cache, world, dirty, limits } = this.#options;
    this.#sweepDueMs = nowMs + limits.sweepEveryMs;
    dirty.health = true;
    for (const machine of cache.objects('machines').keys()) dirty.markMachine(machine);
    if (this.#sweepFrom.length === 0) this.#sweepFrom = [...cache.objects('units').keys()];
    for (const name of this.#sweepFrom.splice(0, limits.unitsPerSweep)) {
      dirty.markUnit(name);
      for (const machine of cache.assignmentsOf(name).keys()) dirty.markCopy(name, machine);
      for (const machine of world.copiesOf(name).keys()) dirty.markCopy(name, machine);
    }
    this.#sweepOrphans();
  }

  /** The last sweep found assignments of this unit, and no such Unit. */
  isOrphan(unit: string): boolean {
    return this.#orphansSeen.has(unit);
  }

  /**
   * Assignments without their Unit come from a fault, since the Unit goes last. They are let go of one sweep after they were first seen,
   * and not at all when they are many: a table that is suddenly empty is not a wish to stop everything (invariant 13).
   */
  #sweepOrphans(): void {
    const { cache, world, dirty, log } = this.#options;
    const orphans = new Set<string>();
    let assigned = 0;
    for (const slot of world.slots) {
      for (const unit of slot.units) {
        assigned++;
        if (!cache.object('units', unit) && !cache.broken.has(cache.keys.object('units', unit))) orphans.add(unit);
      }
    }
    if (orphans.size > Math.max(1, assigned / 3)) {
      log.error('most assignments have no unit; they are left as they are', { orphans: orphans.size, assigned });
      this.#orphansSeen = new Set();
      return;
    }
    for (const unit of orphans) if (this.#orphansSeen.has(unit)) dirty.markUnit(unit);
    this.#orphansSeen = orphans;
  }
}
