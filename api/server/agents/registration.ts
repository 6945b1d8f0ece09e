/**
 * The Machine object, written on an agent's behalf by server-side apply as `flotilla-agent` and without force: what a user has set wins and
 * survives (SEMANTICS 23). Which labels the agent may set was said by its join token and stands on the object, where an admin can change it.
 */
import type { ObjectDoor, StoredObject } from '../../objects/ports.js';
import { StatusError } from '../../resources/errors.js';
import { apiVersion } from '../../resources/meta.js';
import { mayLabel } from '../trust/tokens.js';

export const agentManager = 'flotilla-agent';
/** Label keys that the machine's agent may set, separated by commas, as its join token listed them. */
export const agentLabelsAnnotation = 'flotilla.dev/agent-labels';

/** Label keys that a user took from the machine, separated by commas: the agent's own settings do not bring them back. */
export const removedLabelsAnnotation = 'flotilla.dev/removed-labels';

export interface Registration {
  readonly uid: string;
  /** Keys that the agent asked for and may not set. */
  readonly refused: readonly string[];
}

type Annotated = Pick<StoredObject, 'metadata'>;

const keysIn = ({ metadata }: Annotated, annotation: string): string[] =>
  (metadata.annotations?.[annotation] ?? '').split(',').filter((key) => key !== '');

export const allowedLabels = (machine: Annotated): string[] => keysIn(machine, agentLabelsAnnotation);
export const removedLabels = (machine: Annotated): string[] => keysIn(machine, removedLabelsAnnotation);

/**
 * Makes the Machine object, or brings its agent's labels up to date; writes nothing when they are. Throws StatusError.
 *
 * @param allowed label keys that this machine's agent may set
 * @param removed label keys that a user took from this machine
 */
export async function registerMachine(
  door: Pick<ObjectDoor, 'apply'>,
  machine: string,
  labels: Readonly<Record<string, string>>,
  allowed: readonly string[],
  removed: readonly string[] = [],
): Promise<Registration> {
  const refused = Object.keys(labels).filter((key) => !mayLabel(allowed, key));
  const wanted = new Map(Object.entries(labels).filter(([key]) => !refused.includes(key) && !removed.includes(key)));
  let annotations: Record<string, string> = { [agentLabelsAnnotation]: allowed.join(',') };
  for (;;) {
    const metadata = { name: machine, labels: Object.fromEntries(wanted), annotations };
    try {
      const { object } = await door.apply('machines', machine, { apiVersion, kind: 'Machine', metadata }, { manager: agentManager });
      return { uid: object.metadata.uid, refused };
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const fields = (error.details.causes ?? []).map(({ field = '' }) => field);
      const disputed = [...wanted.keys()].filter((key) => fields.some((field) => names(field, 'labels', key)));
      const isOurs = agentLabelsAnnotation in annotations;
      const isAnnotationDisputed = isOurs && fields.some((field) => names(field, 'annotations', agentLabelsAnnotation));
      // A user's value stays, and a label that no object can carry hurts only itself (invariant 7).
      if (error.reason === 'Conflict' && (disputed.length > 0 || isAnnotationDisputed)) {
        for (const key of disputed) wanted.delete(key);
        if (isAnnotationDisputed) annotations = {};
      } else if (error.reason === 'Invalid' && wanted.size > 0) {
        const bad = disputed.length > 0 ? disputed : [...wanted.keys()];
        for (const key of bad) wanted.delete(key);
        refused.push(...bad);
      } else {
        throw error;
      }
    }
  }
}

/** Whether an error's field is this entry of metadata: `.metadata.labels.region`, `metadata.labels[region]` or `metadata.labels["region"]`. */
function names(field: string, map: 'labels' | 'annotations', key: string): boolean {
  const [, inMap] = field.split(`metadata.${map}`);
  return inMap === `.${key}` || inMap === `[${key}]` || inMap === `[${JSON.stringify(key)}]`;
}
