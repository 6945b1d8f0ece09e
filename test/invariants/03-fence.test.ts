/** Invariant 3. A leader whose lease has ended while it was cut off comes back and writes on, as the worst of leaders would. */
import assert from 'node:assert/strict';
import { openClusterCache } from '../../api/objects/cache.js';
import { openObjectDoor } from '../../api/objects/door.js';
import { keysUnder } from '../../api/resources/keys.js';
import { kinds } from '../../api/resources/registry.js';
import { type Leadership, runForLeader } from '../../runtime/leader.js';
import { silentLogger } from '../../runtime/log.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { Fenced } from '../../runtime/store/store.js';
import { ManualClock } from '../rigs/manual-clock.js';
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
