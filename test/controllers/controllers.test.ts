import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forceDeleteAnnotation, machineRestartAnnotation, restartAnnotation } from '../../api/resources/annotations.js';
import { gcLimits } from '../../controllers/gc/reconcile.js';
import { machineId, SimCluster } from '../sim/cluster.js';

/** A cluster that is past its leader's first two lease times, and ended after the test. */
async function cluster(t: { after(run: () => Promise<void>): void }, machines: readonly string[], servers = 1): Promise<SimCluster> {
  const sim = await new SimCluster().start(machines, servers);
  t.after(() => sim.end());
  await sim.advance(25_000);
  return sim;
}

test('a unit is applied, placed, seen, and deleted without a trace', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  await sim.apply('web.service');
  await sim.rest();
  assert.deepEqual(sim.assigned('web.service'), ['a']);
  assert.deepEqual(sim.running('web.service'), ['a']);
  assert.equal(sim.condition('units', 'web.service', 'Scheduled')?.status, 'True');
  assert.equal(sim.condition('units', 'web.service', 'Ready')?.status, 'True');
  assert.equal(sim.condition('units', 'web.service', 'UpToDate')?.status, 'True');

  await sim.remove('web.service');
  await sim.rest();
  assert.deepEqual(sim.running('web.service'), []);
  assert.equal(sim.cache.joined('units', 'web.service'), undefined);
  const { entries } = await sim.store.list('/flotilla/');
  assert.deepEqual(
    entries.map(({ key }) => key).filter((key) => key.includes('web.service')),
    [],
  );
  assert.deepEqual(sim.said('Removed'), ['web.service: Removed web.service.']);
});

test('SEMANTICS 2: a unit and its conditions are written together: one revision holds both', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  const torn: string[] = [];
  sim.cache.subscribe(({ changes }) => {
    for (const change of changes) {
      if (change.table !== 'assignment') continue;
      const together = changes.some((other) => other.table === 'condition' && other.plural === 'units' && other.name === change.unit);
      const isGone = changes.some(
        (other) => other.table === 'object' && other.plural === 'units' && other.name === change.unit && !other.row,
      );
      if (!together && !isGone) torn.push(change.key);
    }
  });
  await sim.apply('web.service');
  await sim.rest();
  // It goes on running there, is started elsewhere, and lets go of it when it is back: the Unit is as it was then.
  sim.agent('a').cutOff();
  await sim.advance(30_000);
  await sim.agent('a').connect();
  await sim.rest();
  assert.deepEqual(sim.assigned('web.service'), ['b']);
  await sim.apply('web.service', { desiredState: 'inactive' });
  await sim.rest();
  await sim.remove('web.service');
  await sim.rest();
  assert.equal(sim.cache.joined('units', 'web.service'), undefined);
  assert.deepEqual(torn, []);
});

test('SEMANTICS 2: whatever the controllers write, no resourceVersion goes back', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  const versions = new Map<string, number>();
  const wentBack: string[] = [];
  let seen = 0;
  sim.cache.subscribe(() => {
    for (const plural of ['units', 'assignments', 'machines']) {
      for (const { metadata } of sim.cache.joinedAll(plural)) {
        const version = Number(metadata.resourceVersion);
        const before = versions.get(`${plural}/${metadata.uid}`) ?? 0;
        if (version < before) wentBack.push(`${plural}/${metadata.name}: ${before}, then ${version}`);
        if (version > before) seen++;
        versions.set(`${plural}/${metadata.uid}`, version);
      }
    }
  });
  const global = { placement: { global: true } };
  await sim.apply('web.service');
  await sim.apply('all.service', global);
  await sim.advance(3_000);
  // A state newer than anything else that the Unit is made of, and then each way in which a state goes.
  for (const machine of ['a', 'b', 'c']) sim.agent(machine).outcome = () => ({ result: `seen at ${sim.clock.monotonicMs()}` });
  await sim.advance(4_000);
  await sim.machine('a', { drain: true });
  await sim.advance(8_000);
  await sim.apply('web.service', global);
  await sim.advance(8_000);
  await sim.apply('web.service');
  await sim.advance(8_000);
  const [home = ''] = sim.running('web.service');
  sim.agent(home).kill();
  await sim.advance(30_000);
  await sim.agent(home).connect();
  await sim.advance(8_000);
  await sim.apply('web.service', { desiredState: 'inactive' });
  await sim.advance(8_000);
  for (const unit of ['web.service', 'all.service']) await sim.remove(unit);
  await sim.advance(8_000);
  assert.deepEqual(sim.cache.joinedAll('units'), []);
  assert.ok(seen > 50, `${seen} changes were seen`);
  assert.deepEqual(wentBack, []);
});

test('SEMANTICS 3: the counts of a global unit are written at most once a second, however much happens on its machines', async (t) => {
  const sim = new SimCluster();
  t.after(() => sim.end());
  const machines = Array.from({ length: 12 }, (_, at) => `m${at}`);
  for (const machine of machines) {
    await sim.addMachine(machine);
    // Heartbeats of different moments: something is reported every quarter of a second.
    await sim.clock.advance(250);
  }
  await sim.start();
  await sim.apply('all.service', { placement: { global: true } });
  await sim.advance(25_000);

  const written: number[] = [];
  let states = 0;
  sim.cache.subscribe(({ changes }) => {
    for (const change of changes) {
      if (change.table === 'state') states++;
      if (change.table === 'condition' && change.name === 'all.service') written.push(sim.clock.monotonicMs());
    }
  });
  let isDown = false;
  for (const agent of sim.agents.values()) agent.outcome = () => (isDown ? { active: 'failed', sub: 'failed' } : {});
  for (let turn = 0; turn < 6; turn++) {
    isDown = !isDown;
    await sim.advance(3_000);
  }
  assert.ok(states >= 60, `${states} states were reported`);
  assert.ok(written.length >= 10, `${written.length} counts were written`);
  assert.deepEqual(
    written.filter((at, index) => index > 0 && at - written[index - 1]! < 1_000),
    [],
  );
  await sim.advance(2_000);
  const status = sim.cache.joined('units', 'all.service')?.status as { readyMachines?: number } | undefined;
  assert.equal(status?.readyMachines, machines.length);
});

test('invariant 14: once nothing changes, nothing is written', async (t) => {
  const sim = await cluster(t, ['a', 'b']);
  await sim.apply('web.service');
  await sim.apply('all.service', { placement: { global: true } });
  await sim.apply('nowhere.service', { placement: { machineMetadata: ['disk=ssd'] } });
  await sim.advance(5_000);
  const before = await sim.store.revision();
  await sim.advance(180_000);
  assert.equal(await sim.store.revision(), before);
});

test('a new text restarts the unit where it is', async (t) => {
  const sim = await cluster(t, ['a', 'b']);
  await sim.apply('web.service');
  await sim.rest();
  await sim.apply('web.service', { content: '[Service]\nExecStart=/bin/true\n' });
  await sim.rest();
  assert.deepEqual(sim.agent('a').history, ['start web.service', 'stop web.service', 'start web.service']);
  assert.equal(sim.condition('units', 'web.service', 'UpToDate')?.status, 'True');
});

test('SEMANTICS 11: a restart is asked for once, and a changed label restarts nothing', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('web.service');
  await sim.rest();
  await sim.touch('units', 'web.service', ({ metadata }) => {
    metadata.annotations = { [restartAnnotation]: 'now' };
  });
  await sim.rest();
  assert.deepEqual(sim.agent('a').history, ['start web.service', 'stop web.service', 'start web.service']);
  await sim.touch('units', 'web.service', ({ metadata }) => {
    metadata.annotations = {};
    metadata.labels = { app: 'web' };
  });
  await sim.rest();
  assert.equal(sim.agent('a').history.length, 3);
});

test('SEMANTICS 11: a global unit is restarted on one machine, then on all, each time once, and the later request counts', async (t) => {
  const sim = await cluster(t, ['a', 'b']);
  await sim.apply('all.service', { placement: { global: true } });
  await sim.advance(2_000);
  const starts = () => ['a', 'b'].map((name) => sim.agent(name).history.filter((did) => did === 'start all.service').length);
  const ask = async (annotations: Record<string, string>) => {
    await sim.touch('units', 'all.service', ({ metadata }) => {
      metadata.annotations = { ...(metadata.annotations as object | undefined), ...annotations };
    });
    await sim.advance(5_000);
  };
  const onB = machineRestartAnnotation(machineId('b'));
  await ask({ [onB]: '2026-01-01T00:00:01Z' });
  assert.deepEqual(starts(), [1, 2]);
  await ask({ [restartAnnotation]: '2026-01-01T00:00:02Z' });
  assert.deepEqual(starts(), [2, 3]);
  await ask({ [onB]: '2026-01-01T00:00:00Z' });
  assert.deepEqual(starts(), [2, 3], 'an older request is none');
  await ask({ [onB]: '2026-01-01T00:00:03Z' });
  assert.deepEqual(starts(), [2, 4]);
});

test('a unit that has to move stops before it starts, however long that takes', async (t) => {
  const sim = new SimCluster();
  await sim.addMachine('a', {}, { zone: '1' });
  await sim.addMachine('b', {}, { zone: '2' });
  await sim.start();
  t.after(() => sim.end());
  await sim.apply('web.service');
  await sim.rest();
  assert.deepEqual(sim.running('web.service'), ['a']);
  sim.agent('a').stopTakesMs = 20_000;
  await sim.apply('web.service', { placement: { machineMetadata: ['zone=2'] } });
  await sim.advance(10_000);
  assert.deepEqual(sim.running('web.service'), ['a']);
  assert.deepEqual(sim.assigned('web.service'), ['leaving a']);
  const scheduled = sim.condition('units', 'web.service', 'Scheduled');
  assert.equal(scheduled?.reason, 'Moving');
  assert.match(scheduled?.message ?? '', /waiting for machine 61000000 to stop it: machine 61000000: no metadata zone=2\./i);
  await sim.advance(15_000);
  assert.deepEqual(sim.running('web.service'), ['b']);
  assert.deepEqual(sim.assigned('web.service'), ['b']);
});

test('SEMANTICS 9: an instance follows its template, and the template stays until its followers are gone', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('x@1.service', { content: '' });
  await sim.rest();
  assert.match(sim.condition('units', 'x@1.service', 'Scheduled')?.message ?? '', /template x@\.service does not exist/);
  await sim.apply('x@.service', { content: '[Service]\nExecStart=/bin/one\n' });
  await sim.rest();
  assert.deepEqual(sim.running('x@1.service'), ['a']);
  assert.equal(sim.condition('units', 'x@1.service', 'UpToDate')?.status, 'True');
  await sim.apply('x@.service', { content: '[Service]\nExecStart=/bin/two\n' });
  await sim.rest();
  assert.deepEqual(sim.agent('a').history, ['start x@1.service', 'stop x@1.service', 'start x@1.service']);
  assert.equal(sim.condition('units', 'x@1.service', 'UpToDate')?.status, 'True');

  await sim.remove('x@.service');
  await sim.rest();
  assert.ok(sim.cache.object('units', 'x@.service'));
  assert.deepEqual(sim.running('x@1.service'), ['a']);
  await sim.remove('x@1.service');
  await sim.rest();
  assert.equal(sim.cache.object('units', 'x@1.service'), undefined);
  assert.equal(sim.cache.object('units', 'x@.service'), undefined);
});

test('a finalizer keeps the object after its unit has stopped', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('web.service', { finalizers: ['example.org/hold'] });
  await sim.rest();
  await sim.remove('web.service');
  await sim.rest();
  assert.deepEqual(sim.running('web.service'), []);
  assert.deepEqual(sim.assigned('web.service'), []);
  assert.ok(sim.cache.object('units', 'web.service'));
  await sim.touch('units', 'web.service', ({ metadata }) => {
    metadata.finalizers = [];
  });
  await sim.rest();
  assert.equal(sim.cache.object('units', 'web.service'), undefined);
});

// --- machines that vanish -----------------------------------------------------------------------------------------------------------

test("SEMANTICS 20: a lost machine's units run elsewhere; when it returns it lets go of them", async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  await sim.apply('move.service');
  await sim.apply('stay.service', { failover: { policy: 'stay' }, placement: { machineID: machineId('a') } });
  await sim.rest();
  assert.deepEqual([sim.running('move.service'), sim.running('stay.service')], [['a'], ['a']]);

  sim.agent('a').cutOff();
  await sim.advance(11_000);
  assert.deepEqual(sim.running('move.service'), ['a', 'b']);
  assert.deepEqual(sim.assigned('move.service'), ['b', 'leaving a']);
  assert.deepEqual(sim.assigned('stay.service'), ['a']);
  assert.equal(sim.condition('machines', 'a', 'Ready')?.reason, 'PresenceLost');
  assert.equal(sim.condition('units', 'stay.service', 'Scheduled')?.reason, 'MachineLost');
  assert.equal(sim.condition('units', 'stay.service', 'Ready')?.status, 'Unknown');
  assert.equal(sim.said('FailedOver').length, 1);
  assert.equal(sim.said('MachineLost', 'Machine').length, 1);

  await sim.agent('a').connect();
  await sim.advance(1_000);
  assert.deepEqual(sim.running('move.service'), ['b']);
  assert.deepEqual(sim.assigned('move.service'), ['b']);
  assert.equal(sim.condition('machines', 'a', 'Ready')?.status, 'True');
  assert.equal(sim.condition('units', 'stay.service', 'Ready')?.status, 'True');
  assert.equal(sim.said('MachineBack').length, 1);
});

test('SEMANTICS 22: two of three vanish together: held, with words, until a human confirms', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  for (const unit of ['1.service', '2.service', '3.service']) await sim.apply(unit);
  await sim.rest();
  sim.agent('b').kill();
  await sim.advance(1_700);
  sim.agent('c').kill();
  await sim.advance(90_000);
  assert.deepEqual(sim.assigned('2.service'), ['b']);
  assert.deepEqual(sim.assigned('3.service'), ['c']);
  assert.match(sim.condition('machines', 'b', 'Caution')?.message ?? '', /2 of 3 machines vanished together.*failover --confirm/);
  assert.equal(sim.condition('units', '2.service', 'Scheduled')?.reason, 'Caution');
  assert.equal(sim.said('CautionStarted').length, 2);

  // New units are still placed, and what is deleted there waits.
  await sim.apply('4.service');
  await sim.remove('3.service');
  await sim.rest();
  assert.deepEqual(sim.running('4.service'), ['a']);
  assert.ok(sim.cache.object('units', '3.service'));

  await sim.touch('machines', machineId('b'), ({ metadata }) => {
    metadata.annotations = { 'flotilla.dev/failover-confirmed': sim.clock.now().toISOString() };
  });
  await sim.rest();
  assert.deepEqual(sim.running('2.service'), ['a']);
  assert.ok(sim.cache.object('units', '3.service'));
  // With the confirmed one out of the count, one is missing of two: that is not too many, and after a while the other one is given up too.
  await sim.advance(11_000);
  assert.equal(sim.cache.object('units', '3.service'), undefined);
  assert.equal(sim.said('CautionEnded').length, 2);
});

test('SEMANTICS 22: caution ends by itself when enough are back, and nothing was moved', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  for (const unit of ['1.service', '2.service', '3.service']) await sim.apply(unit);
  await sim.rest();
  for (const name of ['b', 'c']) sim.agent(name).cutOff();
  await sim.advance(60_000);
  await sim.agent('b').connect();
  await sim.advance(6_000);
  assert.match(sim.condition('machines', 'c', 'Caution')?.message ?? '', /enough machines are back/);
  await sim.agent('c').connect();
  await sim.advance(1_000);
  for (const name of ['a', 'b', 'c']) assert.equal(sim.agent(name).history.length, 1);
  assert.equal(sim.condition('machines', 'b', 'Caution'), undefined);
});

test('SEMANTICS 22: a new leader moves nothing in its first two lease times, and keeps what caution held', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  await sim.apply('1.service');
  await sim.rest();
  const [first] = sim.servers;
  await first!.end(sim);
  sim.servers.shift();
  sim.agent('a').kill();
  await sim.advance(11_000);
  sim.addServer();
  await sim.advance(18_000);
  assert.deepEqual(sim.assigned('1.service'), ['a']);
  assert.equal(sim.condition('units', '1.service', 'Scheduled')?.reason, 'Caution');
  await sim.advance(3_000);
  assert.deepEqual(sim.running('1.service'), ['b']);
});

test('SEMANTICS 8: a deleted unit on a dead machine waits and says for whom, until its machine goes or it is forced', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c', 'd']);
  const placement = { machineID: machineId('a') };
  for (const unit of ['forced.service', 'kept.service']) await sim.apply(unit, { placement });
  await sim.apply('free.service', { failover: { policy: 'atLeastOnce' } });
  await sim.rest();
  sim.agent('a').kill();
  await sim.advance(11_000);
  for (const unit of ['forced.service', 'kept.service', 'free.service']) await sim.remove(unit);
  await sim.rest();
  assert.equal(sim.cache.object('units', 'free.service'), undefined);
  const said = sim.condition('units', 'kept.service', 'Scheduled');
  assert.equal(
    said?.message,
    'Kept.service is being deleted; waiting for machine 61000000 (which does not answer) to stop it.'.replace('Kept', 'kept'),
  );

  await sim.touch('units', 'forced.service', ({ metadata }) => {
    metadata.annotations = { [forceDeleteAnnotation]: 'true' };
  });
  await sim.rest();
  assert.equal(sim.cache.object('units', 'forced.service'), undefined);
  assert.ok(sim.cache.object('units', 'kept.service'));
  await sim.removeMachine('a');
  await sim.rest();
  assert.equal(sim.cache.object('units', 'kept.service'), undefined);
  assert.equal(sim.cache.statesOn(machineId('a')).size, 0);
});

test('SEMANTICS 19: two hosts with one machine id: nothing is placed there and the condition says so', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  const key = sim.keys.presence(machineId('a'));
  const { entry } = await sim.store.get(key);
  assert.ok(entry?.lease);
  const duplicate = { bootIDs: ['11111111-x', '22222222-y'], lastSeen: '22222222-y' };
  const value = JSON.stringify({ ...JSON.parse(entry.value), duplicate });
  await sim.store.commit({
    compares: [{ key, modRevision: entry.modRevision }],
    operations: [{ do: 'put', key, value, lease: entry.lease }],
  });
  await sim.apply('web.service');
  await sim.rest();
  assert.deepEqual(sim.assigned('web.service'), ['b']);
  assert.equal(sim.condition('machines', 'a', 'Ready')?.reason, 'DuplicateMachineID');
});

// --- groups, drain, globals -----------------------------------------------------------------------------------------------------------

test('SEMANTICS 21: a group moves as one: followers stop, leader stops, leader starts, followers start', async (t) => {
  const sim = new SimCluster();
  await sim.addMachine('a', {}, { zone: '1' });
  await sim.addMachine('b', {}, { zone: '2' });
  await sim.start();
  t.after(() => sim.end());
  await sim.apply('lead.service');
  await sim.apply('side.service', { placement: { machineOf: ['lead.service'] } });
  await sim.rest();
  assert.deepEqual([sim.running('lead.service'), sim.running('side.service')], [['a'], ['a']]);
  await sim.apply('lead.service', { placement: { machineMetadata: ['zone=2'] } });
  await sim.advance(2_000);
  assert.deepEqual(sim.agent('a').history.slice(2), ['stop side.service', 'stop lead.service']);
  assert.deepEqual(sim.agent('b').history, ['start lead.service', 'start side.service']);
});

test('SEMANTICS 21: the same through a drain, while stopping takes time and in whatever order the names sort', async (t) => {
  const sim = await cluster(t, ['a', 'b']);
  await sim.machine('b', { unschedulable: true });
  await sim.apply('zlead.service');
  await sim.apply('side.service', { placement: { machineOf: ['zlead.service'] } });
  await sim.rest();
  await sim.machine('b', {});
  sim.agent('a').stopTakesMs = 1_000;
  const quiet = sim.agent('a').history.length;
  await sim.machine('a', { drain: true });
  await sim.advance(10_000);
  const moves = (history: readonly string[]) => history.filter((line) => /^(start|stop) /.test(line));
  assert.deepEqual(moves(sim.agent('a').history.slice(quiet)), ['stop side.service', 'stop zlead.service']);
  assert.deepEqual(moves(sim.agent('b').history), ['start zlead.service', 'start side.service']);
});

test('drain moves units off one by one, and names what stays', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  await sim.machine('b', { unschedulable: true });
  await sim.machine('c', { unschedulable: true });
  await sim.apply('all.service', { placement: { global: true } });
  for (const unit of ['1.service', '2.service', '3.service']) await sim.apply(unit);
  await sim.apply('pinned.service', { placement: { machineID: machineId('a') } });
  await sim.rest();
  await sim.machine('b', {});
  await sim.rest();
  sim.agent('a').stopTakesMs = 5_000;
  await sim.machine('a', { drain: true });
  await sim.advance(2_000);
  assert.deepEqual(sim.assigned('1.service'), ['leaving a']);
  assert.deepEqual(sim.assigned('2.service'), ['a']);
  assert.equal(
    sim.condition('machines', 'a', 'Drained')?.message,
    'Still to move: 1.service, 2.service (1.service moves first), 3.service (1.service moves first); staying: all.service (global), pinned.service (pinned by machineID).',
  );
  await sim.advance(30_000);
  for (const unit of ['1.service', '2.service', '3.service']) assert.deepEqual(sim.running(unit), ['b']);
  assert.deepEqual(
    sim.agent('b').history.filter((line) => !line.includes('all')),
    ['start 1.service', 'start 2.service', 'start 3.service'],
  );
  assert.deepEqual(sim.running('pinned.service'), ['a']);
  assert.equal(
    sim.condition('machines', 'a', 'Drained')?.message,
    'All units that can run elsewhere have moved off; staying: all.service (global), pinned.service (pinned by machineID).',
  );
});

test('SEMANTICS 12: a changed global changes one machine at a time, each seen active first', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  await sim.apply('all.service', { placement: { global: true } });
  await sim.advance(2_000);
  assert.deepEqual(sim.running('all.service'), ['a', 'b', 'c']);
  assert.deepEqual(sim.cache.joined('units', 'all.service')?.status, {
    ...(sim.cache.joined('units', 'all.service')?.status as object),
    desiredMachines: 3,
    currentMachines: 3,
    readyMachines: 3,
  });
  // The new text does not come up on the first machine.
  let isBroken = true;
  const old = sim.agent('a').running.get('all.service')?.hash;
  for (const agent of sim.agents.values()) {
    agent.outcome = (_unit, hash) => (hash !== old && isBroken ? { active: 'failed', sub: 'failed', result: 'exit-code' } : {});
  }
  await sim.apply('all.service', { placement: { global: true }, content: '[Service]\nExecStart=/bin/new\n' });
  await sim.advance(20_000);
  const restarted = () => ['a', 'b', 'c'].filter((name) => sim.agent(name).history.length > 1);
  assert.deepEqual(restarted(), ['a']);
  assert.match(sim.condition('units', 'all.service', 'UpToDate')?.message ?? '', /2 machines still to change.*machine 61000000: failed/);

  isBroken = false;
  await sim.advance(20_000);
  assert.deepEqual(restarted(), ['a', 'b', 'c']);
  assert.equal(sim.condition('units', 'all.service', 'UpToDate')?.status, 'True');
  assert.equal(sim.condition('units', 'all.service', 'Ready')?.status, 'True');
});

test('SEMANTICS 10: a global unit that is to be stopped is not ready for it while its machines still run it', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  const global = { placement: { global: true } };
  await sim.apply('all.service', global);
  await sim.advance(2_000);
  const early: string[] = [];
  sim.cache.subscribe(() => {
    const { metadata, status } = sim.cache.joined('units', 'all.service') ?? {};
    const { observedGeneration, conditions } = (status ?? {}) as {
      observedGeneration?: number;
      conditions?: { type: string; status: string }[];
    };
    const isSo = ['Ready', 'UpToDate'].every((type) => conditions?.find((one) => one.type === type)?.status === 'True');
    const runs = sim.running('all.service');
    if (metadata?.generation === 2 && observedGeneration === 2 && isSo && runs.length > 0) early.push(`runs on ${runs.join(', ')}`);
  });
  await sim.apply('all.service', { ...global, desiredState: 'loaded' });
  await sim.advance(5_000);
  assert.deepEqual(sim.running('all.service'), []);
  assert.deepEqual(early, []);
  assert.equal(sim.condition('units', 'all.service', 'Ready')?.status, 'True');
});

test('a global unit comes to a new machine and is deleted everywhere', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('all.service', { placement: { global: true } });
  await sim.rest();
  await sim.addMachine('b');
  await sim.advance(2_000);
  assert.deepEqual(sim.running('all.service'), ['a', 'b']);
  await sim.remove('all.service');
  await sim.advance(3_000);
  assert.deepEqual(sim.running('all.service'), []);
  assert.equal(sim.cache.object('units', 'all.service'), undefined);
});

test('a replaced unit stops before its replacer starts', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('old.service');
  await sim.rest();
  sim.agent('a').stopTakesMs = 3_000;
  await sim.apply('new.service', { placement: { replaces: ['old*'] } });
  await sim.advance(2_000);
  assert.match(sim.condition('units', 'new.service', 'Scheduled')?.message ?? '', /waiting for old.service to give way/);
  await sim.advance(10_000);
  assert.deepEqual(sim.agent('a').history, ['start old.service', 'stop old.service', 'start new.service']);
  assert.match(sim.condition('units', 'old.service', 'Scheduled')?.message ?? '', /1 machine: replaced by new.service/);
});

test('a unit that waits for room is placed as soon as there is some', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('1.service', { placement: { conflicts: ['*.service'] } });
  await sim.apply('2.service');
  await sim.rest();
  assert.equal(sim.condition('units', '2.service', 'Scheduled')?.message, '1 machine: conflict with 1.service.');
  assert.equal(sim.condition('units', '2.service', 'Scheduled')?.reason, 'Unschedulable');
  await sim.addMachine('b');
  await sim.rest();
  assert.deepEqual(sim.running('2.service'), ['b']);
});

test('invariant 7: a stored value that cannot be read hurts only its own unit', async (t) => {
  const sim = await cluster(t, ['a', 'b']);
  await sim.apply('1.service');
  await sim.apply('2.service');
  await sim.rest();
  const garble = async (key: string) => {
    const { entry } = await sim.store.get(key);
    assert.ok(entry);
    const write = { compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'put', key, value: '{' } as const] };
    await sim.store.commit(write);
  };
  await garble(sim.keys.object('units', '1.service'));
  await garble(sim.keys.object('machines', machineId('b')));
  await sim.advance(70_000);
  assert.deepEqual([sim.running('1.service'), sim.running('2.service')], [['a'], ['b']]);
  await sim.apply('3.service');
  await sim.rest();
  assert.deepEqual(sim.running('3.service'), ['a']);
});

for (const about of ['Unit', 'Assignment'] as const) {
  test(`invariant 7, SEMANTICS 21: a leader whose ${about} nobody can read takes no follower with it, whoever leads the cluster`, async (t) => {
    const sim = await cluster(t, ['a', 'b']);
    await sim.apply('lead.service');
    await sim.apply('follow.service', { placement: { machineOf: ['lead.service'] } });
    await sim.advance(1_000);
    assert.deepEqual([sim.running('lead.service'), sim.running('follow.service')], [['a'], ['a']]);
    const key = about === 'Unit' ? sim.keys.object('units', 'lead.service') : sim.keys.assignment(machineId('a'), 'lead.service');
    const put = async (value: string) => {
      const { entry } = await sim.store.get(key);
      await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'put', key, value }] });
    };
    const { entry } = await sim.store.get(key);
    await put('{');
    await sim.servers.pop()!.end(sim);
    sim.addServer();
    await sim.advance(150_000);
    assert.deepEqual(sim.running('follow.service'), ['a']);
    assert.match(sim.condition('units', 'follow.service', 'Scheduled')?.message ?? '', /follows lead\.service.*cannot be read/);

    await put(entry!.value);
    await sim.advance(1_000);
    assert.deepEqual(sim.agent('a').history.toSorted(), ['start follow.service', 'start lead.service']);
    assert.equal(sim.condition('units', 'follow.service', 'Ready')?.status, 'True');
    assert.equal(sim.condition('units', 'follow.service', 'Scheduled')?.reason, 'Assigned');
  });
}

test('invariant 7, SEMANTICS 22: a Machine that nobody can read is held: what runs there stays, whatever it asks for and whoever leads the cluster', async (t) => {
  const sim = new SimCluster();
  t.after(() => sim.end());
  await sim.addMachine('a', { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] }, { disk: 'ssd' });
  await sim.addMachine('b');
  await sim.start();
  await sim.advance(25_000);
  await sim.apply('ssd.service', { placement: { machineMetadata: ['disk=ssd'], tolerations: [{ operator: 'Exists' }] } });
  await sim.apply('all.service', { placement: { global: true, machineMetadata: ['disk=ssd'], tolerations: [{ operator: 'Exists' }] } });
  await sim.machine('b', { unschedulable: true });
  await sim.rest();
  await sim.apply('anywhere.service', { placement: { tolerations: [{ operator: 'Exists' }] } });
  await sim.advance(3_000);
  await sim.machine('b', {});
  const units = ['ssd.service', 'all.service', 'anywhere.service'];
  assert.deepEqual(
    units.map((unit) => sim.running(unit)),
    [['a'], ['a'], ['a']],
  );
  const key = sim.keys.object('machines', machineId('a'));
  const put = async (value: string) => {
    const { entry } = await sim.store.get(key);
    await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'put', key, value }] });
  };
  const { entry } = await sim.store.get(key);
  await put('{');
  await sim.servers.pop()!.end(sim);
  sim.addServer();
  await sim.advance(150_000);
  assert.deepEqual(
    units.map((unit) => sim.running(unit)),
    [['a'], ['a'], ['a']],
  );
  await put(entry!.value);
  await sim.advance(3_000);
  assert.deepEqual(sim.agent('a').history.toSorted(), ['start all.service', 'start anywhere.service', 'start ssd.service']);
  assert.equal(sim.condition('units', 'ssd.service', 'Scheduled')?.reason, 'Assigned');
});

test('invariant 13: a table of units that is suddenly empty stops nothing', async (t) => {
  const sim = await cluster(t, ['a', 'b']);
  const units = ['1.service', '2.service', '3.service', '4.service'];
  for (const unit of units) await sim.apply(unit);
  await sim.rest();
  for (const unit of units) {
    const key = sim.keys.object('units', unit);
    const { entry } = await sim.store.get(key);
    await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'delete', key }] });
  }
  await sim.advance(120_000);
  for (const unit of units) assert.equal(sim.running(unit).length, 1);
});

// --- the leader ---------------------------------------------------------------------------------------------------------------------

test('a leader whose store does not answer is followed by another one, and none of its writes come late (invariant 3)', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c'], 2);
  const [first, second] = sim.servers;
  first!.store.faults.frozen = true;
  await sim.apply('1.service');
  await sim.advance(15_000);
  assert.deepEqual([...second!.cache.assignmentsOf('1.service').keys()], [machineId('a')]);
  const { entry } = await sim.store.get(sim.keys.assignment(machineId('a'), '1.service'));
  first!.store.faults.frozen = false;
  await sim.advance(15_000);
  assert.deepEqual(await sim.store.get(sim.keys.assignment(machineId('a'), '1.service')).then((got) => got.entry), entry);
  assert.deepEqual(sim.running('1.service'), ['a']);
});

test('SEMANTICS 5: texts that nothing names go after a grace, and those that are named stay', async (t) => {
  const sim = await cluster(t, ['a']);
  await sim.apply('web.service', { content: '[Service]\nExecStart=/bin/old\n' });
  await sim.rest();
  await sim.apply('web.service', { content: '[Service]\nExecStart=/bin/new\n' });
  await sim.rest();
  assert.equal(sim.cache.contents().size, 2);
  await sim.advance(gcLimits.graceMs - 60_000);
  assert.equal(sim.cache.contents().size, 2, 'the next apply may name it again');
  await sim.advance(180_000);
  assert.deepEqual(
    [...sim.cache.contents().values()].map(({ value }) => value),
    ['[Service]\nExecStart=/bin/new\n'],
  );
});

test('SEMANTICS 22: nothing is pruned while caution lasts, and afterwards it is', async (t) => {
  const sim = await cluster(t, ['a', 'b', 'c']);
  await sim.apply('web.service', { desiredState: 'inactive', content: '[Service]\nExecStart=/bin/old\n' });
  await sim.apply('web.service', { desiredState: 'inactive', content: '[Service]\nExecStart=/bin/new\n' });
  for (const machine of ['b', 'c']) sim.agent(machine).cutOff();
  await sim.advance(2 * gcLimits.graceMs);
  assert.equal(sim.condition('machines', 'b', 'Caution')?.reason, 'TooManyLost');
  assert.equal(sim.cache.contents().size, 2);
  for (const machine of ['b', 'c']) await sim.agent(machine).connect();
  await sim.advance(gcLimits.graceMs + 180_000);
  assert.equal(sim.cache.contents().size, 1);
});

for (const about of ['its Unit', 'its Assignment'] as const) {
  test(`SEMANTICS 5, invariant 13: while ${about} cannot be read, a text is not taken for one that nothing names`, async (t) => {
    const sim = await cluster(t, ['a']);
    await sim.apply('web.service', { desiredState: about === 'its Unit' ? 'inactive' : 'launched' });
    await sim.rest();
    const key = about === 'its Unit' ? sim.keys.object('units', 'web.service') : sim.keys.assignment(machineId('a'), 'web.service');
    const { entry } = await sim.store.get(key);
    await sim.store.commit({ compares: [{ key, modRevision: entry!.modRevision }], operations: [{ do: 'put', key, value: '{' }] });
    if (about === 'its Assignment') {
      const unit = sim.keys.object('units', 'web.service');
      const row = (await sim.store.get(unit)).entry!;
      await sim.store.commit({ compares: [{ key: unit, modRevision: row.modRevision }], operations: [{ do: 'delete', key: unit }] });
    }
    const states = sim.cache.statesOf('web.service').size;
    await sim.advance(gcLimits.graceMs + 180_000);
    assert.deepEqual([sim.cache.contents().size, sim.cache.statesOf('web.service').size], [1, states]);
  });
}

for (const { name, value } of [
  { name: 'no JSON', value: '{' },
  { name: 'no conditions', value: '{"conditions": 7}' },
  { name: 'nested so deep that the stack ends', value: `${'['.repeat(20_000)}${']'.repeat(20_000)}` },
]) {
  test(`invariant 7: conditions that nobody can read (${name}) are said anew, and hold back neither unit nor machine`, async (t) => {
    const sim = await cluster(t, ['a']);
    const keys = ['units/web.service', `machines/${machineId('a')}`].map((about) => `/flotilla/conditions/${about}`);
    for (const key of keys) {
      const { entry } = await sim.store.get(key);
      await sim.store.commit({ compares: [{ key, modRevision: entry?.modRevision ?? 0 }], operations: [{ do: 'put', key, value }] });
    }
    await sim.apply('web.service');
    await sim.rest();
    await sim.advance(60_000);
    assert.deepEqual(sim.running('web.service'), ['a']);
    assert.equal(sim.condition('units', 'web.service', 'Ready')?.status, 'True');
    assert.equal(sim.condition('machines', 'a', 'Ready')?.status, 'True');
    assert.deepEqual([...sim.cache.broken.keys()], []);
  });
}
