/**
 * What the leader has yet to look at, now or from some time on, and the wait until there is something. Marks are levels: whatever is marked
 * is read anew, however often it was marked.
 */
import type { Clock } from '../../runtime/clock.js';

/** For whoever finds that something has to be looked at (again). Times are by the monotonic clock. */
export interface Marks {
  markUnit(name: string): void;
  /** A unit's assignment to the machine, or its state there. */
  markCopy(unit: string, machine: string): void;
  markMachine(id: string): void;
  setUnitDue(name: string, dueMs: number): void;
  setMachineDue(id: string, dueMs: number): void;
}

type Due = Map<string, number>;

export class Dirty implements Marks {
  /** Units to read anew. */
  readonly units = new Set<string>();
  /** Units that were read and are to be decided for. */
  readonly undecided = new Set<string>();
  /** Unit → machines whose assignment or state changed. */
  readonly copies = new Map<string, Set<string>>();
  readonly machines = new Set<string>();
  health = true;
  /** When to look at the health of the machines again. */
  healthDueMs = Number.POSITIVE_INFINITY;

  readonly #unitsDue: Due = new Map();
  readonly #machinesDue: Due = new Map();
  #sinceMs: number | undefined;
  #wake: (() => void) | undefined;

  constructor(private readonly clock: Clock) {}

  markUnit(name: string): void {
    this.units.add(name);
  }

  markCopy(unit: string, machine: string): void {
    const machines = this.copies.get(unit);
    if (machines) machines.add(machine);
    else this.copies.set(unit, new Set([machine]));
  }

  markMachine(id: string): void {
    this.machines.add(id);
  }

  setUnitDue(name: string, dueMs: number): void {
    this.#unitsDue.set(name, dueMs);
  }

  setMachineDue(id: string, dueMs: number): void {
    this.#machinesDue.set(id, dueMs);
  }

  /** Unless it is due at some time already. */
  ensureUnitDue(name: string, dueMs: number): void {
    if (!this.#unitsDue.has(name)) this.#unitsDue.set(name, dueMs);
  }

  /** Unless it is due at some time already. */
  ensureMachineDue(id: string, dueMs: number): void {
    if (!this.#machinesDue.has(id)) this.#machinesDue.set(id, dueMs);
  }

  dropUnitDue(name: string): void {
    this.#unitsDue.delete(name);
  }

  /** Marks whatever is due by now. */
  collectDue(nowMs: number): void {
    for (const [name, dueMs] of this.#unitsDue) {
      if (dueMs > nowMs) continue;
      this.#unitsDue.delete(name);
      this.units.add(name);
    }
    for (const [machine, dueMs] of this.#machinesDue) {
      if (dueMs > nowMs) continue;
      this.#machinesDue.delete(machine);
      this.machines.add(machine);
    }
    if (this.healthDueMs <= nowMs) this.health = true;
  }

  get hasWork(): boolean {
    return this.waiting > 0 || this.health;
  }

  /** Units, copies and machines that wait to be looked at. */
  get waiting(): number {
    return this.units.size + this.undecided.size + this.copies.size + this.machines.size;
  }

  /** Since when something waits to be looked at, if it does; a pass begins to look. */
  takeSinceMs(): number | undefined {
    const sinceMs = this.#sinceMs;
    this.#sinceMs = undefined;
    return sinceMs;
  }

  wake(): void {
    this.#sinceMs ??= this.clock.monotonicMs();
    this.#wake?.();
  }

  /** Resolves at once when there is work, or when there is some, or when something is due: at `latestMs` at the latest. */
  async untilWork(latestMs: number, signal: AbortSignal): Promise<void> {
    // One turn of the event loop, so that all events of one read from the socket are taken together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.hasWork || signal.aborted) return;
    this.#sinceMs = undefined;
    let dueMs = Math.min(latestMs, this.healthDueMs);
    for (const due of [this.#unitsDue, this.#machinesDue]) for (const ms of due.values()) dueMs = Math.min(dueMs, ms);
    let cancel: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      cancel = this.clock.after(Math.max(0, dueMs - this.clock.monotonicMs()), resolve);
    });
    cancel?.();
    this.#wake = undefined;
  }
}
