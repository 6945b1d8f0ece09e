/** `spec.dependsOn`: who waits for whom. */
import type { ClusterCache } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import type { GitSync, GitSyncSpec } from '../../api/resources/gitsync.js';

/** In a sentence what it waits for; undefined when it may go on. */
export function unreadyDependency({ dependsOn = [] }: GitSyncSpec, cache: Pick<ClusterCache, 'joined'>): string | undefined {
  for (const { name } of dependsOn) {
    const other = cache.joined('gitsyncs', name);
    if (other === undefined) return `it depends on GitSync ${name}, which does not exist`;
    const ready = conditionOf(other, 'Ready');
    if (ready?.status !== 'True' || ready.observedGeneration !== other.metadata.generation)
      return `it waits for GitSync ${name}, which is not ready`;
  }
  return undefined;
}

/** GitSyncs that wait for this one, and for nothing else by then. */
export function* waitingOn(name: string, cache: Pick<ClusterCache, 'joinedAll'>): Generator<string> {
  for (const other of cache.joinedAll('gitsyncs') as readonly GitSync[]) {
    const isMeant = other.spec?.dependsOn?.some((dependency) => dependency.name === name);
    if (isMeant && conditionOf(other, 'Ready')?.reason === 'DependencyNotReady') yield other.metadata.name;
  }
}
