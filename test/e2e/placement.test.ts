/** Where units run, on three real machines: every placement option, and what cordons, drains, changes and new machines do to it. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { conditionOf, type Stamp, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

// Metadata of the machines: m1 zone=z1 disk=ssd, m2 zone=z2 disk=ssd, m3 zone=z3 disk=hdd.

describe('placement on three machines', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
  });
  after(async () => {
    await cluster?.stop();
  });
  afterEach(async () => {
    await cluster.dev.mustCli(['uncordon', 'm1', 'm2', 'm3']);
    const names = (await cluster.units()).map((unit) => unit.metadata.name);
    if (names.length > 0) await cluster.dev.mustCli(['delete', 'unit', ...names]);
  });

  const idOf = (hostname: string) => machineNamed(hostname).options.machineId;
  function machineNamed(hostname: string): SystemdMachine {
    const machine = cluster.dev.machines.find(({ options }) => options.hostname === hostname);
    assert.ok(machine);
    return machine;
  }
  const hostOf = (id: string | undefined) => cluster.dev.machines.find(({ options }) => options.machineId === id)?.options.hostname;
  /** The host on which it runs, once it does. */
  const placeOf = async (name: string) => hostOf((await cluster.untilReady(name)).status?.machine);
  const placesOf = (...names: string[]) => Promise.all(names.map(placeOf));
  /** Hosts that a unit is assigned to. */
  const assignedTo = async (unit: string) => {
    const { items } = await cluster.dev.list<{ spec: { unit: string; machine: string } }>('assignments');
    return items
      .filter(({ spec }) => spec.unit === unit)
      .map(({ spec }) => hostOf(spec.machine))
      .sort();
  };
  /** Why it is on no machine, once it is known. */
  const whyNot = async (name: string) => {
    const unit = await cluster.untilUnit(name, 'without a place', (seen) => conditionOf(seen, 'Scheduled')?.status === 'False');
    const message = conditionOf(unit, 'Scheduled')?.message ?? '';
    assert.ok((await cluster.dev.mustCli(['describe', 'unit', name])).includes(message), 'describe says so too');
    return message;
  };
  const stampsOf = async (unit: string, ...what: Stamp['what'][]) =>
    (await cluster.stamps(unit)).filter((stamp) => what.length === 0 || what.includes(stamp.what));
  const lastOf = async (unit: string, what: Stamp['what']): Promise<Stamp> => {
    const stamp = (await stampsOf(unit, what)).at(-1);
    assert.ok(stamp, `${unit} has never had a ${what}`);
    return stamp;
  };

  test('MachineMetadata: values of one key are alternatives, different keys must all match', async () => {
    const wants = (...machineMetadata: string[]) => ({ placement: { machineMetadata } });
    const fleet = '[X-Fleet]\nMachineMetadata=zone=z2\nMachineMetadata=zone=z3\nMachineMetadata=disk=hdd\n';
    await cluster.apply(
      unitManifest('both-keys.service', stampingUnit(), wants('disk=ssd', 'zone=z2')),
      unitManifest('either.service', stampingUnit(), wants('zone=z1', 'zone=z3', 'disk=hdd')),
      unitManifest('as-fleet.service', stampingUnit({ sections: fleet })),
      unitManifest('quoted.service', stampingUnit({ sections: '[X-Fleet]\nMachineMetadata="zone=z1" "disk=ssd"\n' })),
      unitManifest('none.service', stampingUnit(), wants('disk=nvme')),
    );
    assert.deepEqual(await placesOf('both-keys.service', 'either.service', 'as-fleet.service', 'quoted.service'), ['m2', 'm3', 'm3', 'm1']);
    assert.match(await whyNot('none.service'), /^3 machines: no metadata disk=nvme/);
  });

  test('Conflicts by globs, whichever of the two says it', async () => {
    const apart = stampingUnit({ sections: '[X-Fleet]\nConflicts=apart@*.service\n' });
    await cluster.apply(...[1, 2, 3].map((index) => unitManifest(`apart@${index}.service`, apart)));
    const places = await placesOf('apart@1.service', 'apart@2.service', 'apart@3.service');
    assert.deepEqual(places.toSorted(), ['m1', 'm2', 'm3']);
    await cluster.apply(unitManifest('apart@4.service', apart));
    assert.match(
      await whyNot('apart@4.service'),
      /conflict with apart@1\.service.*conflict with apart@2\.service.*conflict with apart@3\.service/,
    );

    // The other one says it: this one has no word about conflicts.
    await cluster.apply(
      unitManifest('lonely.service', stampingUnit(), { placement: { machineMetadata: ['zone=z1'], conflicts: ['quiet*'] } }),
    );
    await cluster.untilReady('lonely.service');
    await cluster.apply(unitManifest('quiet.service', stampingUnit(), { placement: { machineMetadata: ['zone=z1'] } }));
    assert.match(await whyNot('quiet.service'), /1: conflict with lonely\.service|1 machine: conflict with lonely\.service/);
    await cluster.dev.mustCli(['delete', 'unit', 'lonely.service']);
    assert.equal(await placeOf('quiet.service'), 'm1', 'and runs as soon as it can');
  });

  test('Global with metadata runs on every machine that fits, and on no other', async () => {
    await cluster.apply(
      unitManifest('everywhere.service', stampingUnit({ sections: '[X-Fleet]\nGlobal=true\nMachineMetadata=disk=ssd\n' })),
    );
    const unit = await cluster.untilReady('everywhere.service');
    assert.equal(unit.status?.machine, undefined);
    assert.deepEqual(await assignedTo('everywhere.service'), ['m1', 'm2']);
    await until('a start on each', async () => (await stampsOf('everywhere.service', 'start')).length === 2);
    assert.equal((await cluster.show(machineNamed('m3'), 'everywhere.service', 'LoadState')).LoadState, 'not-found');
    const started = await stampsOf('everywhere.service', 'start');
    assert.deepEqual(started.map(({ machine }) => machine).sort(), ['m1', 'm2']);
  });

  test('MachineID in full and by its first 8 characters', async () => {
    await cluster.apply(
      unitManifest('short.service', stampingUnit({ sections: `[X-Fleet]\nMachineID=${idOf('m2').slice(0, 8)}\n` })),
      unitManifest('full.service', stampingUnit(), { placement: { machineID: idOf('m3') } }),
      unitManifest('nowhere.service', stampingUnit(), { placement: { machineID: 'ffffffff' } }),
    );
    assert.deepEqual(await placesOf('short.service', 'full.service'), ['m2', 'm3']);
    assert.match(await whyNot('nowhere.service'), /^There is no machine ffffffff/);
  });

  test("fleet's deprecated X- names", async () => {
    await cluster.apply(
      unitManifest('old-id.service', stampingUnit({ sections: `[X-Fleet]\nX-ConditionMachineID=${idOf('m2')}\n` })),
      unitManifest('old-metadata.service', stampingUnit({ sections: '[X-Fleet]\nX-ConditionMachineMetadata=zone=z3\n' })),
      unitManifest('old-of.service', stampingUnit({ sections: '[X-Fleet]\nX-ConditionMachineOf=old-metadata.service\n' })),
    );
    assert.deepEqual(await placesOf('old-id.service', 'old-metadata.service', 'old-of.service'), ['m2', 'm3', 'm3']);
    // Only now: of two that conflict, the one that was placed first stays.
    await cluster.apply(
      unitManifest('old-conflict.service', stampingUnit({ sections: '[X-Fleet]\nX-Conflicts=old-id.service\nMachineMetadata=zone=z2\n' })),
    );
    assert.match(await whyNot('old-conflict.service'), /conflict with old-id\.service/);
  });

  test('Replaces: what is replaced gives way, and is gone before the other starts', async () => {
    await cluster.apply(unitManifest('old-1.service', stampingUnit(), { placement: { machineMetadata: ['zone=z2', 'zone=z3'] } }));
    const from = await placeOf('old-1.service');
    await cluster.apply(
      unitManifest('new.service', stampingUnit(), {
        placement: { machineMetadata: [`zone=z${from!.slice(1)}`], replaces: ['old-*.service'] },
      }),
    );
    assert.equal(await placeOf('new.service'), from);
    const moved = await cluster.untilUnit(
      'old-1.service',
      'elsewhere',
      ({ status }) => status?.active === 'active' && hostOf(status.machine) !== from,
    );
    assert.deepEqual([from, hostOf(moved.status?.machine)].sort(), ['m2', 'm3']);
    const stopped = await lastOf('old-1.service', 'stop');
    assert.equal(stopped.machine, from);
    assert.ok(stopped.at <= (await lastOf('new.service', 'start')).at, 'stopped before the new one started');
  });

  test('what cannot be placed says why, machine by machine in sum; and is placed when that changes', async () => {
    await cluster.apply(unitManifest('in-the-way.service', stampingUnit(), { placement: { machineID: idOf('m2') } }));
    await cluster.untilReady('in-the-way.service');
    await cluster.dev.mustCli(['cordon', 'm1']);
    const picky = unitManifest('picky.service', stampingUnit(), { placement: { machineMetadata: ['disk=ssd'], conflicts: ['in-the-*'] } });
    await cluster.apply(picky);
    assert.match(await whyNot('picky.service'), /^1 machine: conflict with in-the-way\.service, 1: cordoned, 1: no metadata disk=ssd\.?$/);
    assert.match(await cluster.dev.mustCli(['get', 'units']), /picky\.service +launched/);
    await cluster.dev.mustCli(['uncordon', 'm1']);
    assert.equal(await placeOf('picky.service'), 'm1');
  });

  test('cordon keeps new units away and moves none; uncordon lets them in', async () => {
    await cluster.apply(unitManifest('before.service', stampingUnit(), { placement: { machineMetadata: ['zone=z1'] } }));
    await cluster.untilReady('before.service');
    await cluster.dev.mustCli(['cordon', 'm1', 'm2']);
    assert.match(await cluster.dev.mustCli(['get', 'machines']), /m1 .*Ready,(SchedulingDisabled|Cordoned)|m1 .*cordoned/i);
    await cluster.apply(...['c1', 'c2'].map((name) => unitManifest(`${name}.service`, stampingUnit())));
    assert.deepEqual(await placesOf('c1.service', 'c2.service'), ['m3', 'm3']);
    await cluster.dev.mustCli(['cordon', 'm3']);
    await cluster.apply(unitManifest('c3.service', stampingUnit()));
    assert.match(await whyNot('c3.service'), /^3 machines: cordoned/);
    assert.deepEqual((await stampsOf('before.service')).length, 1, 'what ran there was left alone');
    await cluster.dev.mustCli(['uncordon', 'm2']);
    assert.equal(await placeOf('c3.service'), 'm2');
  });

  test('requests of cpu and memory fill a machine up, and no further', async () => {
    const { items } = await cluster.dev.list<{ status: { info: { cpus: number; memoryBytes: number } } }>('machines');
    const { cpus, memoryBytes } = items[0]!.status.info;
    const asks = (requests: Record<string, string>) => ({ resources: { requests } });
    const most = asks({ cpu: `${Math.floor(cpus * 600)}m` });
    await cluster.apply(...[1, 2, 3].map((index) => unitManifest(`wide-${index}.service`, stampingUnit(), most)));
    const places = await placesOf('wide-1.service', 'wide-2.service', 'wide-3.service');
    assert.deepEqual(places.toSorted(), ['m1', 'm2', 'm3'], 'two of them are more than a machine has');
    await cluster.apply(
      unitManifest('wide-4.service', stampingUnit(), most),
      unitManifest('huge.service', stampingUnit(), asks({ memory: String(memoryBytes + 1) })),
      unitManifest('modest.service', stampingUnit(), asks({ cpu: '10m', memory: '1Mi' })),
    );
    assert.match(await whyNot('wide-4.service'), /^3 machines: too little cpu/);
    assert.match(await whyNot('huge.service'), /^3 machines: too little memory/);
    await cluster.untilReady('modest.service');
    await cluster.dev.mustCli(['delete', 'unit', 'wide-2.service']);
    assert.equal(await placeOf('wide-4.service'), places[1], 'what is let go of is there for the next one');
  });

  test('SEMANTICS 21: a MachineOf group moves through a drain as one: followers stop, leader stops, leader starts, followers start', async () => {
    // Stopping and starting take a while, so that an order that is not kept is seen.
    const slow = stampingUnit({ extra: 'ExecStartPre=/bin/sleep 0.2\nExecStop=/bin/sleep 0.2' });
    const follows = { placement: { machineOf: ['leader.service'] } };
    await cluster.apply(
      unitManifest('leader.service', slow),
      unitManifest('follower-1.service', slow, follows),
      unitManifest('follower-2.service', slow, follows),
    );
    const names = ['leader.service', 'follower-1.service', 'follower-2.service'];
    const [from, ...theirs] = await placesOf(...names);
    assert.deepEqual(theirs, [from, from]);

    await cluster.dev.mustCli(['drain', from!]);
    const [to, ...after] = await placesOf(...names);
    assert.notEqual(to, from);
    assert.deepEqual(after, [to, to]);
    const [leaderStop, leaderStart] = [await lastOf('leader.service', 'stop'), await lastOf('leader.service', 'start')];
    assert.ok(leaderStop.at < leaderStart.at);
    for (const follower of names.slice(1)) {
      assert.ok((await lastOf(follower, 'stop')).at <= leaderStop.at, `${follower} stopped before its leader`);
      assert.ok((await lastOf(follower, 'start')).at >= leaderStart.at, `${follower} started after its leader`);
    }
    for (const name of names)
      assert.deepEqual(
        (await stampsOf(name)).map(({ what }) => what),
        ['start', 'stop', 'start'],
        `${name} moved once`,
      );
  });

  test('drain moves units one by one, each stopped before it starts elsewhere; what is global or pinned stays', async () => {
    const slow = stampingUnit({ extra: 'ExecStartPre=/bin/sleep 0.2' });
    const movable = ['d1.service', 'd2.service', 'd3.service', 'd4.service'];
    await cluster.dev.mustCli(['cordon', 'm2', 'm3']);
    await cluster.apply(
      ...movable.map((name) => unitManifest(name, slow)),
      unitManifest('stays-pinned.service', slow, { placement: { machineID: idOf('m1') } }),
      unitManifest('stays-global.service', slow, { placement: { global: true } }),
    );
    for (const name of [...movable, 'stays-pinned.service']) assert.equal(await placeOf(name), 'm1');
    await cluster.dev.mustCli(['uncordon', 'm2', 'm3']);
    await until('the global one everywhere', async () => (await assignedTo('stays-global.service')).length === 3);
    // Its counts are written once a second: Ready may still be about the one machine that it was on.
    await until('it to have started on each', async () => (await stampsOf('stays-global.service', 'start')).length === 3);
    const quiet = (await cluster.stamps()).length;

    const drained = await cluster.dev.cli(['drain', 'm1']);
    assert.equal(drained.code, 0, drained.stderr);
    assert.match(drained.stdout, /machine\/m1 drained/);
    for (const name of ['stays-pinned.service', 'stays-global.service']) assert.match(drained.stderr, new RegExp(`staying: .*${name} \\(`));
    for (const name of movable) assert.notEqual(await placeOf(name), 'm1');
    assert.equal(await placeOf('stays-pinned.service'), 'm1');
    assert.deepEqual(await assignedTo('stays-global.service'), ['m1', 'm2', 'm3']);

    const since = (await cluster.stamps()).slice(quiet);
    assert.deepEqual(new Set(since.map(({ unit }) => unit)), new Set(movable), 'nobody else was touched');
    // One after another, whole: stop, start, stop, start.
    assert.deepEqual(
      since.map(({ what }) => what),
      movable.flatMap(() => ['stop', 'start']),
    );
    for (let index = 0; index < since.length; index += 2)
      assert.equal(since[index]!.unit, since[index + 1]!.unit, 'the next one waits for it');
  });

  test('SEMANTICS 12: a changed global unit changes one machine at a time, each seen active before the next', async () => {
    const text = (note: string) => stampingUnit({ note, extra: 'ExecStartPre=/bin/sleep 0.3', sections: '[X-Fleet]\nGlobal=true\n' });
    await cluster.apply(unitManifest('rolling.service', text('one')));
    await cluster.untilReady('rolling.service');
    await until('a start on each', async () => (await stampsOf('rolling.service', 'start')).length === 3);
    await cluster.apply(unitManifest('rolling.service', text('two')));
    await until('all three to have changed', async () => (await stampsOf('rolling.service', 'start')).length === 6);
    await cluster.untilUnit('rolling.service', 'up to date', (unit) => conditionOf(unit, 'UpToDate')?.status === 'True');
    const changed = (await stampsOf('rolling.service')).slice(3);
    assert.deepEqual(
      changed.map(({ what }) => what),
      ['stop', 'start', 'stop', 'start', 'stop', 'start'],
    );
    for (const index of [0, 2, 4]) assert.equal(changed[index]!.machine, changed[index + 1]!.machine);
    assert.equal(new Set(changed.map(({ machine }) => machine)).size, 3);
  });

  test('a new machine moves nothing; the next unit goes to it', async () => {
    const names = ['n1.service', 'n2.service', 'n3.service', 'n4.service', 'n5.service', 'n6.service'];
    await cluster.apply(...names.map((name) => unitManifest(name, stampingUnit())));
    const before = await placesOf(...names);
    assert.deepEqual(before.toSorted(), ['m1', 'm1', 'm2', 'm2', 'm3', 'm3'], 'evenly spread');
    const stamps = (await cluster.stamps()).length;
    await cluster.dev.addMachine(4);
    await cluster.dev.untilMachinesReady(4);
    await cluster.apply(unitManifest('n7.service', stampingUnit()));
    assert.equal(await placeOf('n7.service'), 'm4', 'the least loaded');
    assert.deepEqual(await placesOf(...names), before);
    assert.equal((await cluster.stamps()).length, stamps + 1, 'one start, and nothing else');
  });
});
