/** The store on a real etcd behind a proxy that misbehaves. The judge is etcd's own event history, read without any of our code. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openEtcdStore } from '../../../runtime/store/etcd-store.js';
import {
  type Entry,
  OutcomeUnknown,
  type Store,
  StoreUnavailable,
  type WatchEvent,
  type Write,
  type WriteOutcome,
} from '../../../runtime/store/store.js';
import { type EtcdRig, type HistoricEvent, startEtcd } from '../../rigs/etcd.js';
import { seededRandom, seedOr } from '../../rigs/seeded-random.js';
import { startProxy, wreakHavoc } from '../../rigs/tcp-proxy.js';

describe('etcd store under faults', { concurrency: 4 }, () => {
  /** An etcd of its own with a proxy before it, a store through the proxy and one beside it. */
  async function rig(t: { after(run: () => Promise<void>): void }, options: Partial<Parameters<typeof openEtcdStore>[0]> = {}) {
    const etcd = await startEtcd();
    const proxy = await startProxy(etcd.members[0]?.port ?? 0);
    const store = openEtcdStore({ endpoints: [proxy.url], ...options });
    const direct = openEtcdStore({ endpoints: etcd.endpoints });
    t.after(async () => {
      proxy.resume();
      await Promise.all([store.close(), direct.close()]);
      await proxy.close();
      await etcd.stop();
    });
    return { etcd, proxy, store, direct };
  }

  for (const seed of [1, 20_261_121]) {
    test(`cuts and stalls at random, seed ${seedOr(seed)}: no event lost, repeated or out of order; every write once or not at all`, async (t) => {
      const { etcd, proxy, store, direct } = await rig(t);
      const seen = record(store, '/f/');
      await direct.commit(create('/f/first', 'x'));
      const havoc = wreakHavoc(proxy, seededRandom(seedOr(seed)), [20, 800]);
      const claims: Claim[] = [];
      let writing = true;
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

  test('a backlog of 30 MB and cuts in the midst of it', async (t) => {
    const { etcd, proxy, store, direct } = await rig(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    proxy.refuse();
    const value = 'v'.repeat(100_000);
    await Promise.all(Array.from({ length: 300 }, (_, i) => direct.commit(create(`/f/${i}`, value))));
    // Cut while the backlog is on its way, again and again, each time a little later.
    for (let bytes = 1; bytes < 8_000_000; bytes *= 20) {
      proxy.resume();
      const from = proxy.bytesDown;
      proxy.cutAfter(bytes);
      while (proxy.bytesDown < from + bytes) await delay(5);
    }
    proxy.resume();
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    seen.assertEquals(await etcd.history('/f/'));
  });

  test('cut again as soon as it is back, before the backlog has arrived', async (t) => {
    const { etcd, proxy, store, direct } = await rig(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    for (let round = 0; round < 4; round++) {
      proxy.refuse();
      await Promise.all(Array.from({ length: 1500 }, (_, i) => direct.commit(create(`/f/${round}/${i}`, 'some value'))));
      const from = proxy.bytesDown;
      proxy.resume();
      // The answer to the creation is a few hundred bytes, the backlog 300 KB.
      proxy.cutAfter(2000);
      while (proxy.bytesDown < from + 2000) await delay(1);
      proxy.resume();
    }
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    seen.assertEquals(await etcd.history('/f/'));
  });

  test('history compacted while the watch was cut: told once, and the watch is over', async (t) => {
    const { etcd, proxy, store, direct } = await rig(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    proxy.refuse();
    for (let i = 0; i < 3; i++) await direct.commit(create(`/f/${i}`, 'x'));
    const last = await direct.commit(create('/f/last', 'x'));
    await etcd.compact(last.revision);
    proxy.resume();
    await seen.untilCompacted();
    await direct.commit(create('/f/after', 'x'));
    await delay(100);
    assert.deepEqual([seen.compactions, seen.events.length], [1, 1]);
    // The way back: list, and watch from there.
    const listed = await store.list('/f/');
    assert.equal(listed.entries.length, 6);
  });

  test('compaction up to the last event seen does not disturb a watch that was cut', async (t) => {
    const { etcd, proxy, store, direct } = await rig(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    proxy.refuse();
    await etcd.compact(first.revision);
    const last = await direct.commit(create('/f/last', 'x'));
    proxy.resume();
    await seen.until(last.revision);
    assert.equal(seen.compactions, 0);
  });

  test('a frozen etcd: every call ends by its deadline and says what is known; the watch goes on where it was', async (t) => {
    const { etcd, store, direct } = await rig(t, { readTimeoutMs: 700, commitTimeoutMs: 1500, attemptTimeoutMs: 300 });
    const seen = record(store, '/f/');
    const { revision } = await direct.commit(create('/f/first', 'x'));
    await seen.until(revision);
    await store.get('/f/first');
    etcd.members[0]?.freeze();
    const lease = store.lease(5000, { keepAlive: 'auto' });
    await Promise.all([
      assert.rejects(store.get('/f/first'), StoreUnavailable),
      assert.rejects(store.list('/f/'), StoreUnavailable),
      assert.rejects(store.revision(), StoreUnavailable),
      assert.rejects(store.leaseTtlMs('1'), StoreUnavailable),
      assert.rejects(lease, StoreUnavailable),
      assert.rejects(
        store.commit(create('/f/unknown', 'x')),
        (error) => error instanceof OutcomeUnknown || error instanceof StoreUnavailable,
      ),
      store.members().then((members) =>
        assert.deepEqual(
          members.map((member) => member.healthy),
          [false],
        ),
      ),
    ]);
    etcd.members[0]?.thaw();
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    seen.assertEquals(await etcd.history('/f/'));
  });

  test('a watch through which nothing is heard is given up for another, though the connection stays open', async (t) => {
    const { etcd, proxy, store, direct } = await rig(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    // The connections of this moment are dead without a sign, new ones work.
    proxy.swallowAnswers();
    await store.get('/f/first').catch(() => undefined);
    proxy.stopSwallowing();
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    assert.ok(seen.interruptions > 0);
    seen.assertEquals(await etcd.history('/f/'));
  });

  describe('SEMANTICS 4: an answer that was lost after the write was applied', () => {
    const change = (key: string, revision: number, value: string): Write => ({
      compares: [{ key, modRevision: revision }],
      operations: [{ do: 'put', key, value }],
    });
    const remove = (key: string, modRevision: number): Write => ({ compares: [{ key, modRevision }], operations: [{ do: 'delete', key }] });
    type Act = (direct: Store, applied: Entry | undefined) => Promise<unknown>;
    const nothing: Act = async () => undefined;
    const cases: [string, (revision: number) => Write, Act][] = [
      ['a creation', () => create('/f/new', 'mine'), nothing],
      ['an update', (revision) => change('/f/old', revision, 'mine'), nothing],
      [
        'an update "at most"',
        (revision) => ({ ...change('/f/old', 0, 'mine'), compares: [{ key: '/f/old', maxModRevision: revision }] }),
        nothing,
      ],
      ['a deletion', (revision) => remove('/f/old', revision), nothing],
      [
        'an update that somebody overwrote since',
        (revision) => change('/f/old', revision, 'mine'),
        (direct, applied) => direct.commit(change('/f/old', applied?.modRevision ?? 0, 'theirs')),
      ],
      [
        'a creation that somebody deleted since',
        () => create('/f/new', 'mine'),
        (direct, applied) => direct.commit(remove('/f/new', applied?.modRevision ?? 0)),
      ],
      [
        'a deletion after which somebody created it again',
        (revision) => remove('/f/old', revision),
        (direct) => direct.commit(create('/f/old', 'theirs')),
      ],
    ];
    for (const [what, write, meanwhile] of cases) {
      test(`${what}: is answered as applied, and is applied once`, async (t) => {
        const { etcd, proxy, store, direct } = await rig(t);
        const { revision } = await direct.commit(create('/f/old', 'before'));
        // The store knows its way before the fault comes.
        await store.commit(create('/f/warm', ''));
        const [operation] = write(revision).operations;
        const key = operation?.key ?? '';
        const before = (await direct.get(key)).entry;
        proxy.swallowAnswers();
        const committing = store.commit(write(revision));
        let now = before;
        while (now?.modRevision === before?.modRevision) {
          await delay(2);
          now = (await direct.get(key)).entry;
        }
        await meanwhile(direct, now);
        proxy.cut();
        const outcome = await committing;
        assert.ok(outcome.ok, 'it was applied');
        const mine = (await etcd.history('/f/')).filter(
          (event) => event.key === key && (operation?.do === 'delete' ? event.type === 'delete' : event.value.endsWith('\nmine')),
        );
        assert.deepEqual(
          mine.map((event) => event.revision),
          [outcome.revision],
        );
      });
    }

    test('of two that delete the same key, one of them without an answer, exactly one succeeds', async (t) => {
      for (const winner of ['mine', 'theirs']) {
        const { proxy, store, direct } = await rig(t);
        const { revision } = await direct.commit(create('/f/token', ''));
        await store.commit(create('/f/warm', ''));
        let theirs: WriteOutcome | undefined;
        if (winner === 'theirs') theirs = await direct.commit(remove('/f/token', revision));
        proxy.swallowAnswers();
        const committing = store.commit(remove('/f/token', revision));
        while ((await direct.get('/f/token')).entry) await delay(2);
        theirs ??= await direct.commit(remove('/f/token', revision));
        await delay(50);
        proxy.cut();
        const mine = await committing;
        assert.deepEqual([mine.ok, theirs.ok], winner === 'mine' ? [true, false] : [false, true]);
      }
    });

    test('a request that arrives after it was given up is shut out', async (t) => {
      const { etcd, proxy, store, direct } = await rig(t, { attemptTimeoutMs: 300 });
      await store.commit(create('/f/warm', ''));
      const late = proxy.holdBack();
      const committing = store.commit(create('/f/a', 'mine'));
      while (late.bytes === 0) await delay(2);
      await delay(50);
      late.stopCapturing();
      const outcome = await committing;
      assert.ok(outcome.ok);
      // The key is as absent as when the first attempt set out.
      await direct.commit(remove('/f/a', outcome.revision));
      late.letGo();
      await delay(300);
      assert.equal((await direct.get('/f/a')).entry, undefined);
      assert.equal((await etcd.history('/f/a')).length, 2);
    });
  });

  test('a lease is lost by our own clock before etcd deletes what hung on it', async (t) => {
    const { proxy, store, direct } = await rig(t);
    const lease = await store.lease(3000, { keepAlive: 'auto' });
    const { revision } = await store.commit({
      compares: [{ key: '/f/held', modRevision: 0 }],
      operations: [{ do: 'put', key: '/f/held', value: '', lease: lease.id }],
    });
    await delay(1500);
    const order: string[] = [];
    const deleted = new Promise<void>((resolve) => {
      direct.watch('/f/', revision, {
        events: () => {
          order.push('deleted by etcd');
          resolve();
        },
        compacted: () => assert.fail('compacted'),
      });
    });
    const lost = lease.lost.then(() => order.push('lost by its holder'));
    proxy.stall();
    await Promise.all([deleted, lost]);
    assert.deepEqual(order, ['lost by its holder', 'deleted by etcd']);
  });

  test('etcd that takes fewer or smaller requests than ours: batches are split until they fit', async (t) => {
    const etcd = await startEtcd({ flags: ['--max-txn-ops', '16', '--max-request-bytes', '60000'] });
    const store = openEtcdStore({ endpoints: etcd.endpoints });
    t.after(async () => {
      await store.close();
      await etcd.stop();
    });
    const outcomes = await Promise.all(Array.from({ length: 100 }, (_, i) => store.commit(create(`/f/${i}`, 'v'.repeat(2000)))));
    assert.ok(outcomes.every((outcome) => outcome.ok));
    await assert.rejects(store.commit(create('/f/large', 'v'.repeat(100_000))), /refuses the size/);
    assert.equal((await store.list('/f/')).entries.length, 100);
  });

  test('etcd without space: writes are refused as not written, reads go on, the alarm is shown', async (t) => {
    const etcd = await startEtcd({ flags: ['--quota-backend-bytes', '2000000'] });
    const store = openEtcdStore({ endpoints: etcd.endpoints });
    t.after(async () => {
      await store.close();
      await etcd.stop();
    });
    let written = 0;
    const fill = async () => {
      for (;;) {
        await store.commit(create(`/f/${written}`, 'v'.repeat(200_000)));
        written++;
      }
    };
    await assert.rejects(fill(), (error) => error instanceof StoreUnavailable && /space exceeded/.test(error.message));
    const { entries } = await store.list('/f/');
    assert.equal(entries.length, written);
    const [member] = await store.members();
    assert.equal(member?.healthy, false);
    assert.match(member?.message ?? '', /NOSPACE/);
  });

  describe('three members', () => {
    let etcd: EtcdRig;
    before(async () => {
      etcd = await startEtcd({ members: 3 });
    });
    after(() => etcd.stop());

    for (const fault of ['killed', 'frozen'] as const) {
      test(`the leader is ${fault}: writes, leases and the watch go on with the others`, async (t) => {
        const store = openEtcdStore({ endpoints: etcd.endpoints });
        t.after(() => store.close());
        const prefix = `/${fault}/`;
        const seen = record(store, prefix);
        const lease = await store.lease(10_000, { keepAlive: 'auto' });
        const claims: Claim[] = [];
        let writing = true;
        const writers = Array.from({ length: 4 }, (_, writer) => writeMuch(store, `${prefix}${writer}`, claims, () => writing, 5));
        await delay(500);
        const leader = (await store.members()).find((member) => member.isLeader);
        const member = etcd.members.find(({ name }) => name === leader?.name);
        assert.ok(member);
        if (fault === 'killed') await member.kill();
        else member.freeze();
        const before = claims.length;
        const enough = () => claims.filter((claim) => claim.answer === 'applied').length > before + 200;
        while (!enough()) await delay(20);
        // Health is shown member by member, asked while one does not answer.
        const healthy = (await store.members()).filter(({ healthy }) => healthy).map(({ name }) => name);
        assert.deepEqual(
          healthy,
          etcd.members.map(({ name }) => name).filter((name) => name !== member.name),
        );
        assert.equal(await lease.keepAlive(), true);
        writing = false;
        await Promise.all(writers);
        const last = await store.commit(create(`${prefix}last`, 'x'));
        await seen.until(last.revision);
        if (fault === 'killed') await member.restart();
        else member.thaw();
        const other = etcd.members.find(({ name }) => name !== member.name);
        assert.ok(other);
        const history = await etcd.history(prefix);
        seen.assertEquals(history);
        assertClaims(claims, history);
      });
    }
  });
});

const create = (key: string, value: string): Write => ({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value }] });

/** What a writer was told about one write, to be held against the history. */
interface Claim {
  readonly write: Write;
  /** Unique among all writes. */
  readonly value: string;
  readonly answer: 'applied' | 'not applied' | 'unknown';
  readonly revision: number;
}

let values = 0;

/** Creates, changes and deletes its own keys, with an occasional write that must fail and an occasional one of several keys. */
async function writeMuch(store: Store, prefix: string, claims: Claim[], goOn: () => boolean, pauseMs = 1): Promise<void> {
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
function assertClaims(claims: readonly Claim[], history: readonly HistoricEvent[]): void {
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
function survivors(history: readonly HistoricEvent[]): [string, number][] {
  const alive = new Map<string, number>();
  for (const event of history) {
    if (event.type === 'put') alive.set(event.key, event.revision);
    else alive.delete(event.key);
  }
  return [...alive].sort(([a], [b]) => (a < b ? -1 : 1));
}

function record(store: Store, prefix: string) {
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
    until: async (wanted: number) => {
      while (revision < wanted) await delay(5);
    },
    untilCompacted: async () => {
      while (compactions === 0) await delay(5);
    },
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

function count(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
