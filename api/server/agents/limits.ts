/** Every limit of the agent streams, by name (invariant 11). */
export interface AgentLimits {
  readonly maxStreams: number;
  /** Streams that are being opened at a time: after an outage all machines come back at once. */
  readonly maxOpening: number;
  /** One message from an agent. */
  readonly maxMessageBytes: number;
  /** What an agent may send in the long run, and in a burst. */
  readonly maxBytesPerSecond: number;
  readonly maxBurstBytes: number;
  /** States in one message. */
  readonly maxStatesPerMessage: number;
  /** One state as JSON. */
  readonly maxStateBytes: number;
  /** Batches of states that wait for the store; an agent sends the next one when it was told that the last one is stored. */
  readonly maxBatchesWaiting: number;
  /** Heartbeats that wait for the store. */
  readonly maxHeartbeatsWaiting: number;
  /** Events of one machine: a burst, and in the long run. */
  readonly maxEventsBurst: number;
  readonly maxEventsPerMinute: number;
  readonly maxEventMessageLength: number;
  /** From the connection to the first message, and from there to the welcome. */
  readonly helloTimeoutMs: number;
  /** A stream on which nothing was heard for this long is dead, and so is one that takes nothing for this long. */
  readonly silenceTimeoutMs: number;
  /** How often streams are looked at for that. */
  readonly sweepEveryMs: number;
  /** After goodbye, until the connection is cut. */
  readonly closeTimeoutMs: number;
  /** Wait before states that the store did not take are written again. */
  readonly stateRetry: { readonly baseMs: number; readonly capMs: number };
  /** How long two hosts with one machine id are kept out after they were last seen to take turns. */
  readonly duplicateHoldMs: number;
  /** Joins and renewals under way at a time: each costs two signatures and some reads. */
  readonly maxJoins: number;
  /** From asking an agent for a unit's output until it has connected. */
  readonly outputConnectTimeoutMs: number;
  /** From there until systemctl has ended. */
  readonly statusTimeoutMs: number;
  /** From asking an agent what its machine uses until it has measured, which takes a second; through another server a little more. */
  readonly usageTimeoutMs: number;
  readonly peerUsageTimeoutMs: number;
  /** What another server may tell of its machines at a time. */
  readonly maxUsageBytes: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;

export const agentLimits: AgentLimits = {
  maxStreams: 10_000,
  maxOpening: 64,
  maxMessageBytes: 4 * MiB,
  maxBytesPerSecond: MiB,
  maxBurstBytes: 16 * MiB,
  maxStatesPerMessage: 5_000,
  maxStateBytes: 16 * KiB,
  maxBatchesWaiting: 16,
  maxHeartbeatsWaiting: 4,
  maxEventsBurst: 50,
  maxEventsPerMinute: 60,
  maxEventMessageLength: 1_024,
  helloTimeoutMs: 10_000,
  silenceTimeoutMs: 60_000,
  sweepEveryMs: 5_000,
  closeTimeoutMs: 2_000,
  stateRetry: { baseMs: 100, capMs: 5_000 },
  duplicateHoldMs: 60_000,
  maxJoins: 16,
  outputConnectTimeoutMs: 10_000,
  statusTimeoutMs: 15_000,
  usageTimeoutMs: 5_000,
  peerUsageTimeoutMs: 8_000,
  maxUsageBytes: 64 * MiB,
};
