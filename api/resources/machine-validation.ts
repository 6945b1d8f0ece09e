/** What the schema cannot say of a Machine. */
import type { FieldError } from './errors.js';
import type { Machine } from './machine.js';
import type { FlotillaObject } from './meta.js';
import { validateMeta } from './meta-validation.js';

/** The form of /etc/machine-id. */
const machineId = /^[0-9a-f]{32}$/;

export function validateMachine(object: FlotillaObject): FieldError[] {
  const { metadata, spec } = object as Machine;
  const errors = validateMeta(metadata);
  if (!machineId.test(metadata.name)) {
    errors.push({ field: 'metadata.name', message: 'must be the machine id: the 32 lower-case hex digits of /etc/machine-id' });
  }
  const seen = new Set<string>();
  for (const [index, { key, effect }] of (spec?.taints ?? []).entries()) {
    const id = `${key}:${effect}`;
    if (seen.has(id)) {
      errors.push({ field: `spec.taints[${index}]`, message: `the taint ${id} is listed twice`, reason: 'FieldValueDuplicate' });
    }
    seen.add(id);
  }
  return errors;
}
