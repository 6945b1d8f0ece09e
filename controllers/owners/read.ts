/** From the cache to the facts that owners and dependents are decided on. */
import type { ClusterCache, ObjectId, StoredObject } from '../../api/objects/ports.js';
import { storedPlurals } from '../../api/resources/keys.js';
import type { OwnerReference } from '../../api/resources/meta.js';
import { kindByPlural, kindOf } from '../../api/resources/registry.js';
import type { DependentFacts, OwnerFacts, Standing } from './plan.js';

type Metadata = StoredObject['metadata'];

/** Where the owner that a reference names is, or would be; undefined when its kind is not one that is stored here. */
export function ownerId(reference: OwnerReference): ObjectId | undefined {
  const plural = kindOf(reference)?.plural;
  return plural !== undefined && (storedPlurals as readonly string[]).includes(plural) ? { plural, name: reference.name } : undefined;
}

export function standingOf(cache: ClusterCache, reference: OwnerReference): Standing {
  const id = ownerId(reference);
  if (id === undefined || cache.broken.has(cache.keys.object(id.plural, id.name))) return 'unknown';
  const owner = cache.object(id.plural, id.name)?.value.metadata;
  if (owner === undefined || owner.uid !== reference.uid) return 'absent';
  return owner.deletionTimestamp ? 'going' : 'there';
}

export function ownerFacts(cache: ClusterCache, { uid = '', finalizers = [] }: Metadata): OwnerFacts {
  const dependents = [...cache.dependentsOf(uid)]
    .flatMap((id) => dependentFacts(cache, id, uid) ?? [])
    .sort((a, b) => (`${a.plural}/${a.name}` < `${b.plural}/${b.name}` ? -1 : 1));
  return { uid, finalizers, dependents };
}

/** Undefined for what cannot be deleted by anybody, and for what has gone meanwhile. */
function dependentFacts(cache: ClusterCache, { plural, name }: ObjectId, owner: string): DependentFacts | undefined {
  const metadata = cache.object(plural, name)?.value.metadata;
  if (metadata === undefined || kindByPlural(plural)?.writable !== true) return undefined;
  const { uid = '', deletionTimestamp, ownerReferences = [] } = metadata;
  const others = ownerReferences.filter((reference) => reference.uid !== owner).map((reference) => standingOf(cache, reference));
  const [dependent] = cache.dependentsOf(uid);
  return {
    plural,
    name,
    uid,
    deleting: Boolean(deletionTimestamp),
    blocks: ownerReferences.some((reference) => reference.uid === owner && reference.blockOwnerDeletion === true),
    hasOtherOwner: others.some((standing) => standing === 'there' || standing === 'unknown'),
    hasDependents: dependent !== undefined,
  };
}

export interface Census {
  /** Owners that are named by all objects together. */
  readonly all: number;
  /** How many of them are not there. */
  readonly absent: number;
}

/** A look at every object. */
export function census(cache: ClusterCache): Census {
  const standings = new Map<string, Standing>();
  for (const plural of storedPlurals) {
    for (const { value } of cache.objects(plural).values()) {
      for (const reference of value.metadata.ownerReferences ?? []) {
        if (!standings.has(reference.uid)) standings.set(reference.uid, standingOf(cache, reference));
      }
    }
  }
  return { all: standings.size, absent: [...standings.values()].filter((standing) => standing === 'absent').length };
}
