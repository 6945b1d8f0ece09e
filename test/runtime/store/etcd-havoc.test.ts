/** Faults at random, from a seed: nothing lost, nothing repeated, nothing out of order, neither for watches nor for writes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom, seedOr } from '../../rigs/seeded-random.js';
import { assertClaims, type Claim, count, create, record, storeUnderFaults, survivors, writeMuch } from '../../rigs/store-under-faults.js';
import { wreakHavoc } from '../../rigs/tcp-proxy.js';

describe('etcd store under random faults', () => {
  for (const seed of [1, 20_261_121]) {
    test(`cuts and stalls at random, seed ${seedOr(seed)}: no event lost, repeated or out of order; every write once or not at all`, async (t) => {
      const { etcd, proxy, store, direct } = await storeUnderFaults(t);
      const seen = record(store, '/f/');
      await direct.commit(create('/f/first', 'x'));
      const havoc = wreakHavoc(proxy, seededRandom(seedOr(seed)), [20, 800]);
      const claims: Claim[] = [];
      let writing = true;
      t.after(() => {
        writing = false;
      });
      const untilMs = performance.now() + 6000;
      // Through the faults: each write is answered, and its answer is held against the history.
      const faulty = Array.from({ length: 16 }, (_, writer) => writeMuch(store, `/f/a${writer}`, claims, () => writing));
      // Beside them, so that the watch always has a stream of batches to miss.
      const steady = Array.from({ length: 24 }, (_, writer) => writeMuch(direct, `/f/b${writer}`, claims, () => writing));
      while (performance.now() < untilMs || claims.length < 6000) await delay(50);
      writing = false;
      const writtenPerSecond = claims.length / (6 + (performance.now() - untilMs) / 1000);
      havoc.stop();
      await Promise.all([...faulty, ...steady]);
      const last = await direct.commit(create('/f/last', 'x'));
      await seen.until(last.revision);
      const history = await etcd.history('/f/');
      t.diagnostic(
        `${claims.length} writes, ${Math.round(writtenPerSecond)}/s, ${history.length} events, ${seen.interruptions} interruptions`,
      );
      t.diagnostic(
        `answers: ${JSON.stringify(count(claims.map((claim) => claim.answer)))}; faults: ${JSON.stringify(count(havoc.history.map((what) => what.replace(/[ \d].*/, ''))))}`,
      );
      assert.ok(seen.interruptions > 3, 'the faults reached the watch');
      seen.assertEquals(history);
      assertClaims(claims, history);
      const fresh = await direct.list('/f/');
      assert.deepEqual(
        fresh.entries.map(({ key, modRevision }) => [key, modRevision]),
        survivors(history),
      );
    });
  }
});
