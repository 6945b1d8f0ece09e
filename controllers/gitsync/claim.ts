/** How one object comes to be a GitSync's, whoever else wants it at the same time. */
import { createHash } from 'node:crypto';
import type { ClusterCache, ObjectDoor, ObjectWritten, WriteContext } from '../../api/objects/ports.js';
import { objectVersion } from '../../api/objects/resource-version.js';
import { StatusError } from '../../api/resources/errors.js';
import { gitSyncLabel } from '../../api/resources/gitsync.js';
import { documentId, type SyncDocument } from './documents.js';
import type { SyncPlan } from './plan.js';

/** Times that an object is looked at anew because somebody wrote it between the look and the write. */
const maxClaims = 5;

export type Conflict = SyncPlan['conflicts'][number];

/**
 * Applies what nobody else has claimed. The plan may be older than another GitSync's claim: what is new here has to be new when it is
 * written, what belongs to nobody has to be as it was, and whoever comes second is told whose it is.
 */
export async function claim(
  document: SyncDocument,
  gitSync: string,
  context: WriteContext,
  { door, cache }: { readonly door: Pick<ObjectDoor, 'apply'>; readonly cache: Pick<ClusterCache, 'object'> },
): Promise<ObjectWritten | Conflict> {
  const { kind, object } = document;
  const { name } = object.metadata;
  for (let attempt = 1; ; attempt++) {
    const row = cache.object(kind.plural, name);
    const owner = row?.value.metadata.labels?.[gitSyncLabel];
    if (owner !== undefined && owner !== gitSync && cache.object('gitsyncs', owner) !== undefined)
      return { id: documentId(document), owner };
    const seen = row === undefined || owner === gitSync ? undefined : objectVersion(row.modRevision);
    try {
      const onlyNew = row === undefined ? { ...context, createOnly: true } : context;
      return await door.apply(kind.plural, name, labelled(document, gitSync, seen), onlyNew);
    } catch (error) {
      const isRace = error instanceof StatusError && (error.reason === 'AlreadyExists' || error.reason === 'Conflict');
      if (!isRace || owner === gitSync || attempt === maxClaims) throw error;
    }
  }
}

/**
 * The object as this GitSync applies it: with the label that says whose it is, and with what it leaves out, so that a unit which somebody
 * stopped by hand is drift even where its manifest does not say that it runs.
 */
export function labelled({ kind, object }: SyncDocument, gitSync: string, resourceVersion?: string): object {
  const { metadata, ...rest } = kind.withDefaults(object);
  const labels = { ...metadata.labels, [gitSyncLabel]: gitSync };
  return { ...rest, metadata: { ...metadata, labels, ...(resourceVersion === undefined ? {} : { resourceVersion }) } };
}

const digests = new WeakMap<object, string>();

/** Of what a manifest says, whoever applies it. */
export function digestOf({ object }: SyncDocument): string {
  let digest = digests.get(object);
  if (digest === undefined) {
    digest = createHash('sha256').update(JSON.stringify(object)).digest('base64');
    digests.set(object, digest);
  }
  return digest;
}
