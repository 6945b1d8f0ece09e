/** SEMANTICS 4 on a wire that the test holds in its hand: what travels together, and what happens when an answer does not come. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type BatchAnswer, type BatchWire, type Failure, GroupCommit, type Item } from '../../../runtime/store/group-commit.js';
import { type Fence, Fenced, OutcomeUnknown, StoreUnavailable, type Write } from '../../../runtime/store/store.js';
import { InvalidWrite } from '../../../runtime/store/write-rules.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';

const create = (key: string, value = ''): Write => ({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value }] });

interface Sent {
  readonly items: readonly Item[];
  readonly fence: Fence | undefined;
  readonly seal: number;
  answer(answer: BatchAnswer): Promise<void>;
  /** Every write of the batch succeeds. */
  apply(revision?: number): Promise<void>;
  fail(failure: Failure): Promise<void>;
}

/** Answers nothing by itself, but the seal. */
function rig() {
  const clock = new ManualClock();
  const sent: Sent[] = [];
  const calls: string[] = [];
  const applied = new Map<string, number>();
  let seal = 7;
  const state = { lastRevision: 100, sealing: 'works' as 'works' | 'fails' | 'history gone' };
  class Failing extends Error {
    constructor(readonly failure: Failure) {
      super(failure.error.message);
    }
  }
  const wire: BatchWire = {
    send: (items, fence, withSeal) =>
      new Promise((resolve, reject) => {
        const answer = (value: BatchAnswer) => {
          resolve(value);
          return settle();
        };
        sent.push({
          items,
          fence,
          seal: withSeal,
          answer,
          apply: (revision = 200) => answer({ kind: 'done', outcomes: items.map(() => ({ ok: true, revision })) }),
          fail: (failure) => {
            reject(new Failing(failure));
            return settle();
          },
        });
      }),
    readSeal: async () => seal,
    replaceSeal: async (old) => {
      calls.push(`replace seal ${old}`);
      if (state.sealing === 'fails') throw new Failing(lost);
      seal = old + 1;
      return { seal, revision: 300 };
    },
    findApplied: async (ids, after, upTo) => {
      calls.push(`history ${after}..${upTo}`);
      if (state.sealing === 'history gone') throw new Failing({ effect: 'refused', error: new Error('compacted'), alone: false });
      return new Map([...applied].filter(([id]) => ids.has(id)));
    },
    lastRevision: () => state.lastRevision,
    failure: (error) => (error instanceof Failing ? error.failure : { effect: 'unknown', error: error as Error }),
    breadth: ({ write }) => Math.max(write.compares.length, write.operations.length),
  };
  let ids = 0;
  const options = { wire, clock, random: () => 0.5, log: undefined, newId: () => `id${++ids}`, timeoutMs: 10_000, attemptTimeoutMs: 2000 };
  return { clock, sent, calls, applied, state, commits: new GroupCommit(options) };
}

const lost: Failure = { effect: 'unknown', error: new Error('the connection broke') };
const away: Failure = { effect: 'none', error: new Error('connection refused') };
const keysOf = ({ items }: Sent) => items.flatMap(({ write }) => write.operations.map((operation) => operation.key));

describe('SEMANTICS 4: what travels together', () => {
  test('writes of one moment share a transaction, each with an id of its own', async () => {
    const { commits, sent } = rig();
    const writes = ['a', 'b', 'c'].map((key) => commits.commit(create(key)));
    await settle();
    assert.equal(sent.length, 1);
    assert.deepEqual(
      sent[0]?.items.map(({ id }) => id),
      ['id1', 'id2', 'id3'],
    );
    assert.equal(sent[0]?.seal, 7);
    await sent[0]?.apply(42);
    assert.deepEqual(
      await Promise.all(writes),
      [1, 2, 3].map(() => ({ ok: true, revision: 42 })),
    );
  });

  test('at most four transactions are in flight; what comes meanwhile is gathered for the next', async () => {
    const { commits, sent } = rig();
    for (let i = 0; i < 10; i++) {
      void commits.commit(create(`k${i}`));
      await settle();
    }
    assert.deepEqual(sent.map(keysOf), [['k0'], ['k1'], ['k2'], ['k3']]);
    await sent[2]?.apply();
    await settle();
    assert.deepEqual(keysOf(sent[4] as Sent), ['k4', 'k5', 'k6', 'k7', 'k8', 'k9']);
  });

  test('fences do not mix', async () => {
    const { commits, sent } = rig();
    const one = { key: 'leader', createRevision: 1 };
    const two = { key: 'leader', createRevision: 2 };
    for (const [key, fence] of [
      ['a', one],
      ['b', undefined],
      ['c', two],
      ['d', one],
      ['e', undefined],
    ] as const) {
      void commits.commit(create(key), fence ? { fence } : {});
    }
    await settle();
    assert.deepEqual(
      sent.map((batch) => [batch.fence?.createRevision, keysOf(batch)]),
      [
        [1, ['a', 'd']],
        [undefined, ['b', 'e']],
        [2, ['c']],
      ],
    );
  });

  test('any mix of writes goes out once each, in transactions within their limits and without a conflict inside', async () => {
    const arbitraryWrite = fc
      .record({
        written: fc.uniqueArray(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 60 }),
        compared: fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 10 }),
        bytes: fc.constantFrom(10, 1000, 200_000),
        fenced: fc.boolean(),
      })
      .map(({ written, compared, bytes, fenced }) => ({
        fenced,
        write: {
          compares: [...new Set([written[0] as number, ...compared])].map((key) => ({ key: `k${key}`, modRevision: 5 })),
          operations: written.map((key, i) => ({ do: 'put' as const, key: `k${key}`, value: 'v'.repeat(i === 0 ? bytes : 10) })),
        },
      }));
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryWrite, { minLength: 1, maxLength: 60 }), async (writes) => {
        const { commits, sent } = rig();
        const fence = { key: 'leader', createRevision: 1 };
        const results = writes.map(({ write, fenced }) => commits.commit(write, fenced ? { fence } : {}));
        await settle();
        for (let i = 0; i < sent.length; i++) await sent[i]?.apply();
        await Promise.all(results);
        const gone = sent.flatMap((batch) => batch.items.map(({ write }) => write));
        assert.deepEqual(new Set(gone), new Set(writes.map(({ write }) => write)));
        assert.equal(gone.length, writes.length);
        for (const { items } of sent) {
          assert.ok(items.length <= 120);
          const broadest = Math.max(...items.map(({ write }) => Math.max(write.operations.length, write.compares.length)));
          assert.ok(items.length + broadest <= 127, 'operations of all levels');
          const bytes = items.reduce(
            (sum, { write }) =>
              sum + write.operations.reduce((all, operation) => all + (operation.do === 'put' ? operation.value.length : 0), 0),
            0,
          );
          assert.ok(bytes <= 1024 * 1024);
          for (const [i, one] of items.entries()) {
            const written = new Set(one.write.operations.map(({ key }) => key));
            for (const [j, { write }] of items.entries()) {
              if (i !== j)
                assert.ok(![...write.operations, ...write.compares].some(({ key }) => written.has(key)), 'a key that another one writes');
            }
          }
        }
        // Writes of the same key keep their order.
        for (let key = 0; key <= 300; key++) {
          const touching = (all: readonly Write[]) =>
            all.filter(({ operations }) => operations.some((operation) => operation.key === `k${key}`));
          assert.deepEqual(touching(gone), touching(writes.map(({ write }) => write)));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('150 small writes are two transactions', async () => {
    const { commits, sent } = rig();
    for (let i = 0; i < 150; i++) void commits.commit(create(`k${i}`));
    await settle();
    assert.deepEqual(
      sent.map(({ items }) => items.length),
      [120, 30],
    );
  });
});

describe('SEMANTICS 4: when the answer does not come', () => {
  test('nothing is repeated before the lost attempt is shut out and its fate is known', async () => {
    const { commits, sent, calls, applied, clock } = rig();
    const writes = ['a', 'b', 'c'].map((key) => commits.commit(create(key)));
    await settle();
    applied.set('id2', 150);
    await sent[0]?.fail(lost);
    assert.deepEqual(calls, ['replace seal 7', 'history 100..300']);
    assert.deepEqual(await writes[1], { ok: true, revision: 150 }, 'found in the history');
    await clock.advance(50);
    assert.deepEqual(keysOf(sent[1] as Sent), ['a', 'c'], 'only what was not applied is sent again');
    assert.equal(sent[1]?.seal, 8, 'under the new seal');
    await sent[1]?.apply(301);
    assert.deepEqual([(await writes[0])?.revision, (await writes[2])?.revision], [301, 301]);
  });

  test('an attempt that somebody else shut out is repeated at once under the new seal', async () => {
    const { commits, sent, calls } = rig();
    const write = commits.commit(create('a'));
    await settle();
    await sent[0]?.answer({ kind: 'sealed off', seal: 9 });
    assert.equal(sent[1]?.seal, 9);
    await sent[1]?.apply();
    assert.ok((await write).ok);
    assert.deepEqual(calls, []);
  });

  test('a fence that fails after a lost attempt says Fenced only of what the attempt had not applied', async () => {
    const { commits, sent, applied, clock } = rig();
    const fence = { key: 'leader', createRevision: 1 };
    const first = commits.commit(create('a'), { fence });
    const second = assert.rejects(commits.commit(create('b'), { fence }), Fenced);
    await settle();
    applied.set('id1', 150);
    await sent[0]?.fail(lost);
    await clock.advance(50);
    await sent[1]?.answer({ kind: 'fenced' });
    assert.deepEqual(await first, { ok: true, revision: 150 });
    await second;
  });

  test('an etcd that is away all the time: nothing was written, and that is said', async () => {
    const { commits, sent, clock } = rig();
    const write = assert.rejects(
      commits.commit(create('a')),
      (error) => error instanceof StoreUnavailable && /refused/.test(error.message),
    );
    await settle();
    for (let i = 0; i < sent.length; i++) {
      await sent[i]?.fail(away);
      await clock.advance(700);
    }
    await write;
    assert.ok(clock.monotonicMs() <= 11_000 && sent.length > 10);
  });

  test('what cannot be found out before the deadline is unknown', async () => {
    const { commits, sent, state, clock } = rig();
    state.sealing = 'fails';
    const write = assert.rejects(commits.commit(create('a')), OutcomeUnknown);
    await settle();
    await sent[0]?.fail(lost);
    await clock.advance(10_000);
    await write;
    assert.equal(sent.length, 1, 'it was not repeated');
  });

  test('history that was compacted cannot tell: unknown', async () => {
    const { commits, sent, state } = rig();
    state.sealing = 'history gone';
    const write = assert.rejects(commits.commit(create('a')), OutcomeUnknown);
    await settle();
    await sent[0]?.fail(lost);
    await write;
  });

  test('what waits behind a hanging etcd is refused as not sent when its time is up', async () => {
    const { commits, sent, clock } = rig();
    const errors: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      void commits.commit(create(`k${i}`)).catch((error) => errors.push(error));
      await settle();
    }
    assert.equal(sent.length, 4);
    await clock.advance(10_000);
    assert.equal(errors.length, 2);
    assert.ok(errors.every((error) => error instanceof StoreUnavailable && /not sent/.test(error.message)));
  });
});

describe('when etcd refuses', () => {
  test('a batch is split until the one write that is refused stands alone', async () => {
    const { commits, sent } = rig();
    const writes = Array.from({ length: 8 }, (_, i) => commits.commit(create(`k${i}`)));
    const settled = Promise.allSettled(writes);
    await settle();
    const refusal: Failure = { effect: 'refused', error: new InvalidWrite('too large'), alone: true };
    for (let i = 0; i < sent.length; i++) {
      const batch = sent[i] as Sent;
      await (keysOf(batch).includes('k5') ? batch.fail(refusal) : batch.apply());
    }
    assert.deepEqual(
      (await settled).map(({ status }, i) => status === (i === 5 ? 'rejected' : 'fulfilled')),
      Array(8).fill(true),
    );
  });

  test('a no after which some of it may be there: what is there succeeds, the rest is tried again by halves', async () => {
    const { commits, sent, applied, calls, state } = rig();
    const full = new StoreUnavailable('no space');
    const doubtful: Failure = { effect: 'doubtful', error: full, alone: true };
    const writes = Array.from({ length: 3 }, (_, i) => commits.commit(create(`k${i}`)));
    const settled = Promise.allSettled(writes);
    await settle();
    applied.set('id2', 205);
    state.lastRevision = 210;
    await sent[0]?.fail(doubtful);
    assert.deepEqual(calls, ['history 100..210'], 'the seal stays: that attempt is over, and there is no space for another seal');
    assert.deepEqual(sent.slice(1).map(keysOf), [['k0'], ['k2']]);
    for (const batch of sent.slice(1)) await batch.fail(doubtful);
    assert.deepEqual(await settled, [
      { status: 'rejected', reason: full },
      { status: 'fulfilled', value: { ok: true, revision: 205 } },
      { status: 'rejected', reason: full },
    ]);
  });

  test('a no that leaves a doubt which cannot be cleared up: nobody knows', async () => {
    const { commits, sent, state } = rig();
    const write = assert.rejects(commits.commit(create('a')), OutcomeUnknown);
    await settle();
    state.sealing = 'history gone';
    await sent[0]?.fail({ effect: 'doubtful', error: new StoreUnavailable('no space'), alone: true });
    await write;
  });

  test('what concerns all is told to all, once', async () => {
    const { commits, sent } = rig();
    const refused = new StoreUnavailable('permission denied');
    const writes = ['a', 'b'].map((key) => assert.rejects(commits.commit(create(key)), refused));
    await settle();
    await sent[0]?.fail({ effect: 'refused', error: refused, alone: false });
    await Promise.all(writes);
    assert.equal(sent.length, 1);
  });
});

describe('giving up', () => {
  test('a write that is aborted before it is sent is not sent; afterwards its outcome is awaited', async () => {
    const { commits, sent } = rig();
    const abort = new AbortController();
    for (let i = 0; i < 4; i++) {
      void commits.commit(create(`k${i}`));
      await settle();
    }
    const waiting = assert.rejects(commits.commit(create('waiting'), { signal: abort.signal }), /enough/);
    await settle();
    abort.abort(new Error('enough'));
    await waiting;
    await sent[0]?.apply();
    assert.equal(sent.length, 4);

    const late = new AbortController();
    const inFlight = commits.commit(create('in flight'), { signal: late.signal });
    await settle();
    late.abort(new Error('enough'));
    await sent[4]?.apply(7);
    assert.deepEqual(await inFlight, { ok: true, revision: 7 });
  });

  test('closing refuses what waits, lets what is in flight end, and repeats nothing', async () => {
    const { commits, sent, clock } = rig();
    const results: string[] = [];
    const note = (name: string) => (write: Promise<unknown>) =>
      void write.then(
        () => results.push(`${name} applied`),
        (error: Error) => results.push(`${name} ${error.name}`),
      );
    for (let i = 0; i < 5; i++) {
      note(`k${i}`)(commits.commit(create(`k${i}`)));
      await settle();
    }
    let closed = false;
    const closing = commits.close().then(() => {
      closed = true;
    });
    await settle();
    assert.deepEqual(results, ['k4 StoreUnavailable']);
    for (const batch of sent.slice(0, 3)) await batch.apply();
    assert.equal(closed, false);
    await sent[3]?.fail(away);
    await clock.advance(1000);
    await closing;
    assert.deepEqual(results, ['k4 StoreUnavailable', 'k0 applied', 'k1 applied', 'k2 applied', 'k3 StoreUnavailable']);
    await assert.rejects(commits.commit(create('later')), StoreUnavailable);
  });
});
