/** Sets of units on three real machines: made, spread, scaled, changed, moved, orphaned and deleted. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isTrue, stampingUnit, TestCluster, until, type WireUnit } from '../rigs/cluster.js';

const shipped = fileURLToPath(new URL('../../manifests/unitset/web.yaml', import.meta.url));

describe('a set of units on three machines', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
  });
  after(async () => {
    await cluster?.stop();
  });

  const manifest = (replicas: number, note: string): string =>
    JSON.stringify({
      apiVersion: 'flotilla.dev/v1',
      kind: 'UnitSet',
      metadata: { name: 'web' },
      spec: {
        replicas,
        template: { metadata: { labels: { app: 'web' } }, spec: { content: stampingUnit({ extra: `Environment=NOTE=${note}` }) } },
      },
    });
  const flotilla = (...words: string[]) => cluster.dev.mustCli(words);
  const available = () => flotilla('wait', '--for=condition=Available', 'unitset/web', '--timeout=60s');
  const members = async (): Promise<readonly WireUnit[]> =>
    (await cluster.units()).filter(({ metadata }) => metadata.name.startsWith('web@'));
  /** How many units of the set each machine has, in descending order. */
  const spread = async (): Promise<number[]> => {
    const counts = new Map<string, number>();
    for (const { status } of await members()) if (status?.machine) counts.set(status.machine, (counts.get(status.machine) ?? 0) + 1);
    return [...counts.values()].sort((a, b) => b - a);
  };
  const starts = async (unit: string) => (await cluster.stamps(unit)).filter(({ what }) => what === 'start').length;

  test('six are spread two by two; get and describe show them', async () => {
    // What runs already makes one machine fuller: siblings keep apart all the same.
    await cluster.apply(
      ...[1, 2, 3].map((at) =>
        JSON.stringify({
          apiVersion: 'flotilla.dev/v1',
          kind: 'Unit',
          metadata: { name: `other${at}.service` },
          spec: { content: stampingUnit(), placement: { machineMetadata: ['zone=z1'] } },
        }),
      ),
    );
    for (const at of [1, 2, 3]) await cluster.untilReady(`other${at}.service`);
    assert.match(await cluster.apply(manifest(6, 'one')), /unitset\/web created/);
    await available();
    assert.deepEqual(await spread(), [2, 2, 2]);
    assert.match(await flotilla('get', 'unitsets'), /NAME\s+DESIRED\s+READY\s+UPDATED\s+AGE\nweb\s+6\s+6\s+6\s/);
    assert.match(await flotilla('describe', 'us/web'), /web@6\.service\s+m\d\s+active\s+True/);
  });

  test('scaled down the highest numbers stop; scaled up they start again; the others never notice', async () => {
    assert.match(await flotilla('scale', 'unitset/web', '--replicas=2', '--current-replicas=6'), /unitset\/web scaled/);
    for (const at of [3, 4, 5, 6]) await cluster.untilGone(`web@${at}.service`);
    await flotilla('scale', 'unitset/web', '--replicas=4');
    await available();
    assert.deepEqual(
      (await members()).map(({ metadata }) => metadata.name),
      [1, 2, 3, 4].map((at) => `web@${at}.service`),
    );
    assert.deepEqual([await starts('web@1.service'), await starts('web@2.service')], [1, 1]);
  });

  test('a changed template restarts each unit once where it runs', async () => {
    const before = await members();
    await cluster.apply(manifest(4, 'two'));
    await available();
    const after = await members();
    assert.deepEqual(
      after.map(({ status }) => status?.machine),
      before.map(({ status }) => status?.machine),
      'nothing was moved',
    );
    for (const unit of after) {
      const shown = await cluster.show(cluster.machineOf(unit), unit.metadata.name, 'Environment');
      assert.equal(shown.Environment, 'NOTE=two');
    }
    assert.equal(await starts('web@1.service'), 2);
  });

  test('units of a killed machine are started on the others', async () => {
    const lost = cluster.machineOf((await members())[0]!);
    await lost.kill();
    await until(
      'every unit runs elsewhere',
      async () => {
        const elsewhere = (await members()).filter((unit) => isTrue(unit, 'Ready') && unit.status?.machine !== lost.options.machineId);
        if (elsewhere.length === 4) return true;
        throw new Error(`${elsewhere.length} of 4`);
      },
      { timeoutMs: 60_000 },
    );
    await available();
    assert.deepEqual(await spread(), [2, 2]);
  });

  test('orphaned, the units keep running without their set; a new set of that name leaves them alone and says so', async () => {
    const before = await Promise.all((await members()).map(({ metadata }) => starts(metadata.name)));
    assert.match(await flotilla('delete', 'unitset', 'web', '--cascade=orphan'), /unitset\/web deleted/);
    assert.equal((await members()).length, 4);
    await cluster.apply(manifest(5, 'three'));
    await cluster.untilReady('web@5.service');
    await until('the set says why', async () => {
      const text = await flotilla('describe', 'unitset', 'web');
      assert.match(text, /web@1\.service exists and is not a unit of this set/);
      return true;
    });
    assert.deepEqual(await Promise.all([1, 2, 3, 4].map((at) => starts(`web@${at}.service`))), before);
  });

  test('deleted, a set takes its units along, and nothing else', async () => {
    await flotilla('delete', 'unitset', 'web');
    await cluster.untilGone('web@5.service');
    assert.deepEqual(
      (await members()).map(({ metadata }) => metadata.name),
      [1, 2, 3, 4].map((at) => `web@${at}.service`),
    );
    await flotilla('delete', 'unit', '-l', 'app=web');
    assert.deepEqual(await members(), []);
  });

  test('the shipped example becomes available, and goes with its units when these are to go first', async () => {
    await flotilla('apply', '-f', shipped);
    await flotilla('wait', '--for=condition=Available', 'unitset/www', '--timeout=60s');
    await flotilla('delete', '-f', shipped, '--cascade=foreground');
    assert.deepEqual(
      (await cluster.units()).filter(({ metadata }) => metadata.name.startsWith('www@')),
      [],
    );
  });
});
