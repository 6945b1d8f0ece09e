/** What the kinds of the facade show, for `kubectl explain`. Only fields that are there: much of what Kubernetes' own kinds have is not. */
import { z } from 'zod';
import { Taint } from '../../resources/machine.js';
import { Condition, ObjectMeta } from '../../resources/meta.js';

const schemaOf = (kind: string, parts: z.ZodRawShape, apiVersion = 'v1'): z.ZodObject =>
  z.strictObject({ apiVersion: z.literal(apiVersion), kind: z.literal(kind), metadata: ObjectMeta, ...parts });

const text = (description: string) => z.string().describe(description);
const quantities = (description: string) =>
  z.strictObject({ cpu: text('Cores, as in 2 or 500m.').optional(), memory: text('Bytes, as in 512Mi.').optional() }).describe(description);
const addresses = (description: string) => z.array(z.strictObject({ ip: z.string() })).describe(description);

export const nodeSchema = schemaOf('Node', {
  spec: z
    .strictObject({
      unschedulable: z.boolean().optional().describe('No unit is placed here any more: kubectl cordon sets it. Can be changed.'),
      taints: z.array(Taint).optional().describe('What units have to tolerate to be placed here. Can be changed.'),
      providerID: text('flotilla:// and the id of the machine. Cannot be changed.').optional(),
    })
    .describe('What can be wished of a machine.')
    .optional(),
  status: z
    .strictObject({
      capacity: quantities('What the machine has.'),
      allocatable: quantities('What units may ask for: all that the machine has.'),
      conditions: z
        .array(Condition.extend({ lastHeartbeatTime: text('When it was last written.') }))
        .describe('Ready: whether its agent answers.'),
      addresses: z
        .array(z.strictObject({ type: text('InternalIP or Hostname.'), address: z.string() }))
        .describe('Where the machine can be reached.'),
      nodeInfo: z
        .strictObject({
          machineID: text('/etc/machine-id: the name of the Machine.'),
          bootID: text('Of the current boot.'),
          kernelVersion: z.string(),
          osImage: text('As /etc/os-release has it.'),
          containerRuntimeVersion: text('systemd:// and the version of systemd, which runs the units.'),
          kubeletVersion: text("The agent's version."),
          operatingSystem: z.string(),
        })
        .describe('What the agent has told of its machine.'),
    })
    .describe('What was seen; written by the system.')
    .optional(),
});

const containerState = z.strictObject({
  waiting: z
    .strictObject({ reason: text("One word, systemd's where Kubernetes has none."), message: z.string().optional() })
    .optional()
    .describe('It does not run yet, or not just now.'),
  running: z
    .strictObject({ startedAt: text('When it became active.').optional() })
    .optional()
    .describe('It runs.'),
  terminated: z
    .strictObject({
      exitCode: z.int().describe('Of its main process; 128 more than the signal where one ended it.'),
      reason: text('Completed, Error or OOMKilled.'),
      message: text("systemd's result.").optional(),
      finishedAt: text('When it ended.').optional(),
    })
    .optional()
    .describe('It has ended and is not started again.'),
});

export const podSchema = schemaOf('Pod', {
  spec: z
    .strictObject({
      nodeName: text('The node, that is the machine, that it is assigned to.'),
      hostNetwork: z.boolean().describe("Always true: a unit has its machine's network."),
      restartPolicy: text("Always the same word: systemd's Restart= decides."),
      containers: z
        .array(
          z.strictObject({
            name: text('Always unit.'),
            image: text('Always empty: a unit is what its file says.'),
            resources: z.strictObject({ requests: quantities('What the unit asks its machine for.').optional() }),
          }),
        )
        .describe('One: the unit.'),
    })
    .describe('What was decided. To change it, change the unit.')
    .optional(),
  status: z
    .strictObject({
      phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']).describe('Unknown while its machine is not heard of.'),
      reason: z.string().optional().describe('Why it is Unknown.'),
      message: z.string().optional().describe('The same as a sentence.'),
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).describe('PodScheduled, ContainersReady and Ready.'),
      hostIP: text("Its machine's address.").optional(),
      hostIPs: addresses('The same.').optional(),
      podIP: text("Its machine's address: it has none of its own.").optional(),
      podIPs: addresses('The same.').optional(),
      startTime: text('When it was assigned.'),
      containerStatuses: z
        .array(
          z.strictObject({
            name: text('Always unit.'),
            ready: z.boolean().describe('It is active, and its machine is heard of.'),
            started: z.boolean(),
            restartCount: z.int().describe("How often systemd's Restart= has restarted it."),
            image: z.string(),
            imageID: z.string(),
            state: containerState,
          }),
        )
        .describe("What systemd says of the unit, in Kubernetes' words."),
    })
    .describe('What was seen; written by the system.')
    .optional(),
});

export const namespaceSchema = schemaOf('Namespace', {
  spec: z.strictObject({ finalizers: z.array(z.string()).optional() }).optional(),
  status: z.strictObject({ phase: text('Always Active.') }).optional(),
});

export const serviceSchema = schemaOf('Service', {});

const measured = { timestamp: text('When it was measured.'), window: text('Time over which the use of processors was measured.') };
const usage = quantities('What it uses; what the host does not account for is absent.');
const metricsVersion = 'metrics.k8s.io/v1beta1';

export const nodeMetricsSchema = schemaOf('NodeMetrics', { ...measured, usage: usage.optional() }, metricsVersion);
export const podMetricsSchema = schemaOf(
  'PodMetrics',
  {
    ...measured,
    containers: z
      .array(z.strictObject({ name: text('Always unit.'), usage }))
      .optional()
      .describe('One: the unit.'),
  },
  metricsVersion,
);
