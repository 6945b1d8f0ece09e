import type { FieldError } from './errors.js';
import type { FlotillaObject } from './meta.js';
import type { Unit } from './unit.js';
import { unitNameProblem } from './unit-name.js';

/** What the schema cannot say of a Unit. */
export function validateUnit(object: FlotillaObject): FieldError[] {
  const unit = object as Unit;
  const problem = unitNameProblem(unit.metadata.name);
  return problem === undefined ? [] : [{ field: 'metadata.name', message: problem }];
}
