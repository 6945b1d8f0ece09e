/** Invariant 2. Writers count, over an etcd whose answers get lost in every way that there is; then the number they agree on is looked at. */
import assert from 'node:assert/strict';
import { openClusterCache } from '../../api/objects/cache.js';
import { openObjectDoor } from '../../api/objects/door.js';
import { keysUnder } from '../../api/resources/keys.js';
import { kinds } from '../../api/resources/registry.js';
import { silentLogger } from '../../runtime/log.js';
import { GroupCommit } from '../../runtime/store/group-commit.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';
import { seededRandom } from '../rigs/seeded-random.js';
import { invariant } from './invariant.js';
import { LossyWire } from './lossy-wire.js';

const counters = ['a', 'b', 'c'];
const writers = 12;
const rounds = 15;

/** Each writer reads a counter, adds one and tries to write that, until it is told that its write succeeded. */
async function countTogether(faults: { forgetsHistory?: boolean; liesAboutSuccess?: boolean }) {
  const clock = new ManualClock();
  const random = seededRandom(7);
  const wire = new LossyWire(random, faults);
  let writes = 0;
  const newId = () => String(writes++);
  const store = new GroupCommit({ wire, clock, random, log: undefined, newId, timeoutMs: 600_000, attemptTimeoutMs: 1_000 });
  const acknowledged = new Map(counters.map((key) => [key, 0]));
  let left = writers;
  const write = async (writer: number) => {
    for (let round = 0; round < rounds; round++) {
      const key = counters[(writer + round) % counters.length]!;
      for (;;) {
        const { value = '0', modRevision = 0 } = wire.entries.get(key) ?? {};
        const operation = { do: 'put', key, value: String(Number(value) + 1) } as const;
        const outcome = await store.commit({ compares: [{ key, modRevision }], operations: [operation] });
        if (outcome.ok) break;
      }
      acknowledged.set(key, acknowledged.get(key)! + 1);
    }
    left -= 1;
  };
  const all = Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
  while (left > 0) await clock.advance(50);
  await all;
  await wire.untilNothingIsUnderWay();
  await store.close();
  const stored = new Map(counters.map((key) => [key, Number(wire.entries.get(key)?.value ?? 0)]));
  return { acknowledged, stored, wire };
}

invariant(2, 'a write whose answer was lost is neither repeated nor refused after it happened', 'succeeded twice', async (plant) => {
  const { acknowledged, stored, wire } = await countTogether({ forgetsHistory: plant });
  for (const key of counters) {
    assert.ok(acknowledged.get(key)! <= stored.get(key)!, `of counter ${key} an acknowledged write is lost`);
    assert.equal(stored.get(key), acknowledged.get(key), `a write of counter ${key} succeeded twice`);
  }
  assert.ok(wire.lostAfter > 5 && wire.lostBefore > 5 && wire.cameLate > 5, 'answers were lost in every way');
});

invariant(2, 'nothing acknowledged is lost, whatever becomes of answers', 'an acknowledged write is lost', async (plant) => {
  const { acknowledged, stored } = await countTogether({ liesAboutSuccess: plant });
  for (const key of counters) assert.ok(stored.get(key)! >= acknowledged.get(key)!, `of counter ${key} an acknowledged write is lost`);
});

invariant(2, 'an object that a client was told is created is there, once', 'was acknowledged and is not there', async (plant, t) => {
  const clock = new ManualClock();
  const keys = keysUnder();
  const etcd = new MemoryStore({ clock });
  const servers = [etcd.peer(), etcd.peer()].map((store) => {
    const { cache, stop } = openClusterCache({ store, keys, clock, log: silentLogger });
    t.after(stop);
    return { store, cache, door: openObjectDoor({ kinds, cache, store, keys, clock }) };
  });
  await settle();

  const created: string[] = [];
  let left = 0;
  for (let n = 0; n < 20; n++) {
    const { store, door } = servers[n % 2]!;
    if (n % 3 === 0) store.faults.loseAnswers = 1;
    if (plant && n === 7) store.faults.dropWrites = 1;
    const spec = { content: '[Service]\nExecStart=/bin/true\n' };
    // Two clients want the same name at two servers.
    for (const { door: at } of n % 5 === 0 ? servers : [{ door }]) {
      left += 1;
      const body = { apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name: `u${n}.service` }, spec };
      at.create('units', body, { manager: 'test' })
        .then(
          ({ object }) => void created.push(`${object.metadata.name} ${object.metadata.uid}`),
          (error: Error) => assert.match(error.message, /already exists|may or may not/),
        )
        .finally(() => (left -= 1));
    }
    while (left > 0) await clock.advance(1_000);
  }
  const { entries } = await etcd.list(keys.object('units', ''));
  const stored = entries.map(({ value }) => JSON.parse(value).metadata).map(({ name, uid }) => `${name} ${uid}`);
  for (const one of created) assert.ok(stored.includes(one), `${one} was acknowledged and is not there`);
  assert.equal(new Set(created).size, created.length, 'two clients were told that they created the same object');
  assert.deepEqual([...created].sort(), stored.sort());
});
