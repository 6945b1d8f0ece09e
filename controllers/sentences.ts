/** Sentences and conditions, in one manner. */
import type { Condition } from '../api/resources/meta.js';

/** `on machine ab` → `On machine ab.`; a name at the start keeps its case. */
export function sentence(text: string): string {
  const [first = ''] = text.split(/[\s;:,]/, 1);
  const isName = /[.@\d]/.test(first);
  const start = isName ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** The condition with the time of its last change of status kept, as Kubernetes does it. */
export function condition(
  said: Pick<Condition, 'type' | 'status' | 'reason' | 'message'>,
  before: readonly Condition[] | undefined,
  now: string,
  observedGeneration?: number,
): Condition {
  const previous = before?.find(({ type }) => type === said.type);
  return {
    ...said,
    message: sentence(said.message),
    lastTransitionTime: previous?.status === said.status ? previous.lastTransitionTime : now,
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
  };
}
