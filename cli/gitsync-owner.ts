/** Objects that a GitSync keeps as its repository says: verbs leave them alone unless they are told otherwise (SEMANTICS 26). */
import { gitSyncLabel } from '../api/resources/annotations.js';
import { CliError } from './exit.js';
import type { WireObject } from './objects.js';
import { say } from './output.js';

/** What comes of a change that is made all the same. */
const consequences = {
  changed: 'what is changed here will be reverted at its next sync',
  destroyed: 'it will be made anew at the next sync',
  restarted: 'a restart is nothing that a sync would revert',
} as const;

/**
 * To be asked before anything is written.
 * @throws CliError naming the first object that belongs to a GitSync; with `force` it only says what will come of the change
 */
export function respectGitSync(objects: Iterable<WireObject>, force: boolean, change: keyof typeof consequences = 'changed'): void {
  for (const { metadata } of objects) {
    const sync = metadata.labels?.[gitSyncLabel];
    if (sync === undefined) continue;
    const kept = `${metadata.name} is kept by GitSync ${JSON.stringify(sync)}`;
    if (!force) throw new CliError(`${kept}: change it in its repository. With --force it is done here; ${consequences[change]}`);
    say(`${kept}: ${consequences[change]}`);
  }
}
