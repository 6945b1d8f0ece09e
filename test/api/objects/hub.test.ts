import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openClusterCache } from '../../../api/objects/cache.js';
import type { hubLimits } from '../../../api/objects/hub.js';
import type { ClusterCache, Joined, ObjectEvent, WatchHub } from '../../../api/objects/ports.js';
import { listVersion } from '../../../api/objects/resource-version.js';
import { StatusError } from '../../../api/resources/errors.js';
import { silentLogger } from '../../../runtime/log.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import type { Operation } from '../../../runtime/store/store.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import {
  activeState,
  assignmentOf,
  keys,
  machineA,
  machineB,
  machineRow,
  put,
  remove,
  scheduledOn,
  unitRow,
  write,
} from './cluster-writer.js';

const text = '[Service]\nExecStart=/bin/sleep 60\n';

async function open(hub: Partial<typeof hubLimits> = {}) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const reader = store.peer();
  const opened = openClusterCache({ store: reader, keys, clock, log: silentLogger, random: () => 0.5, limits: { hub } });
  await opened.cache.untilSynced();
  return { clock, store, reader, ...opened };
}

/** A client as kubectl's informer is one: it keeps what it was told, and lists again on 410. */
class Client {
  readonly objects = new Map<string, Joined>();
  readonly events: ObjectEvent[] = [];
  readonly revisions: number[] = [];
  relists = 0;
  #stop = () => {};

  constructor(
    readonly cache: ClusterCache,
    readonly hub: WatchHub,
    readonly plural: string,
  ) {}

  list(): this {
    this.objects.clear();
    for (const object of this.cache.joinedAll(this.plural)) this.objects.set(object.metadata.uid, object);
    return this.watch(Number(listVersion(this.cache.revision)));
  }

  watch(from: number): this {
    this.#stop = this.hub.watch(this.plural, from, {
      onEvents: (events, revision) => {
        this.revisions.push(revision);
        for (const event of events) this.take(event);
      },
      onExpired: () => {
        this.relists++;
        this.list();
      },
    });
    return this;
  }

  take(event: ObjectEvent): void {
    this.events.push(event);
    if (event.type === 'DELETED') this.objects.delete(event.object.metadata.uid);
    else this.objects.set(event.object.metadata.uid, event.object);
  }

  stop(): void {
    this.#stop();
  }
}

const sorted = (objects: Iterable<Joined>): Joined[] => [...objects].sort((a, b) => (a.metadata.uid < b.metadata.uid ? -1 : 1));

test('SEMANTICS 1: an even resourceVersion replays its whole revision, an odd one starts after it', async () => {
  const { cache, hub, store, stop } = await open();
  const both = await write(store, [...unitRow('a.service', 'ua', 1, text), ...unitRow('b.service', 'ub', 1, `${text}# b`)]);
  const next = await write(store, unitRow('c.service', 'uc', 1, text));
  await cache.untilRevision(next);
  const names = (from: number) => new Client(cache, hub, 'units').watch(from).events.map(({ object }) => object.metadata.name);

  assert.deepEqual(names(2 * both), ['a.service', 'b.service', 'c.service'], 'a client cut between a and b has seen 2 * both');
  assert.deepEqual(names(2 * both + 1), ['c.service']);
  assert.deepEqual(names(2 * next + 1), []);
  stop();
});

test('SEMANTICS 1: after a server start nothing is remembered: what is older gets 410', async () => {
  const first = await open();
  const revision = await write(first.store, unitRow('a.service', 'ua', 1, text));
  const second = openClusterCache({ store: first.store.peer(), keys, clock: first.clock, log: silentLogger });
  const expired = (error: unknown) => error instanceof StatusError && error.code === 410 && error.reason === 'Expired';
  assert.throws(() => new Client(second.cache, second.hub, 'units').watch(2 * revision), expired, 'before the first list');
  await second.cache.untilSynced();
  assert.throws(() => new Client(second.cache, second.hub, 'units').watch(2 * revision), expired);
  assert.throws(() => new Client(second.cache, second.hub, 'units').watch(1), expired);
  new Client(second.cache, second.hub, 'units').watch(Number(listVersion(second.cache.revision)));
  first.stop();
  second.stop();
});

test('SEMANTICS 2: DELETED carries the last object with the revision of the deletion', async () => {
  const { cache, hub, store, stop } = await open();
  await cache.untilRevision(await write(store, unitRow('a.service', 'ua', 1, text)));
  const client = new Client(cache, hub, 'units').list();
  const revision = await write(store, [remove(keys.object('units', 'a.service'))]);
  await cache.untilRevision(revision);
  const [event] = client.events;
  assert.equal(event?.type, 'DELETED');
  assert.equal(event?.object.metadata.resourceVersion, String(2 * revision));
  assert.equal((event?.object.spec as { content: string } | undefined)?.content, text);
  assert.notEqual(event?.previous?.metadata.resourceVersion, event?.object.metadata.resourceVersion);
  stop();
});

test('hub: what is no part of an object sends nothing to those who watch it', async () => {
  const { cache, hub, store, stop } = await open();
  await write(store, unitRow('a.service', 'ua', 1, text));
  await cache.untilRevision(await write(store, [put(keys.condition('units', 'a.service'), scheduledOn(machineA, 1))]));
  const client = new Client(cache, hub, 'units').list();
  await write(store, [put(keys.state(machineB, 'a.service'), activeState('ua', 1, text))]);
  await cache.untilRevision(await write(store, [machineRow(machineA)]));
  assert.deepEqual(client.events, []);
  stop();
});

test('hub: a change is joined once, and its object shared by all who watch', async () => {
  const { cache, hub, store, stop } = await open();
  const clients = Array.from({ length: 1_000 }, () => new Client(cache, hub, 'units').list());
  await cache.untilRevision(await write(store, unitRow('a.service', 'ua', 1, text)));
  const objects = new Set(clients.map(({ events }) => events[0]?.object));
  assert.equal(objects.size, 1);
  assert.equal([...objects][0], cache.joined('units', 'a.service'));
  stop();
});

test('hub: a watcher who stops hears no more, and one who throws harms nobody', async () => {
  const { cache, hub, store, stop } = await open();
  const from = Number(listVersion(cache.revision));
  hub.watch('units', from, {
    onEvents: () => {
      throw new Error('broken watcher');
    },
    onExpired: () => {},
  });
  const [stays, leaves] = [new Client(cache, hub, 'units').list(), new Client(cache, hub, 'units').list()];
  leaves.stop();
  await cache.untilRevision(await write(store, unitRow('a.service', 'ua', 1, text)));
  assert.equal(stays.events.length, 1);
  assert.equal(leaves.events.length, 0);
  stop();
});

for (const { name, limits } of [
  { name: 'events', limits: { eventsPerKind: 5 } },
  { name: 'bytes', limits: { bytesPerKind: 4_000 } },
]) {
  test(`invariant 11: the memory is bounded by ${name}; what was pushed out gets 410, what is left is complete`, async () => {
    const { cache, hub, store, stop } = await open(limits);
    const revisions: number[] = [];
    for (let n = 0; n < 20; n++) revisions.push(await write(store, unitRow(`u${n}.service`, `u${n}`, 1, text)));
    await cache.untilRevision(revisions.at(-1) ?? 0);

    const outcome = revisions.map((revision) => {
      try {
        return new Client(cache, hub, 'units').watch(2 * revision).events.length;
      } catch (error) {
        assert.ok(error instanceof StatusError && error.code === 410);
        return 410;
      }
    });
    const remembered = outcome.filter((length) => length !== 410);
    assert.ok(remembered.length > 0 && remembered.length <= 8, `${remembered.length} revisions remembered`);
    assert.deepEqual(
      remembered,
      remembered.map((_, n) => remembered.length - n),
    );
    assert.equal(outcome.at(-1), 1);
    stop();
  });
}

test('hub: a busy kind does not push out the history of a quiet one', async () => {
  const { cache, hub, store, stop } = await open({ eventsPerKind: 5 });
  const quiet = await write(store, [machineRow(machineA)]);
  for (let n = 0; n < 20; n++) await write(store, unitRow(`u${n}.service`, `u${n}`, 1, text));
  await settle();
  assert.equal(new Client(cache, hub, 'machines').watch(2 * quiet).events.length, 1);
  stop();
});

test('hub: when the history is lost every watch is told so, once, and may begin anew', async () => {
  const { cache, hub, store, reader, stop } = await open();
  const before = await write(store, unitRow('a.service', 'ua', 1, text));
  await cache.untilRevision(before);
  const client = new Client(cache, hub, 'units').list();
  reader.faults.watchesCut = true;
  await write(store, unitRow('b.service', 'ub', 1, text));
  store.compact();
  reader.faults.watchesCut = false;
  await settle();
  assert.equal(client.relists, 1);
  assert.deepEqual(client.events, [], 'what was missed is not made up');
  assert.throws(() => new Client(cache, hub, 'units').watch(2 * before + 1), StatusError);

  await cache.untilRevision(await write(store, unitRow('c.service', 'uc', 1, text)));
  assert.deepEqual(
    [...client.objects.values()].map(({ metadata }) => metadata.name),
    ['a.service', 'b.service', 'c.service'],
  );
  stop();
});

// A random life of a cluster. Each action is what the door, the leader or a server writes in one transaction; several may share one, as
// group commit makes them do. Whatever is not possible at the time is left out.
const units = ['a.service', 'b.service', 'c.service'];
const machines = [machineA, machineB];
const life = fc.array(
  fc.record({
    do: fc.constantFrom('create', 'edit', 'place', 'decide', 'report', 'report', 'report', 'move', 'let go', 'delete', 'break', 'mend'),
    unit: fc.constantFrom(...units),
    machine: fc.constantFrom(...machines),
    /** Committed in one transaction with the next action. */
    joinNext: fc.boolean(),
    /** Between the transactions. */
    afterwards: fc.constantFrom('nothing', 'nothing', 'settle', 'settle', 'cut', 'heal', 'compact'),
  }),
  { maxLength: 60 },
);
type Life = typeof life extends fc.Arbitrary<infer T> ? T : never;

interface Truth {
  uid: string;
  generation: number;
  machine?: string;
  assigned: Set<string>;
}

class Cluster {
  readonly #units = new Map<string, Truth>();
  #uids = 0;
  #reports = 0;

  /** The operations of one action, or none when it cannot happen now. Keeps the leader's rule of SEMANTICS 2. */
  operations({ do: action, unit, machine }: Life[number]): Operation[] {
    const truth = this.#units.get(unit);
    if (action === 'create') {
      if (truth) return [];
      const created = { uid: `uid-${++this.#uids}`, generation: 1, assigned: new Set<string>() };
      this.#units.set(unit, created);
      return unitRow(unit, created.uid, 1, `${text}# ${unit}`);
    }
    if (!truth) return [];
    const fragment = () => put(keys.condition('units', unit), truth.machine ? scheduledOn(truth.machine, truth.generation) : {});
    switch (action) {
      case 'edit':
        truth.generation++;
        return unitRow(unit, truth.uid, truth.generation, `${text}# ${unit} ${truth.generation}`);
      case 'decide':
        return [fragment()];
      case 'place':
      case 'move': {
        if ((action === 'place') === (truth.machine !== undefined)) return [];
        truth.machine = machine;
        truth.assigned.add(machine);
        return [fragment(), put(keys.assignment(machine, unit), assignmentOf(unit, machine, truth.uid, truth.generation, text))];
      }
      case 'report':
        if (!truth.assigned.has(machine)) return [];
        return [put(keys.state(machine, unit), activeState(truth.uid, truth.generation, text, { restarts: ++this.#reports }))];
      case 'break':
        return truth.assigned.has(machine) ? [put(keys.state(machine, unit), '?')] : [];
      case 'mend':
        return truth.assigned.has(machine) ? [put(keys.state(machine, unit), activeState(truth.uid, truth.generation, text))] : [];
      case 'let go': {
        // The state goes with its assignment, and with a write of the conditions key.
        if (!truth.assigned.delete(machine)) return [];
        if (truth.machine === machine) delete truth.machine;
        return [remove(keys.state(machine, unit)), remove(keys.assignment(machine, unit)), fragment()];
      }
      case 'delete': {
        const parts = [...truth.assigned].flatMap((id) => [remove(keys.state(id, unit)), remove(keys.assignment(id, unit))]);
        this.#units.delete(unit);
        return [remove(keys.object('units', unit)), remove(keys.condition('units', unit)), ...parts];
      }
      default:
        return [];
    }
  }
}

/** Lives it; `between` runs after each transaction. */
async function live(actions: Life, cluster: Awaited<ReturnType<typeof open>>, faults: boolean, between: () => void | Promise<void>) {
  const { store, reader } = cluster;
  const writers = new Cluster();
  let waiting = new Map<string, Operation>();
  for (const action of actions) {
    const operations = writers.operations(action);
    // Keys of one transaction are unique: a second write of a key needs the next transaction.
    if (operations.some(({ key }) => waiting.has(key)) && waiting.size > 0) {
      await write(store, [...waiting.values()]);
      await between();
      waiting = new Map();
    }
    for (const operation of operations) waiting.set(operation.key, operation);
    if (waiting.size > 0 && !action.joinNext) {
      await write(store, [...waiting.values()]);
      waiting = new Map();
    }
    if (action.afterwards === 'settle') await settle();
    if (faults && action.afterwards === 'cut') reader.faults.watchesCut = true;
    if (faults && action.afterwards === 'heal') reader.faults.watchesCut = false;
    if (faults && action.afterwards === 'compact') store.compact();
    await between();
  }
  if (waiting.size > 0) await write(store, [...waiting.values()]);
  reader.faults.watchesCut = false;
  await cluster.clock.advance(20_000);
  await between();
}

const watched = ['units', 'assignments'] as const;

test('SEMANTICS 1, property: a replay from any resourceVersion that was ever handed out ends at the joined list', async () => {
  await fc.assert(
    fc.asyncProperty(life, async (actions) => {
      const cluster = await open();
      const { cache, hub, stop } = cluster;
      const live1 = watched.map((plural) => new Client(cache, hub, plural).list());
      const cuts: { plural: string; version: number; objects: ReadonlyMap<string, Joined> }[] = [];
      await live(actions, cluster, false, () => {
        for (const client of live1) {
          // A client that listed now...
          cuts.push({ plural: client.plural, version: Number(listVersion(cache.revision)), objects: new Map(client.objects) });
        }
      });
      // ... and clients that were cut after each single event, in the middle of a revision too.
      for (const client of live1) {
        const behind = new Client(cache, hub, client.plural);
        for (const event of client.events) {
          behind.take(event);
          cuts.push({ plural: client.plural, version: Number(event.object.metadata.resourceVersion), objects: new Map(behind.objects) });
        }
      }
      for (const { plural, version, objects } of cuts) {
        const resumed = new Client(cache, hub, plural);
        for (const [uid, object] of objects) resumed.objects.set(uid, object);
        resumed.watch(version);
        assert.deepEqual(sorted(resumed.objects.values()), sorted(cache.joinedAll(plural)));
      }
      stop();
    }),
    { numRuns: 60 },
  );
});

test('property: the list of now, rewound to a revision, is the list of then', async () => {
  await fc.assert(
    fc.asyncProperty(life, async (actions) => {
      const cluster = await open();
      const { cache, hub, stop } = cluster;
      const then: { plural: string; revision: number; objects: readonly Joined[] }[] = [];
      await live(actions, cluster, false, () => {
        for (const plural of watched) then.push({ plural, revision: cache.revision, objects: cache.joinedAll(plural) });
      });
      for (const { plural, revision, objects } of then) {
        assert.deepEqual(hub.rewound(plural, revision, cache.joinedAll(plural)), objects);
      }
      assert.equal(hub.rewound('units', 0, cache.joinedAll('units')), undefined, 'what was before the first list is not known');
      stop();
    }),
    { numRuns: 60 },
  );
});

test('SEMANTICS 2, property: an object’s resourceVersion never goes back, and a revision comes whole, in order, once', async () => {
  await fc.assert(
    fc.asyncProperty(life, async (actions) => {
      const cluster = await open();
      const { cache, hub, stop } = cluster;
      const clients = watched.map((plural) => new Client(cache, hub, plural).list());
      await live(actions, cluster, false, () => {});
      for (const { events, revisions } of clients) {
        assert.deepEqual(
          revisions,
          [...new Set(revisions)].sort((a, b) => a - b),
        );
        const last = new Map<string, number>();
        for (const { object, previous, revision, type } of events) {
          const version = Number(object.metadata.resourceVersion);
          assert.ok(version > (last.get(object.metadata.uid) ?? 0), `${type} of ${object.metadata.name} at ${version}`);
          assert.equal(version, 2 * revision);
          assert.equal(previous === undefined, type === 'ADDED');
          if (previous) assert.equal(Number(previous.metadata.resourceVersion), last.get(object.metadata.uid));
          last.set(object.metadata.uid, version);
        }
      }
      stop();
    }),
    { numRuns: 100 },
  );
});

test('SEMANTICS 2, property: through cuts and lost history, everyone who lists again on 410 ends with what a fresh server shows', async () => {
  await fc.assert(
    fc.asyncProperty(life, async (actions) => {
      const cluster = await open();
      const clients = watched.map((plural) => new Client(cluster.cache, cluster.hub, plural).list());
      await live(actions, cluster, true, () => {});
      const fresh = openClusterCache({ store: cluster.store.peer(), keys, clock: cluster.clock, log: silentLogger });
      await fresh.cache.untilSynced();
      for (const client of clients) {
        assert.deepEqual(cluster.cache.joinedAll(client.plural), fresh.cache.joinedAll(client.plural));
        assert.deepEqual(sorted(client.objects.values()), sorted(fresh.cache.joinedAll(client.plural)));
      }
      cluster.stop();
      fresh.stop();
    }),
    { numRuns: 100 },
  );
});
