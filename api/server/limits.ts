/** Every limit of the HTTP door, by name (invariant 11). */
export interface ServerLimits {
  /** Request body; a manifest's own limit is lower and belongs to the object door. */
  readonly maxBodyBytes: number;
  /** Objects in one request that applies many. */
  readonly maxAppliesInRequest: number;
  /** Path and query together. */
  readonly maxUrlBytes: number;
  /** One path parameter, decoded: systemd's 255 characters and room to say what is wrong with a longer one. */
  readonly maxParameterLength: number;
  /** Depth of a JSON body, so that no recursive walk over it can exhaust the stack. */
  readonly maxBodyDepth: number;
  /** Objects on a page, when a client asks for pages. */
  readonly maxPageSize: number;
  /** Snapshots kept for clients in the middle of a paged list; the one unused for longest goes first. */
  readonly maxSnapshots: number;
  readonly snapshotTtlMs: number;
  readonly maxWatches: number;
  readonly maxWatchesPerIdentity: number;
  /** Bytes that a watch may have waiting for a client that does not read; beyond, it is cut. */
  readonly maxWatchBacklogBytes: number;
  /** Lines of events that are kept to be sent to others who watch the same. */
  readonly maxFrameBytes: number;
  /** How long a watch that is being told the initial state waits for a client that takes nothing; it keeps that state in memory meanwhile. */
  readonly maxInitialStallMs: number;
  readonly bookmarkEveryMs: number;
  /** A watch that asks for no timeout ends after this, or up to twice this: clients reconnect spread out. */
  readonly watchTimeoutMs: number;
  /** How long a read waits for a resourceVersion that this server has not seen yet. */
  readonly freshnessTimeoutMs: number;
  /** How long a read without a resourceVersion waits for etcd to say how far the cluster is; then it gets what the cache holds. */
  readonly consistentReadMs: number;
  /** The same, once etcd has let a read wait in vain. */
  readonly consistentReadAwayMs: number;
  /** Streams of journal lines. */
  readonly maxLogStreams: number;
  readonly maxLogLines: number;
  /** Questions what machines use, at a time: each takes a second. */
  readonly maxUsageQuestions: number;
  /** How long a PUT at fleet's door waits for a unit of the same name that is being destroyed, and how many may wait. */
  readonly fleetPredecessorTimeoutMs: number;
  readonly maxFleetWaits: number;
  /** What streams get to end in when the server goes down. */
  readonly closeGraceMs: number;
  /** One health check. */
  readonly healthTimeoutMs: number;
  /** Health is asked of etcd at most this often, however often we are asked. */
  readonly healthCacheMs: number;
}

const MiB = 1024 * 1024;
const minutes = 60_000;

export const defaultLimits: ServerLimits = {
  maxBodyBytes: 4 * MiB,
  maxAppliesInRequest: 500,
  maxUrlBytes: 8 * 1024,
  maxParameterLength: 512,
  maxBodyDepth: 100,
  maxPageSize: 10_000,
  maxSnapshots: 32,
  snapshotTtlMs: 5 * minutes,
  maxWatches: 5_000,
  maxWatchesPerIdentity: 2_000,
  maxWatchBacklogBytes: 16 * MiB,
  maxFrameBytes: 16 * MiB,
  maxInitialStallMs: minutes,
  bookmarkEveryMs: minutes,
  watchTimeoutMs: 30 * minutes,
  freshnessTimeoutMs: 3_000,
  consistentReadMs: 2_000,
  consistentReadAwayMs: 100,
  maxLogStreams: 500,
  maxLogLines: 100_000,
  maxUsageQuestions: 100,
  fleetPredecessorTimeoutMs: 20_000,
  maxFleetWaits: 500,
  closeGraceMs: 2_000,
  healthTimeoutMs: 2_000,
  healthCacheMs: 1_000,
};
