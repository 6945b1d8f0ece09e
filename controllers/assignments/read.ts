/** From the cache to the facts that decisions and writes are made of. */
import type { ClusterCache } from '../../api/objects/ports.js';
import { parseKey } from '../../api/resources/keys.js';
import type { Health } from '../scheduler/types.js';
import type { CopyFacts } from './facts.js';
import type { Rows } from './write.js';

/** What the leader said and nobody can read any more is said anew, over it. */
export const fragmentRevision = (cache: Pick<ClusterCache, 'fragment' | 'broken' | 'keys'>, plural: string, name: string): number =>
  (cache.fragment(plural, name) ?? cache.broken.get(cache.keys.condition(plural, name)))?.modRevision ?? 0;

export class FactsReader {
  constructor(
    private readonly cache: ClusterCache,
    private readonly health: { of(machine: string): Health },
  ) {}

  copy(unit: string, machine: string): CopyFacts | undefined {
    const row = this.cache.assignment(machine, unit);
    return row && { machine, row, state: this.cache.state(machine, unit), health: this.#healthOf(machine) };
  }

  /** By machine id. */
  copies(unit: string): CopyFacts[] {
    const machines = [...this.cache.assignmentsOf(unit).keys()].sort();
    return machines.map((machine) => this.copy(unit, machine)!);
  }

  /** What a write about the unit compares with. */
  rows(name: string, copies: readonly CopyFacts[]): Rows {
    const { cache } = this;
    return {
      own: cache.object('units', name),
      fragmentRevision: this.fragmentRevision('units', name),
      copies,
      hasState: (machine) => cache.state(machine, name) !== undefined,
      presence: (machine) => cache.presence(machine)?.modRevision ?? 0,
    };
  }

  fragmentRevision(plural: string, name: string): number {
    return fragmentRevision(this.cache, plural, name);
  }

  /** Whoever acts on absence looks here first: a unit of which something cannot be read is left alone (invariants 7, 13). */
  isUnreadable(unit: string): boolean {
    const { broken, keys } = this.cache;
    if (broken.size === 0) return false;
    if (broken.has(keys.object('units', unit))) return true;
    for (const key of broken.keys()) {
      const parsed = parseKey(keys.root, key);
      if (parsed.table === 'assignment' && parsed.unit === unit) return true;
    }
    return false;
  }

  #healthOf(machine: string): Health | 'removed' {
    const { cache } = this;
    if (cache.broken.has(cache.keys.object('machines', machine))) return 'held';
    return cache.object('machines', machine) ? this.health.of(machine) : 'removed';
  }
}
