/** The one place that knows how a typed value falls into parts that can be owned apart. Everything else here is written over `partsOf`. */
import { isObject, sameJson } from '../json.js';
import { FieldSet, fieldElement, keyElement, type PathElement, valueElement } from './field-set.js';
import type { FieldType } from './field-type.js';

export interface Part {
  readonly value: unknown;
  readonly type: FieldType;
}

/** The parts of a value by their path element; undefined when it is owned as one. Of items that come twice, the first counts. */
export function partsOf(type: FieldType, value: unknown): ReadonlyMap<PathElement, Part> | undefined {
  switch (type.shape) {
    case 'struct': {
      if (type.atomic || !isObject(value)) return undefined;
      const parts = new Map<PathElement, Part>();
      for (const [name, item] of Object.entries(value)) {
        const field = type.fields.get(name);
        if (field !== undefined && item !== undefined) parts.set(fieldElement(name), { value: item, type: field });
      }
      return parts;
    }
    case 'map':
      if (type.atomic || !isObject(value)) return undefined;
      return new Map(Object.entries(value).map(([name, item]) => [fieldElement(name), { value: item, type: type.values }]));
    case 'list': {
      if (type.type === 'atomic' || !Array.isArray(value)) return undefined;
      const parts = new Map<PathElement, Part>();
      for (const item of value as unknown[]) {
        const element = itemElement(type, item);
        if (!parts.has(element)) parts.set(element, { value: item, type: type.items });
      }
      return parts;
    }
    case 'value':
      return undefined;
  }
}

/** How an item of a set or keyed list is told apart. A key that the item leaves out is left out of the element too. */
export function itemElement(type: FieldType & { shape: 'list' }, item: unknown): PathElement {
  if (type.type === 'set' || !isObject(item)) return valueElement(item);
  return keyElement(Object.fromEntries(type.keys.flatMap((key) => (item[key] === undefined ? [] : [[key, item[key]]]))));
}

const isEmptyParts = (parts: ReadonlyMap<PathElement, Part> | undefined) => parts === undefined || parts.size === 0;

/** Every path that a configuration speaks about: its leaves, empty containers, and the keys and items that maps and lists gain by it. */
export function fieldsOf(type: FieldType, value: unknown): FieldSet {
  const parts = partsOf(type, value);
  return parts === undefined ? FieldSet.empty : fieldsIn(type, parts);
}

function fieldsIn(type: FieldType, parts: ReadonlyMap<PathElement, Part>): FieldSet {
  const members = new Set<PathElement>();
  const children = new Map<PathElement, FieldSet>();
  for (const [element, { type: below, value }] of parts) {
    const inner = partsOf(below, value);
    // A field that the schema names exists by itself; a key of a map or an item of a list exists because someone put it there.
    if (type.shape !== 'struct' || isEmptyParts(inner)) members.add(element);
    if (inner !== undefined && inner.size > 0) children.set(element, fieldsIn(below, inner));
  }
  return FieldSet.of(members, children);
}

export interface Difference {
  readonly added: FieldSet;
  readonly removed: FieldSet;
  readonly modified: FieldSet;
}

/** What changed between two values, path by path; a container that came or went counts itself, too. */
export function compare(type: FieldType, before: unknown, after: unknown): Difference {
  const added: (readonly PathElement[])[] = [];
  const removed: (readonly PathElement[])[] = [];
  const modified: (readonly PathElement[])[] = [];
  const visit = (at: FieldType, was: unknown, is: unknown, path: readonly PathElement[]) => {
    if (was === is) return;
    const oldParts = partsOf(at, was);
    const newParts = partsOf(at, is);
    if (isEmptyParts(oldParts) && isEmptyParts(newParts)) {
      if (was === undefined) added.push(path);
      else if (is === undefined) removed.push(path);
      else if (!sameJson(was, is)) modified.push(path);
      return;
    }
    for (const [element, part] of oldParts ?? []) visit(part.type, part.value, newParts?.get(element)?.value, [...path, element]);
    for (const [element, part] of newParts ?? []) {
      if (oldParts?.has(element) !== true) visit(part.type, undefined, part.value, [...path, element]);
    }
    if (path.length === 0) return;
    if (was === undefined) added.push(path);
    else if (is === undefined) removed.push(path);
  };
  visit(type, before, after, []);
  const build = (paths: typeof added) => (paths.length === 0 ? FieldSet.empty : FieldSet.build((insert) => paths.forEach(insert)));
  return { added: build(added), removed: build(removed), modified: build(modified) };
}

/** Where a list that is a set or has keys names one item twice: the path of the second one, as `spec.taints[1]`. */
export function* duplicates(type: FieldType, value: unknown, path = ''): Generator<{ path: string; item: unknown }> {
  if (!holdsKeyedLists(type)) return;
  if (type.shape === 'list' && Array.isArray(value)) {
    const seen = new Set<PathElement>();
    for (const [index, item] of (value as unknown[]).entries()) {
      const at = `${path}[${index}]`;
      if (type.type !== 'atomic') {
        const element = itemElement(type, item);
        if (seen.has(element)) yield { path: at, item: type.type === 'set' ? item : JSON.parse(element.slice(2)) };
        seen.add(element);
      }
      yield* duplicates(type.items, item, at);
    }
  } else if ((type.shape === 'struct' || type.shape === 'map') && isObject(value)) {
    for (const [name, item] of Object.entries(value)) {
      const below = type.shape === 'map' ? type.values : type.fields.get(name);
      if (below !== undefined) yield* duplicates(below, item, path === '' ? name : `${path}.${name}`);
    }
  }
}

const keyedLists = new WeakMap<FieldType, boolean>();

/** Whether anything of this type can hold a list whose items are told apart: most fields of most kinds cannot, and need no look. */
function holdsKeyedLists(type: FieldType): boolean {
  const known = keyedLists.get(type);
  if (known !== undefined) return known;
  const holds = looksForKeyedLists(type);
  keyedLists.set(type, holds);
  return holds;
}

function looksForKeyedLists(type: FieldType): boolean {
  switch (type.shape) {
    case 'list':
      return type.type !== 'atomic' || holdsKeyedLists(type.items);
    case 'map':
      return holdsKeyedLists(type.values);
    case 'struct':
      return [...type.fields.values()].some(holdsKeyedLists);
    case 'value':
      return false;
  }
}
