/** Writes whose answer is lost, late or refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openEtcdStore } from '../../../runtime/store/etcd-store.js';
import { type Entry, type Store, StoreUnavailable, type Write, type WriteOutcome } from '../../../runtime/store/store.js';
import { startEtcd } from '../../rigs/etcd.js';
import { create, remove, storeUnderFaults } from '../../rigs/store-under-faults.js';

describe('etcd commit under faults', () => {
  describe('SEMANTICS 4: an answer that was lost after the write was applied', () => {
    const change = (key: string, revision: number, value: string): Write => ({
      compares: [{ key, modRevision: revision }],
      operations: [{ do: 'put', key, value }],
    });
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
        const { etcd, proxy, store, direct } = await storeUnderFaults(t);
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
        const { proxy, store, direct } = await storeUnderFaults(t);
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
      const { etcd, proxy, store, direct } = await storeUnderFaults(t, { attemptTimeoutMs: 300 });
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
});
