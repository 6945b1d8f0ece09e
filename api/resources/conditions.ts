/** Reading conditions of an object's status, whatever its kind. */
import type { Condition, FlotillaObject } from './meta.js';

export function conditionOf(object: FlotillaObject, type: string): Condition | undefined {
  const status = object.status as { readonly conditions?: readonly Condition[] } | undefined;
  return status?.conditions?.find((condition) => condition.type === type);
}
