/** Invariant 3. A leader whose lease has ended while it was cut off comes back and writes on, as the worst of leaders would. */
import assert from 'node:assert/strict';
import { openClusterCache } from '../../api/objects/cache.js';
import { openObjectDoor } from '../../api/objects/door.js';
import { keysUnder } from '../../api/resources/keys.js';
import { kinds } from '../../api/resources/registry.js';
import { type Leadership, runForLeader } from '../../runtime/leader.js';
import { silentLogger } from '../../runtime/log.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { type Fence, Fenced, type Write } from '../../runtime/store/store.js';
import { ManualClock } from '../rigs/manual-clock.js';
import { SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';

const ttlMs = 10_000;

invariant(
  3,
  "a leader's write carries its leadership key in the same transaction: a deposed leader cannot write",
  'a deposed leader wrote',
  async (plant, t) => {
    const clock = new ManualClock();
    const keys = keysUnder();
    const etcd = new MemoryStore({ clock });
    const stop = new AbortController();
    const terms: { who: string; leadership: Leadership; store: MemoryStore }[] = [];
    const campaign = (who: string) => {
      const store = etcd.peer();
      const lead = async (leadership: Leadership) => {
        terms.push({ who, leadership, store });
        await new Promise((resolve) => leadership.signal.addEventListener('abort', resolve));
      };
      const options = { store, key: keys.leader, identity: { who }, ttlMs, clock, log: silentLogger, lead, signal: stop.signal };
      return runForLeader(options);
    };
    const first = campaign('first');
    await clock.advance(100);
    const second = campaign('second');
    await clock.advance(100);
    assert.deepEqual(
      terms.map(({ who }) => who),
      ['first'],
    );

    const deposed = terms[0]!;
    deposed.store.faults.unavailable = true;
    await clock.advance(2 * ttlMs);
    const elected = terms[1]!;
    assert.equal(elected.who, 'second');
    await etcd.commit({
      compares: [{ key: '/flotilla/x', modRevision: 0 }],
      operations: [{ do: 'put', key: '/flotilla/x', value: 'old' }],
    });

    // It is back, and has not looked at its signal.
    deposed.store.faults.unavailable = false;
    deposed.store.faults.ignoreFence = plant;
    const { cache, stop: stopCache } = openClusterCache({ store: deposed.store, keys, clock, log: silentLogger });
    t.after(stopCache);
    await cache.untilSynced();
    const door = openObjectDoor({ kinds, cache, store: deposed.store, keys, clock });
    const { entry } = await deposed.store.get('/flotilla/x');
    const { fence } = deposed.leadership;
    const body = {
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata: { name: 'x.service' },
      spec: { content: '[Service]\nExecStart=/bin/true\n' },
    };
    const before = await etcd.revision();
    const refusals = await Promise.allSettled([
      deposed.store.commit(
        {
          compares: [{ key: '/flotilla/x', modRevision: entry!.modRevision }],
          operations: [{ do: 'put', key: '/flotilla/x', value: 'late' }],
        },
        { fence },
      ),
      door.create('units', body, { manager: 'late', fence }),
    ]);
    assert.equal(await etcd.revision(), before, 'a deposed leader wrote');
    for (const refusal of refusals) assert.ok(refusal.status === 'rejected' && refusal.reason instanceof Fenced);

    const outcome = await elected.store.commit(
      {
        compares: [{ key: '/flotilla/x', modRevision: entry!.modRevision }],
        operations: [{ do: 'put', key: '/flotilla/x', value: 'new' }],
      },
      { fence: elected.leadership.fence },
    );
    assert.ok(outcome.ok, 'the elected leader writes');
    stop.abort();
    await clock.advance(1_000);
    await Promise.all([first, second]);
  },
);

invariant(3, 'every write of the controllers carries it', 'is written without', async (plant) => {
  const sim = new SimCluster();
  for (const name of ['a', 'b']) await sim.addMachine(name);
  const { store } = sim.addServer();
  const commit = store.commit.bind(store);
  const written: { write: Write; fence: Fence | undefined }[] = [];
  // The fault: a store client that loses the fence on the way.
  store.commit = (write, { fence, ...options } = {}) => {
    const kept = plant ? undefined : fence;
    written.push({ write, fence: kept });
    return commit(write, { ...options, ...(kept ? { fence: kept } : {}) });
  };
  await sim.advance(25_000);
  await sim.apply('web.service');
  await sim.apply('all.service', { placement: { global: true } });
  await sim.advance(5_000);
  sim.agent('a').kill();
  await sim.advance(15_000);
  await sim.remove('web.service');
  await sim.remove('all.service');
  await sim.removeMachine('a');
  await sim.advance(15_000);

  const { entry } = await sim.store.get(sim.keys.leader);
  const ofLeader = written.filter(({ write }) => write.operations.every(({ key }) => key !== sim.keys.leader));
  assert.ok(ofLeader.length > 8, 'the controllers have worked');
  for (const { write, fence } of ofLeader) {
    const [first] = write.operations;
    assert.deepEqual(fence, { key: sim.keys.leader, createRevision: entry?.createRevision }, `${first?.key} is written without the fence`);
  }
  await sim.end();
});
