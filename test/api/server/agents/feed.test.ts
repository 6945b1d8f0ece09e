import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Operation } from '../../../../runtime/store/store.js';
import { assignmentOf, keys, put, remove, sha256, write } from '../../objects/cluster-writer.js';
import { type Cluster, FakeAgent, infoOf, joinMachine, newCluster, type Server, until } from './rig.js';

let cluster: Cluster;
let server: Server;
before(async () => {
  cluster = await newCluster();
  server = await cluster.startServer('alpha');
});
after(() => cluster.close());

let count = 0;
const newMachine = () => (count++).toString(16).padStart(32, '0');
const assignment = (machine: string, unit: string, text: string, generation = 1, more = {}) =>
  put(keys.assignment(machine, unit), { ...assignmentOf(unit, machine, 'uid', generation, text), ...more });
const content = (text: string) => put(keys.content(sha256(text)), text);
const units = (agent: FakeAgent) => [...agent.wanted().keys()].sort();

describe('what an agent is sent', () => {
  test('changes as they come: added, changed, removed', async () => {
    const id = newMachine();
    const agent = await FakeAgent.open(server, await joinMachine(server, id));
    await write(cluster.store, [content('one'), assignment(id, 'web.service', 'one')]);
    const added = await agent.next('changes');
    assert.deepEqual([added.assignments[0]?.unit, added.assignments[0]?.text], ['web.service', 'one']);
    const revision = await write(cluster.store, [content('two'), assignment(id, 'web.service', 'two', 2)]);
    const changed = await agent.next('changes', (message) => message.revision >= revision);
    assert.deepEqual([changed.assignments[0]?.generation, changed.assignments[0]?.text], [2, 'two']);
    await write(cluster.store, [remove(keys.assignment(id, 'web.service'))]);
    assert.deepEqual((await agent.next('changes', ({ dropped }) => dropped.length > 0)).dropped, ['web.service']);
    agent.close();
  });

  test('a change of other machines wakes nobody', async () => {
    const [mine, other] = [newMachine(), newMachine()];
    const agent = await FakeAgent.open(server, await joinMachine(server, mine));
    const before = agent.received.length;
    await write(cluster.store, [content('x'), assignment(other, 'web.service', 'x')]);
    await until('the cache', () => server.cache.assignment(other, 'web.service'));
    await agent.beat();
    assert.equal(agent.received.length, before + 1, 'the acknowledgement and nothing else');
    agent.close();
  });

  test('a text that is missing is waited for, and its unit is named as held: it is not one that is gone', async () => {
    const id = newMachine();
    await write(cluster.store, [content('there'), assignment(id, 'a.service', 'there'), assignment(id, 'b.service', 'missing')]);
    const agent = await FakeAgent.open(server, await joinMachine(server, id));
    const snapshot = await agent.next('snapshot');
    assert.deepEqual([snapshot.assignments.map(({ unit }) => unit), snapshot.held], [['a.service'], ['b.service']]);
    await write(cluster.store, [content('missing')]);
    assert.deepEqual(
      (await agent.next('changes')).assignments.map(({ unit, text }) => [unit, text]),
      [['b.service', 'missing']],
    );
    await write(cluster.store, [assignment(id, 'a.service', 'later', 2)]);
    await agent.beat();
    assert.equal(agent.wanted().get('a.service')?.generation, 1, 'the old one stands until the new text is there');
    await write(cluster.store, [content('later')]);
    await until('the change', () => agent.wanted().get('a.service')?.generation === 2);
    agent.close();
  });

  test('whoever is to remove a unit needs no text for that', async () => {
    const id = newMachine();
    await write(cluster.store, [assignment(id, 'old.service', 'collected long ago', 1, { remove: 'the Unit was deleted' })]);
    const agent = await FakeAgent.open(server, await joinMachine(server, id));
    const snapshot = await agent.next('snapshot');
    assert.deepEqual(
      snapshot.assignments.map(({ unit, remove: why, text }) => [unit, why, text]),
      [['old.service', 'the Unit was deleted', '']],
    );
    agent.close();
  });

  test('invariant 13: an assignment that cannot be read is held, never dropped', async () => {
    const id = newMachine();
    await write(cluster.store, [content('x'), assignment(id, 'web.service', 'x'), put(keys.assignment(id, 'broken.service'), '{')]);
    const credentials = await joinMachine(server, id);
    const agent = await FakeAgent.open(server, credentials);
    assert.deepEqual((await agent.next('snapshot')).held, ['broken.service']);
    await write(cluster.store, [put(keys.assignment(id, 'web.service'), 'garbage')]);
    await until('the cache', () => server.cache.broken.has(keys.assignment(id, 'web.service')));
    await agent.beat();
    assert.deepEqual(agent.all('changes'), []);
    assert.deepEqual(units(agent), ['web.service']);
    await write(cluster.store, [remove(keys.assignment(id, 'web.service'))]);
    assert.deepEqual((await agent.next('changes')).dropped, ['web.service'], 'and one that was deleted is dropped all the same');
    agent.close();
  });

  test('a Machine object that cannot be read closes no stream and opens none', async () => {
    const id = newMachine();
    const credentials = await joinMachine(server, id);
    const agent = await FakeAgent.open(server, credentials);
    await write(cluster.store, [put(keys.object('machines', id), 'garbage')]);
    await until('the cache', () => server.cache.broken.has(keys.object('machines', id)));
    await agent.beat();
    const next = await FakeAgent.connect(server, credentials);
    next.send({
      type: 'hello',
      info: infoOf('boot-1'),
      labels: {},
    });
    const goodbye = await next.next('goodbye');
    assert.deepEqual([goodbye.retry, /cannot be read/.test(goodbye.reason)], [true, true]);
    await write(cluster.store, [remove(keys.object('machines', id))]);
    assert.equal((await agent.next('goodbye')).retry, false, 'deleted at last');
  });

  test('an agent that does not read is told once, of how things are then', async () => {
    const id = newMachine();
    const agent = await FakeAgent.open(server, await joinMachine(server, id));
    agent.socket.pause();
    const text = 'x'.repeat(60_000);
    for (let generation = 1; generation <= 400; generation++) {
      const version = `${generation} ${text}`;
      await write(cluster.store, [content(version), assignment(id, 'web.service', version, generation)]);
    }
    agent.socket.resume();
    await until('the newest', () => agent.wanted().get('web.service')?.generation === 400);
    const told = agent.all('changes').length;
    assert.ok(told < 400, `${told} messages for 400 changes: those behind a full connection were not queued`);
    agent.close();
  });
});

type Step =
  | { readonly do: 'assign'; readonly machine: number; readonly unit: number; readonly generation: number; readonly textLate: boolean }
  | { readonly do: 'drop'; readonly machine: number; readonly unit: number }
  | { readonly do: 'reconnect'; readonly machine: number }
  | { readonly do: 'relist' }
  | { readonly do: 'pause' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('assign' as const),
      machine: fc.nat(1),
      unit: fc.nat(4),
      generation: fc.nat(1_000),
      textLate: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('drop' as const), machine: fc.nat(1), unit: fc.nat(4) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reconnect' as const), machine: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'relist' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'pause' as const }) },
);

test('snapshot and changes together never miss an assignment, however writes, reconnects, late texts and lost history interleave', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const machines = [newMachine(), newMachine()];
      const credentials = await Promise.all(machines.map((id) => joinMachine(server, id)));
      const agents = await Promise.all(credentials.map(async (own) => [await FakeAgent.open(server, own)]));
      const model = machines.map(() => new Map<string, { generation: number; text: string }>());
      const late: Operation[] = [];
      for (const [number, next] of steps.entries()) {
        switch (next.do) {
          case 'assign': {
            const unit = `u${next.unit}.service`;
            const text = `text ${count} ${number}`;
            if (next.textLate) late.push(content(text));
            const texts = next.textLate ? [] : [content(text)];
            await write(cluster.store, [...texts, assignment(machines[next.machine]!, unit, text, next.generation)]);
            model[next.machine]!.set(unit, { generation: next.generation, text });
            break;
          }
          case 'drop': {
            const unit = `u${next.unit}.service`;
            if (!model[next.machine]!.delete(unit)) break;
            await write(cluster.store, [remove(keys.assignment(machines[next.machine]!, unit))]);
            break;
          }
          case 'reconnect': {
            const agent = await FakeAgent.connect(server, credentials[next.machine]!);
            agent.send({ type: 'hello', info: infoOf('boot-1'), labels: {} });
            // Its snapshot is not waited for: the writes that follow fall into the opening.
            agents[next.machine]!.push(agent);
            break;
          }
          case 'relist':
            // The watch loses its history: what lay between comes as one batch from a list.
            server.store.faults.watchesCut = true;
            await write(cluster.store, [content(`unrelated ${number}`)]);
            cluster.store.compact();
            server.store.faults.watchesCut = false;
            break;
          case 'pause':
            await new Promise((resolve) => setImmediate(resolve));
        }
      }
      if (late.length > 0) await write(cluster.store, late);
      for (const [index, id] of machines.entries()) {
        const expected = JSON.stringify([...model[index]!].sort());
        await until(`the holder of machine ${index} to know ${expected}`, async () => {
          const presence = (await cluster.store.get(keys.presence(id))).entry!;
          const { session } = JSON.parse(presence.value) as { session: string };
          const holder = agents[index]!.find((agent) => agent.all('welcome')[0]?.session === session);
          return holder && JSON.stringify([...holder.wanted()].sort()) === expected;
        });
        for (const agent of agents[index]!) agent.close();
      }
    }),
    { numRuns: 40, interruptAfterTimeLimit: 10_000, markInterruptAsFailure: false },
  );
});
