import type { Clock, Random } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { ObjectDoor, WatchHub } from '../objects/ports.js';
import type { ConsistentReads } from './consistent-reads.js';
import type { StreamQuota } from './http-stream.js';
import type { ServerLimits } from './limits.js';
import type { WatchMetrics } from './metrics.js';
import type { Snapshots } from './paging.js';
import type { ReadableCache } from './readable-cache.js';
import type { EventFrames } from './watch.js';

/** What the handlers of all kinds share. */
export interface RestPorts {
  readonly cache: ReadableCache;
  readonly hub: WatchHub;
  readonly door: ObjectDoor;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: ServerLimits;
  readonly log: Logger;
  readonly consistent: ConsistentReads;
  readonly snapshots: Snapshots;
  readonly frames: EventFrames;
  readonly watchQuota: StreamQuota;
  readonly watchMetrics: WatchMetrics;
  /** Aborts when the server goes down. */
  readonly closing: AbortSignal;
}
