/** Label and field selectors of a request as one test. */
import type { Joined } from '../objects/ports.js';
import type { Kind } from '../resources/kinds.js';
import { fieldMatcher, matches, parseFieldSelector, parseLabelSelector } from '../resources/selectors.js';

/** Undefined when everything is selected. Throws BadRequest (400) for selectors that cannot be read or that the kind does not have. */
export function selection(
  kind: Kind,
  { labelSelector, fieldSelector }: { readonly labelSelector: string; readonly fieldSelector: string },
): ((object: Joined) => boolean) | undefined {
  const requirements = parseLabelSelector(labelSelector);
  const terms = parseFieldSelector(fieldSelector);
  if (requirements.length === 0 && terms.length === 0) return undefined;
  const fields = fieldMatcher(kind, terms);
  return (object) => matches(requirements, object.metadata.labels) && fields(object);
}
