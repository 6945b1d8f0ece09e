/**
 * Every value in etcd starts with a line that names the write that put it there: `#<store instance>.<number>`. It lets a store whose
 * answer was lost find out in etcd's history whether its own write was applied. Nobody above the store sees it; a value that somebody
 * wrote by hand has none and is read as it is.
 */
import { randomBytes } from 'node:crypto';

const INSTANCE_BYTES = 8;
const idLine = /^#[A-Za-z0-9_-]{11}\.[0-9a-z]{1,11}$/;
/** `#`, 11 characters, a dot, at most 11 digits. */
const LONGEST_ID = 24;
const NEWLINE = 0x0a;
const HASH = 0x23;

/** Ids that no other store instance makes. */
export function writeIds(instance = randomBytes(INSTANCE_BYTES).toString('base64url')): () => string {
  let made = 0;
  return () => `#${instance}.${(++made).toString(36)}`;
}

export const withWriteId = (id: string, value: string): Buffer => Buffer.from(`${id}\n${value}`);

/** The id of the write that put this value, if a store did. */
export function writeIdOf(value: Buffer): string | undefined {
  if (value[0] !== HASH) return undefined;
  const end = value.subarray(0, LONGEST_ID + 1).indexOf(NEWLINE);
  if (end < 0) return undefined;
  const id = value.toString('latin1', 0, end);
  return idLine.test(id) ? id : undefined;
}

export function withoutWriteId(value: Buffer): string {
  const id = writeIdOf(value);
  return value.toString('utf8', id === undefined ? 0 : id.length + 1);
}
