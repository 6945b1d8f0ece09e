/**
 * The servers that run now, each under a leased key of its own: agents learn from it where else they can go, and a server finds the one
 * that holds a machine's stream.
 */
import { z } from 'zod';
import { type Backoff, backoffMs } from '../../runtime/backoff.js';
import { type Clock, type Random, sleep } from '../../runtime/clock.js';
import { type KeyBatch, startInformer } from '../../runtime/informer.js';
import type { Logger } from '../../runtime/log.js';
import type { Metrics } from '../../runtime/metrics.js';
import type { Lease, Store } from '../../runtime/store/store.js';
import type { Keys } from '../resources/keys.js';

const ServerInfo = z.object({
  name: z.string(),
  /** https URLs, as agents and clients reach it. */
  urls: z.array(z.string()),
  version: z.string(),
  startedAt: z.string(),
});
export type ServerInfo = z.infer<typeof ServerInfo>;

export interface ServerRegistryOptions {
  readonly store: Store;
  readonly keys: Keys;
  /** This server. */
  readonly self: Omit<ServerInfo, 'startedAt'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics?: Metrics;
}

export interface ServerRegistry {
  /** By name; this one is always among them. */
  all(): ServerInfo[];
  /** Of all servers, this one's first. */
  urls(): string[];
  /** This server is reached by other URLs than it was opened with: its port was free to choose. Resolves once the others can know. */
  announce(urls: readonly string[]): Promise<void>;
  /** Takes this server off the list at once. */
  close(): Promise<void>;
}

const ttlMs = 10_000;
const retry: Backoff = { baseMs: 500, capMs: 10_000 };

export function openServerRegistry({ store, keys, self, clock, random, log, metrics }: ServerRegistryOptions): ServerRegistry {
  let own: ServerInfo = { ...self, startedAt: clock.now().toISOString() };
  const others = new Map<string, ServerInfo>();
  const stop = new AbortController();
  let lease: Lease | undefined;

  const batch = ({ changes }: KeyBatch) => {
    for (const { key, entry } of changes) {
      const info = entry && readInfo(entry.value);
      if (info && info.name !== own.name) others.set(key, info);
      else others.delete(key);
    }
  };
  const informer = startInformer({
    name: 'servers',
    store,
    prefix: keys.servers,
    handler: { batch },
    clock,
    random,
    log,
    ...(metrics ? { metrics } : {}),
  });

  async function publish(): Promise<void> {
    const key = keys.server(own.name);
    for (;;) {
      const { entry } = await store.get(key);
      const outcome = await store.commit({
        compares: [{ key, modRevision: entry?.modRevision ?? 0 }],
        operations: [{ do: 'put', key, value: JSON.stringify(own), ...(lease ? { lease: lease.id } : {}) }],
      });
      if (outcome.ok) return;
    }
  }

  async function stayPublished(): Promise<void> {
    for (let failures = 0; !stop.signal.aborted; ) {
      try {
        lease = await store.lease(ttlMs, { keepAlive: 'auto' });
        await publish();
        failures = 0;
        // Closed on the way here: whoever closed saw no lease to revoke, and this one would never be lost by itself.
        if (stop.signal.aborted) return await lease.revoke();
        const why = await lease.lost;
        if (!stop.signal.aborted) log.warn('this server fell off the list of servers and comes back', { why });
      } catch (error) {
        if (stop.signal.aborted) return;
        log.warn('this server is not on the list of servers yet', { error });
        await sleep(clock, backoffMs(retry, ++failures, random), stop.signal);
      }
    }
  }
  const published = stayPublished();

  return {
    all: () => [own, ...others.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    urls: () => [...new Set([own, ...others.values()].flatMap(({ urls }) => urls))],
    async announce(urls) {
      own = { ...own, urls: [...urls] };
      // Without a lease it is on its way onto the list anyway, with what it says by then.
      if (lease) await publish();
    },
    async close() {
      stop.abort();
      informer.stop();
      await lease?.revoke().catch((error: unknown) => log.info('this server leaves the list when its lease ends', { error }));
      await published;
    },
  };
}

/** Undefined for what a newer server may have written there. */
function readInfo(value: string): ServerInfo | undefined {
  try {
    return ServerInfo.parse(JSON.parse(value));
  } catch {
    return undefined;
  }
}
