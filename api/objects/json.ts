/** Small helpers over parsed JSON; everything here treats its arguments as read-only. */

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

/** Keys that mean something to JavaScript itself: an object that carries one is refused at the door. */
const dangerousKeys = new Set(['__proto__', 'constructor', 'prototype']);

/** Deeper than any object of ours; a body that goes on is an attack on the stack, not a manifest. */
export const maxDepth = 32;

/** The path of the first key that must not be, or of the first value below `maxDepth`; undefined when all is well. */
export function findUnsafe(value: unknown, path = '', depth = 0): { path: string; why: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > maxDepth) return { path, why: `nested deeper than ${maxDepth} levels` };
  const entries = Array.isArray(value)
    ? value.map((item: unknown, index) => [`${path}[${index}]`, item] as const)
    : Object.entries(value).map(([key, item]) => [path === '' ? key : `${path}.${key}`, item] as const);
  if (!Array.isArray(value)) {
    for (const key of Object.keys(value)) {
      if (dangerousKeys.has(key)) return { path: path === '' ? key : `${path}.${key}`, why: `"${key}" cannot be used as a name` };
    }
  }
  for (const [below, item] of entries) {
    const found = findUnsafe(item, below, depth + 1);
    if (found) return found;
  }
  return undefined;
}
