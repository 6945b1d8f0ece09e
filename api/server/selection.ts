/** Label and field selectors of a request as one test. */
import type { Joined } from '../objects/ports.js';
import type { Kind } from '../resources/kinds.js';
import { fieldMatcher, matches, parseFieldSelector, parseLabelSelector } from '../resources/selectors.js';

/**
 * Undefined when everything is selected. Throws BadRequest (400) for selectors that cannot be read or that the kind does not have.
 * @param namespace the one in the URL, if any
 */
export function selection(
  kind: Kind,
  { labelSelector, fieldSelector }: { readonly labelSelector: string; readonly fieldSelector: string },
  namespace?: string,
): ((object: Joined) => boolean) | undefined {
  const requirements = parseLabelSelector(labelSelector);
  const terms = parseFieldSelector(fieldSelector);
  const below = kind.namespaced ? namespace : undefined;
  if (requirements.length === 0 && terms.length === 0 && below === undefined) return undefined;
  const fields = fieldMatcher(kind, terms);
  return (object) =>
    (below === undefined || object.metadata.namespace === below) && matches(requirements, object.metadata.labels) && fields(object);
}
