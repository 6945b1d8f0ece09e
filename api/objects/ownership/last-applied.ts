/**
 * The two courtesies that Kubernetes pays to manager `kubectl`, so that objects once applied by `kubectl apply` (client side, which keeps
 * its configuration in an annotation) can go over to `kubectl apply --server-side` (kubernetes-wire 6):
 * a conflict on a field that still is as the annotation says is no conflict, and the annotation is kept up to date without an owner.
 */
import { isObject } from '../json.js';
import type { Conflict } from './conflicts.js';
import { FieldSet } from './field-set.js';
import type { FieldType } from './field-type.js';
import { compare, fieldsOf } from './walk.js';

export const lastAppliedAnnotation = 'kubectl.kubernetes.io/last-applied-configuration';
export const kubectlManager = 'kubectl';

interface Annotated {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> | undefined };
}

const lastAppliedOf = (object: Annotated): string | undefined => object.metadata.annotations?.[lastAppliedAnnotation];

/** What is left of the conflicts once fields are set aside that are still what `kubectl apply` last made them. */
export function conflictsBeyondLastApplied(type: FieldType, live: Annotated, conflicts: readonly Conflict[]): readonly Conflict[] {
  const text = lastAppliedOf(live);
  if (text === undefined) return conflicts;
  let applied: unknown;
  try {
    applied = JSON.parse(text);
  } catch {
    // The annotation can hold anything a client wrote; one that is no JSON vouches for nothing.
    return conflicts;
  }
  if (!isObject(applied)) return conflicts;
  const { added, removed, modified } = compare(type, applied, live);
  const vouched = fieldsOf(type, applied).difference(added.union(removed).union(modified));
  return conflicts
    .map(({ owner, fields }) => ({ owner, fields: fields.difference(vouched) }))
    .filter(({ fields }) => fields !== FieldSet.empty);
}

/** JSON as kubectl writes it: keys sorted, and no character that HTML could take for markup. So an unchanged configuration is the same text. */
const asGoWrites = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  ).replace(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** `object` with the annotation rewritten to `config`, when it has one. */
export function withLastApplied<T extends Annotated>(object: T, config: Annotated): T {
  const before = lastAppliedOf(object);
  if (before === undefined) return object;
  const { [lastAppliedAnnotation]: _self, ...annotations } = config.metadata.annotations ?? {};
  const text = `${asGoWrites({ ...config, metadata: { ...config.metadata, annotations } })}\n`;
  if (text === before) return object;
  return { ...object, metadata: { ...object.metadata, annotations: { ...object.metadata.annotations, [lastAppliedAnnotation]: text } } };
}
