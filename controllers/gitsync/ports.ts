/** What syncing from Git needs of others. */
import type { Repositories } from '../../runtime/git/repositories.js';

/** The clear values of a Secret, by key; undefined when there is no such Secret. */
export type ReadSecret = (name: string) => Promise<ReadonlyMap<string, Buffer> | undefined>;

export interface GitSources {
  readonly repositories: Repositories;
  readonly readSecret: ReadSecret;
}
