/** A request's bytes as JSON or YAML. */
import type { FastifyRequest } from 'fastify';
import { StatusError } from '../resources/errors.js';
import { parseYaml, YamlError } from '../resources/yaml.js';
import { mediaType } from './negotiation.js';
import { decodeKubernetesProtobuf, protobufType } from './protobuf.js';
import { repeatedFields } from './repeated-fields.js';

/** The bytes as they came; empty when there were none. */
export const bytesOf = (request: FastifyRequest): Buffer => (Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));

const quote = 0x22;
const backslash = 0x5c;
const opening = new Set([0x7b, 0x5b]);
const closing = new Set([0x7d, 0x5d]);

/** How deeply objects and arrays nest, by looking at the bytes only: no recursion, so no input can exhaust the stack. */
export function jsonDepth(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (inString) {
      if (byte === backslash) at++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (opening.has(byte)) deepest = Math.max(deepest, ++depth);
    else if (closing.has(byte)) depth--;
  }
  return deepest;
}

/** Texts without these hold no such key: the walk is for the few that may. */
const mayHoldPrototypeKey = /__proto__|\\u/;

/** Keys that would reach a prototype when somebody copies the object carelessly: refused where they enter, by name. */
function refusePrototypeKeys(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (Object.hasOwn(value, '__proto__'))
    throw new StatusError('BadRequest', 'the body holds the key "__proto__", which no object here has');
  for (const inner of Object.values(value)) refusePrototypeKeys(inner);
}

/** Throws BadRequest (400) that says where the text stops being JSON. */
export function parseJson(bytes: Uint8Array, maxDepth: number): unknown {
  if (bytes.length === 0) throw new StatusError('BadRequest', 'the request has no body, and this one needs one');
  if (jsonDepth(bytes) > maxDepth) throw new StatusError('BadRequest', `the body nests more than ${maxDepth} levels deep`);
  const text = new TextDecoder().decode(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new StatusError('BadRequest', `the body is not JSON: ${describeJsonError(error, text)}`);
  }
  if (mayHoldPrototypeKey.test(text)) refusePrototypeKeys(value);
  return value;
}

/** Line and column where the parser knows them, never the text itself: it may hold a secret. */
function describeJsonError(error: unknown, text: string): string {
  const message = error instanceof Error ? error.message : '';
  if (message.includes('end of JSON input')) return 'it ends too early';
  const position = /at position (\d+)/.exec(message)?.[1];
  if (position === undefined) return 'it holds a character that JSON does not allow there';
  const before = text.slice(0, Number(position)).split('\n');
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

const yamlTypes = new Set(['application/yaml', 'application/x-yaml', 'text/yaml', 'application/apply-patch+yaml']);
const jsonTypes = new Set(['', 'application/json']);

/**
 * The object in a POST, PUT, DELETE or apply. JSON is tried first where the type allows both: kubectl's apply patches are always JSON.
 * Throws UnsupportedMediaType (415) or BadRequest (400).
 */
export function parseObject(request: FastifyRequest, maxDepth: number): unknown {
  const type = mediaType(request.headers['content-type']);
  const bytes = bytesOf(request);
  if (jsonTypes.has(type)) return parseJson(bytes, maxDepth);
  if (type === protobufType) return decodeKubernetesProtobuf(bytes);
  if (!yamlTypes.has(type)) {
    throw new StatusError('UnsupportedMediaType', `the body must be application/json or application/yaml, not ${type}`);
  }
  return looksLikeJson(bytes) ? parseJson(bytes, maxDepth) : parseYamlBody(new TextDecoder().decode(bytes));
}

const blank = new Set([0x20, 0x09, 0x0a, 0x0d]);
const firstByte = (bytes: Uint8Array): number | undefined => bytes.find((byte) => !blank.has(byte));
const looksLikeJson = (bytes: Uint8Array): boolean => firstByte(bytes) === 0x7b;

/** Fields that a body gives twice, once it was parsed. In YAML the parser refuses them. */
export const repeatedFieldsOf = (request: FastifyRequest): string[] => repeatedFieldsIn(bytesOf(request));

/** The same of bytes that were parsed. */
export const repeatedFieldsIn = (bytes: Uint8Array): string[] =>
  opening.has(firstByte(bytes) ?? 0) ? repeatedFields(new TextDecoder().decode(bytes)) : [];

function parseYamlBody(text: string): unknown {
  try {
    return parseYaml(text);
  } catch (error) {
    if (error instanceof YamlError) throw new StatusError('BadRequest', `the body is not one YAML document: ${error.message}`);
    throw error;
  }
}
