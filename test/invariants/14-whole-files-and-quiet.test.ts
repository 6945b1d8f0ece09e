/** Invariant 14. Files are old or new after any crash; a cluster in which nothing changes does nothing. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskUnitFiles, type Failpoint } from '../../agent/files-disk.js';
import { type OwnFile, renderOwnFile, sha256 } from '../../agent/unit-text.js';
import { assignment, service } from '../agent/world.js';
import { SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const unit = 'web.service';
const own = (text: string): OwnFile => ({ uid: 'uid-1', textHash: sha256(text), text });
const [older, newer] = [own(service('ExecStart=/bin/old')), own(service(`ExecStart=/bin/new\n# ${'long '.repeat(2_000)}`))];

class Crash extends Error {}

invariant(14, 'a unit file is old or new, never half, after a crash at any step', 'is half a file', async (plant, t) => {
  const parent = mkdtempSync(join(tmpdir(), 'flotilla-files-'));
  t.after(() => rmSync(parent, { recursive: true }));
  const steps: Parameters<Failpoint>[0][] = ['staged', 'synced', 'kept', 'committed', 'rolled-back', 'unlinked', 'removed'];
  for (const crashAt of steps) {
    const directory = join(parent, crashAt);
    const seen = new Set<string>();
    new DiskUnitFiles({ directory }).stage(unit, older);
    new DiskUnitFiles({ directory }).commit(unit);
    const files = new DiskUnitFiles({
      directory,
      failpoint: (step) => {
        seen.add(step);
        // The fault: a disk that keeps half of what it said was safe.
        const staged = join(`${directory}.flotilla`, 'new', unit);
        if (plant && step === 'synced') truncateSync(staged, Math.floor(statSync(staged).size / 2));
        if (step === crashAt) throw new Crash();
      },
    });
    assert.throws(() => {
      files.stage(unit, newer);
      files.commit(unit);
      if (crashAt === 'rolled-back') files.rollBack(unit);
      files.remove(unit);
    }, Crash);
    assert.ok(seen.has(crashAt));
    const isWhole = [older, newer].map(renderOwnFile).includes(contentOf(join(directory, unit)) ?? renderOwnFile(older));
    assert.ok(isWhole, `${unit} is half a file after a crash when it was ${crashAt}`);

    // Whoever comes after the crash gets on from there.
    const after = new DiskUnitFiles({ directory });
    after.stage(unit, newer);
    after.commit(unit);
    assert.equal(contentOf(join(directory, unit)), renderOwnFile(newer));
    after.remove(unit);
    assert.equal(contentOf(join(directory, unit)), undefined);
  }
});

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

invariant(
  14,
  'an agent does nothing when nothing changes, but for one question to systemd each resync',
  'the agent did something',
  async (plant, t) => {
    const machine = await Machine.start(t, { vendor: { 'sshd.service': service('ExecStart=/usr/sbin/sshd') } });
    await machine.told(
      10,
      assignment('web.service', `${service()}[Install]\nWantedBy=multi-user.target\n`),
      assignment('job.service', service('Type=oneshot\nExecStart=/bin/true')),
      assignment('broken.service', '[Service]\nType=simple\n'),
      assignment('sshd.service'),
      assignment('loaded.service', service(), { wanted: 'loaded' }),
    );
    await machine.pass(120_000);
    const { files, systemd } = machine;
    systemd.calls.length = 0;
    const writes = files.writes;
    // The fault: a directory that somebody empties again and again.
    if (plant) files.loses = true;
    await machine.pass(1_200_000);
    assert.deepEqual([systemd.changes, files.writes - writes], [[], 0], 'the agent did something');
    assert.deepEqual(
      systemd.calls.filter((call) => call !== 'list'),
      [],
      'and asked for more than one list',
    );
    assert.ok(systemd.calls.length <= 27, `resynced ${systemd.calls.length} times in twenty minutes`);
  },
);

invariant(14, 'a cluster in which nothing changes writes nothing to etcd', 'something was written', async (plant) => {
  const sim = await new SimCluster().start(['a', 'b'], 2);
  await sim.apply('web.service');
  await sim.apply('all.service', { placement: { global: true } });
  await sim.apply('nowhere.service', { placement: { machineMetadata: ['disk=ssd'] } });
  await sim.advance(60_000);
  const before = await sim.store.revision();
  // The fault: an agent that tells of what did not change.
  let told = 0;
  if (plant) sim.agent('a').outcome = () => ({ restarts: told++ });
  // Past every period of the controllers and the cache.
  await sim.advance(400_000);
  assert.equal(await sim.store.revision(), before, 'something was written');
  await sim.end();
});
