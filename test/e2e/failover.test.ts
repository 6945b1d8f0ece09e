/** Machines die, are cut off and come back: SEMANTICS 8, 20, 22 and invariant 13 on real machines. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bootClock, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

/** Presence TTL, SEMANTICS 20. */
const ttl = 10;

describe('losing machines', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
  });
  after(async () => {
    await cluster?.stop();
  });

  test('a killed machine: its units run elsewhere, a pinned one waits, nobody else is touched', async () => {
    const names = ['a.service', 'b.service', 'c.service', 'd.service', 'e.service', 'f.service'];
    const victim = cluster.dev.machines[0]!;
    const pinned = unitManifest('pinned.service', stampingUnit(), { placement: { machineID: victim.options.machineId } });
    await cluster.apply(...names.map((name) => unitManifest(name, stampingUnit())), pinned);
    const before = await Promise.all(names.map((name) => cluster.untilReady(name)));
    await cluster.untilReady('pinned.service');
    const lost = before.filter((unit) => unit.status?.machine === victim.options.machineId).map((unit) => unit.metadata.name);
    assert.equal(lost.length > 0, true, 'least-loaded placement gives each machine a share');

    const killedAt = await bootClock();
    await victim.kill();
    for (const name of lost)
      await cluster.untilUnit(
        name,
        'elsewhere',
        (unit) => unit.status?.machine !== victim.options.machineId && unit.status?.active === 'active',
        4 * ttl * 1_000,
      );

    const started = (await cluster.stamps()).filter(({ what, at }) => what === 'start' && at > killedAt);
    assert.deepEqual(new Set(started.map(({ unit }) => unit)), new Set(lost), 'only what was lost was started again');
    assert.equal(started.length, lost.length, 'and each once');
    assert.equal((await cluster.unit('pinned.service'))?.status?.machine, victim.options.machineId);
    const words = await cluster.dev.mustCli(['describe', 'unit', 'pinned.service']);
    assert.match(words, /m1|lost|not ready|gone/i);

    // It comes back as it was: its disk remembers units that are no longer its own.
    await victim.boot();
    await cluster.dev.untilMachinesReady();
    await cluster.untilReady('pinned.service', 40_000);
    for (const name of lost) {
      await until(
        `${name} let go of by ${victim.options.hostname}`,
        async () => (await cluster.show(victim, name, 'LoadState')).LoadState === 'not-found',
      );
      assert.equal((await cluster.unit(name))?.status?.machine === victim.options.machineId, false, `${name} did not move back`);
    }
  });

  test('delete while its machine is dead: gone once presence is, and the copy goes when the machine is back', async () => {
    await cluster.apply(unitManifest('doomed.service', stampingUnit()));
    const machine = cluster.machineOf(await cluster.untilReady('doomed.service'));
    await machine.kill();
    const deleted = await cluster.dev.cli(['delete', 'unit', 'doomed.service', '--timeout=60s']);
    assert.equal(deleted.code, 0, deleted.stderr);
    assert.equal(await cluster.unit('doomed.service'), undefined);
    await machine.boot();
    await cluster.dev.untilMachinesReady();
    await until(
      'the old copy to be gone',
      async () => (await cluster.show(machine, 'doomed.service', 'LoadState')).LoadState === 'not-found',
    );
  });

  test('delete --force of a pinned unit does not wait for its dead machine', async () => {
    const machine = cluster.dev.machines[1]!;
    await cluster.apply(unitManifest('stuck.service', stampingUnit(), { placement: { machineID: machine.options.machineId } }));
    await cluster.untilReady('stuck.service');
    await machine.kill();
    await until('the machine not ready', async () => (await lostMachines(cluster)) === 1, { timeoutMs: 4 * ttl * 1_000 });
    const waiting = await cluster.dev.cli(['delete', 'unit', 'stuck.service', '--timeout=3s']);
    assert.equal(waiting.code, 1);
    assert.match(waiting.stderr, new RegExp(machine.options.machineId.slice(0, 8)), 'it says for which machine it waits');
    assert.equal(
      (await cluster.dev.cli(['apply', '-f', '-'], { input: unitManifest('stuck.service', stampingUnit()) })).code,
      1,
      'the name is taken until it is gone',
    );
    assert.equal((await cluster.dev.cli(['delete', 'unit', 'stuck.service', '--force', '--timeout=60s'])).code, 0);
    await machine.boot();
    await cluster.dev.untilMachinesReady();
    await until(
      'the old copy to be gone',
      async () => (await cluster.show(machine, 'stuck.service', 'LoadState')).LoadState === 'not-found',
    );
  });

  test('two of three cut off: held, with a condition that says so, until a human confirms', async () => {
    const units = await cluster.units();
    const running = units.filter((unit) => unit.status?.active === 'active');
    const cut = cluster.dev.machines.slice(1);
    await Promise.all(cut.map((machine) => machine.plug(false)));
    const ids = new Set(cut.map((machine) => machine.options.machineId));
    try {
      await until('both machines not ready', async () => (await lostMachines(cluster)) >= 2, { timeoutMs: 4 * ttl * 1_000 });
      const cutAt = await bootClock();
      // Long enough for what must not happen: units of one machine alone would have moved by now.
      await new Promise((resolve) => setTimeout(resolve, 1.5 * ttl * 1_000));
      assert.deepEqual(
        (await cluster.stamps()).filter(({ at }) => at > cutAt),
        [],
        'nothing started or stopped anywhere',
      );
      for (const unit of running.filter(({ status }) => ids.has(status?.machine ?? ''))) {
        assert.equal((await cluster.unit(unit.metadata.name))?.status?.machine, unit.status?.machine, 'still assigned where it was');
      }
      assert.match(await cluster.dev.mustCli(['describe', 'machine', 'm2']), /failover --confirm/);

      await cluster.dev.mustCli(['failover', '--confirm', 'm2']);
      const moving = running.filter(
        ({ status, metadata }) => status?.machine === cut[0]!.options.machineId && metadata.name !== 'pinned.service',
      );
      for (const unit of moving)
        await cluster.untilUnit(
          unit.metadata.name,
          'failed over',
          ({ status }) => status?.machine === cluster.dev.machines[0]!.options.machineId && status.active === 'active',
        );
      // A new unit is placed all the while.
      await cluster.apply(unitManifest('newcomer.service', stampingUnit()));
      await cluster.untilReady('newcomer.service');
    } finally {
      await Promise.all(cut.map((machine) => machine.plug(true)));
    }
    await cluster.dev.untilMachinesReady(3, 60_000);
    for (const unit of running) await cluster.untilReady(unit.metadata.name);
    // Whatever ran twice was let go of by the machine that had been away.
    for (const unit of await cluster.units()) {
      const places = await Promise.all(
        cluster.dev.machines.map(async (machine) => (await cluster.show(machine, unit.metadata.name, 'ActiveState')).ActiveState),
      );
      assert.equal(places.filter((state) => state === 'active').length, 1, `${unit.metadata.name} runs once: ${places}`);
    }
  });
});

async function lostMachines(cluster: TestCluster): Promise<number> {
  const { items } = await cluster.dev.list<{ status?: { conditions?: { type: string; status: string }[] } }>('machines');
  return items.filter((machine) => machine.status?.conditions?.some(({ type, status }) => type === 'Ready' && status !== 'True')).length;
}
