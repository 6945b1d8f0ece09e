/** A leader that syncs from real repositories into a store in memory, through the real door and cache. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ObjectDoor } from '../../../api/objects/ports.js';
import { reconcileRequestedAnnotation } from '../../../api/resources/annotations.js';
import { conditionOf } from '../../../api/resources/conditions.js';
import type { GitSync, GitSyncSpec } from '../../../api/resources/gitsync.js';
import { gitSyncMetrics } from '../../../controllers/gitsync/metrics.js';
import { runGitSyncs } from '../../../controllers/gitsync/reconcile.js';
import { type Clock, systemClock } from '../../../runtime/clock.js';
import { openRepositories, type Repositories } from '../../../runtime/git/repositories.js';
import { silentLogger } from '../../../runtime/log.js';
import { createMetrics } from '../../../runtime/metrics.js';
import { Fenced } from '../../../runtime/store/store.js';
import { as, keys, openServer, type Server } from '../../api/objects/door-rig.js';

export interface Said {
  readonly about: string;
  readonly reason: string;
  readonly message: string;
}

export interface SyncPorts {
  readonly clock: Clock;
  readonly repositories: Repositories;
}

export class SyncRig {
  readonly events: Said[] = [];
  readonly secrets = new Map<string, ReadonlyMap<string, Buffer>>();
  readonly metrics = createMetrics({ component: 'server', version: '0', process: false });
  isCautious = false;
  /** Revisions whose files were listed. */
  treesRead = 0;
  /** Called for each object that a sync is about to apply. */
  beforeApply: (name: string) => Promise<void> | void = () => {};
  #asked = 0;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(
    readonly server: Server,
    readonly gitDirectory: string,
    private readonly ports: Partial<SyncPorts>,
  ) {}

  static async start(t: TestContext, ports: Partial<SyncPorts> = {}): Promise<SyncRig> {
    const directory = mkdtempSync(join(tmpdir(), 'flotilla-git-'));
    const rig = new SyncRig(await openServer(t), directory, ports);
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
    const { store, cache } = this.server;
    const { clock = systemClock } = this.ports;
    this.#stop = new AbortController();
    await this.depose();
    const outcome = await store.commit({
      compares: [{ key: keys.leader, modRevision: 0 }],
      operations: [{ do: 'put', key: keys.leader, value: '{}' }],
    });
    await cache.untilRevision(outcome.revision);
    this.#running = runGitSyncs({
      store,
      cache,
      door: this.#watchedDoor(),
      fence: { key: keys.leader, createRevision: outcome.revision },
      clock,
      random: () => 0.5,
      log: silentLogger,
      events: { record: ({ kind, name }, _type, reason, message) => void this.events.push({ about: `${kind}/${name}`, reason, message }) },
      repositories: this.#counted(
        this.ports.repositories ??
          openRepositories({ directory: this.gitDirectory, fileRoots: undefined, clock: systemClock, log: silentLogger }),
      ),
      readSecret: async (name) => this.secrets.get(name),
      isCautious: () => this.isCautious,
      metrics: gitSyncMetrics(this.metrics, cache, clock),
      queueMetrics: this.metrics,
      signal: this.#stop.signal,
    }).catch((error: unknown) => {
      if (!(error instanceof Fenced)) throw error;
    });
  }

  /** Somebody else may lead from now on: nothing that this leader writes is taken any more. */
  async depose(): Promise<void> {
    const { store } = this.server;
    const modRevision = (await store.get(keys.leader)).entry?.modRevision;
    if (modRevision === undefined) return;
    await store.commit({ compares: [{ key: keys.leader, modRevision }], operations: [{ do: 'delete', key: keys.leader }] });
  }

  #watchedDoor(): ObjectDoor {
    const { door } = this.server;
    return {
      create: (...given) => door.create(...given),
      update: (...given) => door.update(...given),
      patch: (...given) => door.patch(...given),
      remove: (...given) => door.remove(...given),
      apply: async (...given) => {
        await this.beforeApply(given[1]);
        return door.apply(...given);
      },
    };
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
