/** `/flotilla/meta`: which cluster this is and in which format it is stored (SEMANTICS 24). */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Store } from '../../../runtime/store/store.js';
import type { Keys } from '../../resources/keys.js';

/** Grows when a stored key or value changes in a way that an older server would misread. */
export const storeFormat = 1;

const ClusterMeta = z.object({ clusterUid: z.string().min(1), format: z.int().positive() });
export type ClusterMeta = z.infer<typeof ClusterMeta>;

/** The server must not run as it was started; the message is for the person who started it. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';
}

/** Reads the cluster's identity, or makes it on the very first start. Throws StartRefused when a newer Flotilla wrote it. */
export async function openClusterMeta(store: Store, keys: Keys): Promise<ClusterMeta> {
  const meta = parseClusterMeta(
    (await createIfAbsent(store, keys.meta, JSON.stringify({ clusterUid: randomUUID(), format: storeFormat }))).value,
  );
  if (meta.format > storeFormat) {
    throw new StartRefused(
      `this cluster is stored in format ${meta.format} and this server knows formats up to ${storeFormat}: start the newer Flotilla that wrote it`,
    );
  }
  return meta;
}

function parseClusterMeta(value: string): ClusterMeta {
  try {
    return ClusterMeta.parse(JSON.parse(value));
  } catch (error) {
    throw new StartRefused(
      'what stands under the meta key in etcd is not what Flotilla writes there: is this etcd prefix used by another program?',
      {
        cause: error,
      },
    );
  }
}

/** The value of the key: `value` when nobody had written one, else what stands there. `created` tells which. */
export async function createIfAbsent(store: Store, key: string, value: string): Promise<{ value: string; created: boolean }> {
  const { entry } = await store.get(key);
  if (entry) return { value: entry.value, created: false };
  const outcome = await store.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value }] });
  const winner = outcome.ok ? undefined : outcome.current.get(key);
  return winner ? { value: winner.value, created: false } : { value, created: true };
}
