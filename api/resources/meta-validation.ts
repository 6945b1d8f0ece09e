/** Rules of the envelope that every kind shares: labels and annotations, as free as fleet's machine metadata were. */
import type { FieldError } from './errors.js';
import { fieldPath } from './field-path.js';
import type { ObjectMeta } from './meta.js';

/** Total size of annotations, keys and values, in bytes: Kubernetes' limit. */
export const maxAnnotationBytes = 262_144;

/** Objects' own machinery in JavaScript: never a key, so that no merge can reach a prototype. */
export const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** What is wrong with a label's or annotation's key; undefined when nothing is. Whatever selectors and `k=v,k=v` lists use is kept out. */
export function labelKeyProblem(key: string): string | undefined {
  if (key.length === 0) return 'a key cannot be empty';
  if (forbiddenKeys.has(key)) return `"${key}" cannot be a key`;
  const wrong = /[\s,=!()<>"'\u0000-\u001f\u007f-\u009f]/u.exec(key)?.[0];
  return wrong === undefined ? undefined : `a key cannot contain ${JSON.stringify(wrong)}`;
}

/** What is wrong with a label's value; undefined when nothing is. */
export function labelValueProblem(value: string): string | undefined {
  if (value !== value.trim()) return 'a value cannot begin or end in a space';
  const wrong = /[,\u0000-\u001f\u007f-\u009f]/u.exec(value)?.[0];
  return wrong === undefined ? undefined : `a value cannot contain ${JSON.stringify(wrong)}`;
}

export function validateMeta(metadata: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    const problem = labelKeyProblem(key) ?? labelValueProblem(value);
    if (problem !== undefined) errors.push({ field: fieldPath(['metadata', 'labels', key]), message: problem });
  }
  let annotationBytes = 0;
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    const problem = labelKeyProblem(key);
    if (problem !== undefined) errors.push({ field: fieldPath(['metadata', 'annotations', key]), message: problem });
    annotationBytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (annotationBytes > maxAnnotationBytes) {
    errors.push({ field: 'metadata.annotations', message: `must have at most ${maxAnnotationBytes} bytes, has ${annotationBytes}` });
  }
  const controllers = (metadata.ownerReferences ?? []).filter(({ controller }) => controller === true);
  if (controllers.length > 1) {
    const who = controllers.map(({ kind, name }) => `${kind} ${name}`).join(' and ');
    errors.push({ field: 'metadata.ownerReferences', message: `Invalid value: an object has one controller at most, and here are ${who}` });
  }
  return errors;
}
