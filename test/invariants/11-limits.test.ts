/** Invariant 11. Queues, pages, retries, waits and bodies are driven past the limits that they name. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { cacheLimits, openClusterCache } from '../../api/objects/cache.js';
import { doorLimits } from '../../api/objects/door.js';
import { eventLimits, openEventRecorder } from '../../api/objects/events.js';
import { hubLimits } from '../../api/objects/hub.js';
import { StatusError } from '../../api/resources/errors.js';
import { agentLimits } from '../../api/server/agents/limits.js';
import { defaultLimits, type ServerLimits } from '../../api/server/limits.js';
import { reconcileLimits } from '../../controllers/assignments/reconcile.js';
import { gcLimits } from '../../controllers/gc/reconcile.js';
import { cautionLimits } from '../../controllers/machines/caution.js';
import type { Clock } from '../../runtime/clock.js';
import { informerLimits, startInformer } from '../../runtime/informer.js';
import { lifecycleLimits } from '../../runtime/lifecycle.js';
import { silentLogger } from '../../runtime/log.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { StoreUnavailable } from '../../runtime/store/store.js';
import { createWorkQueue, workQueueLimits } from '../../runtime/work-queue.js';
import { assignment, service } from '../agent/world.js';
import { keys, unitRow, write } from '../api/objects/cluster-writer.js';
import { type Lines, startRig, unitBody, units } from '../api/server/rig.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const unlimited = Number.MAX_SAFE_INTEGER;

/** The fault, where a limit is not handed in: somebody has lifted it for the whole program. */
function lift(t: TestContext, to: number): void {
  const { maxWaiting } = eventLimits;
  t.after(() => void Object.assign(eventLimits, { maxWaiting }));
  Object.assign(eventLimits, { maxWaiting: to });
}

invariant(11, 'every limit has a name and a number', 'is no limit', async (plant, t) => {
  if (plant) lift(t, Number.POSITIVE_INFINITY);
  const named: Record<string, object> = {
    agentLimits,
    cacheLimits,
    cautionLimits,
    defaultLimits,
    doorLimits,
    eventLimits,
    gcLimits,
    hubLimits,
    informerLimits,
    lifecycleLimits,
    reconcileLimits,
    workQueueLimits,
  };
  const look = (path: string, value: unknown): void => {
    if (typeof value === 'object' && value !== null) for (const [name, inner] of Object.entries(value)) look(`${path}.${name}`, inner);
    else assert.ok(Number.isSafeInteger(value) && Number(value) > 0, `${path} is no limit: ${value}`);
  };
  for (const [name, limits] of Object.entries(named)) {
    assert.ok(Object.keys(limits).length > 0);
    look(name, limits);
  }
});

invariant(11, 'a work queue takes no more keys than its limit says', 'keys wait', async (plant) => {
  const maxKeys = 100;
  const clock = new ManualClock();
  const work = () => new Promise<never>(() => {});
  const limits = { maxKeys: plant ? unlimited : maxKeys };
  const queue = createWorkQueue({ name: 'test', work, clock, random: () => 0.5, log: silentLogger, concurrency: 10, limits });
  let taken = 0;
  for (let n = 0; n < 1_000; n++) if (queue.add(`now-${n}`)) taken += 1;
  for (let n = 0; n < 1_000; n++) if (queue.addAfter(`later-${n}`, 60_000)) taken += 1;
  await clock.advance(60_000);
  assert.ok(queue.waiting + queue.working <= maxKeys, `${queue.waiting + queue.working} keys wait`);
  assert.equal(taken, maxKeys, 'whoever is refused is told');
  const stopped = queue.stop({ drain: false, limitMs: 1 });
  await clock.advance(1);
  await stopped;
});

invariant(11, 'the memory of changes forgets beyond its limit, and says so', 'changes are remembered', async (plant, t) => {
  const eventsPerKind = 20;
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const limits = { hub: { eventsPerKind: plant ? unlimited : eventsPerKind } };
  const { cache, hub, stop } = openClusterCache({ store, keys, clock, log: silentLogger, limits });
  t.after(stop);
  await settle();
  const from = 2 * cache.revision + 1;
  for (let n = 0; n < 100; n++) await write(store, unitRow(`u${n}.service`, `uid-${n}`, 1, service()));
  await settle();
  const remembered = (since: number) => {
    let count = 0;
    const onEvents = (events: readonly unknown[]) => {
      count += events.length;
    };
    hub.watch('units', since, { onEvents, onExpired: () => {} })();
    return count;
  };
  try {
    assert.fail(`${remembered(from)} changes are remembered`);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    assert.equal(error.reason, 'Expired');
  }
  assert.equal(remembered(2 * (cache.revision - eventsPerKind) + 1), eventsPerKind);
});

invariant(11, 'bodies, depths, pages, URLs and watches over HTTP end at their limits', 'was taken', async (plant, t) => {
  const small: Partial<ServerLimits> = {
    maxBodyBytes: 2_000,
    maxBodyDepth: 10,
    maxPageSize: 5,
    maxUrlBytes: 500,
    maxWatchesPerIdentity: 3,
  };
  const lifted = Object.fromEntries(Object.keys(small).map((name) => [name, 1_000_000]));
  const rig = await startRig({ limits: plant ? lifted : small });
  const watches: Lines[] = [];
  t.after(async () => {
    for (const watch of watches) watch.close();
    await rig.close();
  });
  for (let n = 0; n < 12; n++) await rig.call('POST', units, { body: unitBody(`u${n}.service`) });
  const big = unitBody('big.service', { spec: { content: `${service()}# ${'x'.repeat(3_000)}\n` } });
  assert.equal((await rig.call('POST', units, { body: big })).status, 413, 'a body beyond maxBodyBytes was taken');
  const deep = `{"a":${'['.repeat(20)}${']'.repeat(20)}}`;
  assert.match((await rig.call('POST', units, { body: deep })).json.message, /nests more than 10 levels/);
  assert.equal((await rig.get(`${units}?limit=1000`)).json.items.length, 5);
  assert.match((await rig.get(`${units}?labelSelector=${'x'.repeat(600)}`)).json.message, /longer than 500 bytes/);
  for (let n = 0; n < 3; n++) watches.push(await rig.watch(`${units}?watch=true&resourceVersion=0`));
  assert.equal((await rig.get(`${units}?watch=true`)).status, 429);
});

invariant(11, 'while etcd is away, retries wait longer and longer, up to a limit', 'a storm of retries', async (plant) => {
  const manual = new ManualClock();
  // The fault: a clock that does not let anybody wait.
  const hasty: Clock = { ...bound(manual), after: (delayMs, run) => manual.after(Math.min(delayMs, 5), run) };
  let lists = 0;
  const store = {
    list: async () => {
      lists += 1;
      throw new StoreUnavailable('away');
    },
    watch: () => assert.fail('there is nothing to watch yet'),
  };
  const informer = startInformer({
    name: 'test',
    store,
    prefix: '/',
    handler: { batch: () => {} },
    clock: plant ? hasty : manual,
    random: () => 0.5,
    log: silentLogger,
  });
  await manual.advance(60_000);
  informer.stop();
  assert.ok(lists < 40, `${lists} lists in a minute are a storm of retries`);
  assert.ok(lists >= 60_000 / (informerLimits.retry.capMs * 1.5), 'and it does not give up');
});

invariant(11, 'what is kept for when the other side is back has an end', 'are kept', async (plant, t) => {
  const machine = await Machine.start(t);
  machine.agent.lost();
  const refused = Array.from({ length: 300 }, (_, n) => assignment(`u${n}.service`, '[Service]\nType=simple\n'));
  machine.agent.changes({ type: 'changes', revision: 2, assignments: refused, dropped: [] });
  await machine.pass(30_000);
  await machine.told(3, ...refused);
  const told = machine.sent.filter(({ type }) => type === 'event');
  assert.ok(told.length > 0 && told.length <= 100, `${told.length} events of the agent wait`);

  const { maxWaiting } = eventLimits;
  if (plant) lift(t, unlimited);
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const { cache, stop } = openClusterCache({ store, keys, clock, log: silentLogger });
  t.after(stop);
  await settle();
  const recorder = openEventRecorder({ store, cache, keys, clock, component: 'test' });
  store.faults.unavailable = true;
  for (let n = 0; n < 2 * maxWaiting; n++) recorder.record({ kind: 'Unit', name: `u${n}.service` }, 'Normal', 'Test', 'Said.');
  await clock.advance(5_000);
  store.faults.unavailable = false;
  await clock.advance(60_000);
  const { entries } = await store.list('/flotilla/events/');
  assert.ok(entries.length > 0 && entries.length <= maxWaiting, `${entries.length} events of the recorder are kept`);
});

const bound = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonicMs: () => clock.monotonicMs(),
  after: (delayMs, run) => clock.after(delayMs, run),
});
