/**
 * How a write begins to name a text that lies once for all (SEMANTICS 5), so that whoever collects unnamed texts can never take it away.
 * Either it puts the text: then the collector's compare of that key's revision fails. Or it compares a witness, another Unit that names
 * the text already, with the revision at which it does: then at every revision since the text was last put, somebody named it, and a
 * collector that looks at any one revision finds it named. A key can be put once in a transaction of the store, and a compare any number
 * of times: with witnesses, a thousand units of one text travel together.
 */
import type { Compare } from '../../runtime/store/store.js';
import type { ClusterCache } from './ports.js';

/** Texts of which a witness is remembered; a text without one is put again, which costs time and nothing else. */
export const maxWitnesses = 10_000;

export class Texts {
  /** Hash → a unit that was seen to name it. A hint: believed only after a look at the cache. */
  private readonly hints = new Map<string, string>();
  private readonly introductions = new Map<string, Promise<unknown>>();

  constructor(private readonly cache: ClusterCache) {}

  /** What must still hold when a write names the text without putting it; undefined when it has to be put. */
  witness(hash: string): Compare | undefined {
    const name = this.hints.get(hash);
    const row = name === undefined ? undefined : this.cache.object('units', name);
    if (row?.value.textHash !== hash || this.cache.content(hash) === undefined) return undefined;
    return { key: row.key, modRevision: row.modRevision };
  }

  /** Remembers that this unit names the text, unless another witness is as good. */
  named(hash: string, unit: string): void {
    if (this.witness(hash) !== undefined) return;
    this.hints.delete(hash);
    this.hints.set(hash, unit);
    if (this.hints.size > maxWitnesses) this.forget(this.hints.keys().next().value!);
  }

  /** The witness is busy with changes of its own: the next write puts the text. */
  forget(hash: string): void {
    this.hints.delete(hash);
  }

  /** Resolves when the write that puts this text now is done, to be asked for a witness then; undefined when there is none. */
  beingIntroduced(hash: string): Promise<unknown> | undefined {
    return this.introductions.get(hash);
  }

  /** Runs the write that puts the text, while others who would put it wait. */
  async introduce<T>(hash: string, write: () => Promise<T>): Promise<T> {
    const writing = write();
    // Its own caller is told how it ended; whoever waits looks for the text afterwards.
    const settled = writing.catch(() => {});
    this.introductions.set(hash, settled);
    try {
      return await writing;
    } finally {
      if (this.introductions.get(hash) === settled) this.introductions.delete(hash);
    }
  }
}
