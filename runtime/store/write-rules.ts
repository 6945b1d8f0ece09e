/** What a `Write` must be before any store takes it; kept in one place so that the fake refuses what etcd would. */
import type { Compare, Operation, Write } from './store.js';

export const MAX_OPERATIONS = 60;
export const MAX_COMPARES = 60;
export const MAX_WRITE_BYTES = 256 * 1024;

/** The write can never succeed, here or on etcd: a mistake in the caller, or an object that is too big. Nothing was sent. */
export class InvalidWrite extends Error {
  override readonly name = 'InvalidWrite';
}

/** Throws `InvalidWrite` and says what is wrong; returns the size in bytes of all keys and values. */
export function checkWrite(write: Write): number {
  const { compares, operations } = write;
  if (operations.length === 0) throw new InvalidWrite('a write needs at least one operation');
  if (operations.length > MAX_OPERATIONS) throw new InvalidWrite(`a write has ${operations.length} operations, at most ${MAX_OPERATIONS}`);
  if (compares.length > MAX_COMPARES) throw new InvalidWrite(`a write has ${compares.length} compares, at most ${MAX_COMPARES}`);
  const keys = new Set(operations.map((operation) => operation.key));
  if (keys.size < operations.length) throw new InvalidWrite('a write names the same key in two operations');
  for (const { key } of [...operations, ...compares]) if (key === '') throw new InvalidWrite('a key is empty');
  if (!operations.some((operation) => compares.some((compare) => falsifies(operation, compare)))) {
    throw new InvalidWrite(
      `no compare is falsified by the write itself (keys ${[...keys].slice(0, 3).join(', ')}), so it could not be repeated after a lost answer: ` +
        'a put needs modRevision, maxModRevision or createRevision 0 of its key, a delete needs the modRevision or createRevision that the key has',
    );
  }
  let bytes = 0;
  for (const { key } of compares) bytes += Buffer.byteLength(key);
  for (const operation of operations) {
    bytes += Buffer.byteLength(operation.key) + (operation.do === 'put' ? Buffer.byteLength(operation.value) : 0);
  }
  if (bytes > MAX_WRITE_BYTES)
    throw new InvalidWrite(`a write has ${bytes} bytes, at most ${MAX_WRITE_BYTES} (first key ${operations[0]?.key})`);
  return bytes;
}

/** Whether `compare`, true before, is certainly false once `operation` has been applied. */
export function falsifies(operation: Operation, compare: Compare): boolean {
  if (compare.key !== operation.key) return false;
  if (operation.do === 'put') return 'createRevision' in compare ? compare.createRevision === 0 : true;
  // A deleted key has revision 0, which every "at most" admits.
  if ('maxModRevision' in compare) return false;
  return ('modRevision' in compare ? compare.modRevision : compare.createRevision) !== 0;
}

/** What etcd would answer to `compare` for a key with these revisions (0 and 0 when it does not exist). */
export function holds(compare: Compare, entry: { readonly createRevision: number; readonly modRevision: number } | undefined): boolean {
  const { createRevision, modRevision } = entry ?? { createRevision: 0, modRevision: 0 };
  if ('modRevision' in compare) return modRevision === compare.modRevision;
  if ('maxModRevision' in compare) return modRevision <= compare.maxModRevision;
  return createRevision === compare.createRevision;
}
