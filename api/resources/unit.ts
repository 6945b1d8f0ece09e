/** Unit: one systemd unit that should exist. */
import { z } from 'zod';
import { Condition, type FlotillaObject } from './meta.js';

/** fleet's three words, kept: known, on a machine but not started, started. */
export const DesiredState = z.enum(['inactive', 'loaded', 'launched']);
export type DesiredState = z.infer<typeof DesiredState>;

const SelectorExpression = z.strictObject({
  key: z.string().min(1).max(317),
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
  values: z.array(z.string().max(256)).max(100).optional(),
});
export const LabelSelector = z.strictObject({
  matchLabels: z.record(z.string().max(317), z.string().max(256)).optional(),
  matchExpressions: z.array(SelectorExpression).max(50).optional(),
});
export type LabelSelector = z.infer<typeof LabelSelector>;

/** Where a unit may run. Same meaning as the [X-Fleet] options of the same names; naming one option in both places is an error. */
export const Placement = z.strictObject({
  machineID: z.string().max(64).optional().describe('Full machine id, or its first 8 characters.'),
  machineOf: z.array(z.string().max(256)).max(50).optional().describe('Run on the machine where these units run.'),
  machineMetadata: z
    .array(z.string().max(512))
    .max(100)
    .optional()
    .describe('key=value pairs that the machine must carry; values of one key are alternatives, different keys must all match.'),
  machineSelector: LabelSelector.optional().describe('A label selector over machines, in addition to machineMetadata.'),
  conflicts: z
    .array(z.string().max(256))
    .max(100)
    .optional()
    .describe('Globs of unit names that must not share the machine; works both ways.'),
  replaces: z.array(z.string().max(256)).max(100).optional().describe('Globs of unit names that give way to this unit on its machine.'),
  global: z.boolean().optional().describe('Run on every eligible machine.'),
  tolerations: z
    .array(
      z.strictObject({
        key: z.string().max(317).optional(),
        operator: z.enum(['Exists', 'Equal']).optional(),
        value: z.string().max(256).optional(),
        effect: z.string().max(32).optional(),
      }),
    )
    .max(50)
    .optional()
    .describe('Taints of machines that this unit puts up with.'),
});
export type Placement = z.infer<typeof Placement>;

/** A Kubernetes quantity: cpu in cores ("500m" is half a core), memory in bytes ("256Mi"). */
const Quantity = z.string().max(32);

export const Failover = z.strictObject({
  policy: z
    .enum(['stay', 'atLeastOnce', 'atMostOnce'])
    .optional()
    .describe('What happens when the machine is lost. Default: stay when pinned by machineID or global, else atLeastOnce.'),
  deadline: z
    .string()
    .max(32)
    .optional()
    .describe('atMostOnce: the unit stops itself when no heartbeat was acknowledged for this long (default 30s).'),
  stopWithin: z.string().max(32).optional().describe('atMostOnce: and is killed this long after the deadline (default 10s).'),
});
export type Failover = z.infer<typeof Failover>;

export const UnitSpec = z.strictObject({
  desiredState: DesiredState.optional().describe(
    'inactive: known only. loaded: on a machine, not started. launched: started (the default; a template is always inactive).',
  ),
  content: z.string().max(65_536).optional().describe('The unit file, verbatim. [X-Fleet] and [X-Flotilla] sections are honoured.'),
  sections: z
    .record(z.string().max(256), z.record(z.string().max(256), z.union([z.string().max(65_536), z.array(z.string().max(65_536)).max(500)])))
    .optional()
    .describe('The unit file as a map of sections, options and values, instead of content; a list repeats the option.'),
  placement: Placement.optional(),
  resources: z
    .strictObject({ requests: z.strictObject({ cpu: Quantity.optional(), memory: Quantity.optional() }).optional() })
    .optional()
    .describe('What the scheduler sets aside for the unit on its machine.'),
  failover: Failover.optional(),
});
export type UnitSpec = z.infer<typeof UnitSpec>;

/** Joined on read; never stored as one value. */
export const UnitStatus = z.strictObject({
  observedGeneration: z.int().optional(),
  conditions: z.array(Condition).optional(),
  /** inactive, loaded or launched, derived from what was seen. */
  currentState: DesiredState.optional(),
  machine: z.string().optional(),
  /** systemd's own words for it on that machine. */
  load: z.string().optional(),
  active: z.string().optional(),
  sub: z.string().optional(),
  result: z.string().optional(),
  since: z.string().optional(),
  mainPID: z.int().optional(),
  restarts: z.int().optional(),
  /** sha256 of the text that runs there. */
  contentHash: z.string().optional(),
  /** Global units: how many machines should run it, have it assigned, and have it ready. */
  desiredMachines: z.int().optional(),
  currentMachines: z.int().optional(),
  readyMachines: z.int().optional(),
});
export type UnitStatus = z.infer<typeof UnitStatus>;

export type Unit = FlotillaObject<UnitSpec, UnitStatus>;

/** Annotation whose change asks for one restart of the unit, by `flotilla restart` (SEMANTICS 11). */
export const restartAnnotation = 'flotilla.dev/restarted-at';
