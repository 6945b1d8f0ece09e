/** A leader that syncs from real repositories into a store in memory, through the real door and cache. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { reconcileRequestedAnnotation } from '../../../api/resources/annotations.js';
import { conditionOf } from '../../../api/resources/conditions.js';
import type { GitSync, GitSyncSpec } from '../../../api/resources/gitsync.js';
import { gitSyncMetrics } from '../../../controllers/gitsync/metrics.js';
import { runGitSyncs } from '../../../controllers/gitsync/reconcile.js';
import { systemClock } from '../../../runtime/clock.js';
import { openRepositories, type Repositories } from '../../../runtime/git/repositories.js';
import { silentLogger } from '../../../runtime/log.js';
import { createMetrics } from '../../../runtime/metrics.js';
import { as, keys, openServer, type Server } from '../../api/objects/door-rig.js';

export interface Said {
  readonly about: string;
  readonly reason: string;
  readonly message: string;
}

export class SyncRig {
  readonly events: Said[] = [];
  readonly secrets = new Map<string, ReadonlyMap<string, Buffer>>();
  readonly metrics = createMetrics({ component: 'server', version: '0', process: false });
  isCautious = false;
  /** Revisions whose files were listed. */
  treesRead = 0;
  #asked = 0;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(
    readonly server: Server,
    readonly gitDirectory: string,
  ) {}

  static async start(t: TestContext): Promise<SyncRig> {
    const directory = mkdtempSync(join(tmpdir(), 'flotilla-git-'));
    const rig = new SyncRig(await openServer(t), directory);
    t.after(async () => {
      await rig.stop();
      rmSync(directory, { recursive: true, force: true });
    });
    await rig.lead();
    return rig;
  }

  /** A new leadership, which remembers nothing of the one before. */
  async lead(): Promise<void> {
    await this.stop();
    const { store, cache, door } = this.server;
    this.#stop = new AbortController();
    const before = (await store.get(keys.leader)).entry?.modRevision ?? 0;
    if (before !== 0)
      await store.commit({ compares: [{ key: keys.leader, modRevision: before }], operations: [{ do: 'delete', key: keys.leader }] });
    const outcome = await store.commit({
      compares: [{ key: keys.leader, modRevision: 0 }],
      operations: [{ do: 'put', key: keys.leader, value: '{}' }],
    });
    await cache.untilRevision(outcome.revision);
    this.#running = runGitSyncs({
      store,
      cache,
      door,
      fence: { key: keys.leader, createRevision: outcome.revision },
      clock: systemClock,
      random: () => 0.5,
      log: silentLogger,
      events: { record: ({ kind, name }, _type, reason, message) => void this.events.push({ about: `${kind}/${name}`, reason, message }) },
      repositories: this.#counted(
        openRepositories({ directory: this.gitDirectory, fileRoots: undefined, clock: systemClock, log: silentLogger }),
      ),
      readSecret: async (name) => this.secrets.get(name),
      isCautious: () => this.isCautious,
      metrics: gitSyncMetrics(this.metrics, cache, systemClock),
      queueMetrics: this.metrics,
      signal: this.#stop.signal,
    });
  }

  #counted(repositories: Repositories): Repositories {
    return {
      resolve: (...given) => repositories.resolve(...given),
      fetch: (...given) => repositories.fetch(...given),
      signer: (...given) => repositories.signer(...given),
      tree: (...given) => {
        this.treesRead++;
        return repositories.tree(...given);
      },
    };
  }

  /** What the leader knew of it is gone from the store. */
  async loseStatus(name: string): Promise<void> {
    const { store, cache } = this.server;
    const key = keys.condition('gitsyncs', name);
    const { entry } = await store.get(key);
    const { revision } = await store.commit({
      compares: [{ key, modRevision: entry!.modRevision }],
      operations: [{ do: 'delete', key }],
    });
    await cache.untilRevision(revision);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async apply(name: string, spec: GitSyncSpec): Promise<void> {
    const object = { apiVersion: 'flotilla.dev/v1', kind: 'GitSync', metadata: { name }, spec: { interval: '1h', ...spec } };
    await this.server.door.apply('gitsyncs', name, object, as('ann', { force: true }));
  }

  get(name: string): GitSync | undefined {
    return this.server.cache.joined('gitsyncs', name) as GitSync | undefined;
  }

  /** The Ready condition's reason. */
  reason(name: string): string | undefined {
    const sync = this.get(name);
    return sync && conditionOf(sync, 'Ready')?.reason;
  }

  message(name: string): string {
    const sync = this.get(name);
    return (sync && conditionOf(sync, 'Ready')?.message) ?? '';
  }

  units(): string[] {
    return [...this.server.cache.objects('units').keys()].sort();
  }

  /** A unit's text as it is now. */
  text(name: string): string {
    return (this.server.cache.joined('units', name)?.spec as { content?: string } | undefined)?.content ?? '';
  }

  annotate(name: string, annotations: Record<string, string>) {
    return this.server.door.patch('gitsyncs', name, { type: 'merge', body: { metadata: { annotations } } }, as('ann'));
  }

  /** Asks for a sync and waits until it was made; resolves with the reason of Ready. */
  async sync(name: string, annotations: Record<string, string> = {}): Promise<string | undefined> {
    const asked = `request ${++this.#asked}`;
    await this.annotate(name, { ...annotations, [reconcileRequestedAnnotation]: asked });
    await this.until(`${name} is synced`, () => this.get(name)?.status?.lastHandledReconcileAt === asked);
    return this.reason(name);
  }

  async until(what: string, check: () => boolean, withinMs = 20_000): Promise<void> {
    const endMs = performance.now() + withinMs;
    while (!check()) {
      if (performance.now() > endMs)
        assert.fail(
          `never: ${what}; ${JSON.stringify([...this.server.cache.joinedAll('gitsyncs')].map(({ metadata, status }) => [metadata.name, status]))}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  said(reason: string): string[] {
    return this.events.filter((event) => event.reason === reason).map(({ about, message }) => `${about}: ${message}`);
  }
}
