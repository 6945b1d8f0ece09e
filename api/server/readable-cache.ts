import type { ClusterCache } from '../objects/ports.js';

/** What reading asks of a cache: of the cluster's own, or of one that shows its objects in another form. */
export type ReadableCache = Pick<ClusterCache, 'revision' | 'synced' | 'untilRevision' | 'joined' | 'joinedAll' | 'fragment'>;
