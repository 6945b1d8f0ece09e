import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reporter, type StatesBatch } from '../../agent/report.js';
import type { UnitState } from '../../api/resources/assignment.js';
import { ManualClock } from '../rigs/manual-clock.js';

const state = (active: string, mainPID = 1): UnitState => ({
  unitUid: 'u1',
  generation: 1,
  textHash: '',
  load: 'loaded',
  active,
  sub: active,
  since: '2026-01-01T00:00:00.000Z',
  mainPID,
});

function rig() {
  const clock = new ManualClock();
  const states = new Map<string, UnitState>();
  const sent: StatesBatch[] = [];
  const reporter = new Reporter({ clock, state: (name) => states.get(name) });
  return {
    clock,
    states,
    sent,
    reporter,
    send: (batch: StatesBatch) => void sent.push(batch),
    set(name: string, of: UnitState) {
      states.set(name, of);
      reporter.changed(name);
    },
  };
}

test('changes that come together are one batch, and only differences are told', async () => {
  const { clock, sent, reporter, send, set } = rig();
  reporter.connected(send, { 'a.service': state('active') }, []);
  set('a.service', state('active'));
  set('b.service', state('activating'));
  set('b.service', state('active'));
  await clock.advance(10);
  assert.deepEqual(sent, [{ batch: 1, states: { 'b.service': state('active') } }]);
});

test('one batch is on its way at a time; what changes meanwhile is told once, as it is then', async () => {
  const { clock, sent, reporter, send, set } = rig();
  reporter.connected(send, {}, []);
  set('a.service', state('activating'));
  await clock.advance(10);
  set('a.service', state('active', 2));
  set('a.service', state('failed', 3));
  await clock.advance(1_000);
  assert.equal(sent.length, 1);
  reporter.stored(1);
  await clock.advance(10);
  assert.deepEqual(sent[1], { batch: 2, states: { 'a.service': state('failed', 3) } });
  reporter.stored(1);
  await clock.advance(10);
  assert.equal(sent.length, 2);
});

test('what was on its way when the stream ended is told on the next one, unless the server has it', async () => {
  const { clock, sent, reporter, send, set } = rig();
  reporter.connected(send, {}, []);
  set('a.service', state('active'));
  set('b.service', state('active'));
  await clock.advance(10);
  reporter.disconnected();
  reporter.connected(send, { 'a.service': state('active') }, ['a.service', 'b.service']);
  await clock.advance(10);
  assert.deepEqual(sent[1], { batch: 2, states: { 'b.service': state('active') } });
});

test('without a stream nothing is sent and no timer runs', async () => {
  const { clock, sent, reporter, send, set } = rig();
  set('a.service', state('active'));
  assert.equal(clock.waiting, 0);
  reporter.connected(send, {}, ['a.service']);
  reporter.disconnected();
  assert.equal(clock.waiting, 0);
  await clock.advance(1_000);
  assert.deepEqual(sent, []);
});

test('when nothing changes no timer runs', async () => {
  const { clock, reporter, send, set } = rig();
  reporter.connected(send, {}, []);
  set('a.service', state('active'));
  await clock.advance(10);
  reporter.stored(1);
  await clock.advance(10);
  assert.equal(clock.waiting, 0);
});

test('invariant 11: a unit that flaps is told of at a rate of its own, its last state in the end, and delays no other', async () => {
  const { clock, sent, reporter, send, set } = rig();
  reporter.connected(
    (batch) => {
      send(batch);
      queueMicrotask(() => reporter.stored(batch.batch));
    },
    {},
    [],
  );
  for (let change = 1; change <= 500; change++) {
    set('flap.service', state('active', change));
    await clock.advance(10);
  }
  const told = sent.filter(({ states }) => 'flap.service' in states).length;
  assert.ok(told >= 10 && told <= 20, `${told} reports in 5 s`);
  set('calm.service', state('active'));
  await clock.advance(10);
  assert.ok(sent.some(({ states }) => 'calm.service' in states));
  await clock.advance(2_000);
  assert.equal(sent.findLast(({ states }) => 'flap.service' in states)?.states['flap.service']?.mainPID, 500);
});

test('invariant 11: a batch has a limit, and the rest follows', async () => {
  const { clock, sent, reporter, send, set } = rig();
  reporter.connected(send, {}, []);
  for (let unit = 0; unit < 450; unit++) set(`u${unit}.service`, state('active'));
  for (let batch = 1; batch <= 3; batch++) {
    await clock.advance(10);
    reporter.stored(batch);
  }
  assert.deepEqual(
    sent.map(({ states }) => Object.keys(states).length),
    [200, 200, 50],
  );
});
