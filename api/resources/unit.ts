/** Unit: one systemd unit that should exist. */
import { z } from 'zod';
import { Condition, type FlotillaObject } from './meta.js';

/** fleet's three words, kept: known, on a machine but not started, started. */
export const DesiredState = z.enum(['inactive', 'loaded', 'launched']);
export type DesiredState = z.infer<typeof DesiredState>;

const SelectorExpression = z.strictObject({
  key: z.string().min(1).max(317).describe('Label key.'),
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the label relates to the values.'),
  values: z.array(z.string().max(256)).max(100).optional().describe('For In and NotIn.'),
});
export const LabelSelector = z.strictObject({
  matchLabels: z.record(z.string().max(317), z.string().max(256)).optional().describe('Labels that must have these values.'),
  matchExpressions: z.array(SelectorExpression).max(50).optional().describe('Further requirements; all must hold.'),
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
const Quantity = (what: string) => z.string().max(32).optional().describe(what);

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
  placement: Placement.optional().describe('Where it may run; the same as an [X-Fleet] section in the unit file.'),
  resources: z
    .strictObject({
      requests: z
        .strictObject({ cpu: Quantity('Cores: "500m" is half of one.'), memory: Quantity('Bytes: "256Mi".') })
        .optional()
        .describe('What it needs.'),
    })
    .optional()
    .describe('What the scheduler sets aside for the unit on its machine.'),
  failover: Failover.optional().describe('What happens when its machine is lost.'),
});
export type UnitSpec = z.infer<typeof UnitSpec>;

/** Joined on read; never stored as one value. */
export const UnitStatus = z.strictObject({
  observedGeneration: z.int().optional().describe('The generation that this status is about.'),
  conditions: z.array(Condition).optional().describe('Scheduled, Ready and UpToDate, each with its reason.'),
  currentState: DesiredState.optional().describe('inactive, loaded or launched, derived from what was seen.'),
  machine: z.string().optional().describe('Id of the machine that it is assigned to.'),
  load: z.string().optional().describe("systemd's load state of it on that machine."),
  active: z.string().optional().describe("systemd's active state of it on that machine."),
  sub: z.string().optional().describe("systemd's sub state of it on that machine."),
  result: z.string().optional().describe("systemd's result of its last run: success, exit-code, signal, timeout..."),
  since: z.string().optional().describe('When its active state last changed.'),
  mainPID: z.int().optional().describe('Its main process on that machine.'),
  restarts: z.int().optional().describe('How often systemd restarted it.'),
  contentHash: z.string().optional().describe('sha256 of the text on that machine.'),
  desiredMachines: z.int().optional().describe('Global units: how many machines should run it.'),
  currentMachines: z.int().optional().describe('Global units: how many machines have it assigned.'),
  readyMachines: z.int().optional().describe('Global units: on how many machines it is ready.'),
});
export type UnitStatus = z.infer<typeof UnitStatus>;

export type Unit = FlotillaObject<UnitSpec, UnitStatus>;
