/** What one machine is sent of the cluster: its own assignments, with their texts, and nothing else. */
import type { ClusterCache } from '../../objects/ports.js';
import type { UnitState } from '../../resources/assignment.js';
import type { AgentAssignment, FromServer } from '../../resources/protocol.js';

type Changes = Extract<FromServer, { type: 'changes' }>;
type Snapshot = Extract<FromServer, { type: 'snapshot' }>;

type FeedCache = Pick<ClusterCache, 'assignment' | 'assignmentsOn' | 'statesOn' | 'content' | 'broken' | 'keys' | 'revision'>;

/** 'gone': there is no such assignment. 'held': there is one, and it cannot be sent now: its text is missing, or it cannot be read. */
type Look = AgentAssignment | 'gone' | 'held';

export class AssignmentFeed {
  readonly #dirty = new Set<string>();
  /** Units whose text is not in the cache yet, by its hash. */
  readonly #textless = new Map<string, Set<string>>();

  readonly #cache: FeedCache;
  readonly #machine: string;

  constructor(cache: FeedCache, machine: string) {
    this.#cache = cache;
    this.#machine = machine;
  }

  /** Everything, as of the cache's revision; what was marked before is in it. */
  snapshot(): Snapshot {
    const cache = this.#cache;
    this.#dirty.clear();
    this.#textless.clear();
    const prefix = cache.keys.assignments(this.#machine);
    const unreadable = [...cache.broken.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    const assignments: AgentAssignment[] = [];
    const held: string[] = [...unreadable];
    for (const unit of cache.assignmentsOn(this.#machine).keys()) {
      const found = this.#look(unit);
      if (typeof found === 'object') assignments.push(found);
      else held.push(unit);
    }
    const states: Record<string, UnitState> = Object.fromEntries(
      [...cache.statesOn(this.#machine)].map(([unit, { value }]) => [unit, value]),
    );
    return { type: 'snapshot', revision: cache.revision, assignments, held, states };
  }

  /** This unit's assignment changed. */
  mark(unit: string): void {
    this.#dirty.add(unit);
  }

  /** A text has arrived; true when a unit of this machine waited for it. */
  markText(sha256: string): boolean {
    const units = this.#textless.get(sha256);
    if (!units) return false;
    this.#textless.delete(sha256);
    for (const unit of units) this.#dirty.add(unit);
    return true;
  }

  /** What was marked since, each unit as it is now; undefined when there is nothing to tell. */
  take(): Changes | undefined {
    const assignments: AgentAssignment[] = [];
    const dropped: string[] = [];
    for (const unit of this.#dirty) {
      const found = this.#look(unit);
      if (found === 'gone') dropped.push(unit);
      else if (found !== 'held') assignments.push(found);
    }
    this.#dirty.clear();
    if (assignments.length === 0 && dropped.length === 0) return undefined;
    return { type: 'changes', revision: this.#cache.revision, assignments, dropped };
  }

  #look(unit: string): Look {
    const cache = this.#cache;
    const row = cache.assignment(this.#machine, unit);
    // An assignment that cannot be read is not one that is gone: nothing is stopped because of it (invariant 13).
    if (!row) return cache.broken.has(cache.keys.assignment(this.#machine, unit)) ? 'held' : 'gone';
    const { removeAt: _, ...told } = row.value;
    const { textHash, remove } = told;
    const text = cache.content(textHash)?.value;
    if (text !== undefined) return { ...told, text };
    // Whoever is to remove a unit needs no text for that.
    if (remove !== undefined) return { ...told, text: '' };
    const waiting = this.#textless.get(textHash) ?? new Set<string>();
    this.#textless.set(textHash, waiting.add(unit));
    return 'held';
  }
}
