import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type LogFields, type Logger, silentLogger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { createWorkQueue, type Outcome, settled, type WorkQueueOptions } from '../../runtime/work-queue.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';

interface Run {
  readonly key: string;
  readonly startedMs: number;
  readonly signal: AbortSignal;
  end(outcome: Outcome): void;
  fail(error: Error): void;
}

/** A queue whose runs end when the test says so. */
function rig(options: Partial<WorkQueueOptions> = {}) {
  const clock = new ManualClock();
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  const runs: Run[] = [];
  const underWay = new Set<Run>();
  const lines: { message: string; fields: LogFields | undefined }[] = [];
  const log: Logger = { ...silentLogger, warn: (message, fields) => void lines.push({ message, fields }) };
  const queue = createWorkQueue({
    name: 'test',
    clock,
    random: () => 1,
    log,
    metrics,
    work: (key, signal) =>
      new Promise((resolve, reject) => {
        const end =
          <T>(how: (value: T) => void) =>
          (value: T) => {
            underWay.delete(run);
            how(value);
          };
        const run: Run = { key, startedMs: clock.monotonicMs(), signal, end: end(resolve), fail: end(reject) };
        runs.push(run);
        underWay.add(run);
      }),
    ...options,
  });
  const last = (): Run => runs.at(-1) ?? assert.fail('no run yet');
  const metric = async (sample: string) => {
    const line = (await metrics.render()).split('\n').find((candidate) => candidate.startsWith(`${sample} `));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  };
  return { clock, queue, runs, underWay, lines, last, metric, keys: () => runs.map(({ key }) => key) };
}

test('queue: a key that waits is not queued twice', async () => {
  const { queue, keys, last } = rig();
  queue.add('busy');
  for (let n = 0; n < 3; n++) queue.add('a');
  queue.add('b');
  assert.equal(queue.waiting, 2);
  for (let n = 0; n < 3; n++) {
    last().end(settled);
    await settle();
  }
  assert.deepEqual(keys(), ['busy', 'a', 'b']);
});

test('queue: a key added while it is worked on is looked at once more afterwards, never at the same time', async () => {
  const { queue, runs, keys, last } = rig({ concurrency: 3 });
  queue.add('a');
  await settle();
  for (let n = 0; n < 5; n++) queue.add('a');
  await settle();
  assert.deepEqual(keys(), ['a']);
  last().end(settled);
  await settle();
  assert.deepEqual(keys(), ['a', 'a']);
  last().end(settled);
  await settle();
  assert.equal(runs.length, 2);
  assert.equal(queue.working, 0);
});

test('queue: a stuck key delays nobody else, and at most so many are worked on', async () => {
  const { queue, keys, underWay } = rig({ concurrency: 2 });
  for (const key of ['stuck', 'a', 'b', 'c']) queue.add(key);
  for (let n = 0; n < 4; n++) {
    await settle();
    assert.ok(underWay.size <= 2);
    for (const run of underWay) if (run.key !== 'stuck') run.end(settled);
  }
  assert.deepEqual(keys(), ['stuck', 'a', 'b', 'c']);
  assert.equal(queue.working, 1);
});

test('queue: after a throw the key backs off, twice as long each time, up to the cap', async () => {
  const clock = new ManualClock();
  const started: number[] = [];
  const queue = createWorkQueue({
    name: 'test',
    clock,
    random: () => 1,
    log: silentLogger,
    limits: { backoff: { baseMs: 100, capMs: 1_000 } },
    work: async () => {
      started.push(clock.monotonicMs());
      throw new Error('no luck');
    },
  });
  queue.add('a');
  await clock.advance(5_000);
  assert.deepEqual(
    started.slice(1).map((at, n) => at - (started[n] ?? 0)),
    [100, 200, 400, 800, 1_000, 1_000, 1_000],
  );
  await queue.stop({ drain: false, limitMs: 0 });
  assert.equal(clock.waiting, 0);
});

test('queue: after a success the back-off begins anew', async () => {
  const { clock, queue, runs, last } = rig({ limits: { backoff: { baseMs: 100, capMs: 1_000 } } });
  queue.add('a');
  await clock.advance(0);
  for (const pauseMs of [100, 200, 400]) {
    last().fail(new Error('no luck'));
    await clock.advance(pauseMs);
  }
  last().end(settled);
  queue.add('a');
  await clock.advance(0);
  last().fail(new Error('no luck'));
  await clock.advance(99);
  assert.equal(runs.length, 5);
  await clock.advance(1);
  assert.equal(runs.length, 6);
});

for (const { name, outcome, later, again } of [
  { name: 'settled: nothing more', outcome: settled, later: 3_600_000, again: 0 },
  { name: 'again: at its time', outcome: { next: 'again', afterMs: 5_000, why: 'waiting for the lease' } as const, later: 5_000, again: 1 },
  { name: 'again: not earlier', outcome: { next: 'again', afterMs: 5_000, why: 'waiting for the lease' } as const, later: 4_999, again: 0 },
  { name: 'stuck: only when added', outcome: { next: 'stuck', why: 'no ready machine has room' } as const, later: 3_600_000, again: 0 },
]) {
  test(`queue: an outcome says what comes next: ${name}`, async () => {
    const { clock, queue, runs, last } = rig();
    queue.add('a');
    await clock.advance(0);
    last().end(outcome);
    await clock.advance(later);
    assert.equal(runs.length, 1 + again);
    assert.deepEqual(queue.outcome('a'), outcome.next === 'settled' ? undefined : outcome);
  });
}

test('invariant 8: the sentence of the last outcome can be asked for, an error’s too, until the key settles or is forgotten', async () => {
  const { clock, queue, last } = rig();
  queue.add('a');
  await clock.advance(0);
  last().fail(new Error('etcd cannot be reached'));
  await clock.advance(0);
  assert.deepEqual(queue.outcome('a'), { next: 'again', afterMs: 50, why: 'etcd cannot be reached' });
  await clock.advance(50);
  last().end({ next: 'stuck', why: 'no ready machine has room' });
  await clock.advance(0);
  assert.deepEqual(queue.outcome('a'), { next: 'stuck', why: 'no ready machine has room' });
  queue.forget('a');
  assert.equal(queue.outcome('a'), undefined);
});

test('queue: a run in between makes the planned one needless', async () => {
  const { clock, queue, runs, last } = rig();
  queue.add('a');
  await clock.advance(0);
  last().end({ next: 'again', afterMs: 10_000, why: 'later' });
  await clock.advance(1_000);
  queue.add('a');
  await clock.advance(0);
  last().end(settled);
  await clock.advance(60_000);
  assert.equal(runs.length, 2);
  assert.equal(clock.waiting, 0);
});

test('queue: of several times to look again the earliest counts', async () => {
  const { clock, queue, runs } = rig();
  queue.addAfter('a', 5_000);
  queue.addAfter('a', 1_000);
  queue.addAfter('a', 9_000);
  await clock.advance(999);
  assert.equal(runs.length, 0);
  await clock.advance(1);
  assert.equal(runs.length, 1);
  assert.equal(clock.nextInMs, 120_000, 'only the limit of the run itself is left');
});

test('queue: forgetting a key cancels what was planned for it', async () => {
  const { clock, queue, runs } = rig();
  queue.addAfter('a', 1_000);
  queue.forget('a');
  await clock.advance(10_000);
  assert.equal(runs.length, 0);
});

test('invariant 11: a full queue refuses new keys, says so, and goes on with those it has', async () => {
  const { queue, keys, last, metric } = rig({ limits: { maxKeys: 2 } });
  assert.equal(queue.add('a'), true);
  await settle();
  assert.equal(queue.add('b'), true);
  assert.equal(queue.add('c'), false);
  assert.equal(queue.addAfter('d', 1_000), false);
  assert.equal(queue.add('b'), true, 'what waits already is no new key');
  assert.equal(await metric('flotilla_workqueue_refused_total{name="test"}'), 2);
  last().end(settled);
  await settle();
  last().end(settled);
  await settle();
  assert.deepEqual(keys(), ['a', 'b']);
  assert.equal(queue.add('c'), true);
});

test('invariant 11: a run that takes too long is told to end, and its key is still not worked on twice', async () => {
  const { clock, queue, runs, last, lines } = rig({ concurrency: 2, limits: { runMs: 1_000 } });
  queue.add('a');
  await clock.advance(999);
  assert.equal(last().signal.aborted, false);
  await clock.advance(1);
  assert.equal(last().signal.aborted, true);
  assert.deepEqual(
    lines.map(({ message }) => message),
    ['a run takes too long and is told to end'],
  );
  queue.add('a');
  await clock.advance(60_000);
  assert.equal(runs.length, 1);
  last().end(settled);
  await clock.advance(0);
  assert.equal(runs.length, 2);
});

test('queue: stop with drain works on what waits and plans nothing more', async () => {
  const { clock, queue, keys, last } = rig();
  queue.add('a');
  queue.add('b');
  queue.addAfter('c', 1_000);
  await settle();
  const stopped = queue.stop({ drain: true, limitMs: 10_000 });
  assert.equal(queue.add('d'), false);
  last().end({ next: 'again', afterMs: 1, why: 'later' });
  await clock.advance(1_000);
  last().end(settled);
  assert.equal(await stopped, true);
  assert.deepEqual(keys(), ['a', 'b']);
  assert.equal(clock.waiting, 0);
});

test('queue: stop without drain drops what waits and tells the runs under way', async () => {
  const { clock, queue, keys, last } = rig();
  queue.add('a');
  queue.add('b');
  await settle();
  queue.add('a');
  const stopped = queue.stop({ drain: false, limitMs: 10_000 });
  assert.equal(last().signal.aborted, true);
  last().end(settled);
  assert.equal(await stopped, true);
  assert.deepEqual(keys(), ['a']);
  assert.equal(clock.waiting, 0);
});

test('queue: stop does not wait for ever', async () => {
  const { clock, queue, last, lines } = rig();
  queue.add('a');
  queue.add('b');
  await settle();
  const stopped = queue.stop({ drain: true, limitMs: 5_000 });
  await clock.advance(5_000);
  assert.equal(await stopped, false);
  assert.equal(last().key, 'a');
  assert.equal(last().signal.aborted, true);
  assert.equal(lines.at(-1)?.message, 'work queue stopped with runs still under way');
});

test('queue: its metrics have the names that Kubernetes’ controllers have', async () => {
  const { clock, queue, last, metric } = rig();
  queue.add('a');
  queue.add('b');
  queue.add('b');
  await clock.advance(3_000);
  assert.equal(await metric('workqueue_depth{name="test"}'), 1);
  assert.equal(await metric('workqueue_adds_total{name="test"}'), 2);
  assert.equal(await metric('workqueue_unfinished_work_seconds{name="test"}'), 3);
  assert.equal(await metric('workqueue_longest_running_processor_seconds{name="test"}'), 3);
  assert.equal(await metric('controller_runtime_active_workers{controller="test"}'), 1);
  assert.equal(await metric('controller_runtime_max_concurrent_reconciles{controller="test"}'), 1);
  last().fail(new Error('no luck'));
  await clock.advance(0);
  assert.equal(await metric('workqueue_queue_duration_seconds_sum{name="test"}'), 3);
  assert.equal(await metric('workqueue_work_duration_seconds_sum{name="test"}'), 3);
  assert.equal(await metric('workqueue_retries_total{name="test"}'), 1);
  assert.equal(await metric('controller_runtime_reconcile_total{controller="test",result="error"}'), 1);
  assert.equal(await metric('controller_runtime_reconcile_total{controller="test",result="success"}'), 0);
  assert.equal(await metric('controller_runtime_reconcile_errors_total{controller="test"}'), 1);
  assert.equal(await metric('controller_runtime_reconcile_time_seconds_count{controller="test"}'), 1);
  last().end({ next: 'stuck', why: 'no room' });
  await clock.advance(0);
  assert.equal(await metric('controller_runtime_reconcile_total{controller="test",result="stuck"}'), 1);
  await queue.stop({ drain: false, limitMs: 1 });
  assert.equal(await metric('workqueue_depth{name="test"}'), undefined, 'a stopped queue has no depth');
});

const act = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('add' as const), key: fc.constantFrom(...'abc') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('later' as const), key: fc.constantFrom(...'abc'), ms: fc.nat(2_000) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('end' as const), which: fc.nat(5), how: fc.constantFrom('settled', 'again', 'stuck', 'throw') }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(0, 0, 10, 100, 5_000) }) },
);

test('queue property: never twice at a time, never more than allowed, never without being asked, and nothing is lost', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), fc.integer({ min: 1, max: 3 }), async (acts, concurrency) => {
      const { clock, queue, runs, underWay } = rig({ concurrency });
      let moment = 0;
      const asked = new Map<string, number>();
      const begun = new Map<string, number>();
      let requests = 0;
      let known = 0;
      const look = () => {
        moment++;
        for (const run of runs.slice(known)) begun.set(run.key, moment);
        known = runs.length;
        const keys = [...underWay].map(({ key }) => key);
        assert.equal(new Set(keys).size, keys.length, `worked on twice at a time: ${keys.join()}`);
        assert.ok(keys.length <= concurrency);
      };
      const finish = (run: Run | undefined, how: string) => {
        if (!run) return;
        if (how === 'settled') return run.end(settled);
        if (how === 'stuck') return run.end({ next: 'stuck', why: 'stuck' });
        requests++;
        if (how === 'again') return run.end({ next: 'again', afterMs: 700, why: 'again' });
        return run.fail(new Error('thrown'));
      };
      for (const step of acts) {
        moment++;
        if (step.do === 'add' || step.do === 'later') {
          requests++;
          asked.set(step.key, moment);
          assert.ok(step.do === 'add' ? queue.add(step.key) : queue.addAfter(step.key, step.ms));
        } else if (step.do === 'end') finish([...underWay][step.which % Math.max(1, underWay.size)], step.how);
        else await clock.advance(step.ms);
        await settle();
        look();
      }
      // A quiet end: everything that is still asked for is worked on, and then there is nothing left.
      for (let n = 0; n < 30; n++) {
        await clock.advance(5_000);
        look();
        for (const run of [...underWay]) run.end(settled);
        await settle();
        look();
      }
      for (const [key, at] of asked) assert.ok((begun.get(key) ?? 0) > at, `${key} was asked for and not looked at afterwards`);
      assert.ok(runs.length <= requests, `${runs.length} runs for ${requests} requests`);
      assert.equal(queue.waiting + queue.working, 0);
      assert.equal(clock.waiting, 0);
    }),
    { numRuns: 200 },
  );
});
