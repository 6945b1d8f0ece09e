/** Objects as the cache hands them out, for tests of what becomes of them. */
import type { Joined, ObjectEvent } from '../../../api/objects/ports.js';
import { apiVersion } from '../../../api/resources/meta.js';

export const unitObject = (name: string, revision: number, labels: Record<string, string> = {}): Joined => ({
  apiVersion,
  kind: 'Unit',
  metadata: {
    name,
    uid: `uid-${name}`,
    resourceVersion: String(2 * revision),
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels,
    managedFields: [{ manager: 'kubectl', operation: 'Apply' }],
  },
  spec: { desiredState: 'launched', content: '[Service]\nExecStart=/bin/sleep 60\n' },
  status: {},
});

export const event = (type: ObjectEvent['type'], object: Joined, previous?: Joined): ObjectEvent => ({
  type,
  object,
  revision: Number(object.metadata.resourceVersion) / 2,
  ...(previous && { previous }),
});
