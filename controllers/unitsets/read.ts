/** From the cache to the facts that a set is decided on. */
import { canonicalJson } from '../../api/objects/json.js';
import type { ClusterCache, Joined, Row, StoredObject } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import { controllerOf } from '../../api/resources/owners.js';
import type { UnitStatus } from '../../api/resources/unit.js';
import { textHash } from '../../api/resources/unit-text.js';
import { replicasOf, templateHashAnnotation, type UnitSet } from '../../api/resources/unitset.js';
import { memberIndex, memberName } from '../../api/resources/unitset-names.js';
import type { Member, SetFacts, Taken } from './plan.js';

/** Digits of a template's hash: it tells templates of one set apart, no more. */
const hashDigits = 16;

export const templateHashOf = ({ spec }: UnitSet): string => textHash(canonicalJson(spec?.template ?? {})).slice(0, hashDigits);

/** @param isVerified whether the unit is, at this revision, as the set has made it */
export function readSet(cache: ClusterCache, set: UnitSet, isVerified: (name: string, modRevision: number) => boolean): SetFacts {
  const { name: setName, uid = '' } = set.metadata;
  const members: Member[] = [];
  for (const { plural, name } of cache.dependentsOf(uid)) {
    const index = memberIndex(setName, name);
    const row = cache.object('units', name);
    if (plural !== 'units' || index === undefined || row === undefined || controllerOf(row.value.metadata)?.uid !== uid) continue;
    members.push(memberOf(row, cache.joined('units', name), index, isVerified(name, row.modRevision)));
  }
  members.sort((a, b) => a.index - b.index);

  const own = new Set(members.map(({ name }) => name));
  const taken = new Map<string, Taken>();
  for (let index = 1; index <= replicasOf(set); index++) {
    const name = memberName(setName, index);
    const why = own.has(name) ? undefined : takenBy(cache, set, name);
    if (why) taken.set(name, why);
  }
  return { set, templateHash: templateHashOf(set), members, taken };
}

function memberOf(row: Row<StoredObject>, joined: Joined | undefined, index: number, isVerified: boolean): Member {
  const { name, uid = '', generation = 0, annotations, deletionTimestamp } = row.value.metadata;
  const status = joined?.status as UnitStatus | undefined;
  const isSeen = (status?.observedGeneration ?? -1) >= generation;
  const holds = (type: string) => isSeen && joined !== undefined && conditionOf(joined, type)?.status === 'True';
  const isReady = holds('Ready');
  const [why] = ['Ready', 'UpToDate', 'Scheduled']
    .map((type) => joined && conditionOf(joined, type))
    .filter((condition) => condition !== undefined && condition.status !== 'True');
  return {
    name,
    index,
    uid,
    modRevision: row.modRevision,
    deleting: Boolean(deletionTimestamp),
    templateHash: annotations?.[templateHashAnnotation],
    isVerified,
    isReady,
    isUpToDate: holds('UpToDate'),
    trouble: isReady ? undefined : (why?.message ?? (isSeen ? undefined : 'its newest generation has not been carried out yet')),
  };
}

/** Who has the name that the set wants for a unit; undefined when it is free. */
function takenBy(cache: ClusterCache, { metadata }: UnitSet, name: string): Taken | undefined {
  const row = cache.object('units', name);
  if (row === undefined) {
    const isBroken = cache.broken.has(cache.keys.object('units', name));
    return isBroken ? { why: 'is there and cannot be read; it is left as it is', isPassing: false } : undefined;
  }
  if (row.value.metadata.deletionTimestamp) return { why: 'of somebody else is being deleted', isPassing: true };
  const owner = controllerOf(row.value.metadata);
  if (owner === undefined) return { why: 'exists and is not a unit of this set; it is left as it is', isPassing: false };
  if (owner.kind === 'UnitSet' && owner.name === metadata.name) return { why: 'is of an earlier set of this name', isPassing: true };
  return { why: `belongs to ${owner.kind} ${owner.name}; it is left as it is`, isPassing: false };
}
