import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsistentReads } from '../../../api/server/consistent-reads.js';
import { silentLogger } from '../../../runtime/log.js';
import { noMetrics } from '../../../runtime/metrics.js';
import { StoreUnavailable } from '../../../runtime/store/store.js';
import { ManualClock } from '../../rigs/manual-clock.js';

const limits = { consistentReadMs: 2_000, consistentReadAwayMs: 100 };

/** A store that answers when it is told to, and a cache that is where the test puts it. */
function open() {
  const clock = new ManualClock();
  const questions: { answer: (revision: number) => void; fail: (error: Error) => void }[] = [];
  const waiting: number[] = [];
  const reads = new ConsistentReads({
    store: { revision: () => new Promise((answer, fail) => questions.push({ answer, fail })) },
    cache: {
      revision: 7,
      untilRevision: async (revision) => void waiting.push(revision),
    },
    clock,
    log: silentLogger,
    metrics: noMetrics,
    limits,
  });
  return { clock, questions, waiting, reads };
}

const settled = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const warning = 'etcd does not answer: this is what the server knew at resourceVersion 15, and may be out of date';

test('reads that come while a question is out share the next one: the answer to the first may be older than they are', async () => {
  const { reads, questions, waiting } = open();
  const first = reads.settle();
  await settled();
  const others = Array.from({ length: 50 }, () => reads.settle());
  await settled();
  assert.equal(questions.length, 1);
  questions[0]!.answer(8);
  assert.equal(await first, undefined);
  await settled();
  assert.equal(questions.length, 2);
  questions[1]!.answer(9);
  assert.deepEqual([...new Set(await Promise.all(others))], [undefined]);
  assert.deepEqual(waiting, [8, 9]);
});

test('etcd is silent: the first read waits its time, the next ones less, until etcd answers again', async () => {
  const { clock, reads, questions } = open();
  const first = reads.settle();
  await clock.advance(limits.consistentReadMs - 1);
  let ended = false;
  void first.then(() => {
    ended = true;
  });
  await settled();
  assert.equal(ended, false);
  await clock.advance(1);
  assert.equal(await first, warning);

  const second = reads.settle();
  await clock.advance(limits.consistentReadAwayMs);
  assert.equal(await second, warning);

  const third = reads.settle();
  questions[0]!.fail(new StoreUnavailable('no answer within 5 s'));
  await settled();
  questions[1]!.answer(7);
  assert.equal(await third, undefined);
  const fourth = reads.settle();
  await clock.advance(limits.consistentReadAwayMs);
  await settled();
  questions[2]!.answer(7);
  assert.equal(await fourth, undefined, 'patient again');
});

test('etcd refuses: the read does not wait for its time to pass', async () => {
  const { reads, questions } = open();
  const read = reads.settle();
  await settled();
  questions[0]!.fail(new StoreUnavailable('connection refused'));
  assert.equal(await read, warning);
});
