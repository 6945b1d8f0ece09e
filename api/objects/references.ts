/** What one object must be to another: an instance to its template, a Unit to the machines that it is on (SEMANTICS 8, 9). */
import type { Compare } from '../../runtime/store/store.js';
import type { FieldError } from '../resources/errors.js';
import { parseKey } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { kindByPlural } from '../resources/registry.js';
import { isTemplateName, splitUnitName, templateNameOf } from '../resources/unit-name.js';
import type { ClusterCache, DeleteOptions, ObjectId, Row, StoredObject } from './ports.js';
import type { StoredForm } from './storage.js';

export interface References {
  readonly errors: readonly FieldError[];
  /** Must still hold when the object is written, or the answer may be another. */
  readonly compares: readonly Compare[];
}

const none: References = { errors: [], compares: [] };

/**
 * An instance without a text of its own begins to follow its template: the template must be there, and not on its way out. The write
 * compares the template's revision, and deleting a template first marks it, so a template never goes while somebody begins to follow it.
 */
export function checkReferences(cache: ClusterCache, kind: Kind, form: StoredForm, previous: StoredObject | undefined): References {
  if (kind.plural !== 'units' || form.stored.textHash !== undefined) return none;
  const { name } = form.stored.metadata;
  const templateName = templateNameOf(name);
  const followsAlready = previous !== undefined && previous.textHash === undefined;
  if (templateName === undefined || followsAlready) return none;

  const template = cache.object('units', templateName);
  const compares = [{ key: cache.keys.object('units', templateName), modRevision: template?.modRevision ?? 0 }];
  if (template !== undefined && !template.value.metadata.deletionTimestamp) return { errors: [], compares };
  const problem = template === undefined ? 'which does not exist' : 'which is being deleted';
  const message =
    `without it the unit follows its template ${JSON.stringify(templateName)}, ${problem}: ` +
    `give ${JSON.stringify(name)} content of its own, or create the template first`;
  return { errors: [{ field: 'spec.content', message, reason: 'FieldValueRequired' }], compares };
}

/** Units that take their text from this template, by name. A look at every unit: asked only when a template is deleted. */
export function followersOf(cache: ClusterCache, kind: Kind, name: string): string[] {
  if (kind.plural !== 'units' || !isTemplateName(name)) return [];
  const { prefix, type } = splitUnitName(name);
  return [...cache.objects('units')]
    .filter(
      ([unit, row]) => unit.startsWith(`${prefix}@`) && unit.endsWith(`.${type}`) && unit !== name && row.value.textHash === undefined,
    )
    .map(([unit]) => unit)
    .sort();
}

/** What has to be gone before an object that was marked may go, in words for people; empty when nothing has. */
export function waitsFor(cache: ClusterCache, kind: Kind, row: Row<StoredObject>): string[] {
  const { name, finalizers = [] } = row.value.metadata;
  const reasons = finalizers.map((finalizer) => `finalizer ${JSON.stringify(finalizer)}`);
  const untold = untoldDependents(cache, row.value.metadata.uid);
  reasons.push(...someOf(untold.map(({ plural, name: dependent }) => `${plural}/${dependent}`).sort(), 'dependent'));
  if (kind.plural !== 'units') return reasons;
  const followers = followersOf(cache, kind, name);
  return [...reasons, ...someOf(machinesOf(cache, name), 'machine'), ...someOf(followers, 'unit')];
}

/**
 * Dependents that nobody has told yet that their owner goes: as long as there are any it stays, so that they are deleted because an owner
 * says so, and not because one is missing (invariant 13).
 */
export function untoldDependents(cache: Pick<ClusterCache, 'dependentsOf' | 'object'>, uid: string | undefined): ObjectId[] {
  if (uid === undefined) return [];
  return [...cache.dependentsOf(uid)].filter(
    ({ plural, name }) => kindByPlural(plural)?.writable === true && !cache.object(plural, name)?.value.metadata.deletionTimestamp,
  );
}

/** Kubernetes' finalizers by which an object says what becomes of its dependents; the leader takes them away again. */
export const orphanFinalizer = 'orphan';
export const foregroundFinalizer = 'foregroundDeletion';

/** The finalizers that an object has once its deletion is asked for in this way. Without dependents there is nothing to say about them. */
export function finalizersFor(before: readonly string[], policy: DeleteOptions['propagationPolicy'], hasDependents: boolean): string[] {
  if (policy === undefined) return [...before];
  const others = before.filter((finalizer) => finalizer !== orphanFinalizer && finalizer !== foregroundFinalizer);
  if (policy === 'Background' || !hasDependents) return others;
  return [...others, policy === 'Orphan' ? orphanFinalizer : foregroundFinalizer];
}

/** Machines that a unit is on, by id: also those whose assignment cannot be read, because what runs there runs (invariant 13). */
export function machinesOf(cache: ClusterCache, unit: string): string[] {
  const unreadable = [...cache.broken.keys()].flatMap((key) => {
    const parsed = parseKey(cache.keys.root, key);
    return parsed.table === 'assignment' && parsed.unit === unit ? [parsed.machine] : [];
  });
  return [...cache.assignmentsOf(unit).keys(), ...unreadable].sort();
}

const maxNamed = 10;

/** `machine a`, `machine b`, ... `and 3 more` */
export function someOf(names: readonly string[], what: string): string[] {
  const named = names.slice(0, maxNamed).map((name) => `${what} ${name}`);
  return names.length > maxNamed ? [...named, `${names.length - maxNamed} more`] : named;
}

/** Assignments can exist for objects of this kind. */
export const isAssignable = (kind: Kind): boolean => kind.plural === 'units';

/**
 * The leader makes what depends on objects of this kind, and another server may not have heard of it yet: one that is deleted must be marked
 * before anybody can be sure that there is nothing.
 */
export const gainsDependents = (kind: Kind): boolean => isAssignable(kind) || kind.plural === 'unitsets';
