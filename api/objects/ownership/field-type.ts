/**
 * What ownership needs to know of a kind's schema: where a value has parts that can be owned apart, and where it is one. Read once from
 * the kind's zod schema, so a field is described in one place only.
 */
import type { z } from 'zod';

export type FieldType =
  /** One value: a number, a string, something of several possible shapes. */
  | { readonly shape: 'value' }
  /** Known fields, each owned apart; `atomic` when they are owned together. */
  | { readonly shape: 'struct'; readonly fields: ReadonlyMap<string, FieldType>; readonly open: boolean; readonly atomic: boolean }
  /** Any keys, each owned apart. */
  | { readonly shape: 'map'; readonly values: FieldType; readonly atomic: boolean }
  /** `atomic`: one value. `set`: items are owned by their value. `map`: items are told apart, and owned, by these keys. */
  | { readonly shape: 'list'; readonly items: FieldType; readonly type: 'atomic' | 'set' | 'map'; readonly keys: readonly string[] };

export type ListTypes = Readonly<Record<string, { readonly type: 'atomic' | 'set' | 'map'; readonly keys?: readonly string[] }>>;

const value: FieldType = { shape: 'value' };

/** Lists in the envelope that every object has. */
const envelopeLists: ListTypes = {
  'metadata.finalizers': { type: 'set' },
  'metadata.ownerReferences': { type: 'map', keys: ['uid'] },
};

/**
 * The type of a whole object. `listTypes` names lists, and structs or maps to be taken as one (`atomic`), by their path:
 * `spec.taints`, below a list or map `spec.groups[].ports`, `spec.volumes.*.items`. A list that is not named is atomic.
 */
export const fieldTypeOf = (schema: z.core.$ZodType, listTypes: ListTypes = {}): FieldType =>
  read(schema, '', { ...envelopeLists, ...listTypes });

function read(schema: z.core.$ZodType, path: string, lists: ListTypes): FieldType {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const atomic = lists[path]?.type === 'atomic';
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'nonoptional':
    case 'default':
    case 'prefault':
    case 'readonly':
    case 'catch':
      return read(def.innerType, path, lists);
    case 'lazy':
      // A schema that contains itself has no end to read to: what lies below it is one value.
      return value;
    case 'object': {
      const fields = Object.entries(def.shape).map(
        ([name, field]) => [name, read(field, path === '' ? name : `${path}.${name}`, lists)] as const,
      );
      // zod's strict objects have a catch-all that matches nothing; anything else lets unknown fields in.
      const open = def.catchall === undefined || (def.catchall as z.core.$ZodTypes)._zod.def.type !== 'never';
      return { shape: 'struct', fields: new Map(fields), open, atomic };
    }
    case 'record':
      return { shape: 'map', values: read(def.valueType, `${path}.*`, lists), atomic };
    case 'array': {
      const named = lists[path];
      return { shape: 'list', items: read(def.element, `${path}[]`, lists), type: named?.type ?? 'atomic', keys: named?.keys ?? [] };
    }
    default:
      return value;
  }
}

/** Fields that nobody owns: who an object is, and what only the system writes. */
const unowned = new Set(['apiVersion', 'kind', 'status']);
const ownedMetadata = new Set(['labels', 'annotations', 'finalizers', 'ownerReferences', 'generateName']);

/** The part of an object's type that has owners. */
export function ownableType(type: FieldType): FieldType {
  if (type.shape !== 'struct') throw new TypeError('an object is a struct');
  const fields = [...type.fields]
    .filter(([name]) => !unowned.has(name))
    .map(([name, field]) => {
      if (name !== 'metadata' || field.shape !== 'struct') return [name, field] as const;
      return [name, { ...field, fields: new Map([...field.fields].filter(([meta]) => ownedMetadata.has(meta))) }] as const;
    });
  return { ...type, fields: new Map(fields) };
}
