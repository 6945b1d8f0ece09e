/** Whether an object is as it should be, whatever its kind: by its firm conditions (SEMANTICS 3). Pure. */
import type { ClusterCache } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import type { FlotillaObject } from '../../api/resources/meta.js';
import type { UnitSpec } from '../../api/resources/unit.js';
import { isTemplateName } from '../../api/resources/unit-name.js';
import { parseId } from './documents.js';
import { appliedVerdict, someOf, type Verdict } from './status.js';

/** The condition that says so, by plural; a kind without one is healthy once it is stored. */
const telling: Readonly<Record<string, readonly string[]>> = {
  units: ['Ready', 'UpToDate'],
  unitsets: ['Available'],
  gitsyncs: ['Ready'],
};

/** Why the object is not healthy, in words; undefined when it is. */
export function unhealthyBecause(plural: string, object: FlotillaObject | undefined): string | undefined {
  if (object === undefined) return 'it is not there';
  const { name, generation = 0 } = object.metadata;
  // A template runs nowhere, and neither does what is only to be known.
  if (plural === 'units' && (isTemplateName(name) || (object.spec as UnitSpec | undefined)?.desiredState === 'inactive')) return undefined;
  for (const type of telling[plural] ?? []) {
    const condition = conditionOf(object, type);
    if (condition === undefined) return 'nobody has looked at it yet';
    if ((condition.observedGeneration ?? generation) < generation) return 'its latest change has not been seen yet';
    if (condition.status !== 'True') return condition.message === '' ? condition.reason : condition.message.replace(/\.$/, '');
  }
  return undefined;
}

/** Of a revision that was applied: whether all that it describes is healthy, and, while there is time for that, that it is waited for. */
export function healthVerdict(cache: Pick<ClusterCache, 'joined'>, text: string, ids: readonly string[], isInTime: boolean): Verdict {
  const sick = ids.flatMap((id) => {
    const parsed = parseId(id);
    const why = parsed && unhealthyBecause(parsed.kind.plural, cache.joined(parsed.kind.plural, parsed.name));
    return why === undefined ? [] : [`${id}: ${why}`];
  });
  if (sick.length === 0) return appliedVerdict(text, ids.length);
  const message = `${shortRevision(text)} is applied, and ${sick.length} of ${ids.length} objects are not healthy${isInTime ? ' yet' : ''}: ${someOf(sick)}`;
  return isInTime ? { is: 'working', reason: 'WaitingForHealth', message } : { is: 'failing', reason: 'Unhealthy', message };
}
