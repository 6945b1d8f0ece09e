/**
 * A set of field paths, as `managedFields[].fieldsV1` writes it down. Each step of a path is one element in Kubernetes' spelling:
 * `f:name` a field or a map key, `k:{"name":"x"}` an item of a keyed list, `v:"x"` an item of a set, `i:0` an index. In the JSON
 * form `.` says that the path itself is in the set and not only paths below it.
 * Format: https://kubernetes.io/docs/reference/using-api/server-side-apply/#ownership-management (FieldsV1)
 */
import { isObject, type JsonObject } from '../json.js';

export type PathElement = string;

const emptyMembers: ReadonlySet<PathElement> = new Set();
const noChildren: ReadonlyMap<PathElement, FieldSet> = new Map();

export class FieldSet {
  static readonly empty = new FieldSet(emptyMembers, noChildren);

  private constructor(
    /** Elements whose path, one step below here, is in the set. */
    readonly members: ReadonlySet<PathElement>,
    /** Elements below which further paths are in the set; never an empty set. */
    readonly children: ReadonlyMap<PathElement, FieldSet>,
  ) {}

  /** Keeps the two invariants: no empty child (`children` may have none), one value for "nothing". */
  static of(members: ReadonlySet<PathElement>, children: ReadonlyMap<PathElement, FieldSet>): FieldSet {
    return members.size === 0 && children.size === 0 ? FieldSet.empty : new FieldSet(members, children);
  }

  static build(fill: (insert: (path: readonly PathElement[]) => void) => void): FieldSet {
    const root = new Draft();
    fill((path) => root.insert(path));
    const freeze = (draft: Draft): FieldSet =>
      FieldSet.of(draft.members, new Map([...draft.children].map(([element, child]) => [element, freeze(child)])));
    return freeze(root);
  }

  get isEmpty(): boolean {
    return this === FieldSet.empty;
  }

  child(element: PathElement): FieldSet {
    return this.children.get(element) ?? FieldSet.empty;
  }

  has(path: readonly PathElement[]): boolean {
    const last = path.at(-1);
    return (
      last !== undefined &&
      path
        .slice(0, -1)
        .reduce<FieldSet>((set, element) => set.child(element), this)
        .members.has(last)
    );
  }

  union(other: FieldSet): FieldSet {
    if (other.isEmpty || other === this) return this;
    if (this.isEmpty) return other;
    const children = new Map(this.children);
    for (const [element, child] of other.children) children.set(element, this.child(element).union(child));
    return FieldSet.of(new Set([...this.members, ...other.members]), children);
  }

  intersection(other: FieldSet): FieldSet {
    if (this.isEmpty || other.isEmpty) return FieldSet.empty;
    return this.filter(other, (mine, theirs) => mine.intersection(theirs), true);
  }

  /** What is here and not there, path by path: a path there takes away itself, not what lies below it. */
  difference(other: FieldSet): FieldSet {
    if (this.isEmpty || other.isEmpty) return this;
    return this.filter(other, (mine, theirs) => mine.difference(theirs), false);
  }

  private filter(other: FieldSet, combine: (mine: FieldSet, theirs: FieldSet) => FieldSet, keepShared: boolean): FieldSet {
    const members = new Set([...this.members].filter((element) => other.members.has(element) === keepShared));
    const children = new Map<PathElement, FieldSet>();
    for (const [element, child] of this.children) {
      const combined = combine(child, other.child(element));
      if (!combined.isEmpty) children.set(element, combined);
    }
    return FieldSet.of(members, children);
  }

  equals(other: FieldSet): boolean {
    if (this === other) return true;
    if (this.members.size !== other.members.size || this.children.size !== other.children.size) return false;
    for (const element of this.members) if (!other.members.has(element)) return false;
    for (const [element, child] of this.children) if (!child.equals(other.child(element))) return false;
    return true;
  }

  /** Every path, in the order in which FieldsV1 writes them. */
  *paths(prefix: readonly PathElement[] = []): Generator<readonly PathElement[]> {
    for (const element of this.elements()) {
      const path = [...prefix, element];
      if (this.members.has(element)) yield path;
      yield* this.child(element).paths(path);
    }
  }

  private elements(): PathElement[] {
    return [...new Set([...this.members, ...this.children.keys()])].sort(compareElements);
  }

  /** The `fieldsV1` object. Equal sets give equal text. */
  toFieldsV1(): JsonObject {
    const fields: JsonObject = {};
    for (const element of this.elements()) {
      const below = this.child(element);
      if (below.isEmpty) fields[element] = {};
      else fields[element] = this.members.has(element) ? { '.': {}, ...below.toFieldsV1() } : below.toFieldsV1();
    }
    return fields;
  }

  /** Reads a `fieldsV1` object; undefined when it is not one. */
  static fromFieldsV1(fields: unknown): FieldSet | undefined {
    if (!isObject(fields)) return undefined;
    const members = new Set<PathElement>();
    const children = new Map<PathElement, FieldSet>();
    for (const [spelled, below] of Object.entries(fields)) {
      if (spelled === '.') continue;
      const element = parseElement(spelled);
      if (element === undefined || !isObject(below)) return undefined;
      const child = FieldSet.fromFieldsV1(below);
      if (child === undefined) return undefined;
      if (!child.isEmpty) children.set(element, child);
      // `{}` and a `.` both say that the path itself is owned.
      if (child.isEmpty || '.' in below) members.add(element);
    }
    return FieldSet.of(members, children);
  }
}

class Draft {
  readonly members = new Set<PathElement>();
  readonly children = new Map<PathElement, Draft>();

  insert(path: readonly PathElement[]): void {
    let draft: Draft = this;
    for (const [index, element] of path.entries()) {
      if (index === path.length - 1) draft.members.add(element);
      else {
        const next = draft.children.get(element) ?? new Draft();
        draft.children.set(element, next);
        draft = next;
      }
    }
  }
}

/** Fields, then keyed items, then set items, then indices; by text within each. */
const rank: Readonly<Record<string, number>> = { f: 0, k: 1, v: 2, i: 3 };
function compareElements(a: PathElement, b: PathElement): number {
  const byKind = (rank[a[0]!] ?? 0) - (rank[b[0]!] ?? 0);
  if (byKind !== 0) return byKind;
  return a < b ? -1 : a > b ? 1 : 0;
}

export const fieldElement = (name: string): PathElement => `f:${name}`;
export const valueElement = (value: unknown): PathElement => `v:${JSON.stringify(value)}`;
/** `keys` in any order: the element spells them sorted. */
export const keyElement = (keys: Readonly<Record<string, unknown>>): PathElement =>
  `k:${JSON.stringify(Object.fromEntries(Object.entries(keys).sort(([a], [b]) => (a < b ? -1 : 1))))}`;

/** The element in our own spelling, whoever wrote it; undefined when it is none. */
function parseElement(spelled: string): PathElement | undefined {
  const rest = spelled.slice(2);
  switch (spelled.slice(0, 2)) {
    case 'f:':
      return spelled;
    case 'i:':
      return /^-?\d+$/.test(rest) ? spelled : undefined;
    case 'k:': {
      const keys = parseJson(rest);
      return isObject(keys) ? keyElement(keys) : undefined;
    }
    case 'v:': {
      const value = parseJson(rest);
      return value === undefined ? undefined : valueElement(value);
    }
    default:
      return undefined;
  }
}

/** undefined is no JSON value, so it can say "this is not JSON". */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A path as Kubernetes shows it: `.spec.taints[effect="NoSchedule",key="gpu"].value`, `.metadata.finalizers["x"]` as `[="x"]`. */
export const formatPath = (path: readonly PathElement[]): string =>
  path
    .map((element) => {
      const rest = element.slice(2);
      if (element.startsWith('f:')) return `.${rest}`;
      if (element.startsWith('v:')) return `[=${rest}]`;
      if (element.startsWith('i:')) return `[${rest}]`;
      return `[${Object.entries(parseJson(rest) as JsonObject)
        .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
        .join(',')}]`;
    })
    .join('');
