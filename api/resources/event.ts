/** Event: a dated sentence about an object, in the shape of Kubernetes' core/v1 Event. Leased; counted rather than repeated. */
import { z } from 'zod';
import { ObjectMeta } from './meta.js';

export const Event = z.strictObject({
  apiVersion: z.string(),
  kind: z.literal('Event'),
  metadata: ObjectMeta,
  involvedObject: z.strictObject({
    apiVersion: z.string().optional(),
    kind: z.string(),
    name: z.string(),
    namespace: z.string().optional(),
    uid: z.string().optional(),
  }),
  /** One CamelCase word. */
  reason: z.string(),
  message: z.string(),
  type: z.enum(['Normal', 'Warning']),
  count: z.int(),
  firstTimestamp: z.string(),
  lastTimestamp: z.string(),
  source: z.strictObject({ component: z.string(), host: z.string().optional() }),
});
export type Event = z.infer<typeof Event>;

/** Source of what agents tell; the host is the first 8 characters of the machine's id. */
export const agentComponent = 'agent';
