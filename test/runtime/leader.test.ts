/** Invariant 3 and the election: one leader by the clock of each candidate, and none who writes without the proof. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Leadership, runForLeader } from '../../runtime/leader.js';
import type { Logger } from '../../runtime/log.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { Fenced, type Store, StoreUnavailable, type Write } from '../../runtime/store/store.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';

const key = '/flotilla/leader/controllers';
const ttlMs = 10_000;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const put = (name: string): Write => ({ compares: [{ key: name, modRevision: 0 }], operations: [{ do: 'put', key: name, value: '' }] });

interface Candidate {
  readonly store: MemoryStore;
  readonly terms: Leadership[];
  /** The leadership that is not over, if any. */
  readonly term: Leadership | undefined;
  readonly ended: Promise<void>;
  /** Whether it is inside `lead`, which may take its time to return. */
  busy(): boolean;
  stop(): void;
}

function world() {
  const clock = new ManualClock();
  const etcd = new MemoryStore({ clock });
  const diary: string[] = [];

  function candidate(
    name: string,
    { store = etcd.peer(), work }: { store?: MemoryStore; work?: (term: Leadership) => Promise<void> } = {},
  ): Candidate {
    const stopping = new AbortController();
    const terms: Leadership[] = [];
    let inside = 0;
    const lead = async (term: Leadership) => {
      diary.push(`${name} leads`);
      assert.equal(++inside, 1, `${name} leads twice at a time`);
      terms.push(term);
      try {
        await (work?.(term) ?? untilAborted(term.signal));
      } finally {
        inside--;
        diary.push(`${name} returned`);
      }
    };
    const ended = runForLeader({ store, key, identity: { name }, ttlMs, clock, log: silent, lead, signal: stopping.signal });
    return {
      store,
      terms,
      get term() {
        return terms.findLast((term) => !term.signal.aborted);
      },
      ended,
      busy: () => inside > 0,
      stop: () => stopping.abort(),
    };
  }
  return { clock, etcd, diary, candidate };
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });

/** Everything that needs no time. */
async function rest(): Promise<void> {
  for (let i = 0; i < 5; i++) await settle();
}

async function finish(clock: ManualClock, ...candidates: Candidate[]): Promise<void> {
  for (const candidate of candidates) candidate.stop();
  await clock.advance(30_000);
  await Promise.all(candidates.map((candidate) => candidate.ended));
}

describe('leader election', () => {
  test('of three candidates one leads, under a key that says who and that hangs on its lease', async () => {
    const { clock, etcd, candidate } = world();
    const all = ['a', 'b', 'c'].map((name) => candidate(name));
    await rest();
    const leaders = all.filter((each) => each.term);
    assert.equal(leaders.length, 1);
    const { entry } = await etcd.get(key);
    assert.deepEqual(JSON.parse(entry?.value ?? ''), { name: ['a', 'b', 'c'][all.indexOf(leaders[0] as Candidate)] });
    assert.ok(entry?.lease);
    assert.deepEqual(leaders[0]?.term?.fence, { key, createRevision: entry.createRevision });
    await clock.advance(10 * ttlMs);
    assert.equal(
      all.reduce((terms, each) => terms + each.terms.length, 0),
      1,
      'a healthy leader stays',
    );
    await finish(clock, ...all);
  });

  test('a leader that is stopped waits for its work, frees the key, and the successor leads without waiting for the lease', async () => {
    const { clock, diary, candidate } = world();
    const slow = untilAborted;
    let letReturn = () => {};
    const a = candidate('a', {
      work: async (term) => {
        await slow(term.signal);
        await new Promise<void>((resolve) => {
          letReturn = resolve;
        });
      },
    });
    await rest();
    const b = candidate('b');
    await rest();
    a.stop();
    await rest();
    assert.ok(a.terms[0]?.signal.aborted);
    assert.ok(a.busy() && b.terms.length === 0, 'its work still runs, so nobody else leads');
    letReturn();
    await a.ended;
    await rest();
    assert.ok(b.term);
    assert.deepEqual(diary, ['a leads', 'a returned', 'b leads']);
    await finish(clock, b);
  });

  for (const fault of ['unavailable', 'frozen'] as const) {
    test(`a leader whose etcd is ${fault} steps down by its own clock before anybody else can be elected`, async () => {
      const { clock, diary, candidate } = world();
      const a = candidate('a');
      await rest();
      const b = candidate('b');
      await clock.advance(3000);
      a.terms[0]?.signal.addEventListener('abort', () => diary.push('a aborted'));
      a.store.faults[fault] = true;
      await clock.advance(2 * ttlMs);
      assert.deepEqual(diary.slice(0, 3), ['a leads', 'a aborted', 'a returned']);
      assert.equal(diary[3], 'b leads');
      a.store.faults[fault] = false;
      await clock.advance(ttlMs);
      assert.ok(b.term && !a.term);
      await finish(clock, a, b);
    });
  }

  test('a leader that loses etcd for less than its lease goes on leading', async () => {
    const { clock, candidate } = world();
    const a = candidate('a');
    await rest();
    const b = candidate('b');
    for (let round = 0; round < 5; round++) {
      a.store.faults.unavailable = true;
      await clock.advance(3000);
      a.store.faults.unavailable = false;
      await clock.advance(3000);
    }
    assert.deepEqual([a.terms.length, b.terms.length], [1, 0]);
    assert.ok(a.term);
    await finish(clock, a, b);
  });

  test('a leader whose key is deleted notices at once, and its writes are refused', async () => {
    const { clock, etcd, candidate } = world();
    const a = candidate('a');
    await rest();
    const [term] = a.terms;
    const { entry } = await etcd.get(key);
    assert.ok(entry && term);
    await etcd.commit({ compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'delete', key }] });
    await assert.rejects(a.store.commit(put('/flotilla/x'), { fence: term.fence }), Fenced);
    await rest();
    assert.ok(term.signal.aborted);
    assert.match(String(term.signal.reason), /deleted/);
    assert.notEqual(a.term?.fence.createRevision, term.fence.createRevision, 'it leads again by a new election only');
    await finish(clock, a);
  });

  test('a leader whose key was replaced while its watch was cut and compacted notices when it looks again', async () => {
    const { clock, etcd, candidate } = world();
    const a = candidate('a');
    await rest();
    const [term] = a.terms;
    const { entry } = await etcd.get(key);
    assert.ok(entry && term);
    a.store.faults.watchesCut = true;
    await etcd.commit({ compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'delete', key }] });
    await etcd.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: '"somebody"' }] });
    etcd.compact();
    await rest();
    assert.ok(!term.signal.aborted, 'it cannot know yet');
    a.store.faults.watchesCut = false;
    await rest();
    assert.ok(term.signal.aborted);
    await finish(clock, a);
  });

  test('an election won without an answer is known by the lease on the key', async () => {
    const { clock, candidate, etcd } = world();
    const store = etcd.peer();
    store.faults.loseAnswers = 1;
    const a = candidate('a', { store });
    await rest();
    assert.equal(a.term?.fence.createRevision, (await etcd.get(key)).entry?.createRevision);
    await finish(clock, a);
  });

  test('a candidate waits for a vacancy by watching, not by asking', async () => {
    const { clock, candidate } = world();
    const a = candidate('a');
    await rest();
    const b = candidate('b');
    await rest();
    let asked = 0;
    const get = b.store.get.bind(b.store);
    b.store.get = (...args) => {
      asked++;
      return get(...args);
    };
    await clock.advance(6 * ttlMs);
    assert.ok(asked <= 6, `${asked} looks in six lease times`);
    await finish(clock, a, b);
  });

  test('a fault of the work itself is not swallowed: the key is free, and the caller hears of it', async () => {
    const { etcd, candidate } = world();
    const fault = new TypeError('a bug');
    const a = candidate('a', { work: () => Promise.reject(fault) });
    await assert.rejects(a.ended, fault);
    assert.equal((await etcd.get(key)).entry, undefined);
  });

  for (const error of [new Fenced('deposed'), new StoreUnavailable('etcd is away')]) {
    test(`work that ends with ${error.name} after it was deposed leads to a new campaign`, async () => {
      const { clock, etcd, candidate } = world();
      const a = candidate('a', {
        work: async (term) => {
          await untilAborted(term.signal);
          throw error;
        },
      });
      await rest();
      await etcd
        .peer()
        .lease(ttlMs, { keepAlive: 'manual', id: (await etcd.get(key)).entry?.lease ?? '' })
        .then((lease) => lease.revoke());
      await clock.advance(2000);
      assert.equal(a.terms.length, 2);
      await finish(clock, a);
    });
  }
});

describe('invariant 3: a deposed leader cannot write', () => {
  /** A leader that is stopped in mid-write, past its lease, and goes on when another one leads. */
  async function lateWrite(
    plant: (store: MemoryStore) => void,
  ): Promise<{ write: Promise<unknown>; store: Store; finish: () => Promise<void> }> {
    const { clock, etcd, candidate } = world();
    const a = candidate('a');
    await rest();
    const [term] = a.terms;
    assert.ok(term);
    const b = candidate('b');
    await rest();
    plant(a.store);
    a.store.faults.unavailable = true;
    await clock.advance(2 * ttlMs);
    assert.ok(b.term);
    a.store.faults.unavailable = false;
    return { write: a.store.commit(put('/flotilla/late'), { fence: term.fence }), store: etcd, finish: () => finish(clock, a, b) };
  }

  test('its write is refused, and nothing of it is in the store', async () => {
    const late = await lateWrite(() => {});
    await assert.rejects(late.write, Fenced);
    assert.equal((await late.store.get('/flotilla/late')).entry, undefined);
    await late.finish();
  });

  test('with the fault planted this test would be red: a store that ignores the fence lets the write pass', async () => {
    const late = await lateWrite((store) => {
      store.faults.ignoreFence = true;
    });
    await late.write;
    assert.ok((await late.store.get('/flotilla/late')).entry);
    await late.finish();
  });
});
