/** An etcd behind a bad line, for group commit: requests get lost on their way there, answers on their way back, and some requests come late. */
import type { Random } from '../../runtime/clock.js';
import type { BatchAnswer, BatchWire, Failure, Item } from '../../runtime/store/group-commit.js';
import type { Entry, Fence, WriteOutcome } from '../../runtime/store/store.js';
import { holds } from '../../runtime/store/write-rules.js';
import { settle } from '../rigs/manual-clock.js';

class Lost extends Error {}

export interface LossyWireFaults {
  /** Planted: the history of what was applied is not there when it is asked for. */
  readonly forgetsHistory?: boolean;
  /** Planted: once in a while a request is answered as if it had been applied, and was not. */
  readonly liesAboutSuccess?: boolean;
}

export class LossyWire implements BatchWire {
  readonly entries = new Map<string, Entry>();
  lostBefore = 0;
  lostAfter = 0;
  cameLate = 0;
  readonly #applied = new Map<string, number>();
  readonly #late = new Set<Promise<void>>();
  #revision = 1;
  #seal = 1;

  constructor(
    private readonly random: Random,
    private readonly faults: LossyWireFaults = {},
  ) {}

  async send(items: readonly Item[], _fence: Fence | undefined, seal: number): Promise<BatchAnswer> {
    await settle();
    const fate = this.random();
    if (fate < 0.1) {
      this.lostBefore += 1;
      throw new Lost('the request was lost');
    }
    if (fate < 0.2) {
      this.cameLate += 1;
      const turns = Math.floor(this.random() * 12);
      const late = this.#later(turns, () => this.#apply(items, seal)).finally(() => this.#late.delete(late));
      this.#late.add(late);
      throw new Lost('no answer in time');
    }
    if (this.faults.liesAboutSuccess && fate > 0.9) {
      return { kind: 'done', outcomes: items.map(() => ({ ok: true, revision: this.#revision })) };
    }
    const answer = this.#apply(items, seal);
    await settle();
    if (fate < 0.3) {
      this.lostAfter += 1;
      throw new Lost('the answer was lost');
    }
    return answer;
  }

  async readSeal(): Promise<number> {
    await settle();
    return this.#seal;
  }

  async replaceSeal(seal: number): Promise<{ seal: number; revision: number }> {
    await settle();
    if (this.random() < 0.1) throw new Lost('the answer was lost');
    if (this.#seal === seal) this.#seal = ++this.#revision;
    return { seal: this.#seal, revision: this.#revision };
  }

  async findApplied(ids: ReadonlySet<string>, after: number, upTo: number): Promise<ReadonlyMap<string, number>> {
    await settle();
    if (this.faults.forgetsHistory) return new Map();
    return new Map([...this.#applied].filter(([id, revision]) => ids.has(id) && revision > after && revision <= upTo));
  }

  lastRevision(): number {
    return this.#revision;
  }

  failure(error: unknown): Failure {
    if (!(error instanceof Lost)) throw error;
    return { effect: 'unknown', error };
  }

  breadth({ write }: Item): number {
    return write.compares.length + write.operations.length;
  }

  async untilNothingIsUnderWay(): Promise<void> {
    await Promise.all(this.#late);
  }

  async #later(turns: number, run: () => void): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await settle();
    run();
  }

  #apply(items: readonly Item[], seal: number): BatchAnswer {
    if (seal !== this.#seal) return { kind: 'sealed off', seal: this.#seal };
    const revision = this.#revision + 1;
    const outcomes = items.map(({ write, id }): WriteOutcome => {
      if (!write.compares.every((compare) => holds(compare, this.entries.get(compare.key)))) {
        return { ok: false, revision, current: new Map(write.compares.map(({ key }) => [key, this.entries.get(key)])) };
      }
      for (const operation of write.operations) {
        const { key } = operation;
        const createRevision = this.entries.get(key)?.createRevision ?? revision;
        if (operation.do === 'put') this.entries.set(key, { key, value: operation.value, createRevision, modRevision: revision });
        else this.entries.delete(key);
      }
      this.#applied.set(id, revision);
      return { ok: true, revision };
    });
    this.#revision = revision;
    return { kind: 'done', outcomes };
  }
}
