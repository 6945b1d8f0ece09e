/** The two patch formats that we take: JSON merge patch (RFC 7396) and JSON patch (RFC 6902). Neither changes the document it is given. */
import { applyPatch, type Operation } from 'rfc6902';
import { StatusError } from '../resources/errors.js';
import { forbiddenKeys } from '../resources/meta-validation.js';
import { isObject, type JsonObject } from './json.js';
import { badRequest } from './status-errors.js';

export interface Patch {
  readonly type: 'merge' | 'json';
  readonly body: unknown;
}

/** A patch is for a few fields; who needs more replaces the object. */
export const maxPatchOperations = 1_000;
/** `copy` can double a document again and again: it ends here. */
export const maxPatchedBytes = 1_048_576;

/** @throws StatusError BadRequest when the patch is none, Invalid (422) when it does not fit the document. */
export function patched(document: JsonObject, patch: Patch): JsonObject {
  if (patch.type === 'merge') {
    if (!isObject(patch.body)) throw badRequest('a JSON merge patch must be an object');
    return mergePatch(document, patch.body) as JsonObject;
  }
  return jsonPatch(document, checkOperations(patch.body));
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: JsonObject = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}

/** All operations or none. */
function jsonPatch(document: JsonObject, operations: readonly Operation[]): JsonObject {
  const copy = structuredClone(document);
  for (const [index, operation] of operations.entries()) {
    const [error] = applyPatch(copy, [operation]);
    if (error) {
      const why =
        operation.op === 'test' && error.name === 'TestError'
          ? 'the value there is another one'
          : `there is nothing at that path, or it does not fit`;
      throw new StatusError('Invalid', `JSON patch: operation ${index} (${operation.op} ${operation.path}) failed: ${why}`);
    }
    if (operation.op === 'copy' && JSON.stringify(copy).length > maxPatchedBytes) {
      throw new StatusError(
        'RequestEntityTooLarge',
        `JSON patch: operation ${index} makes the object larger than ${maxPatchedBytes} bytes`,
      );
    }
  }
  return copy;
}

const operands: Readonly<Record<string, 'value' | 'from' | undefined>> = {
  add: 'value',
  replace: 'value',
  test: 'value',
  remove: undefined,
  move: 'from',
  copy: 'from',
};

function checkOperations(body: unknown): Operation[] {
  if (!Array.isArray(body)) throw badRequest('a JSON patch must be a list of operations');
  if (body.length > maxPatchOperations) {
    throw new StatusError(
      'RequestEntityTooLarge',
      `a JSON patch has at most ${maxPatchOperations} operations, this one has ${body.length}`,
    );
  }
  return body.map((operation: unknown, index) => {
    const wrong = (what: string) => badRequest(`JSON patch: operation ${index} ${what}`);
    if (!isObject(operation) || typeof operation.op !== 'string') throw wrong('is not an operation');
    if (!Object.hasOwn(operands, operation.op)) throw wrong(`must be one of ${Object.keys(operands).join(', ')}`);
    checkPointer(operation.path, () => wrong('needs a path such as "/spec/desiredState"'));
    const operand = operands[operation.op];
    if (operand === 'from') checkPointer(operation.from, () => wrong('needs a from such as "/metadata/labels/a"'));
    if (operand === 'value' && !('value' in operation)) throw wrong('needs a value');
    return operation as unknown as Operation;
  });
}

/** RFC 6901. The root itself is no place to write to: the object would be another one. */
function checkPointer(pointer: unknown, wrong: () => StatusError): void {
  if (typeof pointer !== 'string' || !pointer.startsWith('/')) throw wrong();
  if (pointer.split('/').some((step) => forbiddenKeys.has(step)))
    throw badRequest(`JSON patch: ${pointer} is not a path that any object has`);
}
