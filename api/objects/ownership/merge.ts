/** How an applied configuration becomes part of the live object, and how what its manager no longer mentions goes away. */
import { isObject, type JsonObject } from '../json.js';
import type { FieldSet, PathElement } from './field-set.js';
import type { FieldType } from './field-type.js';
import { itemElement, partsOf } from './walk.js';

/** The live value with the configuration laid over it. Atomic values are replaced; maps, structs and keyed lists are merged in parts. */
export function merge(type: FieldType, live: unknown, config: unknown): unknown {
  if (config === undefined) return live;
  if (live === undefined || partsOf(type, live) === undefined || partsOf(type, config) === undefined) return config;
  if (type.shape === 'list') return mergeList(type, live as unknown[], config as unknown[]);

  const merged: JsonObject = { ...(live as JsonObject) };
  for (const [name, item] of Object.entries(config as JsonObject)) {
    const below = type.shape === 'map' ? type.values : type.shape === 'struct' ? type.fields.get(name) : undefined;
    if (below !== undefined) merged[name] = merge(below, merged[name], item);
  }
  return merged;
}

/**
 * The configuration decides the order of its own items. An item that only the live list has stays where it stood relative to the shared
 * items around it, as far as the configuration's order leaves that place.
 */
function mergeList(type: FieldType & { shape: 'list' }, live: readonly unknown[], config: readonly unknown[]): unknown[] {
  const liveElements = live.map((item) => itemElement(type, item));
  const inLive = new Map<PathElement, unknown>();
  for (const [index, element] of liveElements.entries()) if (!inLive.has(element)) inLive.set(element, live[index]);
  const wanted = config.map((item) => ({ item, element: itemElement(type, item) }));
  const inConfig = new Set(wanted.map(({ element }) => element));
  const shared = wanted.filter(({ element }) => inLive.has(element)).map(({ element }) => element);

  const merged: unknown[] = [];
  let at = 0;
  /** Live items up to the next shared one keep their place; shared ones are placed by the configuration alone. */
  const takeLiveUntil = (next: PathElement | undefined) => {
    for (; at < live.length && liveElements[at] !== next; at++) if (!inConfig.has(liveElements[at]!)) merged.push(live[at]);
  };
  for (const { item, element } of wanted) {
    takeLiveUntil(shared[0]);
    merged.push(merge(type.items, inLive.get(element), item));
    if (shared[0] === element) {
      shared.shift();
      at++;
    }
  }
  takeLiveUntil(undefined);
  return merged;
}

/**
 * The merged value without what `last` (the manager's previous configuration) put there and `owned` (everybody's fields, the manager's
 * new ones included) no longer claims. Something that goes takes along what lies below it, whoever put that there; a container that is
 * left empty by this goes too unless someone owns it.
 */
export function prune(type: FieldType, value: unknown, last: FieldSet, owned: FieldSet): unknown {
  const parts = partsOf(type, value);
  if (parts === undefined) return value;
  // A field that the schema names is there as soon as something below it is; a map key or list item has to be owned itself.
  const claims = (set: FieldSet, element: PathElement) =>
    set.members.has(element) || (type.shape === 'struct' && set.children.has(element));

  const left = new Map<PathElement, unknown>();
  for (const [element, part] of parts) {
    if (claims(last, element) && !claims(owned, element)) continue;
    const below = last.children.get(element);
    const pruned = below === undefined ? part.value : prune(part.type, part.value, below, owned.child(element));
    if (pruned !== part.value && isEmptyContainer(pruned) && !owned.members.has(element)) continue;
    left.set(element, pruned);
  }
  if ([...parts].every(([element, part]) => left.get(element) === part.value)) return value;

  if (type.shape === 'list')
    return (value as unknown[]).map((item) => left.get(itemElement(type, item))).filter((item) => item !== undefined);
  return Object.fromEntries(
    Object.entries(value as JsonObject).flatMap(([name, item]) => {
      if (!parts.has(`f:${name}`)) return [[name, item]];
      return left.has(`f:${name}`) ? [[name, left.get(`f:${name}`)]] : [];
    }),
  );
}

const isEmptyContainer = (value: unknown) =>
  (Array.isArray(value) && value.length === 0) || (isObject(value) && Object.keys(value).length === 0);
