/** Small helpers over parsed JSON; everything here treats its arguments as read-only. */
import { forbiddenKeys } from '../resources/meta-validation.js';

export type JsonObject = Record<string, unknown>;

export const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Equality of JSON values: the order of an object's keys does not count, and a key with `undefined` is a key that is not there. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, index) => sameJson(item, b[index]));
  if (!isObject(a) || !isObject(b)) return false;
  for (const key of Object.keys(a)) if (a[key] !== undefined && !sameJson(a[key], b[key])) return false;
  for (const key of Object.keys(b)) if (b[key] !== undefined && a[key] === undefined) return false;
  return true;
}

/** JSON with the keys of every object sorted: one text for one value. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_key, item: unknown) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );

/** Deeper than any object of ours; a body that goes on is an attack on the stack, not a manifest. */
export const maxDepth = 32;

/** Why a body must not come in at all: a key that is JavaScript's own machinery, or endless nesting. Undefined when all is well. */
export function unsafeJson(value: unknown, depth = 0): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > maxDepth) return `nested deeper than ${maxDepth} levels`;
  for (const key of Object.keys(value)) {
    if (forbiddenKeys.has(key)) return `"${key}" cannot be used as a name`;
    const below = unsafeJson((value as JsonObject)[key], depth + 1);
    if (below !== undefined) return below;
  }
  return undefined;
}
