/**
 * Field ownership: the two ways in which a write changes who owns what. `applyConfiguration` is server-side apply; `trackUpdate` is
 * everything else (create, replace, patch). Values in, values out: no clock, no store.
 * Semantics: https://kubernetes.io/docs/reference/using-api/server-side-apply/
 */

import type { Conflict } from './conflicts.js';
import { FieldSet } from './field-set.js';
import type { FieldType } from './field-type.js';
import { type Owner, type Owners, ownerKey } from './managers.js';
import { merge, prune } from './merge.js';
import { compare, type Difference, fieldsOf } from './walk.js';

/** Who writes, with what version of the kind, and when (ISO 8601 to the second). */
export interface Writer {
  readonly manager: string;
  readonly apiVersion: string;
  readonly time: string;
}

export interface Owned<T> {
  readonly object: T;
  readonly owners: Owners;
}

const who = (writer: Writer, operation: Owner['operation'], fields: FieldSet): Owner => ({ ...writer, operation, subresource: '', fields });

/**
 * Lays a configuration over the live object. What the manager's previous configuration held, this one does not, and nobody else owns,
 * goes away. A field that another owner holds with another value is a conflict; with `force` it changes hands.
 * @param type the ownable type of the kind (`ownableType`)
 */
export function applyConfiguration<T extends object>(
  type: FieldType,
  { live, config, owners, writer, force }: { live: T; config: object; owners: Owners; writer: Writer; force: boolean },
): Owned<T> | { readonly conflicts: readonly Conflict[] } {
  const me = who(writer, 'Apply', fieldsOf(type, config));
  const key = ownerKey(me);
  const before = owners.get(key);
  const claimed = new Map(owners).set(key, me);

  const merged = merge(type, live, config);
  const everybody = [...claimed.values()].reduce((fields, owner) => fields.union(owner.fields), FieldSet.empty);
  const object = (before === undefined ? merged : prune(type, merged, before.fields, everybody)) as T;
  const difference = compare(type, live, object);

  const conflicts = conflictsWith(owners, key, difference);
  if (conflicts.length > 0 && !force) return { conflicts };

  // Applying the same again changes nothing, not even the time.
  const unchanged = before?.fields.equals(me.fields) === true && isSame(difference);
  return { object, owners: withoutEmpty(release(claimed, key, difference).set(key, unchanged ? before : me)) };
}

/** What an update changed now belongs to its manager and to nobody else; what it removed belongs to nobody. */
export function trackUpdate(
  type: FieldType,
  { before, after, owners, writer }: { before: object; after: object; owners: Owners; writer: Writer },
): Owners {
  const difference = compare(type, before, after);
  if (isSame(difference)) return owners;
  const key = ownerKey({ ...writer, operation: 'Update', subresource: '' });
  const released = release(owners, '', difference);
  const taken = difference.added.union(difference.modified);
  if (!taken.isEmpty) released.set(key, who(writer, 'Update', (released.get(key)?.fields ?? FieldSet.empty).union(taken)));
  return withoutEmpty(released);
}

/** Everybody but `self` lets go of what was changed or removed. */
function release(owners: Owners, self: string, { added, modified, removed }: Difference): Map<string, Owner> {
  const gone = added.union(modified).union(removed);
  return new Map([...owners].map(([key, owner]) => [key, key === self ? owner : { ...owner, fields: owner.fields.difference(gone) }]));
}

function conflictsWith(owners: Owners, self: string, { added, modified }: Difference): Conflict[] {
  const changed = added.union(modified);
  return [...owners].flatMap(([key, owner]) => {
    const fields = key === self ? FieldSet.empty : owner.fields.intersection(changed);
    return fields.isEmpty ? [] : [{ owner, fields }];
  });
}

const isSame = ({ added, modified, removed }: Difference) => added.isEmpty && modified.isEmpty && removed.isEmpty;
const withoutEmpty = (owners: Owners): Owners => new Map([...owners].filter(([, owner]) => !owner.fields.isEmpty));
