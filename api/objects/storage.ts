/** How an object lies in the store: without status and version, a Unit's text apart from it under the text's hash (SEMANTICS 2, 5). */
import type { Operation } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import type { FlotillaObject } from '../resources/meta.js';
import type { Unit } from '../resources/unit.js';
import { textHash, unitText } from '../resources/unit-text.js';
import { isObject } from './json.js';
import type { Joined, StoredObject } from './ports.js';

/** An object in full, as its keepers wrote it: what a joined object is without what the system saw. */
export type WholeObject = FlotillaObject & { readonly status?: never };

/** Bytes of an object and its text together, some room below what the store takes in one write. */
export const maxObjectBytes = 224 * 1024;

export function wholeOf({ status: _seen, metadata, ...object }: Joined): WholeObject {
  const { resourceVersion: _version, ...kept } = metadata;
  return { ...object, metadata: kept };
}

export interface StoredForm {
  readonly stored: StoredObject;
  /** What has to lie under `stored.textHash`. */
  readonly text?: string;
}

export function storedFormOf(kind: Kind, object: WholeObject): StoredForm {
  const text = kind.plural === 'units' ? unitText(object as Unit) : undefined;
  if (text === undefined || !isObject(object.spec)) return { stored: object };
  const { content: _text, ...spec } = object.spec;
  return { stored: { ...object, spec, textHash: textHash(text) }, text };
}

/**
 * The operations that store an object; `putText` when it begins to name its text and nobody vouches for that one (`texts.ts`).
 * @throws StatusError RequestEntityTooLarge (413)
 */
export function putOperations(keys: Keys, kind: Kind, { stored, text }: StoredForm, putText: boolean): Operation[] {
  const value = JSON.stringify(stored);
  const bytes = Buffer.byteLength(value) + Buffer.byteLength(text ?? '');
  if (bytes > maxObjectBytes) {
    const what = `${kind.kind} ${JSON.stringify(stored.metadata.name)}`;
    throw new StatusError('RequestEntityTooLarge', `${what} is too large to store: ${bytes} bytes, at most ${maxObjectBytes}`);
  }
  const own: Operation = { do: 'put', key: keys.object(kind.plural, stored.metadata.name), value };
  if (!putText || text === undefined || stored.textHash === undefined) return [own];
  return [own, { do: 'put', key: keys.content(stored.textHash), value: text }];
}

/** An object goes together with what the leader said of it, so that a new one of its name begins with a clean slate (SEMANTICS 2). */
export const deleteOperations = (keys: Keys, kind: Kind, name: string): Operation[] => [
  { do: 'delete', key: keys.object(kind.plural, name) },
  { do: 'delete', key: keys.condition(kind.plural, name) },
];
