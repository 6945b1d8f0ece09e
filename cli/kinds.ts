/** A kind as the server serves it, and what reading objects of it takes. */
import type { Client } from './client.js';

export interface KindInfo {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  /** Collection path. */
  readonly path: string;
}

/** A kind as the server publishes it. */
export interface ServedKind extends KindInfo {
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
}

/** The connection, and which kind a word means. */
export interface Reader {
  readonly client: Client;
  kind(word: string): Promise<KindInfo>;
}
