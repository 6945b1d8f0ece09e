/**
 * What the store costs beside etcd itself: the same keys and values through `commit()`, each write with its own compare and caller, and as
 * plain transactions of 128 puts by etcd3. Both in turn on one etcd, whose data lies in memory and is not synced.
 */
import { Etcd3 } from 'etcd3';
import { openEtcdStore } from '../runtime/store/etcd-store.js';
import type { Store } from '../runtime/store/store.js';
import { startEtcd } from '../test/rigs/etcd.js';
import type { Row } from './row.js';

const ROUNDS = 3;
const ROUND_MS = 3000;
const VALUE = 'v'.repeat(1500);
const PUTS_IN_A_TXN = 128;
const TXNS_IN_FLIGHT = 4;
/** Callers of `commit()` at a time, as many as the raw loop has keys under way. */
const CALLERS = PUTS_IN_A_TXN * TXNS_IN_FLIGHT;
const LATENCY_SAMPLES = 500;
const LIST_KEYS = 10_000;

export async function benchStore(): Promise<Row[]> {
  const etcd = await startEtcd({ flags: ['--quota-backend-bytes', String(8 * 2 ** 30)] });
  const store = openEtcdStore({ endpoints: etcd.endpoints });
  const raw = new Etcd3({ hosts: [...etcd.endpoints] });
  try {
    // Neither side pays for the first thousand calls.
    await writeThroughStore(store, 500);
    await writeRaw(raw, 500);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      theirs.push(await writeRaw(raw, ROUND_MS));
      ours.push(await writeThroughStore(store, ROUND_MS));
    }
    const rawLatencyMs = await latencyMs((key) => raw.put(key).value(VALUE).exec());
    const latency = await latencyMs((key) => store.commit(create(key)));
    const listMs = await timeList(store);
    return [
      {
        name: 'writes through the store, 1.5 KB, batched',
        value: median(ours),
        unit: 'writes/s',
        reference: `raw etcd3, ${PUTS_IN_A_TXN} puts in a txn: ${Math.round(median(theirs))}/s`,
        ratio: median(ours) / median(theirs),
        aim: '≥ 0.5',
      },
      {
        name: 'one write through the store, p50',
        value: quantile(latency, 0.5),
        unit: 'ms',
        reference: `raw etcd3 put: ${quantile(rawLatencyMs, 0.5).toFixed(2)} ms`,
        ratio: quantile(latency, 0.5) / quantile(rawLatencyMs, 0.5),
      },
      { name: 'one write through the store, p99', value: quantile(latency, 0.99), unit: 'ms' },
      { name: `list of ${LIST_KEYS} keys of 1.5 KB`, value: listMs, unit: 'ms' },
    ];
  } finally {
    await store.close();
    raw.close();
    await etcd.stop();
  }
}

const create = (key: string) => ({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put' as const, key, value: VALUE }] });

let keys = 0;
const freshKey = (side: string) => `/bench/${side}/${++keys}`;

async function writeThroughStore(store: Store, forMs: number): Promise<number> {
  const startMs = performance.now();
  let written = 0;
  const caller = async () => {
    while (performance.now() - startMs < forMs) {
      const { ok } = await store.commit(create(freshKey('store')));
      if (!ok) throw new Error('a fresh key existed');
      written++;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (written * 1000) / (performance.now() - startMs);
}

/** Puts per second by plain transactions. */
export async function writeRaw(client: Etcd3, forMs: number): Promise<number> {
  const startMs = performance.now();
  let written = 0;
  const loop = async () => {
    while (performance.now() - startMs < forMs) {
      const puts = Array.from({ length: PUTS_IN_A_TXN }, () => freshKey('raw'));
      await client
        .if(puts[0] as string, 'Create', '==', 0)
        .then(...puts.map((key) => client.put(key).value(VALUE)))
        .commit();
      written += PUTS_IN_A_TXN;
    }
  };
  await Promise.all(Array.from({ length: TXNS_IN_FLIGHT }, loop));
  return (written * 1000) / (performance.now() - startMs);
}

async function latencyMs(write: (key: string) => Promise<unknown>): Promise<number[]> {
  const tookMs: number[] = [];
  for (let i = 0; i < LATENCY_SAMPLES; i++) {
    const startMs = performance.now();
    await write(freshKey('latency'));
    tookMs.push(performance.now() - startMs);
  }
  return tookMs;
}

async function timeList(store: Store): Promise<number> {
  await Promise.all(Array.from({ length: LIST_KEYS }, (_, i) => store.commit(create(`/bench/list/${i}`))));
  const tookMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now();
    await store.list('/bench/list/');
    tookMs.push(performance.now() - startMs);
  }
  return median(tookMs);
}

const median = (values: readonly number[]): number => quantile(values, 0.5);

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
