/** UnitSet: a template and how many Units to make of it. */
import { z } from 'zod';
import { Condition, type FlotillaObject } from './meta.js';
import { UnitSpec } from './unit.js';

/** Units that one set makes at most. Whoever needs one on each of more machines wants a global unit. */
export const maxReplicas = 1_000;

export const UnitTemplate = z.strictObject({
  metadata: z
    .strictObject({
      labels: z.record(z.string().max(317), z.string().max(256)).optional().describe('Labels that each of its units gets.'),
      annotations: z.record(z.string().max(317), z.string()).optional().describe('Annotations that each of its units gets.'),
    })
    .optional()
    .describe('What its units carry beside their names.'),
  spec: UnitSpec.optional().describe('The spec of each unit; specifiers such as %i stand for what they mean in each of them.'),
});
export type UnitTemplate = z.infer<typeof UnitTemplate>;

export const UnitSetSpec = z.strictObject({
  replicas: z.int().min(0).max(maxReplicas).optional().describe('How many units there should be (default 1).'),
  template: UnitTemplate.optional().describe('What each of its units is made from.'),
});
export type UnitSetSpec = z.infer<typeof UnitSetSpec>;

/** Written by the leader as one value under the set's conditions key. */
export const UnitSetStatus = z.strictObject({
  observedGeneration: z.int().optional().describe('The generation that this status is about.'),
  conditions: z.array(Condition).optional().describe('Available and Progressing, each with its reason.'),
  replicas: z.int().optional().describe('Units of the set that exist, those that are being deleted left out.'),
  readyReplicas: z.int().optional().describe('How many of them are ready.'),
  updatedReplicas: z.int().optional().describe('How many of them have carried out the newest template.'),
  selector: z.string().optional().describe('Label selector that finds the units of the set.'),
});
export type UnitSetStatus = z.infer<typeof UnitSetStatus>;

export type UnitSet = FlotillaObject<UnitSetSpec, UnitSetStatus>;

/** Label of each unit of a set: the name of the set. */
export const unitSetLabel = 'flotilla.dev/unitset';

/** Annotation of each unit of a set: the hash of the template that it was last made to follow. */
export const templateHashAnnotation = 'flotilla.dev/template-hash';

export const replicasOf = ({ spec }: Pick<UnitSet, 'spec'>): number => spec?.replicas ?? 1;
