import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Informer, informerLimits, type KeyBatch, startInformer } from '../../runtime/informer.js';
import type { LogFields, Logger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import type { Store } from '../../runtime/store/store.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';

const prefix = '/flotilla/';
const enoughToVerifyMs = informerLimits.verifyEveryMs * 1.2 + informerLimits.catchUpMs + informerLimits.retry.capMs * 2;

/** What a handler that only listens knows of the store: the last value of each key. */
class World {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore({ clock: this.clock });
  readonly metrics = createMetrics({ component: 'test', version: '0', process: false });
  readonly batches: KeyBatch[] = [];
  readonly told = new Map<string, string>();
  readonly lines: { level: string; message: string; fields?: LogFields | undefined }[] = [];
  readonly informer: Informer;

  constructor(options: { store?: (world: World) => Pick<Store, 'list' | 'watch'>; handle?: (batch: KeyBatch) => void } = {}) {
    this.informer = startInformer({
      name: 'test',
      store: options.store?.(this) ?? this.store,
      prefix,
      clock: this.clock,
      random: () => 0.5,
      log: logInto(this.lines),
      metrics: this.metrics,
      handler: {
        batch: (batch) => {
          this.batches.push(batch);
          for (const { key, entry } of batch.changes) {
            if (entry) this.told.set(key, entry.value);
            else this.told.delete(key);
          }
          options.handle?.(batch);
        },
      },
    });
  }

  put = async (...names: string[]) => {
    // The write's own compares are not the subject here: whatever is there is overwritten.
    const compares = await Promise.all(
      names.map(async (name) => ({ key: prefix + name, modRevision: (await this.store.get(prefix + name)).entry?.modRevision ?? 0 })),
    );
    const operations = names.map((name, at) => ({ do: 'put', key: prefix + name, value: `${name}@${compares[at]?.modRevision}` }) as const);
    await this.store.commit({ compares, operations });
  };

  delete = async (name: string) => {
    const { entry } = await this.store.get(prefix + name);
    if (!entry) return;
    await this.store.commit({
      compares: [{ key: entry.key, modRevision: entry.modRevision }],
      operations: [{ do: 'delete', key: entry.key }],
    });
  };

  async truth() {
    return new Map((await this.store.list(prefix)).entries.map(({ key, value }) => [key, value]));
  }

  async metric(name: string) {
    const line = (await this.metrics.render()).split('\n').find((candidate) => candidate.startsWith(name));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  }
}

function logInto(lines: World['lines']): Logger {
  const at = (level: string) => (message: string, fields?: LogFields) => void lines.push({ level, message, fields });
  const log: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log };
  return log;
}

test('informer: first what is there, then each revision in a batch of its own', async () => {
  const world = new World();
  await world.put('a', 'b');
  await world.clock.advance(0);
  await world.put('a', 'c');
  await world.delete('b');
  await world.clock.advance(0);

  const seen = world.batches.map(({ relisted, changes }) => [
    relisted,
    changes.map(({ key, entry }) => (entry ? '+' : '-') + key.slice(prefix.length)),
  ]);
  // The list may have been read before or after the first write.
  const followed = seen.filter(([relisted]) => !relisted);
  assert.equal(seen[0]?.[0], true);
  assert.deepEqual(followed.slice(-2), [
    [false, ['+a', '+c']],
    [false, ['-b']],
  ]);
  assert.equal(world.informer.revision, (await world.store.revision()) as number);
  world.informer.stop();
  assert.equal(world.clock.waiting, 0, 'a stopped informer leaves no timer behind');
});

test('informer, invariant 13: while the store is away it keeps what it has, and catches up afterwards', async () => {
  const world = new World();
  await world.put('a', 'b');
  await world.clock.advance(0);
  world.store.faults.unavailable = true;
  await world.clock.advance(enoughToVerifyMs);
  assert.deepEqual([...world.told.keys()], [`${prefix}a`, `${prefix}b`]);

  world.store.faults.unavailable = false;
  await world.delete('a');
  await world.clock.advance(informerLimits.retry.capMs);
  assert.deepEqual([...world.told.keys()], [`${prefix}b`]);
  world.informer.stop();
});

test('informer: a store that is away at the start is asked again with growing, capped pauses, and complained about once', async () => {
  const asked: number[] = [];
  const world = new World({
    store: ({ clock }) => ({
      list: async () => {
        asked.push(clock.monotonicMs());
        throw new Error('connection refused');
      },
      watch: () => assert.fail('there is nothing to watch yet'),
    }),
  });
  await world.clock.advance(60_000);
  const pauses = asked.slice(1).map((at, index) => at - (asked[index] as number));
  assert.deepEqual(pauses.slice(0, 4), [75, 150, 300, 600]);
  assert.equal(Math.max(...pauses), informerLimits.retry.capMs * 0.75);
  assert.equal(world.lines.filter(({ level }) => level === 'warn').length, 1);
  assert.equal(await world.metric('flotilla_informer_list_failures_total'), asked.length);
  world.informer.stop();
  assert.equal(world.clock.waiting, 0);
});

test('informer: after a compaction it lists again and concludes what was deleted meanwhile', async () => {
  const world = new World();
  await world.put('a', 'b');
  await world.clock.advance(0);
  world.store.faults.watchesCut = true;
  await world.delete('a');
  await world.put('c');
  world.store.compact();
  world.store.faults.watchesCut = false;
  await world.clock.advance(0);

  const last = world.batches.at(-1);
  assert.equal(last?.relisted, true);
  assert.deepEqual(last?.changes.map(({ key, entry }) => (entry ? '+' : '-') + key.slice(prefix.length)).sort(), ['+c', '-a']);
  assert.match(await world.metrics.render(), /flotilla_informer_relists_total\{name="test",reason="compacted"\} 1/);
  world.informer.stop();
});

test('informer: a watch that is always behind the compaction does not become a storm of lists', async () => {
  let lists = 0;
  const world = new World({
    store: () => ({
      list: async () => {
        lists++;
        return { entries: [], revision: lists };
      },
      watch: (_prefix, _after, handler) => {
        queueMicrotask(() => handler.compacted());
        return { close: () => {} };
      },
    }),
  });
  await world.clock.advance(60_000);
  assert.ok(lists > 5 && lists < 40, `${lists} lists in a minute`);
  world.informer.stop();
});

test('informer: a fresh list is compared each period; normally it finds nothing and nothing is handed over', async () => {
  const world = new World();
  await world.put('a');
  await world.clock.advance(0);
  const before = world.batches.length;
  await world.clock.advance(enoughToVerifyMs * 3);
  assert.equal(world.batches.length, before);
  assert.equal(await world.metric('flotilla_informer_lost_changes_total'), 0);
  world.informer.stop();
});

test('informer: what changes while the comparing list is on its way is no difference', async () => {
  let meanwhile: (() => Promise<void>) | undefined;
  const world = new World({
    store: ({ store }) => ({
      list: async (...args) => {
        const listed = await store.list(...args);
        await meanwhile?.();
        await settle();
        return listed;
      },
      watch: (...args) => store.watch(...args),
    }),
  });
  await world.put('changed', 'deleted', 'kept', 'deleted and back');
  await world.clock.advance(0);
  let compared = 0;
  meanwhile = async () => {
    compared++;
    await world.put('changed', `new ${compared}`);
    await world.delete('deleted');
    await world.delete('deleted and back');
    await world.put('deleted and back');
  };
  await world.clock.advance(enoughToVerifyMs);
  assert.equal(compared, 1);
  assert.equal(await world.metric('flotilla_informer_lost_changes_total'), 0);
  assert.deepEqual(world.told, await world.truth());
  world.informer.stop();
});

test('informer: changes that the watch lost without a sign are found by the comparison, counted and repaired', async () => {
  const world = new World();
  await world.put('a', 'b');
  await world.clock.advance(0);
  world.store.faults.loseRevisions = 3;
  await world.put('a');
  await world.delete('b');
  await world.put('c');
  await world.clock.advance(0);
  assert.notDeepEqual(world.told, await world.truth(), 'the fault must have been there');

  await world.clock.advance(enoughToVerifyMs);
  assert.deepEqual(world.told, await world.truth());
  assert.equal(await world.metric('flotilla_informer_lost_changes_total'), 3);
  assert.ok(world.lines.some(({ level, message }) => level === 'error' && message === 'the watch had lost changes'));
  world.informer.stop();
});

test('informer: a watch that stands still while lists are answered is replaced', async () => {
  let watches = 0;
  const world = new World({
    store: ({ store }) => ({
      list: (...args) => store.list(...args),
      // The first watch never says anything.
      watch: (...args) => (++watches === 1 ? { close: () => {} } : store.watch(...args)),
    }),
  });
  await world.put('a');
  await world.clock.advance(0);
  await world.put('b');
  await world.clock.advance(enoughToVerifyMs);
  assert.equal(watches, 2);
  assert.deepEqual(world.told, await world.truth());
  assert.match(await world.metrics.render(), /flotilla_informer_relists_total\{name="test",reason="stalled"\} 1/);
  world.informer.stop();
});

test('informer: a handler that throws is counted, and the next batch comes all the same', async () => {
  const world = new World({
    handle: ({ changes }) => {
      if (changes.some(({ key }) => key.endsWith('bad'))) throw new Error('cannot digest');
    },
  });
  await world.clock.advance(0);
  await world.put('bad');
  await world.put('good');
  await world.clock.advance(0);
  assert.ok(world.told.has(`${prefix}good`));
  assert.equal(await world.metric('flotilla_informer_handler_errors_total'), 1);
  world.informer.stop();
});

test('informer: a store restored from a backup is believed, and said so', async () => {
  const before = { entries: [{ key: `${prefix}a`, value: 'new', createRevision: 9, modRevision: 9 }], revision: 9 };
  const after = { entries: [{ key: `${prefix}a`, value: 'old', createRevision: 3, modRevision: 3 }], revision: 4 };
  let lists = 0;
  const world = new World({
    store: () => ({
      list: async () => (lists++ === 0 ? before : after),
      watch: (_prefix, _after, handler) => {
        if (lists === 1) queueMicrotask(() => handler.compacted());
        return { close: () => {} };
      },
    }),
  });
  await world.clock.advance(0);
  assert.equal(world.told.get(`${prefix}a`), 'old');
  assert.equal(world.informer.revision, 4);
  assert.ok(world.lines.some(({ level, message }) => level === 'error' && message.startsWith('the store went back in time')));
  world.informer.stop();
});

test('informer: nothing is handed over after stop', async () => {
  const world = new World();
  await world.clock.advance(0);
  const before = world.batches.length;
  const written = world.put('a');
  world.informer.stop();
  await written;
  await world.clock.advance(enoughToVerifyMs);
  assert.equal(world.batches.length, before);
  assert.equal(world.clock.waiting, 0);
});

const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('put' as const), names: fc.uniqueArray(fc.constantFrom(...'abcdef'), { minLength: 1 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), name: fc.constantFrom(...'abcdef') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('away' as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 0, 0, 50, 3_000, 400_000) }) },
);

/** Carries out a random day and returns the world healed, with every revision of the prefix as the writers know it. */
async function live(actions: readonly (typeof action extends fc.Arbitrary<infer T> ? T : never)[]) {
  const world = new World();
  const writer = world.store.peer();
  const history = new Map<number, string[]>();
  const write = async (names: readonly string[], kind: 'put' | 'delete') => {
    const found = await Promise.all(names.map((name) => writer.get(prefix + name)));
    const touched = found.map(({ entry }, at) => ({ key: prefix + names[at], entry })).filter(({ entry }) => kind === 'put' || entry);
    if (touched.length === 0) return;
    const outcome = await writer.commit({
      compares: touched.map(({ key, entry }) => ({ key, modRevision: entry?.modRevision ?? 0 })),
      operations: touched.map(({ key }) => (kind === 'put' ? { do: 'put', key, value: `${history.size}` } : { do: 'delete', key })),
    });
    assert.ok(outcome.ok);
    history.set(outcome.revision, touched.map(({ key }) => (kind === 'put' ? '+' : '-') + key).sort());
  };
  for (const step of actions) {
    if (step.do === 'put') await write(step.names, 'put');
    else if (step.do === 'delete') await write([step.name], 'delete');
    else if (step.do === 'cut') world.store.faults.watchesCut = step.on;
    else if (step.do === 'away') world.store.faults.unavailable = step.on;
    else if (step.do === 'compact') world.store.compact();
    else await world.clock.advance(step.ms);
  }
  world.store.faults.watchesCut = false;
  world.store.faults.unavailable = false;
  await world.clock.advance(informerLimits.retry.capMs * 3 + informerLimits.catchUpMs);
  return { world, history };
}

test('informer property: whatever happens, in the end it knows what a fresh list says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
      const { world } = await live(actions);
      world.informer.stop();
      assert.deepEqual(world.told, await world.truth());
      assert.deepEqual(new Set(world.informer.keys.keys()), new Set(world.told.keys()));
      assert.equal(world.clock.waiting, 0);
    }),
    { numRuns: 150 },
  );
});

test('informer property: between two lists, the batches are the history: every revision whole, in order, once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
      const { world, history } = await live(actions);
      world.informer.stop();
      let at = 0;
      for (const batch of world.batches) {
        if (!batch.relisted) {
          const missed = [...history.keys()].filter((revision) => revision > at && revision < batch.revision);
          assert.deepEqual(missed, [], `nothing between ${at} and ${batch.revision} was left out`);
          assert.deepEqual(batch.changes.map(({ key, entry }) => (entry ? '+' : '-') + key).sort(), history.get(batch.revision));
        }
        assert.ok(batch.revision > at || (batch.relisted && batch.revision >= at), 'revisions only rise');
        at = batch.revision;
      }
      assert.equal(await world.metric('flotilla_informer_lost_changes_total'), 0);
    }),
    { numRuns: 150 },
  );
});

test('informer property: a planted watch that loses revisions is always found out', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 20 }), fc.integer({ min: 1, max: 5 }), async (actions, lost) => {
      const { world } = await live(actions);
      world.store.faults.loseRevisions = lost;
      for (const name of ['a', 'b', 'c', 'd', 'e']) await world.put(name);
      await world.clock.advance(enoughToVerifyMs);
      world.informer.stop();
      assert.deepEqual(world.told, await world.truth());
    }),
    { numRuns: 30 },
  );
});
