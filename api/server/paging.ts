/** `limit` and `continue`: every page of one list comes from the same snapshot, so nothing is shown twice or left out. */
import type { Clock } from '../../runtime/clock.js';
import type { Joined } from '../objects/ports.js';
import { StatusError } from '../resources/errors.js';

export interface ContinueToken {
  /** Store revision of the snapshot; undefined: whatever is there when it is asked for, since that snapshot is forgotten. */
  readonly revision: number | undefined;
  /** Name of the last object on the page before. */
  readonly after: string;
}

const tokenVersion = 1;

export const encodeContinue = (token: ContinueToken): string =>
  Buffer.from(JSON.stringify([tokenVersion, token.revision ?? null, token.after])).toString('base64url');

/** Throws BadRequest (400) for anything that `encodeContinue` did not make. */
export function decodeContinue(text: string): ContinueToken {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Array.isArray(parts) && parts.length === 3) {
      const [version, revision, after] = parts as unknown[];
      if (version === tokenVersion && (revision === null || Number.isSafeInteger(revision)) && typeof after === 'string')
        return { revision: revision === null ? undefined : Number(revision), after };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new StatusError('BadRequest', 'the continue token was not made by this server');
}

/** What lists were cut into pages lately; holds references to the cache's own objects, not copies. */
export class Snapshots {
  /** Least recently used first, as a Map keeps insertion order. */
  readonly #kept = new Map<string, { objects: readonly Joined[]; usedAtMs: number }>();

  constructor(
    private readonly clock: Clock,
    private readonly limits: { readonly maxSnapshots: number; readonly snapshotTtlMs: number },
  ) {}

  keep(plural: string, revision: number, objects: readonly Joined[]): void {
    const key = `${plural}@${revision}`;
    this.#kept.delete(key);
    this.#kept.set(key, { objects, usedAtMs: this.clock.monotonicMs() });
    const oldest = this.clock.monotonicMs() - this.limits.snapshotTtlMs;
    for (const [old, { usedAtMs }] of this.#kept) {
      if (this.#kept.size <= this.limits.maxSnapshots && usedAtMs >= oldest) break;
      this.#kept.delete(old);
    }
  }

  get(plural: string, revision: number): readonly Joined[] | undefined {
    const found = this.#kept.get(`${plural}@${revision}`);
    if (found === undefined || found.usedAtMs < this.clock.monotonicMs() - this.limits.snapshotTtlMs) return undefined;
    this.keep(plural, revision, found.objects);
    return found.objects;
  }

  get size(): number {
    return this.#kept.size;
  }
}

export interface Page {
  readonly objects: readonly Joined[];
  /** Name to continue after; undefined when this page ends the list. */
  readonly after?: string;
  /** How many follow this page; undefined when a selector makes that costly to know. */
  readonly remaining?: number;
}

/** Index of the first object whose name sorts after `name`. */
function indexAfter(objects: readonly Joined[], name: string): number {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (objects[middle]!.metadata.name <= name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * One page of a snapshot sorted by name. Pure. Objects of one name stay together, since a page goes on after a name: Assignments of one
 * unit on two machines whose ids begin alike share theirs, and make a page one object longer.
 * @param limit 0: everything that is left
 * @param matches undefined: everything matches
 */
export function cutPage(
  snapshot: readonly Joined[],
  after: string | undefined,
  limit: number,
  matches: ((object: Joined) => boolean) | undefined,
): Page {
  const start = after === undefined ? 0 : indexAfter(snapshot, after);
  if (matches === undefined) {
    let end = limit === 0 ? snapshot.length : Math.min(snapshot.length, start + limit);
    while (end > start && end < snapshot.length && snapshot[end]!.metadata.name === snapshot[end - 1]!.metadata.name) end++;
    const objects = start === 0 && end === snapshot.length ? snapshot : snapshot.slice(start, end);
    const last = objects.at(-1);
    return end < snapshot.length && last ? { objects, after: last.metadata.name, remaining: snapshot.length - end } : { objects };
  }
  const objects: Joined[] = [];
  for (let index = start; index < snapshot.length; index++) {
    const object = snapshot[index]!;
    if (!matches(object)) continue;
    // One more than fits is there: only then is there a next page.
    const last = objects.at(-1)?.metadata.name;
    if (limit > 0 && objects.length >= limit && object.metadata.name !== last) return { objects, after: last! };
    objects.push(object);
  }
  return { objects };
}
