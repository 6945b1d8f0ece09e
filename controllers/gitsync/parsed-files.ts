/** What files of repositories say, kept from sync to sync: of a commit that changes one file of many, one is parsed. */
import type { TreeFile } from '../../runtime/git/tree.js';
import type { SyncDocument } from './documents.js';

export interface ParsedFile {
  readonly documents: readonly SyncDocument[];
  /** What is wrong with it, in sentences that name the file. */
  readonly problems: readonly string[];
}

/** Bytes of files whose meaning is kept; parsed they take some times that. */
export const maxParsedBytes = 8 * 2 ** 20;

/** The least recently used go first. Nobody may change a document that came from here. */
export class ParsedFiles {
  readonly #files = new Map<string, { readonly parsed: ParsedFile; readonly bytes: number }>();
  #bytes = 0;

  constructor(private readonly maxBytes = maxParsedBytes) {}

  /** The same content under another path is another file: messages name it, and its name says what it is. */
  of(file: TreeFile, parse: () => ParsedFile): ParsedFile {
    const key = `${file.blob}\0${file.path}`;
    const known = this.#files.get(key);
    const entry = known ?? { parsed: parse(), bytes: file.bytes };
    if (known !== undefined) this.#files.delete(key);
    // What a Secret holds lives no longer than it has to.
    else if (entry.parsed.documents.some(({ kind }) => kind.plural === 'secrets')) return entry.parsed;
    else this.#bytes += entry.bytes;
    this.#files.set(key, entry);
    for (const [oldest, { bytes }] of this.#files) {
      if (this.#bytes <= this.maxBytes) break;
      this.#files.delete(oldest);
      this.#bytes -= bytes;
    }
    return entry.parsed;
  }
}
