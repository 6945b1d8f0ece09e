/** Which objects name which owner: kept up change by change, so that nobody has to look at every object to find a few. */
import type { ObjectId, StoredObject } from './ports.js';

export class Dependents {
  /** Uid of an owner → its dependents, by `plural/name`. */
  readonly #byOwner = new Map<string, Map<string, ObjectId>>();
  /** `plural/name` → the owners that it names. */
  readonly #ownersOf = new Map<string, readonly string[]>();

  of(uid: string): Iterable<ObjectId> {
    return this.#byOwner.get(uid)?.values() ?? [];
  }

  /** @param object as it is now; undefined when it is gone or cannot be read */
  note(plural: string, name: string, object: StoredObject | undefined): void {
    const id = `${plural}/${name}`;
    const before = this.#ownersOf.get(id) ?? [];
    const after = (object?.metadata.ownerReferences ?? []).map(({ uid }) => uid);
    if (before.length === 0 && after.length === 0) return;
    for (const uid of before) {
      const dependents = this.#byOwner.get(uid);
      dependents?.delete(id);
      if (dependents?.size === 0) this.#byOwner.delete(uid);
    }
    for (const uid of after) {
      const dependents = this.#byOwner.get(uid);
      if (dependents) dependents.set(id, { plural, name });
      else this.#byOwner.set(uid, new Map([[id, { plural, name }]]));
    }
    if (after.length > 0) this.#ownersOf.set(id, after);
    else this.#ownersOf.delete(id);
  }
}
