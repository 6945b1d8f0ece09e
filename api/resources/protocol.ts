/**
 * The agent stream: JSON messages over one WebSocket (TLS, client certificate) from agent to server at `/agent/v1/stream`.
 * The server names the machine from the certificate, never from a message. What a machine shows of a unit has a connection of its own
 * each (`/agent/v1/logs/<request>`), opened by the agent when asked, so a fast journal never delays a heartbeat (SEMANTICS 18).
 *
 * Messages are strict on both sides: one that is not known ends the stream. What came later is therefore sent only to agents that have
 * said, in a header of the request that opens the stream, that they know it; a header is ignored by servers that do not.
 */
import { z } from 'zod';
import { AssignmentSpec, UnitState } from './assignment.js';
import { MachineInfo } from './machine.js';
import { journalFormats } from './unit-output.js';

/** Milliseconds between heartbeats, and the lease that they keep (SEMANTICS 17, 20). */
export const heartbeatEveryMs = 3_000;
export const presenceTtlMs = 10_000;

/** For people only: no agent acts on it, and those of the first version would not understand it. */
const { removeAt: _, ...told } = AssignmentSpec.shape;

export const AgentAssignment = z.strictObject({
  ...told,
  text: z.string().describe('The unit text, inlined by the server.'),
});
export type AgentAssignment = z.infer<typeof AgentAssignment>;

/** What something uses; absent is what the host does not account for. */
export const UsageRates = z.strictObject({
  /** Billionths of a core, over the window. */
  cpuNanoCores: z.int().nonnegative().optional(),
  memoryBytes: z.int().nonnegative().optional(),
});

export const MachineUsage = z.strictObject({
  /** Time over which the use of processors was measured. */
  windowMs: z.int().positive(),
  machine: UsageRates,
  /** Of the units that are assigned here and active. */
  units: z.record(z.string(), UsageRates),
});
export type MachineUsage = z.infer<typeof MachineUsage>;

export const FromAgent = z.discriminatedUnion('type', [
  /** First message. `clusterUid` is what the agent knows from disk, so that a stranger's server is noticed by both sides. */
  z.strictObject({
    type: z.literal('hello'),
    info: MachineInfo,
    labels: z.record(z.string(), z.string()),
    clusterUid: z.string().optional(),
  }),
  z.strictObject({ type: z.literal('heartbeat'), seq: z.int() }),
  /** Changed states only, coalesced; a batch is answered by one `stored` with its number. */
  z.strictObject({ type: z.literal('states'), batch: z.int(), states: z.record(z.string(), UnitState) }),
  /** The answer to `measure`. */
  z.strictObject({ type: z.literal('usage'), request: z.string(), ...MachineUsage.shape }),
  z.strictObject({ type: z.literal('event'), unit: z.string().optional(), reason: z.string(), message: z.string(), warning: z.boolean() }),
]);
export type FromAgent = z.infer<typeof FromAgent>;

export const FromServer = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('welcome'),
    clusterUid: z.string(),
    machineUid: z.string(),
    session: z.string(),
    /** Every server's agent endpoint, so that the agent can fail over to one it was not configured with. */
    servers: z.array(z.string()),
  }),
  /** Everything assigned to the machine, complete, as of `revision`. Sent once after `welcome`. */
  z.strictObject({
    type: z.literal('snapshot'),
    revision: z.int(),
    assignments: z.array(AgentAssignment),
    /** Units that are assigned here but whose text the server does not hold yet: leave them as they are, a `changes` follows. */
    held: z.array(z.string()).default([]),
    /** What the server has stored of this machine's states, so that only differences are sent. */
    states: z.record(z.string(), UnitState),
  }),
  /** What changed since; `dropped` names units whose assignment is gone from the store. */
  z.strictObject({ type: z.literal('changes'), revision: z.int(), assignments: z.array(AgentAssignment), dropped: z.array(z.string()) }),
  z.strictObject({ type: z.literal('heartbeat-ack'), seq: z.int() }),
  z.strictObject({ type: z.literal('stored'), batch: z.int() }),
  /** Open an output connection and stream this unit's journal down it. */
  z.strictObject({
    type: z.literal('open-logs'),
    request: z.string(),
    unit: z.string(),
    lines: z.int().nonnegative(),
    follow: z.boolean(),
    since: z.string().optional(),
    /** Only to agents with the feature `journal-output`; else they show short-iso. */
    output: z.enum(journalFormats).optional(),
    /** The run before the current one alone. Only to agents with the feature `journal-runs`. */
    previous: z.boolean().optional(),
    /** Of formats that show fields, this one alone and whole. Only to agents with the feature `journal-runs`. */
    field: z.literal('MESSAGE').optional(),
  }),
  /** Open an output connection and send down it what `systemctl status` says. Only to agents with the feature `systemd-status`. */
  z.strictObject({ type: z.literal('open-status'), request: z.string(), unit: z.string() }),
  /** Ends either: nobody reads it any more. */
  z.strictObject({ type: z.literal('close-logs'), request: z.string() }),
  /** Say what the machine and its units use, once. Only to agents with the feature `usage`. */
  z.strictObject({ type: z.literal('measure'), request: z.string() }),
  /** The server ends the stream and says why; `retry: false` when coming back makes no sense (the Machine was removed). */
  z.strictObject({ type: z.literal('goodbye'), reason: z.string(), retry: z.boolean() }),
]);
export type FromServer = z.infer<typeof FromServer>;

/** POST /agent/v1/join and /agent/v1/renew: JSON in, JSON out. */
export const JoinRequest = z.strictObject({
  token: z.string().max(256),
  /** /etc/machine-id */
  machine: z.string().regex(/^[0-9a-f]{32}$/),
  /** PEM certificate signing request. */
  csr: z.string().max(16_384),
  labels: z.record(z.string().max(317), z.string().max(256)),
});
export type JoinRequest = z.infer<typeof JoinRequest>;
export const JoinReply = z.strictObject({
  certificate: z.string(),
  ca: z.string(),
  clusterUid: z.string(),
  machineUid: z.string(),
  servers: z.array(z.string()),
});
export type JoinReply = z.infer<typeof JoinReply>;

/** With a valid machine certificate, answered by a JoinReply. The key may be a new one. */
export const RenewRequest = z.strictObject({ csr: z.string().max(16_384) });
export type RenewRequest = z.infer<typeof RenewRequest>;

/** Header of the request that opens a stream: what this agent knows beyond the first version of the protocol, separated by commas. */
export const featuresHeader = 'flotilla-agent-features';
export const agentFeatures = ['journal-output', 'systemd-status', 'usage', 'journal-runs'] as const;
export type AgentFeature = (typeof agentFeatures)[number];

/**
 * The output connection carries text in frames of the agent's choosing. It is closed with 1000 when a journal ended, with `exitClose` +
 * its exit code when systemctl did, and with one of these and a sentence as the reason when there was nothing to show.
 */
export const outputClose = { ended: 1000, failed: 4500, noRun: 4400, notAssigned: 4404, tooMany: 4429 } as const;
export const exitClose = 4000;
const maxExitCode = 255;

/** The exit code that a close code stands for; undefined when it stands for a refusal or a connection that broke. */
export const exitCodeOf = (closeCode: number): number | undefined =>
  closeCode === outputClose.ended ? 0 : closeCode >= exitClose && closeCode <= exitClose + maxExitCode ? closeCode - exitClose : undefined;

/** How many outputs of one machine, journals and statuses together, may be read at a time (SEMANTICS 18). */
export const maxOutputsPerMachine = 8;
