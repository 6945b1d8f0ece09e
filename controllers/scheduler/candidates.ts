/**
 * The machines that one class of units may go to, least loaded first: a binary heap whose weights may be out of date. A machine that has
 * become fuller since is found out when it comes to the top; one that has become emptier is told by the list of changed slots. So a
 * placement touches a few entries, however many machines there are.
 */
import { inSum } from './reasons.js';
import type { Slot, Slots } from './slots.js';

export type Picked =
  | { readonly slot: Slot /** Machines that were looked at in vain before. */; readonly skipped: number }
  /** No machine will do: the reasons in sum. */
  | { readonly refused: string; readonly isEmpty: boolean; readonly skipped: number };

/** How many units are on the machine. */
export const loadOf = (slot: Slot): number => slot.units.size;

export class Candidates {
  readonly #heap: number[] = [];
  /** Slot index → place in the heap, or -1. */
  readonly #at: number[] = [];
  /** Slot index → weight that the heap is ordered by. */
  readonly #weight: number[] = [];
  /** Slot index → why it is not in the heap. */
  readonly #out = new Map<number, string>();
  readonly #outCounts = new Map<string, number>();
  /** `#outCounts` in words, until they change. */
  #sum: string | undefined;
  #seen = -1;

  constructor(
    private readonly slots: Slots,
    private readonly isClosed: (slot: Slot) => string | undefined,
    private readonly isCrowded: ((slot: Slot) => string | undefined) | undefined,
    /** What the machines are ordered by, the smallest first. */
    private readonly weigh: (slot: Slot) => number = loadOf,
  ) {}

  /**
   * The lightest machine (ties: smallest id) against which `refuse` has nothing to say. With `siblings`, the first one that has none; if
   * each has some, the lightest of those that have fewest.
   */
  pick(refuse: (slot: Slot) => string | undefined, siblings?: (slot: Slot) => number): Picked {
    this.#catchUp();
    const slots = this.slots.all;
    const skipped: number[] = [];
    const reasons: string[] = [];
    let found: Slot | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    while (this.#heap.length > 0) {
      const index = this.#heap[0]!;
      const slot = slots[index]!;
      const weight = this.weigh(slot);
      if (weight !== this.#weight[index]) {
        this.#weight[index] = weight;
        this.#down(0);
        continue;
      }
      const crowded = this.isCrowded?.(slot);
      if (crowded !== undefined) {
        this.#remove(index);
        this.#putOut(index, crowded);
        continue;
      }
      const reason = refuse(slot);
      const count = reason === undefined ? (siblings?.(slot) ?? 0) : Number.POSITIVE_INFINITY;
      if (count < fewest) {
        fewest = count;
        found = slot;
        if (count === 0) break;
      }
      this.#remove(index);
      skipped.push(index);
      if (reason !== undefined) reasons.push(reason);
    }
    for (const index of skipped) this.#insert(index);
    if (found) return { slot: found, skipped: skipped.length };
    if (reasons.length === 0) {
      this.#sum ??= inSum(this.#outCounts);
      return { refused: this.#sum, isEmpty: this.#outCounts.size === 0, skipped: 0 };
    }
    const refused = new Map(this.#outCounts);
    for (const reason of reasons) refused.set(reason, (refused.get(reason) ?? 0) + 1);
    return { refused: inSum(refused), isEmpty: false, skipped: skipped.length };
  }

  #catchUp(): void {
    const changes = this.#seen < 0 ? undefined : this.slots.changesSince(this.#seen);
    this.#seen = this.slots.version;
    if (changes) {
      for (const index of changes) this.#refresh(index);
      return;
    }
    for (let index = 0; index < this.slots.all.length; index++) this.#refresh(index);
  }

  #refresh(index: number): void {
    const why = this.#out.get(index);
    if (why !== undefined) {
      this.#out.delete(index);
      this.#sum = undefined;
      const left = this.#outCounts.get(why)! - 1;
      if (left === 0) this.#outCounts.delete(why);
      else this.#outCounts.set(why, left);
    }
    const slot = this.slots.all[index]!;
    const reason = slot.machine ? this.isClosed(slot) : '';
    if (reason !== undefined) {
      this.#remove(index);
      if (slot.machine) this.#putOut(index, reason);
      return;
    }
    const at = this.#at[index] ?? -1;
    if (at < 0) {
      this.#insert(index);
      return;
    }
    this.#weight[index] = this.weigh(slot);
    this.#down(this.#up(at));
  }

  #putOut(index: number, reason: string): void {
    this.#out.set(index, reason);
    this.#sum = undefined;
    this.#outCounts.set(reason, (this.#outCounts.get(reason) ?? 0) + 1);
  }

  #insert(index: number): void {
    this.#weight[index] = this.weigh(this.slots.all[index]!);
    this.#heap.push(index);
    this.#at[index] = this.#heap.length - 1;
    this.#up(this.#heap.length - 1);
  }

  #remove(index: number): void {
    const at = this.#at[index] ?? -1;
    if (at < 0) return;
    this.#at[index] = -1;
    const last = this.#heap.pop()!;
    if (last === index) return;
    this.#heap[at] = last;
    this.#at[last] = at;
    this.#down(this.#up(at));
  }

  #before(a: number, b: number): boolean {
    const weightA = this.#weight[a]!;
    const weightB = this.#weight[b]!;
    return weightA !== weightB ? weightA < weightB : this.slots.all[a]!.id < this.slots.all[b]!.id;
  }

  #up(from: number): number {
    const index = this.#heap[from]!;
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#before(index, this.#heap[above]!)) break;
      this.#put(at, this.#heap[above]!);
      at = above;
    }
    this.#put(at, index);
    return at;
  }

  #down(from: number): void {
    const index = this.#heap[from]!;
    const size = this.#heap.length;
    let at = from;
    for (let below = 2 * at + 1; below < size; below = 2 * at + 1) {
      if (below + 1 < size && this.#before(this.#heap[below + 1]!, this.#heap[below]!)) below++;
      if (!this.#before(this.#heap[below]!, index)) break;
      this.#put(at, this.#heap[below]!);
      at = below;
    }
    this.#put(at, index);
  }

  #put(at: number, index: number): void {
    this.#heap[at] = index;
    this.#at[index] = at;
  }
}
