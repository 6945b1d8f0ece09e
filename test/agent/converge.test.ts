import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentWorld, assignment, service } from './world.js';

test('a new unit is written, started once and reported', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  assert.deepEqual(world.systemd.changes, ['start web.service']);
  const state = world.agent.state('web.service');
  assert.equal(state?.active, 'active');
  assert.equal(state?.generation, 1);
  assert.equal(state?.textHash, state?.runningHash);
  assert.equal(state?.type, 'simple');
  assert.ok(state?.mainPID !== undefined && state.invocationID !== undefined);
});

test('a start costs one look before it, and one after it only when systemd has not told of it', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('told.service'));
  assert.deepEqual(world.systemd.calls, ['list', 'start told.service']);
  world.systemd.calls.length = 0;
  world.systemd.faults.add('silent');
  await world.want(assignment('told.service'), assignment('silent.service'));
  assert.deepEqual(world.systemd.calls.slice(-3), ['start silent.service', 'list', 'details silent.service']);
  assert.equal(world.agent.state('silent.service')?.active, 'active');
});

test('invariant 14, SEMANTICS 15: once nothing changes nothing is done, and a resync is one call', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('a.service'), assignment('b.service', service('Type=oneshot\nExecStart=/bin/true')));
  world.systemd.calls.length = 0;
  await world.agent.resync();
  await world.rest(120_000);
  assert.deepEqual(world.systemd.calls, ['list']);
});

test('SEMANTICS 15: a refused name costs no more than one call a resync either', async () => {
  const world = await AgentWorld.start({ vendor: { 'sshd.service': service('ExecStart=/usr/sbin/sshd') } });
  await world.want(assignment('sshd.service'));
  world.systemd.calls.length = 0;
  await world.agent.resync();
  await world.rest(120_000);
  assert.deepEqual(world.systemd.calls, ['list']);
});

test('invariant 5: a new agent adopts what runs, same PID, no changing call', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  const pid = world.systemd.mainPID('web.service');
  world.killAgent();
  await world.startAgent();
  const changes = await world.changesDuring(() => world.want(assignment('web.service', service(), { generation: 2 })));
  assert.deepEqual(changes, []);
  assert.equal(world.systemd.mainPID('web.service'), pid);
  assert.equal(world.agent.state('web.service')?.generation, 2);
});

test('invariant 5: the fault that restarts on adoption is noticed by its PID', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  const pid = world.systemd.mainPID('web.service');
  world.systemd.faults.add('looking-restarts');
  world.killAgent();
  await world.startAgent();
  await world.want(assignment('web.service'));
  assert.notEqual(world.systemd.mainPID('web.service'), pid);
});

test('SEMANTICS 12: a changed text restarts once, a comment never', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  const commented = `# why\n${service()}`;
  assert.deepEqual(await world.changesDuring(() => world.want(assignment('web.service', commented, { generation: 2 }))), []);
  assert.match(world.files.entries.get('web.service') ?? '', /# why/);
  const changed = service('ExecStart=/bin/sleep infinity\nNice=5');
  const changes = await world.changesDuring(() => world.want(assignment('web.service', changed, { generation: 3 })));
  assert.deepEqual(changes, ['stop web.service', 'start web.service']);
  assert.match(world.systemd.runningText('web.service') ?? '', /Nice=5/);
  assert.deepEqual(world.systemd.violations, []);
});

test('SEMANTICS 15: a reload only when something keeps the old file loaded', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  world.systemd.pin('web.service');
  const changes = await world.changesDuring(() =>
    world.want(assignment('web.service', service('ExecStart=/bin/sleep 1000'), { generation: 2 })),
  );
  assert.deepEqual(changes, ['stop web.service', 'reload', 'start web.service']);
  assert.match(world.systemd.runningText('web.service') ?? '', /sleep 1000/);
});

test('SEMANTICS 15: no reload for a failed unit whose text changed', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service', service('ExecStart=/bin/sh -c "exit 3"')));
  const changes = await world.changesDuring(() => world.want(assignment('web.service', service(), { generation: 2 })));
  assert.deepEqual(changes, ['resetFailed web.service', 'start web.service']);
  assert.deepEqual(world.systemd.violations, []);
});

test('SEMANTICS 11: a restart request restarts once, and a new agent does not repeat it', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  const asked = assignment('web.service', service(), { restart: '2026-01-01T12:00:00Z' });
  assert.deepEqual(await world.changesDuring(() => world.want(asked)), ['stop web.service', 'start web.service']);
  world.killAgent();
  await world.startAgent();
  assert.deepEqual(await world.changesDuring(() => world.want(asked)), []);
});

test('a unit that could not be started for want of another is started once that one has come, and not before', async () => {
  const world = await AgentWorld.start();
  const [socket, itsService] = [assignment('echo.socket', '[Socket]\nListenStream=/run/echo\n'), assignment('echo.service', service())];
  await world.want(socket);
  assert.equal(world.agent.state('echo.socket')?.problem?.reason, 'StartFailed');
  assert.match(world.agent.state('echo.socket')!.problem!.message, /before anything of it ran/);
  assert.deepEqual(await world.changesDuring(() => world.want(socket)), []);
  assert.deepEqual(await world.changesDuring(() => world.want(socket, itsService)), ['start echo.service', 'start echo.socket']);
  assert.equal(world.systemd.active('echo.socket'), 'active');
  assert.equal(world.agent.state('echo.socket')?.problem, undefined);
  assert.deepEqual(await world.changesDuring(() => world.want(socket, itsService, assignment('more.service'))), ['start more.service']);
});

test('what a running unit wants is started with it, whichever of the two came first', async () => {
  const target = assignment('all.target', '[Unit]\nWants=member.service\n');
  const member = assignment('member.service', service(), { wanted: 'loaded' });
  for (const order of [
    [target, member],
    [member, target],
  ]) {
    const world = await AgentWorld.start();
    await world.want(order[0]!);
    await world.want(...order);
    assert.equal(world.systemd.active('member.service'), 'active');
    assert.equal(world.systemd.starts.get('all.target'), 1);
    await world.systemd.byHand('stop', 'member.service');
    assert.deepEqual(await world.changesDuring(() => world.want(...order)), [], 'once');
    assert.equal(world.systemd.active('member.service'), 'inactive');
  }
});

test('what only a unit wants that has ended is not started, and neither is what nobody wants', async () => {
  const world = await AgentWorld.start();
  const oneshot = assignment('once.service', '[Unit]\nWants=member.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n');
  await world.want(oneshot);
  const loaded = ['member.service', 'other.service'].map((name) => assignment(name, service(), { wanted: 'loaded' }));
  assert.deepEqual(await world.changesDuring(() => world.want(oneshot, ...loaded)), []);
});

test('SEMANTICS 8: removed means stopped, file gone, and reported gone', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service', `${service()}[Install]\nWantedBy=multi-user.target\n`));
  assert.ok(world.files.entries.has('multi-user.target.wants/web.service'));
  await world.want(assignment('web.service', service(), { remove: 'the Unit was deleted' }));
  assert.equal(world.systemd.active('web.service'), 'inactive');
  assert.deepEqual([...world.files.entries.keys()], []);
  assert.equal(world.agent.state('web.service')?.gone, true);
  assert.deepEqual(world.systemd.violations, []);
});

test('invariant 9: stop is awaited before the file vanishes', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  world.systemd.stick('web.service');
  await world.want(assignment('web.service', service(), { remove: 'the Unit was deleted' }));
  assert.ok(world.files.entries.has('web.service'));
  assert.equal(world.agent.state('web.service')?.gone, undefined);
  await world.rest(10_000);
  assert.equal(world.agent.state('web.service')?.problem?.reason, 'StopPending');
  world.systemd.release('web.service');
  await world.rest();
  assert.equal(world.agent.state('web.service')?.gone, true);
  assert.deepEqual(world.systemd.violations, []);
});

test('invariant 9: a systemd that says done too early does not make the file vanish', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  world.systemd.faults.add('stop-is-not-awaited');
  world.systemd.stick('web.service');
  await world.want(assignment('web.service', service(), { remove: 'the Unit was deleted' }));
  assert.ok(world.files.entries.has('web.service'), 'the state is read back, the job result is not believed');
  world.systemd.release('web.service');
  await world.rest(60_000);
  assert.equal(world.agent.state('web.service')?.gone, true);
  assert.deepEqual(world.systemd.violations, []);
});

test('invariant 9: one stuck unit delays only itself', async () => {
  const world = await AgentWorld.start();
  const others = Array.from({ length: 80 }, (_, index) => assignment(`u${index}.service`));
  await world.want(assignment('stuck.service'), ...others.slice(0, 40));
  world.systemd.stick('stuck.service');
  await world.want(assignment('stuck.service', service(), { remove: 'deleted' }), ...others);
  for (const { unit } of others) assert.equal(world.systemd.active(unit), 'active', unit);
  assert.equal(world.systemd.active('stuck.service'), 'deactivating');
  world.systemd.release('stuck.service');
  await world.rest();
});

test('leaving comes first: a port is free for the unit that arrives', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('old.service'));
  const changes = await world.changesDuring(() =>
    world.want(assignment('a-new.service'), assignment('old.service', service(), { remove: 'replaced' })),
  );
  assert.deepEqual(changes, ['stop old.service', 'start a-new.service']);
});

test('invariant 6, SEMANTICS 14: a unit of the machine, an alias of one and an instance of its template are refused', async () => {
  const vendor = { 'sshd.service': service('ExecStart=/usr/sbin/sshd'), 'getty@.service': service('ExecStart=/sbin/agetty') };
  const world = await AgentWorld.start({ vendor, aliases: { 'ssh.service': 'sshd.service' } });
  await world.want(assignment('sshd.service'), assignment('ssh.service'), assignment('getty@9.service'), assignment('ok.service'));
  for (const name of ['sshd.service', 'ssh.service', 'getty@9.service']) {
    const state = world.agent.state(name);
    assert.equal(state?.problem?.reason, 'NameTaken', name);
    assert.equal(state?.textHash, '', name);
    assert.equal(state?.load, 'not-found', 'the machine’s own unit is none of the reported one');
  }
  assert.deepEqual(world.systemd.changes, ['start ok.service']);
  assert.deepEqual([...world.files.entries.keys()], ['ok.service']);
  await world.want(...['sshd.service', 'ssh.service', 'getty@9.service'].map((name) => assignment(name, service(), { remove: 'deleted' })));
  assert.equal(world.agent.state('sshd.service')?.gone, true);
  assert.deepEqual(world.systemd.changes, ['start ok.service', 'stop ok.service']);
});

test('SEMANTICS 14: an alias in [Install] that the machine has itself is not linked, and that is said', async () => {
  const world = await AgentWorld.start({ vendor: { 'sshd.service': service('ExecStart=/usr/sbin/sshd') } });
  await world.want(assignment('web.service', `${service()}[Install]\nAlias=sshd.service www.service\n`));
  assert.equal(world.files.entries.get('www.service'), '-> web.service');
  assert.equal(world.files.entries.has('sshd.service'), false);
  assert.equal(world.agent.state('web.service')?.problem?.reason, 'LinkTaken');
  assert.equal(world.agent.state('web.service')?.active, 'active');
});

test('invariant 6: a file that is not ours is not touched', async () => {
  const world = await AgentWorld.start();
  world.files.entries.set('web.service', service('ExecStart=/bin/sleep 7'));
  await world.want(assignment('web.service'));
  await world.want(assignment('web.service', service(), { remove: 'deleted' }));
  assert.equal(world.files.entries.get('web.service'), service('ExecStart=/bin/sleep 7'));
  assert.deepEqual(world.systemd.changes, []);
});

test('SEMANTICS 13: a text that systemd does not load: the old one comes back and runs, and a problem says so', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  await world.want(assignment('web.service', '[Service]\nType=simple\n', { generation: 2 }));
  const state = world.agent.state('web.service');
  assert.equal(state?.active, 'active');
  assert.equal(state?.generation, 1);
  assert.equal(state?.problem?.reason, 'LoadFailed');
  assert.match(state?.problem?.message ?? '', /bad unit file setting: what is wrong with .*web\.service; the one before/);
  assert.match(world.systemd.runningText('web.service') ?? '', /sleep infinity/);
  assert.deepEqual(await world.changesDuring(() => world.rest(600_000)), [], 'it is not tried again');
  await world.want(assignment('web.service', service('ExecStart=/bin/sleep 5'), { generation: 3 }));
  assert.equal(world.agent.state('web.service')?.problem, undefined);
  assert.equal(world.agent.state('web.service')?.generation, 3);
});

test('SEMANTICS 13: with the old text its enable links come back, and those of the refused text go', async () => {
  const world = await AgentWorld.start();
  const links = () => [...world.files.entries].filter(([, text]) => text.startsWith('-> ')).map(([path]) => path);
  await world.want(assignment('web.service', `${service()}[Install]\nWantedBy=multi-user.target\n`));
  assert.deepEqual(links(), ['multi-user.target.wants/web.service']);
  const refused = '[Service]\nType=simple\n[Install]\nWantedBy=other.target\n';
  await world.want(assignment('web.service', refused, { generation: 2 }));
  assert.equal(world.agent.state('web.service')?.problem?.reason, 'LoadFailed');
  assert.deepEqual(links(), ['multi-user.target.wants/web.service']);
});

test('SEMANTICS 11: a stop by hand is repaired, at most once a minute', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  const first = await world.changesDuring(async () => {
    await world.systemd.byHand('stop', 'web.service');
    await world.rest();
  });
  assert.deepEqual(first, ['start web.service']);
  const second = await world.changesDuring(async () => {
    await world.systemd.byHand('stop', 'web.service');
    await world.rest(30_000);
  });
  assert.deepEqual(second, []);
  assert.equal(world.agent.state('web.service')?.problem?.reason, 'StoppedByHand');
  assert.deepEqual(await world.changesDuring(() => world.rest(40_000)), ['start web.service']);
  assert.equal(world.agent.state('web.service')?.problem, undefined);
});

test('a unit that requires one which is replaced comes back after it, and does not bring the old text back', async () => {
  const world = await AgentWorld.start();
  const needy = assignment('b.service', `[Unit]\nRequires=a.service\n${service()}`);
  await world.want(assignment('a.service'), needy);
  const changed = service('ExecStart=/bin/sleep infinity\nNice=5');
  world.systemd.stick('a.service');
  const meanwhile = await world.changesDuring(() => world.want(assignment('a.service', changed, { generation: 2 }), needy));
  assert.deepEqual(meanwhile, ['stop a.service']);
  assert.equal(world.systemd.active('b.service'), 'inactive', 'systemd stopped it, too');
  world.systemd.release('a.service');
  await world.rest();
  assert.match(world.systemd.runningText('a.service') ?? '', /Nice=5/);
  assert.equal(world.systemd.active('b.service'), 'active');
  assert.deepEqual([world.systemd.starts.get('a.service'), world.systemd.starts.get('b.service')], [2, 2]);
});

for (const { name, body, exit } of [
  { name: 'a daemon that ends', body: 'ExecStart=/bin/sleep infinity', exit: 0 },
  { name: 'a daemon that fails', body: 'ExecStart=/bin/sleep infinity', exit: 3 },
]) {
  test(`SEMANTICS 11: ${name} is reported, not restarted`, async () => {
    const world = await AgentWorld.start();
    await world.want(assignment('web.service', service(body)));
    const changes = await world.changesDuring(async () => {
      world.systemd.exit('web.service', exit);
      await world.agent.resync();
      await world.rest(300_000);
    });
    assert.deepEqual(changes, []);
    assert.equal(world.agent.state('web.service')?.exitStatus, exit);
  });
}

test('SEMANTICS 11: an ExecStartPre= that fails is reported with its status, which no signal tells', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service', service('ExecStartPre=/bin/sh -c "exit 9"\nExecStart=/bin/sleep infinity')));
  await world.rest();
  const { active, result, exitStatus } = world.agent.state('web.service')!;
  assert.deepEqual([active, result, exitStatus], ['failed', 'exit-code', 9]);
});

test('a type of unit that systemd does not support is not tried again, and its words are the problem until the unit is started anew', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('swap.swap', '[Swap]\nWhat=/nowhere\n'));
  await world.rest();
  assert.equal(world.agent.state('swap.swap')?.problem?.reason, 'Unsupported');
  assert.match(world.agent.state('swap.swap')!.problem!.message, /not supported on this system/);
  world.killAgent();
  await world.startAgent();
  assert.deepEqual(await world.changesDuring(() => world.want(assignment('swap.swap', '[Swap]\nWhat=/nowhere\n'))), []);
  assert.equal(world.agent.state('swap.swap')?.problem?.reason, 'Unsupported', 'a new agent knows it, too');
});

test('SEMANTICS 11: a oneshot that a timer starts ends without being started again', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('job.service', service('Type=oneshot\nExecStart=/bin/true')));
  const changes = await world.changesDuring(async () => {
    await world.systemd.byHand('start', 'job.service');
    await world.rest(120_000);
  });
  assert.deepEqual(changes, []);
  assert.equal(world.systemd.starts.get('job.service'), 2);
});

test('SEMANTICS 11: after a reboot it is started again, once', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  await world.reboot();
  assert.deepEqual(await world.changesDuring(() => world.want(assignment('web.service'))), ['start web.service']);
});

test('SEMANTICS 16: before a server has spoken nothing is let go, and starts are held as the policy says', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('here.service'));
  world.killAgent();
  await world.startAgent(false);
  world.agent.setPolicy({ mayLeave: false, startHeld: ({ failover }) => (failover === 'stay' ? undefined : 'waiting for a server') });
  const changes = await world.changesDuring(async () => {
    world.agent.change([assignment('pinned.service', service(), { failover: 'stay' }), assignment('movable.service')], []);
    await world.rest(60_000);
  });
  assert.deepEqual(changes, ['start pinned.service']);
  assert.equal(world.systemd.active('here.service'), 'active', 'unknown to the last-known-good, and left alone');
  assert.equal(world.agent.state('movable.service')?.problem?.reason, 'StartHeld');
});

test('the bus goes away in mid-work and comes back: everything is looked at again', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('a.service'));
  world.systemd.disconnect();
  await world.want(assignment('a.service'), assignment('b.service'));
  assert.equal(world.agent.state('b.service'), undefined);
  world.systemd.exit('a.service', 3);
  world.systemd.connect();
  await world.rest();
  assert.equal(world.systemd.active('b.service'), 'active');
  assert.equal(world.agent.state('a.service')?.active, 'failed');
});

test('invariant 4: with no signal at all, the resync still finds out', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('web.service'));
  world.systemd.faults.add('silent');
  world.systemd.exit('web.service', 3);
  await world.rest();
  assert.equal(world.agent.state('web.service')?.active, 'active');
  await world.agent.resync();
  await world.rest();
  assert.equal(world.agent.state('web.service')?.active, 'failed');
  assert.equal(world.agent.state('web.service')?.exitStatus, 3);
});

test('files edited or deleted by hand come back at the resync, and nothing is restarted', async () => {
  const world = await AgentWorld.start();
  await world.want(assignment('a.service'), assignment('b.service'));
  const [a, b] = [world.files.entries.get('a.service')!, world.files.entries.get('b.service')!];
  world.files.entries.set('a.service', `${a}Nice=5\n`);
  world.files.entries.delete('b.service');
  const changes = await world.changesDuring(async () => {
    await world.agent.resync();
    await world.rest();
  });
  assert.deepEqual(changes, []);
  assert.equal(world.files.entries.get('a.service'), a);
  assert.equal(world.files.entries.get('b.service'), b);
});

test('a start that fails for another reason than its text is tried again, and the reason is told', async () => {
  const world = await AgentWorld.start();
  const needy = `[Unit]\nRequires=db.service\n${service()}`;
  await world.want(assignment('web.service', needy));
  assert.match(world.agent.state('web.service')?.problem?.message ?? '', /db\.service not found/);
  await world.want(assignment('web.service', needy), assignment('db.service'));
  await world.rest(120_000);
  assert.equal(world.systemd.active('web.service'), 'active');
  assert.equal(world.agent.state('web.service')?.problem, undefined);
});

test('the last run of a finished oneshot is still known to a new agent, from what the server has stored', async () => {
  const world = await AgentWorld.start();
  const job = assignment('job.service', service('Type=oneshot\nExecStart=/bin/true'));
  await world.want(job);
  const before = world.agent.state('job.service')!;
  assert.equal(before.result, 'success');
  world.killAgent();
  await world.startAgent();
  world.agent.replace([job]);
  world.agent.remember({ 'job.service': before });
  await world.rest();
  assert.deepEqual(world.agent.state('job.service'), before);
  assert.equal(world.systemd.starts.get('job.service'), 1);
});
