/**
 * Request bodies in Kubernetes' protobuf: kubectl sends what its compiled-in types hold that way, and does not fall back on 415. Only the
 * few kinds are read that such clients send here, by tables of their fields; fields that no table names are skipped, as protobuf wants it.
 */
import { StatusError } from '../resources/errors.js';

export const protobufType = 'application/vnd.kubernetes.protobuf';

interface MessageType {
  readonly [fieldNumber: number]: readonly [name: string, type: FieldType];
}
type FieldType = 'string' | 'strings' | 'number' | 'boolean' | 'map' | 'time' | { readonly message: MessageType };

const message = (fields: MessageType): FieldType => ({ message: fields });

const objectMeta: MessageType = {
  1: ['name', 'string'],
  2: ['generateName', 'string'],
  3: ['namespace', 'string'],
  5: ['uid', 'string'],
  6: ['resourceVersion', 'string'],
  7: ['generation', 'number'],
  8: ['creationTimestamp', 'time'],
  9: ['deletionTimestamp', 'time'],
  10: ['deletionGracePeriodSeconds', 'number'],
  11: ['labels', 'map'],
  12: ['annotations', 'map'],
  14: ['finalizers', 'strings'],
};

const deleteOptions: MessageType = {
  1: ['gracePeriodSeconds', 'number'],
  2: ['preconditions', message({ 1: ['uid', 'string'], 2: ['resourceVersion', 'string'] })],
  3: ['orphanDependents', 'boolean'],
  4: ['propagationPolicy', 'string'],
  5: ['dryRun', 'strings'],
};

const resourceAttributes: MessageType = {
  1: ['namespace', 'string'],
  2: ['verb', 'string'],
  3: ['group', 'string'],
  4: ['version', 'string'],
  5: ['resource', 'string'],
  6: ['subresource', 'string'],
  7: ['name', 'string'],
};

/** The kinds that are read, by name: there is one of each among Kubernetes' own. */
const kinds: Readonly<Record<string, MessageType>> = {
  DeleteOptions: deleteOptions,
  Eviction: { 1: ['metadata', message(objectMeta)], 2: ['deleteOptions', message(deleteOptions)] },
  Namespace: { 1: ['metadata', message(objectMeta)], 2: ['spec', message({ 1: ['finalizers', 'strings'] })] },
  SelfSubjectAccessReview: {
    1: ['metadata', message(objectMeta)],
    2: [
      'spec',
      message({
        1: ['resourceAttributes', message(resourceAttributes)],
        2: ['nonResourceAttributes', message({ 1: ['path', 'string'], 2: ['verb', 'string'] })],
      }),
    ],
  },
  SelfSubjectReview: { 1: ['metadata', message(objectMeta)] },
  SelfSubjectRulesReview: { 1: ['metadata', message(objectMeta)], 2: ['spec', message({ 1: ['namespace', 'string'] })] },
};

const magic = Buffer.from('k8s\0');
/** `runtime.Unknown`: what every body is wrapped in. */
const envelope = { typeMeta: 1, raw: 2, contentEncoding: 3 } as const;
const typeMeta: MessageType = { 1: ['apiVersion', 'string'], 2: ['kind', 'string'] };

/**
 * The object in the body, as JSON would have it. The work is bounded by the body's size: messages nest only as deep as the tables do.
 * @throws StatusError UnsupportedMediaType (415) for a kind that no table describes, BadRequest (400) for bytes that are no such message
 */
export function decodeKubernetesProtobuf(bytes: Uint8Array): Record<string, unknown> {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!body.subarray(0, magic.length).equals(magic)) throw broken("it does not begin as Kubernetes' protobuf does");
  let type: Record<string, unknown> = {};
  let raw: Buffer = Buffer.alloc(0);
  for (const { number, value } of fieldsOf(body.subarray(magic.length))) {
    if (!Buffer.isBuffer(value)) continue;
    if (number === envelope.typeMeta) type = decode(value, typeMeta);
    else if (number === envelope.raw) raw = value;
    else if (number === envelope.contentEncoding && value.length > 0) throw broken('its content is encoded once more');
  }
  const { apiVersion = '', kind = '' } = type as { readonly apiVersion?: string; readonly kind?: string };
  if (!Object.hasOwn(kinds, kind)) {
    const known = Object.keys(kinds).join(', ');
    throw new StatusError(
      'UnsupportedMediaType',
      `a ${kind === '' ? 'body without a kind' : kind.slice(0, 64)} cannot be read as ${protobufType}, only ${known} can: send it as application/json`,
    );
  }
  return { apiVersion, kind, ...decode(raw, kinds[kind]!) };
}

const broken = (why: string): StatusError => new StatusError('BadRequest', `the body is not ${protobufType}: ${why}`);

function decode(bytes: Buffer, type: MessageType): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (const { number, value } of fieldsOf(bytes)) {
    const field = type[number];
    if (!field) continue;
    const [name, kind] = field;
    if (kind === 'number' || kind === 'boolean') {
      if (typeof value !== 'bigint') throw broken(`${name} should be a number`);
      object[name] = kind === 'boolean' ? value !== 0n : whole(value, name);
      continue;
    }
    if (!Buffer.isBuffer(value)) throw broken(`${name} should not be a number`);
    if (kind === 'string') object[name] = textOf(value, name);
    else if (kind === 'strings') object[name] = [...((object[name] as string[] | undefined) ?? []), textOf(value, name)];
    else if (kind === 'map') object[name] = withEntry(object[name] as Readonly<Record<string, string>> | undefined, value, name);
    else if (kind === 'time') object[name] = timeOf(value);
    // A message that comes twice is one message in two pieces.
    else object[name] = { ...(object[name] as object | undefined), ...decode(value, kind.message) };
  }
  return object;
}

const entry: MessageType = { 1: ['key', 'string'], 2: ['value', 'string'] };

function withEntry(map: Readonly<Record<string, string>> = {}, bytes: Buffer, name: string): Record<string, string> {
  const { key = '', value = '' } = decode(bytes, entry) as { readonly key?: string; readonly value?: string };
  if (key === '__proto__') throw broken(`${name} holds the key "__proto__", which no object here has`);
  return { ...map, [key]: value };
}

/** Null for the zero time, which is how Go says that there is none. */
function timeOf(bytes: Buffer): string | null {
  const { seconds } = decode(bytes, { 1: ['seconds', 'number'] }) as { readonly seconds?: number };
  const time = new Date((seconds ?? 0) * 1_000);
  return seconds === undefined || Number.isNaN(time.getTime()) ? null : time.toISOString().replace('.000Z', 'Z');
}

function whole(value: bigint, name: string): number {
  const number = Number(BigInt.asIntN(64, value));
  if (!Number.isSafeInteger(number)) throw broken(`${name} is larger than any number here`);
  return number;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Buffer, name: string): string {
  try {
    return strict.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw broken(`${name} is not UTF-8`);
    throw error;
  }
}

const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
const maxVarintBytes = 10;

/** The fields of a message one after the other; numbers of a fixed length, which no table has, come as their bytes. */
function* fieldsOf(bytes: Buffer): Generator<{ readonly number: number; readonly value: bigint | Buffer }> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let index = 0; index < maxVarintBytes; index++) {
      const byte = bytes[at++];
      if (byte === undefined) throw broken('it ends too early');
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw broken('a number in it does not end');
  };
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw broken('it ends too early');
    const piece = bytes.subarray(at, at + length);
    at += length;
    return piece;
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case wire.varint:
        yield { number, value: varint() };
        break;
      case wire.bytes:
        yield { number, value: take(Number(varint())) };
        break;
      case wire.fixed64:
        yield { number, value: take(8) };
        break;
      case wire.fixed32:
        yield { number, value: take(4) };
        break;
      default:
        throw broken('a field in it is of a type that is not used any more');
    }
  }
}
