/** The envelope that every object shares: the Kubernetes one, cluster-scoped. */
import { z } from 'zod';

export const group = 'flotilla.dev';
export const version = 'v1';
export const apiVersion = 'flotilla.dev/v1';

const Timestamp = z.string().max(64);

export const ManagedFieldsEntry = z.strictObject({
  manager: z.string().max(128).optional(),
  operation: z.enum(['Apply', 'Update']).optional(),
  apiVersion: z.string().max(128).optional(),
  time: Timestamp.optional(),
  fieldsType: z.literal('FieldsV1').optional(),
  fieldsV1: z.record(z.string(), z.unknown()).optional(),
  subresource: z.string().max(64).optional(),
});
export type ManagedFieldsEntry = z.infer<typeof ManagedFieldsEntry>;

export const OwnerReference = z.strictObject({
  apiVersion: z.string().max(128),
  kind: z.string().max(64),
  name: z.string().max(256),
  uid: z.string().max(64),
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
});
export type OwnerReference = z.infer<typeof OwnerReference>;

export const ObjectMeta = z.strictObject({
  name: z.string().min(1).max(256).describe('Unique among the objects of its kind. For a Unit it is the systemd unit name.'),
  generateName: z.string().max(200).optional().describe('Beginning of a name that the server completes.'),
  uid: z.string().max(64).optional().describe('Tells this object from an earlier one of the same name.'),
  labels: z.record(z.string().max(317), z.string().max(256)).optional().describe('Key/value pairs that selectors match.'),
  annotations: z.record(z.string().max(317), z.string()).optional().describe('Notes of people and programs; nothing selects by them.'),
  generation: z.int().nonnegative().optional().describe('Grows by one with each change of the spec.'),
  resourceVersion: z
    .string()
    .max(32)
    .optional()
    .describe('Changes with every change of the object; a write that carries an old one is refused.'),
  creationTimestamp: Timestamp.nullish().describe('When it was created.'),
  deletionTimestamp: Timestamp.nullish().describe('When its deletion was asked for; it goes when nothing of it is left on a machine.'),
  deletionGracePeriodSeconds: z.int().nonnegative().nullish(),
  finalizers: z.array(z.string().max(317)).max(50).optional().describe('Who has to let go before it can vanish.'),
  ownerReferences: z.array(OwnerReference).max(50).optional().describe('The objects that it belongs to.'),
  managedFields: z.array(ManagedFieldsEntry).max(200).optional().describe('Who owns which field.'),
  // Sent by Kubernetes clients out of habit; accepted and dropped, since all kinds are cluster-scoped.
  namespace: z.string().max(64).optional(),
  selfLink: z.string().max(1024).optional(),
});
export type ObjectMeta = z.infer<typeof ObjectMeta>;

export const Condition = z.strictObject({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  /** One CamelCase word for programs. */
  reason: z.string(),
  /** A sentence for people. */
  message: z.string(),
  lastTransitionTime: Timestamp,
  observedGeneration: z.int().nonnegative().optional(),
});
export type Condition = z.infer<typeof Condition>;

/** Any object as it is read and written; a kind narrows spec and status. */
export interface FlotillaObject<Spec = unknown, Status = unknown> {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec?: Spec;
  status?: Status;
}
