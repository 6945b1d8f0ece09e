/**
 * A store on a real etcd behind a proxy that misbehaves, writers that remember what they were told, and a watch that remembers what it saw.
 * The judge of both is etcd's own event history, read without any of our code.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { type EtcdStoreOptions, openEtcdStore } from '../../runtime/store/etcd-store.js';
import { OutcomeUnknown, type Store, StoreUnavailable, type WatchEvent, type Write } from '../../runtime/store/store.js';
import { type EtcdRig, type HistoricEvent, startEtcd } from './etcd.js';
import { startProxy, type TcpProxy } from './tcp-proxy.js';

export interface FaultyStore {
  readonly etcd: EtcdRig;
  readonly proxy: TcpProxy;
  /** Through the proxy. */
  readonly store: Store;
  /** Beside it. */
  readonly direct: Store;
}

/** An etcd of its own; all of it ends with the test. */
export async function storeUnderFaults(
  t: { after(run: () => Promise<void>): void },
  options: Partial<EtcdStoreOptions> = {},
): Promise<FaultyStore> {
  const etcd = await startEtcd();
  const proxy = await startProxy(etcd.members[0]?.port ?? 0);
  const store = openEtcdStore({ endpoints: [proxy.url], ...options });
  const direct = openEtcdStore({ endpoints: etcd.endpoints });
  t.after(async () => {
    proxy.cut();
    proxy.resume();
    await Promise.all([store.close(), direct.close()]);
    await proxy.close();
    await etcd.stop();
  });
  return { etcd, proxy, store, direct };
}

export const create = (key: string, value: string): Write => ({
  compares: [{ key, modRevision: 0 }],
  operations: [{ do: 'put', key, value }],
});

export const remove = (key: string, modRevision: number): Write => ({
  compares: [{ key, modRevision }],
  operations: [{ do: 'delete', key }],
});

/** What a writer was told about one write, to be held against the history. */
export interface Claim {
  readonly write: Write;
  /** Unique among all writes. */
  readonly value: string;
  readonly answer: 'applied' | 'not applied' | 'unknown';
  readonly revision: number;
}

let values = 0;

/** Creates, changes and deletes its own keys, with an occasional write that must fail and an occasional one of several keys. */
export async function writeMuch(store: Store, prefix: string, claims: Claim[], goOn: () => boolean, pauseMs = 1): Promise<void> {
  for (let i = 0; goOn(); i++) {
    let revision = 0;
    for (const step of ['create', 'change', 'wrong', 'delete'] as const) {
      const key = `${prefix}/${i % 50}-${i}`;
      const value = `value ${++values}`;
      const write: Write = {
        compares: [{ key, modRevision: step === 'wrong' ? revision + 1 : revision }],
        operations:
          step === 'delete'
            ? [{ do: 'delete', key }]
            : [{ do: 'put', key, value }, ...(i % 5 === 0 ? [{ do: 'put' as const, key: `${prefix}/beside`, value }] : [])],
      };
      if (step === 'delete' && i % 3 === 0) continue;
      try {
        const outcome = await store.commit(write);
        claims.push({ write, value, answer: outcome.ok ? 'applied' : 'not applied', revision: outcome.revision });
        if (outcome.ok) ({ revision } = outcome);
        else assert.ok(step === 'wrong' || revision === 0, `${step} of ${key} failed`);
      } catch (error) {
        if (!(error instanceof OutcomeUnknown || error instanceof StoreUnavailable)) throw error;
        claims.push({ write, value, answer: error instanceof OutcomeUnknown ? 'unknown' : 'not applied', revision: 0 });
        break;
      }
    }
    await delay(pauseMs);
  }
}

/** Every write that was answered as applied is in the history once, at its revision; every one that was not is not in it. */
export function assertClaims(claims: readonly Claim[], history: readonly HistoricEvent[]): void {
  const put = new Map<string, number[]>();
  const deleted = new Map<string, number[]>();
  for (const event of history) {
    const found = event.type === 'put' ? `${event.key} ${event.value.slice(event.value.indexOf('\n') + 1)}` : event.key;
    const map = event.type === 'put' ? put : deleted;
    map.set(found, [...(map.get(found) ?? []), event.revision]);
  }
  for (const { write, value, answer, revision } of claims) {
    for (const operation of write.operations) {
      const found = operation.do === 'put' ? (put.get(`${operation.key} ${value}`) ?? []) : (deleted.get(operation.key) ?? []);
      const what = `${operation.do} ${operation.key}: ${answer}`;
      if (answer === 'applied') assert.deepEqual(found, [revision], what);
      else if (answer === 'not applied') assert.deepEqual(found, [], what);
      else assert.ok(found.length <= 1, what);
    }
  }
}

/** Keys and revisions of what the history leaves alive. */
export function survivors(history: readonly HistoricEvent[]): [string, number][] {
  const alive = new Map<string, number>();
  for (const event of history) {
    if (event.type === 'put') alive.set(event.key, event.revision);
    else alive.delete(event.key);
  }
  return [...alive].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Far longer than any fault lasts, so that what never comes fails with a sentence. */
const PATIENCE_MS = 30_000;

async function eventually(done: () => boolean, otherwise: () => string): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!done()) {
    assert.ok(performance.now() < deadlineMs, otherwise());
    await delay(5);
  }
}

export function record(store: Store, prefix: string) {
  const events: WatchEvent[] = [];
  let revision = 0;
  let compactions = 0;
  let interruptions = 0;
  store.watch(prefix, 0, {
    events: (batch, last) => {
      const first = batch[0];
      assert.ok(first && revisionOf(first) > revision, 'a batch begins after the last one');
      events.push(...batch);
      revision = last;
    },
    compacted: () => {
      compactions++;
    },
    interrupted: () => {
      interruptions++;
    },
  });
  const plain = (event: WatchEvent) => [
    event.type,
    event.type === 'put' ? event.entry.key : event.key,
    event.type === 'put' ? event.entry.value : '',
    revisionOf(event),
  ];
  return {
    events,
    get compactions() {
      return compactions;
    },
    get interruptions() {
      return interruptions;
    },
    until: (wanted: number) =>
      eventually(
        () => {
          assert.equal(compactions, 0, 'the watch ended for want of history');
          return revision >= wanted;
        },
        () => `the watch is at ${revision}, not at ${wanted}`,
      ),
    untilCompacted: () =>
      eventually(
        () => compactions > 0,
        () => 'the watch was not told of the compaction',
      ),
    /** Everything, once, in order. */
    assertEquals: (history: readonly HistoricEvent[]) => {
      const expected = history.map(({ type, key, value, revision }) => [
        type,
        key,
        type === 'put' ? value.slice(value.indexOf('\n') + 1) : '',
        revision,
      ]);
      const seen = events.map(plain);
      const wrong = expected.findIndex((event, i) => JSON.stringify(event) !== JSON.stringify(seen[i]));
      if (wrong >= 0)
        assert.deepEqual(seen.slice(wrong, wrong + 3), expected.slice(wrong, wrong + 3), `event ${wrong} of ${expected.length} differs`);
      assert.equal(seen.length, expected.length);
    },
  };
}

const revisionOf = (event: WatchEvent): number => (event.type === 'put' ? event.entry.modRevision : event.revision);

export function count(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
