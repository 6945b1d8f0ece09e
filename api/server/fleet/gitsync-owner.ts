/** What a GitSync keeps is left alone at fleet's door, too: its next sync would revert the change in silence (SEMANTICS 26). */
import type { ClusterCache, Joined } from '../../objects/ports.js';
import { gitSyncLabel } from '../../resources/annotations.js';
import { StatusError } from '../../resources/errors.js';

/** Throws Conflict that names the GitSync. One that is gone keeps nothing any more. */
export function respectGitSync(cache: Pick<ClusterCache, 'object'>, object: Joined | undefined): void {
  const sync = object?.metadata.labels?.[gitSyncLabel];
  if (object === undefined || sync === undefined || cache.object('gitsyncs', sync) === undefined) return;
  throw new StatusError('Conflict', `${object.metadata.name} is kept by GitSync ${JSON.stringify(sync)}: change it in its repository`);
}
