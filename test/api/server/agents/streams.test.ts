import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import type { UnitState } from '../../../../api/resources/assignment.js';
import { Presence } from '../../../../api/resources/machine.js';
import { openPki } from '../../../../api/server/trust/ca.js';
import { type Clock, systemClock } from '../../../../runtime/clock.js';
import { MemoryStore } from '../../../../runtime/store/memory-store.js';
import type { Lease } from '../../../../runtime/store/store.js';
import { activeState, assignmentOf, keys, put, remove, unitRow } from '../../objects/cluster-writer.js';
import { type Cluster, type Credentials, FakeAgent, infoOf, joinMachine, machineId, newCluster, type Server, until } from './rig.js';

let cluster: Cluster;
let alpha: Server;
let beta: Server;
before(async () => {
  cluster = await newCluster();
  alpha = await cluster.startServer('alpha');
  beta = await cluster.startServer('beta');
});
after(() => cluster.close());

/** Writes as the leader would; returns the revision. */
async function write(...operations: ReturnType<typeof put>[]): Promise<number> {
  const guard = put(`${keys.root}test-guard`, String(Math.random()));
  const { entry } = await cluster.store.get(guard.key);
  const outcome = await cluster.store.commit({
    compares: [{ key: guard.key, modRevision: entry?.modRevision ?? 0 }],
    operations: [guard, ...operations],
  });
  assert.ok(outcome.ok);
  return outcome.revision;
}

const assign = (machine: string, unit: string, text: string, generation = 1) =>
  write(
    ...unitRow(unit, `uid-${unit}`, generation, text),
    put(keys.assignment(machine, unit), assignmentOf(unit, machine, `uid-${unit}`, generation, text)),
  );

const stateOf = async (machine: string, unit: string): Promise<UnitState | undefined> => {
  const { entry } = await cluster.store.get(keys.state(machine, unit));
  return entry && (JSON.parse(entry.value) as UnitState);
};
const presenceOf = async (machine: string) => {
  const { entry } = await cluster.store.get(keys.presence(machine));
  return entry && { ...Presence.parse(JSON.parse(entry.value)), lease: entry.lease };
};

let letters = 0;
/** A machine id that no other test uses. */
const newMachine = () => (letters++).toString(16).padStart(32, '0');
const seen = (unit: string, text = 'x', more: Partial<UnitState> = {}) => activeState(`uid-${unit}`, 1, text, more);

describe('opening a stream', () => {
  test('the agent is welcomed and sent its own assignments, with their texts, and nothing of other machines', async () => {
    const [mine, other] = [newMachine(), newMachine()];
    await assign(mine, 'web.service', 'the text');
    await assign(other, 'secret.service', 'not for you');
    await write(put(keys.state(mine, 'web.service'), seen('web.service')));
    await until('alpha to know beta', () => alpha.registry.urls().length === 2);
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, mine));
    const welcome = await agent.next('welcome');
    assert.equal(welcome.clusterUid, alpha.pki.clusterUid);
    assert.equal(welcome.machineUid, alpha.cache.object('machines', mine)?.value.metadata.uid);
    assert.deepEqual([...welcome.servers].sort(), [alpha.url, beta.url].sort());
    const snapshot = await agent.next('snapshot');
    assert.deepEqual(
      snapshot.assignments.map(({ unit, text }) => [unit, text]),
      [['web.service', 'the text']],
    );
    assert.deepEqual(Object.keys(snapshot.states), ['web.service']);
    assert.ok(!JSON.stringify(agent.received).includes('secret.service'));
    agent.close();
  });

  test('presence says which server holds the stream, on a lease of its own', async () => {
    const id = newMachine();
    const agent = await FakeAgent.open(beta, await joinMachine(beta, id), 'boot-7');
    const presence = (await presenceOf(id))!;
    assert.equal(presence.server, 'beta');
    assert.equal(presence.info.bootID, 'boot-7');
    assert.equal(presence.session, (await agent.next('welcome')).session);
    assert.equal(presence.lease, presence.leaseId);
    agent.close();
  });

  test('SEMANTICS 23: hello sets the labels that the token listed; what a user has set survives; nothing new writes nothing', async () => {
    const id = newMachine();
    const credentials = await joinMachine(alpha, id, {}, ['region', 'disk']);
    await alpha.door.patch('machines', id, { type: 'merge', body: { metadata: { labels: { region: 'us' } } } }, { manager: 'ann' });
    const first = await FakeAgent.open(alpha, credentials, 'b', { region: 'eu', disk: 'ssd', rack: '1' });
    assert.deepEqual(alpha.cache.object('machines', id)?.value.metadata.labels, { region: 'us', disk: 'ssd' });
    assert.ok(alpha.events.some(({ name, reason, message }) => name === id && reason === 'LabelsRefused' && message.includes('rack')));
    first.close();
    const { modRevision } = alpha.cache.object('machines', id)!;
    const second = await FakeAgent.open(alpha, credentials, 'b', { region: 'eu', disk: 'ssd' });
    assert.equal(alpha.cache.object('machines', id)?.modRevision, modRevision);
    second.close();
    const third = await FakeAgent.open(alpha, credentials, 'b', { region: 'eu' });
    assert.deepEqual(
      alpha.cache.object('machines', id)?.value.metadata.labels,
      { region: 'us' },
      'a label that the agent no longer sets goes',
    );
    third.close();
  });

  test('an agent of another cluster is sent away, and may try elsewhere', async () => {
    const agent = await FakeAgent.connect(alpha, await joinMachine(alpha, newMachine()));
    agent.send({ type: 'hello', info: infoOf('b'), labels: {}, clusterUid: 'another' });
    const goodbye = await agent.next('goodbye');
    assert.match(goodbye.reason, /the agent of cluster another/);
    assert.equal(goodbye.retry, true);
    await agent.untilClosed();
  });

  test('etcd away: the agent is sent on, and no presence is made up', async () => {
    const id = newMachine();
    const credentials = await joinMachine(alpha, id);
    alpha.store.faults.unavailable = true;
    try {
      const agent = await FakeAgent.connect(alpha, credentials);
      agent.send({ type: 'hello', info: infoOf('b'), labels: {} });
      const goodbye = await agent.next('goodbye');
      assert.match(goodbye.reason, /cannot reach the store/);
      assert.equal(goodbye.retry, true);
    } finally {
      alpha.store.faults.unavailable = false;
    }
    assert.equal(await presenceOf(id), undefined);
  });
});

describe('who may open one', () => {
  async function refused(credentials: Partial<Credentials>, target = '/agent/v1/stream'): Promise<number> {
    const socket = new WebSocket(`${alpha.url.replace('https', 'wss')}${target}`, { ca: alpha.ca, ...credentials });
    socket.on('error', () => {});
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    response.resume();
    return response.statusCode ?? 0;
  }

  test('nobody without a certificate, nobody with one of a foreign CA, and no admin', async () => {
    assert.equal(await refused({}), 401);
    const clock = systemClock;
    const foreign = await openPki({ dir: `${cluster.dir}/foreign`, store: new MemoryStore(), keys, names: [], clock });
    const thief = await foreign.issueAdmin('thief');
    assert.equal(await refused({ cert: thief.certificate, key: thief.key }), 401);
    foreign.close();
    const admin = await alpha.pki.issueAdmin('ann');
    assert.equal(await refused({ cert: admin.certificate, key: admin.key }), 403);
  });

  test('a machine cannot send a journal that nobody asked it for, nor upgrade anything else', async () => {
    const credentials = await joinMachine(alpha, newMachine());
    assert.equal(await refused(credentials, `/agent/v1/logs/${'a'.repeat(32)}`), 404);
    assert.equal(await refused(credentials, '/apis/flotilla.dev/v1/units'), 404);
  });

  test('SEMANTICS 24: the certificate of a machine that was removed opens nothing, also after the machine has joined again', async () => {
    const id = newMachine();
    const old = await joinMachine(alpha, id);
    await alpha.door.remove('machines', id, {}, { manager: 'ann' });
    const gone = await FakeAgent.connect(beta, old);
    gone.send({ type: 'hello', info: infoOf('b'), labels: {} });
    assert.equal((await gone.next('goodbye')).retry, false);
    assert.equal(await presenceOf(id), undefined);
    assert.equal(beta.cache.object('machines', id), undefined, 'a hello brings no Machine object back');

    const fresh = await joinMachine(alpha, id);
    const again = await FakeAgent.connect(alpha, old);
    again.send({ type: 'hello', info: infoOf('b'), labels: {} });
    assert.equal((await again.next('goodbye')).retry, false);
    (await FakeAgent.open(beta, fresh)).close();
  });

  test('a machine that joined on one server is known on another at once, however far behind that one is', async () => {
    const id = newMachine();
    beta.store.faults.watchesCut = true;
    const credentials = await joinMachine(alpha, id);
    const agent = await FakeAgent.connect(beta, credentials);
    agent.send({ type: 'hello', info: infoOf('b'), labels: {} });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(agent.received, [], 'absence is not believed of a cache that is behind');
    beta.store.faults.watchesCut = false;
    await agent.next('snapshot');
    agent.close();
  });

  test('removing the Machine object closes its stream at once', async () => {
    const id = newMachine();
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    const bystander = await FakeAgent.open(alpha, await joinMachine(alpha, newMachine()));
    await beta.door.remove('machines', id, {}, { manager: 'ann' });
    const goodbye = await agent.next('goodbye');
    assert.equal(goodbye.retry, false);
    assert.match(goodbye.reason, /was removed/);
    await agent.untilClosed();
    await bystander.beat();
    bystander.close();
  });

  test('a certificate that runs out ends its stream: come back with the renewed one', async () => {
    let aheadMs = 0;
    const clock: Clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
    const gamma = await cluster.startServer('gamma', { clock });
    const agent = await FakeAgent.open(gamma, await joinMachine(gamma, newMachine()));
    await agent.beat();
    aheadMs = 31 * 86_400_000;
    agent.heartbeat();
    const goodbye = await agent.next('goodbye');
    assert.match(goodbye.reason, /certificate has expired/);
    assert.equal(goodbye.retry, true);
    await gamma.close();
  });
});

describe('what an agent may say', () => {
  for (const [what, send, says] of [
    ['no JSON', (agent: FakeAgent) => agent.socket.send('{'), /not understood/],
    ['binary', (agent: FakeAgent) => agent.socket.send(Buffer.from('{}')), /not understood/],
    ['an unknown message', (agent: FakeAgent) => agent.socket.send('{"type":"sudo"}'), /not understood/],
    ['an unknown field', (agent: FakeAgent) => agent.socket.send('{"type":"heartbeat","seq":1,"machine":"x"}'), /not understood/],
    ['a second hello', (agent: FakeAgent) => agent.send({ type: 'hello', info: infoOf('b'), labels: {} }), /second hello/],
  ] as const) {
    test(`${what}: goodbye`, async () => {
      const agent = await FakeAgent.open(alpha, await joinMachine(alpha, newMachine()));
      send(agent);
      assert.match((await agent.next('goodbye')).reason, says);
      await agent.untilClosed();
    });
  }

  test('a heartbeat before hello: goodbye', async () => {
    const agent = await FakeAgent.connect(alpha, await joinMachine(alpha, newMachine()));
    agent.heartbeat();
    assert.match((await agent.next('goodbye')).reason, /before the stream was open/);
  });

  test('limits: too large a message, too many bytes, heartbeats without end', async () => {
    const small = await cluster.startServer('small', { limits: { maxMessageBytes: 2_000, maxBurstBytes: 5_000, maxBytesPerSecond: 1 } });
    const large = await FakeAgent.open(small, await joinMachine(small, newMachine()));
    large.send({ type: 'event', reason: 'X', message: 'x'.repeat(3_000), warning: false });
    assert.equal((await large.untilClosed()).code, 1009);
    const many = await FakeAgent.open(small, await joinMachine(small, newMachine()));
    for (let i = 0; i < 10; i++) many.send({ type: 'event', reason: 'X', message: 'x'.repeat(1_000), warning: false });
    assert.match((await many.next('goodbye')).reason, /bytes a second/);
    const eager = await FakeAgent.open(small, await joinMachine(small, newMachine()));
    small.store.faults.frozen = true;
    for (let i = 0; i < 20; i++) eager.heartbeat();
    assert.match((await eager.next('goodbye')).reason, /heartbeats come faster/);
    small.store.faults.frozen = false;
    await small.close();
  });

  test('a stream on which nothing is said is ended, before hello and after', async () => {
    const limits = { helloTimeoutMs: 50, silenceTimeoutMs: 150, sweepEveryMs: 20 };
    const impatient = await cluster.startServer('impatient', { limits });
    const mute = await FakeAgent.connect(impatient, await joinMachine(impatient, newMachine()));
    assert.match((await mute.next('goodbye')).reason, /no hello/);
    const id = newMachine();
    const agent = await FakeAgent.open(impatient, await joinMachine(impatient, id));
    for (let beats = 0; beats < 6; beats++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      await agent.beat();
    }
    assert.equal(agent.closed, undefined, 'not while it is heard');
    await agent.untilClosed();
    assert.ok(await presenceOf(id), 'its presence runs out by itself');
    await impatient.close();
  });

  test('all machines come back at once: a few at a time are let in, and in the end all are', async () => {
    const busy = await cluster.startServer('busy', { limits: { maxOpening: 2 } });
    const credentials = await Promise.all(Array.from({ length: 12 }, () => joinMachine(busy, newMachine())));
    let opening = 0;
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const grant = busy.store.lease.bind(busy.store);
    busy.store.lease = async (ttlMs, options) => {
      opening++;
      await held;
      return grant(ttlMs, options);
    };
    const agents = await Promise.all(credentials.map((own) => FakeAgent.connect(busy, own)));
    for (const agent of agents) agent.send({ type: 'hello', info: infoOf('boot-1'), labels: {} });
    await until('all hellos', async () => (await busy.metrics.render()).includes('flotilla_agent_messages_total{type="hello"} 12'));
    await until('the first openings', () => opening === 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(opening, 2, 'the others wait for a place');
    letGo();
    for (const agent of agents) await agent.next('snapshot');
    assert.equal(busy.gateway.streams, 12);
    for (const agent of agents) agent.close();
    await busy.close();
  });

  test('events are recorded about this machine and its own units only', async () => {
    const id = newMachine();
    await assign(id, 'own.service', 'x');
    await assign(machineId('e'), 'foreign.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    for (const unit of ['own.service', 'foreign.service', undefined]) {
      agent.send({ type: 'event', ...(unit ? { unit } : {}), reason: 'Shadowed', message: `about ${unit}`, warning: true });
    }
    agent.send({ type: 'event', reason: 'not a word', message: 'dropped', warning: false });
    await agent.beat();
    const told = alpha.events.filter(({ reason, message }) => reason === 'Shadowed' || message === 'dropped');
    assert.deepEqual(
      told.map(({ kind, name }) => [kind, name]),
      [
        ['Unit', 'own.service'],
        ['Machine', id],
      ],
    );
    agent.close();
  });
});

describe('SEMANTICS 17: heartbeats', () => {
  /** Counts the keepalives that a server sends for leases that it was granted from now on. */
  function countKeepAlives(server: Server) {
    const counted = { sent: 0, revoked: 0 };
    const grant = server.store.lease.bind(server.store);
    server.store.lease = async (ttlMs, options) => {
      const lease = await grant(ttlMs, options);
      const [keepAlive, revoke] = [lease.keepAlive.bind(lease), lease.revoke.bind(lease)];
      return Object.assign(lease as Lease, {
        keepAlive: () => {
          counted.sent++;
          return keepAlive();
        },
        revoke: () => {
          counted.revoked++;
          return revoke();
        },
      });
    };
    return counted;
  }

  test('one keepalive to etcd for each heartbeat, none without, and no revocation when the stream ends', async () => {
    const server = await cluster.startServer('counting');
    const id = newMachine();
    const credentials = await joinMachine(server, id);
    const counted = countKeepAlives(server);
    const agent = await FakeAgent.open(server, credentials);
    assert.equal(counted.sent, 0);
    for (let i = 1; i <= 5; i++) {
      await agent.beat();
      assert.equal(counted.sent, i);
    }
    agent.close();
    await until('the end of the stream', () => server.gateway.streams === 0);
    assert.equal((await presenceOf(id))?.server, 'counting', 'presence outlives the stream');
    assert.deepEqual(counted, { sent: 5, revoked: 0 });
    await server.close();
    assert.equal((await presenceOf(id))?.server, 'counting', 'and the server');
  });

  test('an acknowledgement comes only after etcd has answered', async () => {
    const agent = await FakeAgent.open(beta, await joinMachine(beta, newMachine()));
    beta.store.faults.frozen = true;
    const seq = agent.heartbeat();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(agent.acknowledged(seq), false);
    beta.store.faults.frozen = false;
    await agent.next('heartbeat-ack', (ack) => ack.seq === seq);
    agent.close();
  });

  test('etcd cannot be reached: no acknowledgement, and the stream stays for when it can', async () => {
    const agent = await FakeAgent.open(beta, await joinMachine(beta, newMachine()));
    beta.store.faults.unavailable = true;
    const lost = agent.heartbeat();
    await new Promise((resolve) => setTimeout(resolve, 100));
    beta.store.faults.unavailable = false;
    await agent.beat();
    assert.equal(agent.acknowledged(lost), false);
    assert.equal(agent.closed, undefined);
    agent.close();
  });

  test('a lease that ran out is replaced with the next heartbeat, and states are written again', async () => {
    const id = newMachine();
    await assign(id, 'web.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    const before = (await presenceOf(id))!;
    // As etcd does when the TTL is over.
    await (await cluster.store.lease(10_000, { keepAlive: 'manual', id: before.leaseId })).revoke();
    assert.equal(await presenceOf(id), undefined);
    agent.send({ type: 'states', batch: 1, states: { 'web.service': seen('web.service') } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(await stateOf(id, 'web.service'), undefined, 'nothing is written without presence');
    await agent.beat();
    const now = (await presenceOf(id))!;
    assert.equal(now.session, before.session);
    assert.notEqual(now.leaseId, before.leaseId);
    await agent.next('stored');
    assert.equal((await stateOf(id, 'web.service'))?.active, 'active');
    agent.close();
  });
});

describe('states', () => {
  test('are stored under this machine and answered when they are durable', async () => {
    const id = newMachine();
    await assign(id, 'a.service', 'x');
    await assign(id, 'b.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    alpha.store.faults.frozen = true;
    agent.send({
      type: 'states',
      batch: 7,
      states: { 'a.service': seen('a.service'), 'b.service': seen('b.service', 'x', { active: 'failed' }) },
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(agent.all('stored'), []);
    alpha.store.faults.frozen = false;
    assert.equal((await agent.next('stored')).batch, 7);
    assert.equal((await stateOf(id, 'a.service'))?.active, 'active');
    assert.equal((await stateOf(id, 'b.service'))?.active, 'failed');
    agent.close();
  });

  test('of units that are assigned elsewhere are ignored, and counted', async () => {
    const [id, other] = [newMachine(), newMachine()];
    await assign(id, 'mine.service', 'x');
    await assign(other, 'foreign.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    agent.send({
      type: 'states',
      batch: 1,
      states: { 'mine.service': seen('mine.service'), 'foreign.service': seen('foreign.service'), '../x': seen('x') },
    });
    await agent.next('stored');
    assert.ok(await stateOf(id, 'mine.service'));
    for (const machine of [id, other]) assert.equal(await stateOf(machine, 'foreign.service'), undefined);
    assert.match(await alpha.metrics.render(), /flotilla_agent_states_total\{result="not-assigned"\} 2/);
    agent.close();
  });

  test('that say the same again are not written again', async () => {
    const id = newMachine();
    await assign(id, 'web.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    agent.send({ type: 'states', batch: 1, states: { 'web.service': seen('web.service') } });
    await agent.next('stored');
    const { modRevision } = (await cluster.store.get(keys.state(id, 'web.service'))).entry!;
    await until('the cache', () => alpha.cache.state(id, 'web.service'));
    agent.send({ type: 'states', batch: 2, states: { 'web.service': seen('web.service') } });
    await agent.next('stored', ({ batch }) => batch === 2);
    assert.equal((await cluster.store.get(keys.state(id, 'web.service'))).entry?.modRevision, modRevision);
    agent.close();
  });

  test('never bring back what the leader has removed with its assignment', async () => {
    const id = newMachine();
    await assign(id, 'web.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    agent.send({ type: 'states', batch: 1, states: { 'web.service': seen('web.service') } });
    await agent.next('stored');
    // This server does not hear of the removal; the write that it tries must find out.
    alpha.store.faults.watchesCut = true;
    await write(remove(keys.assignment(id, 'web.service')), remove(keys.state(id, 'web.service')));
    agent.send({ type: 'states', batch: 2, states: { 'web.service': seen('web.service', 'x', { active: 'failed' }) } });
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(await stateOf(id, 'web.service'), undefined);
    alpha.store.faults.watchesCut = false;
    await agent.next('stored', ({ batch }) => batch === 2);
    assert.equal(await stateOf(id, 'web.service'), undefined);
    agent.close();
  });

  test('an answer that was lost: written once, answered once', async () => {
    const id = newMachine();
    await assign(id, 'web.service', 'x');
    const agent = await FakeAgent.open(alpha, await joinMachine(alpha, id));
    alpha.store.faults.loseAnswers = 1;
    agent.send({ type: 'states', batch: 1, states: { 'web.service': seen('web.service') } });
    await agent.next('stored');
    assert.equal((await stateOf(id, 'web.service'))?.active, 'active');
    assert.equal(agent.all('stored').length, 1);
    agent.close();
  });
});

describe('SEMANTICS 17, 19: two streams of one machine', () => {
  test('the newest stream wins, on the same server and on another', async () => {
    const id = newMachine();
    const credentials = await joinMachine(alpha, id);
    let holder = await FakeAgent.open(alpha, credentials);
    for (const server of [alpha, beta, alpha]) {
      const next = await FakeAgent.open(server, credentials);
      const goodbye = await holder.next('goodbye');
      assert.match(goodbye.reason, /newer stream/);
      assert.equal(goodbye.retry, true);
      await next.beat();
      assert.equal((await presenceOf(id))?.server, server.name);
      holder = next;
    }
    holder.close();
  });

  test('a server that has not heard of the take-over writes no state any more', async () => {
    const id = newMachine();
    await assign(id, 'web.service', 'x');
    const credentials = await joinMachine(alpha, id);
    const old = await FakeAgent.open(alpha, credentials);
    alpha.store.faults.watchesCut = true;
    const fresh = await FakeAgent.open(beta, credentials);
    fresh.send({ type: 'states', batch: 1, states: { 'web.service': seen('web.service', 'x', { sub: 'from-beta' }) } });
    await fresh.next('stored');
    old.send({ type: 'states', batch: 1, states: { 'web.service': seen('web.service', 'x', { sub: 'from-alpha' }) } });
    assert.match((await old.next('goodbye')).reason, /newer stream/);
    alpha.store.faults.watchesCut = false;
    assert.equal((await stateOf(id, 'web.service'))?.sub, 'from-beta');
    assert.deepEqual(old.all('stored'), []);
    fresh.close();
  });

  test('two servers never interleave: after any number of take-overs, no older stream writes behind a newer one', async () => {
    const id = newMachine();
    const units = ['a.service', 'b.service', 'c.service'];
    for (const unit of units) await assign(id, unit, 'x');
    const credentials = await joinMachine(alpha, id);
    const agents: FakeAgent[] = [];
    const takenOverAt: number[] = [];
    const writes = { stopped: false };
    const chatter = (agent: FakeAgent, number: number) =>
      void (async () => {
        for (let batch = 1; !writes.stopped && agent.closed === undefined; batch++) {
          const states = Object.fromEntries(units.map((unit) => [unit, seen(unit, 'x', { sub: `stream-${number}`, restarts: batch })]));
          agent.send({ type: 'states', batch, states });
          await until('an answer or the end', () => agent.closed ?? agent.all('stored').some((stored) => stored.batch === batch));
        }
      })();
    const history: { revision: number; stream: number }[] = [];
    const watch = cluster.store.watch(keys.states(id), await cluster.store.revision(), {
      events: (events) => {
        for (const event of events) {
          if (event.type !== 'put') continue;
          const { sub } = JSON.parse(event.entry.value) as UnitState;
          history.push({ revision: event.entry.modRevision, stream: Number(sub.slice('stream-'.length)) });
        }
      },
      compacted: () => {},
    });
    for (let number = 0; number < 8; number++) {
      const server = number % 2 === 0 ? alpha : beta;
      // Each server hears late of what the other does.
      server.store.faults.watchesCut = false;
      const agent = await FakeAgent.open(server, credentials);
      takenOverAt.push((await cluster.store.get(keys.presence(id))).entry!.modRevision);
      agents.push(agent);
      chatter(agent, number);
      await until('some states', () => history.some(({ stream }) => stream === number));
      if (number < 7) server.store.faults.watchesCut = true;
    }
    writes.stopped = true;
    alpha.store.faults.watchesCut = false;
    await until('the end of all older streams', () => agents.slice(0, -1).every(({ closed }) => closed));
    watch.close();
    for (const { revision, stream } of history) {
      assert.ok(revision > takenOverAt[stream]!, 'not before its own take-over');
      const next = takenOverAt[stream + 1];
      assert.ok(next === undefined || revision < next, `stream ${stream} wrote at ${revision}, after ${next} had taken over`);
    }
    agents.at(-1)?.close();
  });

  test('a reboot within the TTL is no duplicate; two hosts that take turns are both kept out, and the machine says so', async () => {
    const id = newMachine();
    const credentials = await joinMachine(alpha, id);
    const one = await FakeAgent.open(alpha, credentials, 'boot-one');
    const two = await FakeAgent.open(beta, credentials, 'boot-two');
    await one.untilClosed();
    assert.equal((await presenceOf(id))?.duplicate, undefined);
    const back = await FakeAgent.connect(alpha, credentials);
    back.send({ type: 'hello', info: infoOf('boot-one'), labels: {} });
    for (const agent of [back, two]) {
      const goodbye = await agent.next('goodbye');
      assert.match(goodbye.reason, /two hosts use this machine id/);
      assert.equal(goodbye.retry, true);
    }
    const presence = (await presenceOf(id))!;
    assert.deepEqual(presence.duplicate, { bootIDs: ['boot-two', 'boot-one'], lastSeen: 'boot-one' });
    assert.deepEqual([presence.server, presence.session], ['', '']);
    const event = alpha.events.find(({ name, reason }) => name === id && reason === 'DuplicateMachineID');
    assert.match(event?.message ?? '', /systemd-machine-id-setup/);
    const again = await FakeAgent.connect(beta, credentials);
    again.send({ type: 'hello', info: infoOf('boot-two'), labels: {} });
    assert.match((await again.next('goodbye')).reason, /two hosts/);
    assert.equal((await presenceOf(id))?.duplicate?.lastSeen, 'boot-two');
  });
});

describe('a server that ends', () => {
  test('sends its agents to other servers and leaves their presence alone', async () => {
    const ending = await cluster.startServer('ending');
    const id = newMachine();
    await until(
      'the servers to know each other',
      () => ending.registry.urls().includes(alpha.url) && alpha.registry.urls().includes(ending.url),
    );
    const agent = await FakeAgent.open(ending, await joinMachine(ending, id));
    assert.ok((await agent.next('welcome')).servers.includes(alpha.url));
    await ending.close();
    const goodbye = await agent.next('goodbye');
    assert.equal(goodbye.retry, true);
    assert.equal((await presenceOf(id))?.server, 'ending');
    await until('the list without it', () => !alpha.registry.urls().includes(ending.url));
  });
});

test('the gauge says how many machines a server holds', async () => {
  const counting = await cluster.startServer('gauge');
  const agent = await FakeAgent.open(counting, await joinMachine(counting, newMachine()));
  assert.match(await counting.metrics.render(), /^flotilla_agent_streams 1$/m);
  agent.close();
  await until('the end', () => counting.gateway.streams === 0);
  assert.match(await counting.metrics.render(), /^flotilla_agent_streams 0$/m);
  await counting.close();
});
