/** Who owns what: `metadata.managedFields`, read into sets and written back in Kubernetes' order. */
import type { ManagedFieldsEntry } from '../../resources/meta.js';
import { FieldSet } from './field-set.js';

export interface Owner {
  readonly manager: string;
  /** `Apply` owns what its last configuration said; `Update` what it ever changed by create, update or patch. */
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  /** When its fields last changed, ISO 8601 to the second; '' when unknown. */
  readonly time: string;
  readonly subresource: string;
  readonly fields: FieldSet;
}

/** Owners by `ownerKey`: one manager can own fields by applying and others by updating, and is two owners then. */
export type Owners = ReadonlyMap<string, Owner>;

export const ownerKey = (owner: Pick<Owner, 'manager' | 'operation' | 'subresource'>): string =>
  JSON.stringify([owner.operation, owner.manager, owner.subresource]);

/** More Update owners than this become one, as in Kubernetes: every script that ever patched an object must not stay in it for ever. */
export const maxUpdateOwners = 10;
const mergedOwnersName = 'ancient-changes';

/** Reads `managedFields`; undefined when an entry is not understood, or when there is none. */
export function readOwners(entries: readonly ManagedFieldsEntry[] | undefined): Owners | undefined {
  if (entries === undefined || entries.length === 0) return undefined;
  const owners = new Map<string, Owner>();
  for (const entry of entries) {
    const fields = FieldSet.fromFieldsV1(entry.fieldsV1 ?? {});
    if (fields === undefined || entry.operation === undefined || entry.fieldsType !== 'FieldsV1') return undefined;
    const owner: Owner = {
      manager: entry.manager ?? 'unknown',
      operation: entry.operation,
      apiVersion: entry.apiVersion ?? '',
      time: entry.time ?? '',
      subresource: entry.subresource ?? '',
      fields,
    };
    const key = ownerKey(owner);
    const same = owners.get(key);
    owners.set(key, same ? { ...owner, fields: same.fields.union(fields) } : owner);
  }
  return owners;
}

/** The single empty entry by which a client asks to forget all ownership. */
export const isReset = (entries: readonly ManagedFieldsEntry[] | undefined): boolean =>
  entries?.length === 1 && Object.keys(entries[0]!).length === 0;

export function writeOwners(owners: Owners): ManagedFieldsEntry[] {
  const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return [...capped(owners).values()]
    .filter((owner) => !owner.fields.isEmpty)
    .sort(
      (a, b) =>
        byText(a.operation, b.operation) || byText(a.time, b.time) || byText(a.manager, b.manager) || byText(a.subresource, b.subresource),
    )
    .map((owner) => ({
      manager: owner.manager,
      operation: owner.operation,
      apiVersion: owner.apiVersion,
      ...(owner.time === '' ? {} : { time: owner.time }),
      fieldsType: 'FieldsV1' as const,
      fieldsV1: owner.fields.toFieldsV1(),
      ...(owner.subresource === '' ? {} : { subresource: owner.subresource }),
    }));
}

/** Folds the oldest Update owners into one until there are few enough. */
function capped(owners: Owners): Owners {
  const updates = [...owners].filter(([, owner]) => owner.operation === 'Update' && !owner.fields.isEmpty);
  if (updates.length <= maxUpdateOwners) return owners;
  updates.sort(([, a], [, b]) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  const kept = new Map(owners);
  const oldest = updates.slice(0, updates.length - maxUpdateOwners + 1);
  for (const [key] of oldest) kept.delete(key);
  const merged: Owner = {
    ...oldest.at(-1)![1],
    manager: mergedOwnersName,
    subresource: '',
    fields: oldest.reduce((fields, [, owner]) => fields.union(owner.fields), FieldSet.empty),
  };
  // Already there and young enough to have been kept: then it takes the others in.
  const existing = kept.get(ownerKey(merged));
  return kept.set(ownerKey(merged), existing ? { ...existing, fields: existing.fields.union(merged.fields) } : merged);
}

export const sameOwners = (a: Owners, b: Owners): boolean =>
  a.size === b.size &&
  [...a].every(([key, owner]) => {
    const other = b.get(key);
    return other !== undefined && other.time === owner.time && other.apiVersion === owner.apiVersion && owner.fields.equals(other.fields);
  });
