/** The leader's loop over GitSyncs: what makes it look, and how many at a time. */
import type { CacheBatch, CacheChange } from '../../api/objects/ports.js';
import type { GitSync } from '../../api/resources/gitsync.js';
import { maxGitSyncTimeoutMs } from '../../api/resources/gitsync.js';
import { kindByPlural } from '../../api/resources/registry.js';
import { unitKind } from '../../api/resources/unit-kind.js';
import type { Metrics } from '../../runtime/metrics.js';
import { type LaterKey, runKeyedLoop } from '../keyed-loop.js';
import { waitingOn } from './dependencies.js';
import { objectId } from './documents.js';
import { slotLimits } from './slots.js';
import { type SyncOptions, Syncs } from './sync.js';

export const gitSyncLimits = {
  /** Changes of many objects that one GitSync waits for are one reason to look. */
  gatherMs: 100,
  /** Everything is looked at again, for what no event told of. */
  sweepEveryMs: 30_000,
  /** A sync asks the repository three times at most, each within its own limit, and writes in between. */
  runMs: 3 * maxGitSyncTimeoutMs,
};

export interface GitSyncControllerOptions extends SyncOptions {
  readonly queueMetrics: Metrics;
  readonly signal: AbortSignal;
}

/** Runs until the signal aborts. Rejects with Fenced when the leadership is lost in mid-work. */
export async function runGitSyncs(options: GitSyncControllerOptions): Promise<void> {
  const { cache, queueMetrics, metrics } = options;
  const { runMs, sweepEveryMs } = gitSyncLimits;
  const syncs = new Syncs(options);
  try {
    await runKeyedLoop({
      ...options,
      metrics: queueMetrics,
      name: 'gitsyncs',
      concurrency: slotLimits.syncs,
      runMs,
      sweepEveryMs,
      keysOf: (batch) => touchedBy(batch, syncs, cache),
      everything: () => cache.objects('gitsyncs').keys(),
      work: (name, signal) => syncs.look(name, signal),
    });
  } finally {
    metrics.stop();
  }
}

function* touchedBy({ changes }: CacheBatch, syncs: Syncs, cache: SyncOptions['cache']): Generator<string | LaterKey> {
  for (const change of changes) {
    if (change.table === 'object' && change.plural === 'gitsyncs') yield change.name;
    for (const name of freedBy(change, cache)) {
      syncs.hurry(name);
      yield name;
    }
    const id = healthToldBy(change);
    if (id !== undefined) for (const key of syncs.waitingFor(id)) yield { key, afterMs: gitSyncLimits.gatherMs };
  }
}

/** GitSyncs that may go on now, whatever they waited for the last time. */
function* freedBy(change: CacheChange, cache: SyncOptions['cache']): Generator<string> {
  // A key that was missing, or the wrong one, may be there now.
  if (change.table === 'object' && change.plural === 'secrets') yield* readers(change.name, cache);
  if (change.table === 'condition' && change.plural === 'gitsyncs') yield* waitingOn(change.name, cache);
}

/** The object whose health may be another one now. */
function healthToldBy(change: CacheChange): string | undefined {
  if (change.table === 'state') return objectId(unitKind, change.unit);
  if (change.table !== 'condition' && change.table !== 'object') return undefined;
  const kind = kindByPlural(change.plural);
  return kind && objectId(kind, change.name);
}

function* readers(secret: string, cache: SyncOptions['cache']): Generator<string> {
  for (const [name, { value }] of cache.objects('gitsyncs')) {
    const { secretRef, proxySecretRef, verify } = (value.spec as GitSync['spec']) ?? {};
    if ([secretRef, proxySecretRef, verify?.keysSecretRef].some((ref) => ref?.name === secret)) yield name;
  }
}
