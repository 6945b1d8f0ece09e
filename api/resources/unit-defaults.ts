import type { FlotillaObject } from './meta.js';
import type { Unit } from './unit.js';
import { desiredStateOf } from './unit-text.js';

/** Fills in `spec.desiredState` (SEMANTICS 7): launched, but a template can only be inactive. Returns a new object. */
export function withUnitDefaults(object: FlotillaObject): FlotillaObject {
  const unit = object as Unit;
  return { ...unit, spec: { ...unit.spec, desiredState: desiredStateOf(unit) } };
}
