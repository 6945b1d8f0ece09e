/** The leader's loop over GitSyncs: what makes it look, how many at a time, and how it ends. */
import { setMaxListeners } from 'node:events';
import type { CacheBatch } from '../../api/objects/ports.js';
import { conditionOf } from '../../api/resources/conditions.js';
import type { GitSync } from '../../api/resources/gitsync.js';
import { maxGitSyncTimeoutMs } from '../../api/resources/gitsync.js';
import { kindByPlural } from '../../api/resources/registry.js';
import type { Metrics } from '../../runtime/metrics.js';
import { Fenced } from '../../runtime/store/store.js';
import { createWorkQueue, type WorkQueue } from '../../runtime/work-queue.js';
import { objectId } from './documents.js';
import { type SyncOptions, Syncs } from './sync.js';

export const gitSyncLimits = {
  /** Syncs under way at a time. */
  concurrency: 4,
  /** Changes of many objects that one GitSync waits for are one reason to look. */
  gatherMs: 100,
  /** Everything is looked at again, for what no event told of. */
  sweepEveryMs: 30_000,
  /** A sync asks the repository three times at most, each within its own limit, and writes in between. */
  runMs: 3 * maxGitSyncTimeoutMs,
  stopMs: 5_000,
};

export interface GitSyncControllerOptions extends SyncOptions {
  readonly queueMetrics: Metrics;
  readonly signal: AbortSignal;
}

/** Runs until the signal aborts. Rejects with Fenced when the leadership is lost in mid-work. */
export async function runGitSyncs(options: GitSyncControllerOptions): Promise<void> {
  const { cache, clock, random, log, queueMetrics, signal, metrics } = options;
  const syncs = new Syncs(options);
  let fenced: Fenced | undefined;
  let wake = () => {};
  const queue = createWorkQueue({
    name: 'gitsyncs',
    clock,
    random,
    log,
    metrics: queueMetrics,
    concurrency: gitSyncLimits.concurrency,
    limits: { runMs: gitSyncLimits.runMs },
    async work(name, run) {
      try {
        return await syncs.look(name, run);
      } catch (error) {
        if (!(error instanceof Fenced)) throw error;
        fenced ??= error;
        wake();
        return { next: 'stuck', why: 'this server does not lead any more' };
      }
    },
  });
  const everything = () => {
    for (const name of cache.objects('gitsyncs').keys()) queue.add(name);
  };
  const unsubscribe = cache.subscribe((batch) => changed(batch, queue, syncs, options));
  everything();
  let cancelSweep = () => {};
  const sweep = () => {
    everything();
    cancelSweep = clock.after(gitSyncLimits.sweepEveryMs, sweep);
  };
  cancelSweep = clock.after(gitSyncLimits.sweepEveryMs, sweep);
  try {
    setMaxListeners(0, signal);
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  } finally {
    unsubscribe();
    cancelSweep();
    await queue.stop({ drain: false, limitMs: gitSyncLimits.stopMs });
    metrics.stop();
  }
  if (fenced) throw fenced;
}

function changed(batch: CacheBatch, queue: WorkQueue, syncs: Syncs, { cache }: GitSyncControllerOptions): void {
  if (batch.relisted) for (const name of cache.objects('gitsyncs').keys()) queue.add(name);
  for (const change of batch.changes) {
    if (change.table === 'object' && change.plural === 'gitsyncs') queue.add(change.name);
    // A key that was missing, or the wrong one, may be there now.
    if (change.table === 'object' && change.plural === 'secrets') {
      for (const name of readers(change.name, cache)) {
        syncs.hurry(name);
        queue.add(name);
      }
    }
    // Whoever depends on it may go on now.
    if (change.table === 'condition' && change.plural === 'gitsyncs') {
      for (const name of dependents(change.name, cache)) {
        syncs.hurry(name);
        queue.add(name);
      }
    }
    const about =
      change.table === 'state'
        ? { plural: 'units', name: change.unit }
        : change.table === 'condition' || change.table === 'object'
          ? change
          : undefined;
    const kind = about && kindByPlural(about.plural);
    if (about && kind) for (const name of syncs.waitingFor(objectId(kind, about.name))) queue.addAfter(name, gitSyncLimits.gatherMs);
  }
}

function* readers(secret: string, cache: GitSyncControllerOptions['cache']): Generator<string> {
  for (const [name, { value }] of cache.objects('gitsyncs')) {
    const { secretRef, verify } = (value.spec as GitSync['spec']) ?? {};
    if (secretRef?.name === secret || verify?.keysSecretRef.name === secret) yield name;
  }
}

/** GitSyncs that wait for this one, and for nothing else by then. */
function* dependents(name: string, cache: GitSyncControllerOptions['cache']): Generator<string> {
  for (const other of cache.joinedAll('gitsyncs') as readonly GitSync[]) {
    const isMeant = other.spec?.dependsOn?.some((dependency) => dependency.name === name);
    if (isMeant && conditionOf(other, 'Ready')?.reason === 'DependencyNotReady') yield other.metadata.name;
  }
}
