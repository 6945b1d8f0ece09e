import type { FlotillaObject } from './meta.js';
import type { Unit } from './unit.js';
import { isTemplateName } from './unit-name.js';

/** Fills in `spec.desiredState` (SEMANTICS 7): launched, but a template can only be inactive. Returns a new object. */
export function withUnitDefaults(object: FlotillaObject): FlotillaObject {
  const { metadata, spec } = object as Unit;
  return { ...object, spec: { ...spec, desiredState: spec?.desiredState ?? (isTemplateName(metadata.name) ? 'inactive' : 'launched') } };
}
