/** Objects that a GitSync keeps as its repository says: verbs leave them alone unless they are told otherwise (SEMANTICS 26). */
import { CliError } from './exit.js';
import type { WireObject } from './objects.js';
import { say } from './output.js';

/** Put by the controllers on whatever a GitSync has applied. */
export const gitSyncLabel = 'flotilla.dev/gitsync';

/**
 * To be asked before anything is changed.
 * @throws CliError naming the first object that belongs to a GitSync; with `force` it only says what will come of the change
 */
export function respectGitSync(objects: Iterable<WireObject>, force: boolean): void {
  for (const { metadata } of objects) {
    const sync = metadata.labels?.[gitSyncLabel];
    if (sync === undefined) continue;
    if (!force) {
      throw new CliError(
        `${metadata.name} is kept by GitSync ${JSON.stringify(sync)}: change it in its repository. With --force it is changed here, and reverted at the next sync`,
      );
    }
    say(`${metadata.name} is kept by GitSync ${JSON.stringify(sync)}: what is changed here will be reverted at its next sync`);
  }
}
