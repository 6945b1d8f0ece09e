/** What every store promises, spoken once for the fake and for etcd. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Entry,
  Fenced,
  LeaseGone,
  type Operation,
  type Store,
  StoreUnavailable,
  type WatchEvent,
  type Write,
} from '../../runtime/store/store.js';
import { InvalidWrite } from '../../runtime/store/write-rules.js';

export interface OpenStore {
  readonly store: Store;
  /** Another client of the same keys. */
  another(): Promise<Store>;
  /** Forgets the history up to `revision`. */
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

export function storeContract(name: string, open: () => Promise<OpenStore>): void {
  describe(`store contract: ${name}`, () => {
    let opened: OpenStore;
    let store: Store;
    let roots = 0;
    /** Each test has keys of its own. */
    const freshRoot = () => `/contract-${process.pid}/${++roots}/`;

    before(async () => {
      opened = await open();
      ({ store } = opened);
    });
    after(() => opened.close());

    describe('reading and writing', () => {
      test('a key that does not exist is undefined, and the revision is told', async () => {
        const { entry, revision } = await store.get(`${freshRoot()}nothing`);
        assert.equal(entry, undefined);
        assert.ok(revision > 0);
      });

      test('a created key has the revision of its write as create and mod revision', async () => {
        const key = `${freshRoot()}a`;
        const outcome = await store.commit(create(key, 'one'));
        assert.ok(outcome.ok);
        const { entry, revision } = await store.get(key);
        assert.deepEqual(entry, { key, value: 'one', createRevision: outcome.revision, modRevision: outcome.revision });
        assert.ok(revision >= outcome.revision);
      });

      for (const value of [
        '',
        '\n',
        '#',
        '# a comment\n[Service]\n',
        '#AAAAAAAAAAA.1\ninner',
        '{"a":"ü\\n"}',
        '💾\u0000\ttext\r\n',
        'x'.repeat(100_000),
      ]) {
        test(`a value comes back as it was: ${JSON.stringify(value.slice(0, 30))}`, async () => {
          const key = `${freshRoot()}ü`;
          await store.commit(create(key, value));
          assert.equal((await store.get(key)).entry?.value, value);
          assert.deepEqual(
            (await store.list(key)).entries.map((entry) => entry.value),
            [value],
          );
        });
      }

      test('an update keeps the create revision, a new life has a new one', async () => {
        const key = `${freshRoot()}a`;
        const first = await put(store, key, '1');
        const second = await put(store, key, '2');
        assert.deepEqual(pick((await store.get(key)).entry), ['2', first, second]);
        assert.ok((await store.commit(remove(key, second))).ok);
        const third = await put(store, key, '3');
        assert.deepEqual(pick((await store.get(key)).entry), ['3', third, third]);
      });

      test('compares decide, and a failed one shows what the keys were and writes nothing', async () => {
        const root = freshRoot();
        const key = `${root}a`;
        const born = await put(store, key, '1');
        const changed = await put(store, key, '2');
        const entry: Entry = { key, value: '2', createRevision: born, modRevision: changed };
        const cases: [string, Write['compares'], boolean][] = [
          ['mod revision that it has', [{ key, modRevision: changed }], true],
          ['mod revision that it had', [{ key, modRevision: born }], false],
          ['mod revision 0 of a key that exists', [{ key, modRevision: 0 }], false],
          ['mod revision at most the one it has', [{ key, maxModRevision: changed }], true],
          ['mod revision at most one that is past', [{ key, maxModRevision: changed - 1 }], false],
          ['create revision that it has', [{ key, createRevision: born }], true],
          ['create revision of another life', [{ key, createRevision: changed }], false],
          ['create revision 0 of a key that exists', [{ key, createRevision: 0 }], false],
          [
            'one that holds and one that does not',
            [
              { key, createRevision: born },
              { key, modRevision: born },
            ],
            false,
          ],
        ];
        for (const [what, compares, holds] of cases) {
          const other = `${root}case-${what}`;
          const outcome = await store.commit({
            compares: [...compares, { key: other, modRevision: 0 }],
            operations: [{ do: 'put', key: other, value: what }],
          });
          assert.equal(outcome.ok, holds, what);
          assert.equal((await store.get(other)).entry?.value, holds ? what : undefined, what);
          if (!outcome.ok) {
            assert.deepEqual(outcome.current.get(key), entry, what);
            assert.ok(outcome.current.has(other) && outcome.current.get(other) === undefined, what);
          }
        }
      });

      test('all operations of a write share one revision', async () => {
        const root = freshRoot();
        const old = await put(store, `${root}old`, '');
        const operations: Operation[] = Array.from({ length: 58 }, (_, i) => ({ do: 'put', key: `${root}k${i}`, value: `${i}` }));
        const outcome = await store.commit({
          compares: [{ key: `${root}old`, modRevision: old }],
          operations: [...operations, { do: 'delete', key: `${root}old` }],
        });
        const { entries } = await store.list(root);
        assert.equal(entries.length, 58);
        assert.deepEqual([...new Set(entries.map((entry) => entry.modRevision))], [outcome.revision]);
      });

      test('deleting twice succeeds once', async () => {
        const key = `${freshRoot()}a`;
        const revision = await put(store, key, '1');
        const outcomes = await Promise.all([store.commit(remove(key, revision)), store.commit(remove(key, revision))]);
        assert.deepEqual(outcomes.map((outcome) => outcome.ok).sort(), [false, true]);
        const failed = outcomes.find((outcome) => !outcome.ok);
        assert.ok(failed && !failed.ok && failed.current.has(key) && failed.current.get(key) === undefined);
      });

      const key = '/contract/never';
      const cases: [string, Write, RegExp][] = [
        ['without a compare', { compares: [], operations: [{ do: 'put', key, value: '' }] }, /falsified/],
        [
          'comparing another key only',
          { compares: [{ key: `${key}2`, modRevision: 0 }], operations: [{ do: 'put', key, value: '' }] },
          /falsified/,
        ],
        ['deleting "at most"', { compares: [{ key, maxModRevision: 5 }], operations: [{ do: 'delete', key }] }, /falsified/],
        [
          'updating by create revision only',
          { compares: [{ key, createRevision: 5 }], operations: [{ do: 'put', key, value: '' }] },
          /falsified/,
        ],
        ['deleting what must not exist', { compares: [{ key, modRevision: 0 }], operations: [{ do: 'delete', key }] }, /falsified/],
        ['without operations', { compares: [{ key, modRevision: 0 }], operations: [] }, /at least one operation/],
        ['naming a key twice', { ...create(key, ''), operations: [...create(key, '').operations, { do: 'delete', key }] }, /same key/],
        ['with an empty key', create('', ''), /empty/],
        ['with a value of 300 KB', create(key, 'x'.repeat(300_000)), /300\d\d\d bytes, at most/],
        [
          'with 61 operations',
          { ...create(key, ''), operations: Array.from({ length: 61 }, (_, i) => ({ do: 'put', key: `${key}${i}`, value: '' })) },
          /61 operations/,
        ],
      ];
      for (const [what, write, message] of cases) {
        test(`a write ${what} is refused before anything is sent`, async () => {
          await assert.rejects(store.commit(write), (error) => error instanceof InvalidWrite && message.test(error.message));
          assert.equal((await store.get(key)).entry, undefined);
        });
      }

      test('revision() is not behind any write that was answered', async () => {
        const key = `${freshRoot()}a`;
        for (let i = 0; i < 5; i++) {
          const written = await put(store, key, `${i}`);
          assert.ok((await store.revision()) >= written);
        }
      });

      test('an aborted signal ends a call with its reason', async () => {
        const reason = new Error('not needed any more');
        const signal = AbortSignal.abort(reason);
        const key = `${freshRoot()}a`;
        await assert.rejects(store.get(key, signal), reason);
        await assert.rejects(store.list(key, signal), reason);
        await assert.rejects(store.commit(create(key, ''), { signal }), reason);
        assert.equal((await store.get(key)).entry, undefined);
      });
    });

    describe('many writers', () => {
      test('SEMANTICS 4: of writes that travel together each succeeds or fails alone', async () => {
        const root = freshRoot();
        for (let i = 0; i < 300; i += 7) await put(store, `${root}${i}`, 'taken');
        const outcomes = await Promise.all(Array.from({ length: 300 }, (_, i) => store.commit(create(`${root}${i}`, 'new'))));
        for (const [i, outcome] of outcomes.entries()) assert.equal(outcome.ok, i % 7 !== 0, `write ${i}`);
        const { entries } = await store.list(root);
        assert.equal(entries.length, 300);
        for (const entry of entries) assert.equal(entry.value === 'taken', Number(entry.key.slice(root.length)) % 7 === 0, entry.key);
      });

      test('a counter raised by 20 writers at once loses no step', async () => {
        const key = `${freshRoot()}counter`;
        await put(store, key, '0');
        const raise = async () => {
          for (let steps = 0; steps < 10; ) {
            const { entry } = await store.get(key);
            assert.ok(entry);
            const value = String(Number(entry.value) + 1);
            const outcome = await store.commit({
              compares: [{ key, modRevision: entry.modRevision }],
              operations: [{ do: 'put', key, value }],
            });
            if (outcome.ok) steps++;
          }
        };
        await Promise.all(Array.from({ length: 20 }, raise));
        assert.equal((await store.get(key)).entry?.value, '200');
      });

      test('two writes that each compare what the other one writes do not both succeed', async () => {
        for (let round = 0; round < 20; round++) {
          const root = freshRoot();
          const one: Write = {
            compares: [
              { key: `${root}a`, modRevision: 0 },
              { key: `${root}b`, modRevision: 0 },
            ],
            operations: [{ do: 'put', key: `${root}a`, value: '' }],
          };
          const two: Write = { compares: one.compares, operations: [{ do: 'put', key: `${root}b`, value: '' }] };
          const outcomes = await Promise.all([store.commit(one), store.commit(two)]);
          assert.deepEqual(outcomes.map((outcome) => outcome.ok).sort(), [false, true]);
        }
      });

      test('writes larger together than a request may be all arrive', async () => {
        const root = freshRoot();
        const value = 'v'.repeat(200_000);
        const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => store.commit(create(`${root}${i}`, value))));
        assert.ok(outcomes.every((outcome) => outcome.ok));
        const broad = Array.from({ length: 10 }, (_, w) =>
          store.commit({
            compares: [{ key: `${root}w${w}/0`, modRevision: 0 }],
            operations: Array.from({ length: 60 }, (_, i) => ({ do: 'put', key: `${root}w${w}/${i}`, value: 'x' })),
          }),
        );
        assert.ok((await Promise.all(broad)).every((outcome) => outcome.ok));
        assert.equal((await store.list(root)).entries.length, 620);
      });

      test('a fence that holds lets pass, one that does not stops all of its writes and no others', async () => {
        const root = freshRoot();
        const leader = `${root}leader`;
        const elected = await put(store, leader, 'me');
        const fence = { key: leader, createRevision: elected };
        assert.ok((await store.commit(create(`${root}a`, ''), { fence })).ok);
        // A renewed key keeps the fence, a key of another life does not.
        const renewed = await put(store, leader, 'me still');
        assert.ok((await store.commit(create(`${root}b`, ''), { fence })).ok);
        await store.commit(remove(leader, renewed));
        const gone = store.commit(create(`${root}c`, ''), { fence });
        const unfenced = store.commit(create(`${root}d`, ''));
        await assert.rejects(gone, Fenced);
        assert.ok((await unfenced).ok);
        await put(store, leader, 'another');
        const late = Array.from({ length: 10 }, (_, i) => store.commit(create(`${root}late${i}`, ''), { fence }));
        for (const write of late) await assert.rejects(write, Fenced);
        assert.deepEqual(
          (await store.list(root)).entries.map((entry) => entry.key.slice(root.length)),
          ['a', 'b', 'd', 'leader'],
        );
      });
    });

    describe('lists', () => {
      test('a list is sorted, and holds what is below the prefix and nothing else', async () => {
        const root = freshRoot();
        for (const key of ['b/2', 'b/1', 'b', 'b0', 'a/1', 'c/1']) await put(store, root + key, key);
        const { entries, revision } = await store.list(`${root}b/`);
        assert.deepEqual(
          entries.map((entry) => entry.key.slice(root.length)),
          ['b/1', 'b/2'],
        );
        assert.ok(revision >= (entries[1]?.modRevision ?? Number.POSITIVE_INFINITY));
        assert.deepEqual((await store.list(`${root}nothing/`)).entries, []);
      });

      test('a list of many pages is a cut at one revision while others write', async () => {
        const root = freshRoot();
        // 12 MB; the first and the last key are always written together.
        const pair = (value: string, revision: number): Write => ({
          compares: [{ key: `${root}0000`, modRevision: revision }],
          operations: [
            { do: 'put', key: `${root}0000`, value },
            { do: 'put', key: `${root}9999`, value },
          ],
        });
        let revision = (await store.commit(pair('0', 0))).revision;
        await Promise.all(Array.from({ length: 1200 }, (_, i) => store.commit(create(`${root}${1000 + i}`, 'x'.repeat(10_000)))));
        let writing = true;
        const writer = (async () => {
          for (let i = 1; writing; i++) {
            const outcome = await store.commit(pair(String(i), revision));
            assert.ok(outcome.ok);
            ({ revision } = outcome);
            await delay(1);
          }
        })();
        for (let round = 0; round < 3; round++) {
          const listed = await store.list(root);
          assert.equal(listed.entries.length, 1202);
          assert.equal(listed.entries[0]?.value, listed.entries.at(-1)?.value);
          assert.ok(listed.entries.every((entry) => entry.modRevision <= listed.revision));
        }
        writing = false;
        await writer;
      });
    });

    describe('watches', () => {
      test('events come whole, in order, and only from below the prefix', async () => {
        const root = freshRoot();
        const start = await store.revision();
        const seen = record(store, `${root}in/`, start);
        const one = await put(store, `${root}in/a`, '1');
        await put(store, `${root}out/a`, 'x');
        const two = await store.commit({
          compares: [{ key: `${root}in/b`, modRevision: 0 }],
          operations: [
            { do: 'put', key: `${root}in/a`, value: '2' },
            { do: 'put', key: `${root}in/b`, value: '1' },
            { do: 'put', key: `${root}out/b`, value: 'x' },
          ],
        });
        const three = await store.commit(remove(`${root}in/a`, two.revision));
        await seen.until(three.revision);
        const a1: Entry = { key: `${root}in/a`, value: '1', createRevision: one, modRevision: one };
        const a2: Entry = { ...a1, value: '2', modRevision: two.revision };
        const b1: Entry = { key: `${root}in/b`, value: '1', createRevision: two.revision, modRevision: two.revision };
        assert.deepEqual(seen.events, [
          { type: 'put', entry: a1 },
          { type: 'put', entry: a2 },
          { type: 'put', entry: b1 },
          { type: 'delete', key: a1.key, revision: three.revision },
        ]);
        seen.close();
      });

      test('a watch from the past replays what came after, once', async () => {
        const root = freshRoot();
        const revisions: number[] = [];
        for (let i = 0; i < 10; i++) revisions.push(await put(store, `${root}${i % 3}`, `${i}`));
        const seen = record(store, root, revisions[3] as number);
        await seen.until(revisions[9] as number);
        revisions.push(await put(store, `${root}0`, '10'));
        await seen.until(revisions[10] as number);
        assert.deepEqual(seen.revisions, revisions.slice(4));
        seen.close();
      });

      test('what was listed and what is watched from there meet without gap or overlap', async () => {
        const root = freshRoot();
        const write = (from: number) => Array.from({ length: 200 }, (_, i) => store.commit(create(`${root}${from + i}`, '')));
        const writes = write(0);
        const listing = store.list(root);
        writes.push(...write(200));
        const listed = await listing;
        writes.push(...write(400));
        const seen = record(store, root, listed.revision);
        writes.push(...write(600));
        await seen.until(Math.max(...(await Promise.all(writes)).map((outcome) => outcome.revision)));
        const keys = [
          ...listed.entries.map((entry) => entry.key),
          ...seen.events.map((event) => (event.type === 'put' ? event.entry.key : '')),
        ];
        assert.equal(keys.length, 800);
        assert.equal(new Set(keys).size, 800);
        seen.close();
      });

      test('no handler is called inside watch(), and none after close()', async () => {
        const root = freshRoot();
        const revision = await put(store, `${root}a`, '1');
        const seen = record(store, root, revision - 1);
        assert.deepEqual(seen.events, []);
        await seen.until(revision);
        seen.close();
        await put(store, `${root}a`, '2');
        await delay(50);
        assert.deepEqual(seen.revisions, [revision]);
      });

      test('a watch from a revision whose history is compacted says so, once, and nothing else', async () => {
        const root = freshRoot();
        const first = await put(store, `${root}a`, '1');
        for (let i = 0; i < 3; i++) await put(store, `${root}a`, `${i}`);
        const last = await put(store, `${root}a`, 'last');
        await opened.compact(last);
        const seen = record(store, root, first);
        await seen.untilCompacted();
        const after = await put(store, `${root}a`, 'after');
        await delay(50);
        assert.deepEqual([seen.compactions, seen.events], [1, []]);
        // From the compacted revision on the history is whole.
        const next = record(store, root, last);
        await next.until(after);
        assert.deepEqual(next.revisions, [after]);
        next.close();
      });

      test('a deletion at the very revision that is compacted is not left out without a word', async () => {
        const root = freshRoot();
        const born = await put(store, `${root}a`, '1');
        const { revision: deleted } = await store.commit(remove(`${root}a`, born));
        await opened.compact(deleted);
        const seen = record(store, root, deleted - 1);
        await seen.untilCompacted();
        assert.deepEqual(seen.events, []);
      });

      test('progress is told although nothing below the prefix changes, and never before what it covers', async () => {
        const root = freshRoot();
        const seen = record(store, `${root}in/`, await store.revision());
        for (let round = 0; round < 5; round++) {
          const writes = Array.from({ length: 50 }, (_, i) => put(store, `${root}in/${i}`, `${round}`));
          const inside = Math.max(...(await Promise.all(writes)));
          const outside = await put(store, `${root}out`, `${round}`);
          await seen.untilProgress(outside);
          assert.ok(seen.revisions.includes(inside));
        }
        assert.deepEqual(seen.overtaken, []);
        seen.close();
      });
    });

    // They wait for seconds, and disturb nobody.
    describe('leases', { concurrency: true }, () => {
      test('a lease that is not renewed is lost by our clock before its keys are deleted, which happens at one revision', async () => {
        const root = freshRoot();
        const seen = record(store, root, await store.revision());
        const lease = await store.lease(2000, { keepAlive: 'manual' });
        const order: string[] = [];
        void lease.lost.then(() => order.push('lost'));
        await store.commit({
          compares: [{ key: `${root}a`, modRevision: 0 }],
          operations: [
            { do: 'put', key: `${root}a`, value: '', lease: lease.id },
            { do: 'put', key: `${root}b`, value: '', lease: lease.id },
          ],
        });
        assert.equal((await store.get(`${root}a`)).entry?.lease, lease.id);
        await seen.untilCount(4);
        order.push('deleted');
        await lease.lost;
        assert.deepEqual(order, ['lost', 'deleted']);
        assert.equal(new Set(seen.revisions).size, 2);
        assert.equal(await lease.keepAlive(), false);
        assert.equal(await store.leaseTtlMs(lease.id), undefined);
        seen.close();
      });

      test('a lease that renews itself outlives its TTL; revoking it deletes its keys at once', async () => {
        const root = freshRoot();
        const lease = await store.lease(2000, { keepAlive: 'auto' });
        const revision = (
          await store.commit({ ...create(`${root}a`, ''), operations: [{ do: 'put', key: `${root}a`, value: '', lease: lease.id }] })
        ).revision;
        const before = lease.deadlineMs;
        await delay(3500);
        assert.equal((await store.get(`${root}a`)).entry?.modRevision, revision);
        assert.ok(lease.deadlineMs > before);
        await lease.revoke();
        assert.match(await lease.lost, /revoked/);
        assert.equal((await store.get(`${root}a`)).entry, undefined);
      });

      test('keepAlive renews by hand, and another client takes the lease over by its id', async () => {
        const key = `${freshRoot()}a`;
        const lease = await store.lease(2000, { keepAlive: 'manual' });
        await store.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: '', lease: lease.id }] });
        const other = await opened.another();
        const taken = await other.lease(60_000, { keepAlive: 'manual', id: lease.id });
        assert.deepEqual([taken.id, taken.ttlMs], [lease.id, lease.ttlMs]);
        for (let beat = 0; beat < 5; beat++) {
          await delay(600);
          assert.equal(await taken.keepAlive(), true);
        }
        assert.ok((await store.get(key)).entry);
        // The first holder has not renewed for longer than the TTL: for it, the lease is lost.
        assert.match(await lease.lost, /our own clock/);
        assert.equal(await lease.keepAlive(), false);
        const left = await store.leaseTtlMs(lease.id);
        assert.ok(left !== undefined && left <= 2000);
        await taken.revoke();
        await other.close();
      });

      test('a lease that is gone cannot be taken over, nor hold a key; other writes do not suffer', async () => {
        const root = freshRoot();
        const lease = await store.lease(2000, { keepAlive: 'manual' });
        await lease.revoke();
        await assert.rejects(store.lease(2000, { keepAlive: 'manual', id: lease.id }), LeaseGone);
        const writes = Array.from({ length: 20 }, (_, i) => {
          const key = `${root}${i}`;
          const operation: Operation = { do: 'put', key, value: '', ...(i === 7 ? { lease: lease.id } : {}) };
          return store.commit({ compares: [{ key, modRevision: 0 }], operations: [operation] });
        });
        const settled = await Promise.allSettled(writes);
        for (const [i, result] of settled.entries()) {
          if (i === 7) assert.ok(result.status === 'rejected' && result.reason instanceof LeaseGone);
          else assert.ok(result.status === 'fulfilled' && result.value.ok, `write ${i}`);
        }
        assert.equal((await store.list(root)).entries.length, 19);
      });

      test('a key that is written again without the lease survives it', async () => {
        const key = `${freshRoot()}a`;
        const lease = await store.lease(2000, { keepAlive: 'manual' });
        const { revision } = await store.commit({
          compares: [{ key, modRevision: 0 }],
          operations: [{ do: 'put', key, value: '1', lease: lease.id }],
        });
        await store.commit({ compares: [{ key, modRevision: revision }], operations: [{ do: 'put', key, value: '2' }] });
        await lease.revoke();
        assert.equal((await store.get(key)).entry?.value, '2');
      });
    });

    test('members are shown with their health', async () => {
      const members = await store.members();
      assert.ok(members.length > 0);
      assert.ok(members.every((member) => member.healthy && member.message === 'ok' && member.endpoints.length > 0));
      assert.equal(members.filter((member) => member.isLeader).length, 1);
    });

    test('a closed store refuses everything, and its leases and watches have ended', async () => {
      const root = freshRoot();
      const other = await opened.another();
      const seen = record(other, root, await other.revision());
      const lease = await other.lease(2000, { keepAlive: 'auto' });
      await other.close();
      await assert.rejects(other.get(root), StoreUnavailable);
      await assert.rejects(other.commit(create(`${root}a`, '')), StoreUnavailable);
      assert.match(await lease.lost, /closed/);
      await put(store, `${root}a`, '1');
      await delay(50);
      assert.deepEqual(seen.events, []);
    });
  });
}

const create = (key: string, value: string): Write => ({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value }] });
const remove = (key: string, modRevision: number): Write => ({ compares: [{ key, modRevision }], operations: [{ do: 'delete', key }] });

/** Writes whatever the key is now; returns the revision. */
async function put(store: Store, key: string, value: string): Promise<number> {
  const { entry } = await store.get(key);
  const outcome = await store.commit({
    compares: [{ key, modRevision: entry?.modRevision ?? 0 }],
    operations: [{ do: 'put', key, value }],
  });
  assert.ok(outcome.ok);
  return outcome.revision;
}

const pick = (entry: Entry | undefined) => entry && [entry.value, entry.createRevision, entry.modRevision];

/** Far longer than anything here takes, so that what never comes fails with a sentence. */
const PATIENCE_MS = 20_000;

/** A watch that remembers, and checks what must always be true of it. */
function record(store: Store, prefix: string, from: number) {
  const events: WatchEvent[] = [];
  const revisions: number[] = [];
  const overtaken: number[] = [];
  let progress = from;
  let compactions = 0;
  const waiting = new Set<() => void>();
  const changed = () => {
    for (const look of waiting) look();
  };
  const until = (done: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the watch has told ${events.length} events up to ${revisions.at(-1)}`)),
        PATIENCE_MS,
      );
      const look = () => {
        if (!done()) return;
        clearTimeout(timer);
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  const watch = store.watch(prefix, from, {
    events: (batch, revision) => {
      const batchRevisions = batch.map((event) => (event.type === 'put' ? event.entry.modRevision : event.revision));
      assert.equal(batchRevisions.at(-1), revision);
      for (const each of batchRevisions) {
        assert.ok(each > (revisions.at(-1) ?? from) || revisions.at(-1) === each, 'revisions rise');
        if (each <= progress && progress > from) overtaken.push(each);
        if (revisions.at(-1) !== each) revisions.push(each);
      }
      events.push(...batch);
      changed();
    },
    progress: (revision) => {
      progress = revision;
      changed();
    },
    compacted: () => {
      compactions++;
      changed();
    },
  });
  return {
    events,
    revisions,
    overtaken,
    get compactions() {
      return compactions;
    },
    until: (revision: number) => until(() => (revisions.at(-1) ?? 0) >= revision),
    untilCount: (count: number) => until(() => events.length >= count),
    untilCompacted: () => until(() => compactions > 0),
    untilProgress: async (revision: number) => {
      for (const endMs = performance.now() + PATIENCE_MS; progress < revision; ) {
        assert.ok(performance.now() < endMs, `progress was told up to ${progress}`);
        watch.requestProgress?.();
        await delay(5);
      }
    },
    close: () => watch.close(),
  };
}
