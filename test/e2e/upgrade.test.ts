/** Invariant 5, SEMANTICS 12: another version of agent and server, which even writes unit files differently, restarts nothing. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { ManagedProcess } from '../../cli/roles/dev/managed-process.js';
import { conditionOf, program, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

const { version } = JSON.parse(readFileSync(join(dirname(dirname(program)), 'package.json'), 'utf8')) as { version: string };
const newVersion = '99.0.0';
const inMachine = '/opt/next';

/** What the next release changes: its version, and the line that it writes above each unit file (it still knows the one of before). */
const changes: readonly { readonly what: string; readonly from: RegExp; readonly to: (found: string, name: string) => string }[] = [
  {
    what: 'the version',
    from: new RegExp(`\\b(version|clientVersion)="${version.replaceAll('.', '\\.')}"`, 'g'),
    to: (_, name) => `${name}="${newVersion}"`,
  },
  { what: 'the header that is read', from: /(hash=\(\[0-9a-f\]\{64\}\))\\n\//g, to: (_, before) => `${before}(?: renderer=2)?\\n/` },
  { what: 'the header that is written', from: /hash=\$\{(\w+)\}\n\$\{/g, to: (_, name) => `hash=\${${name}} renderer=2\n\${` },
];

/** A copy of the built program, as a later release would be. */
async function nextRelease(directory: string): Promise<void> {
  await cp(dirname(program), directory, { recursive: true });
  const hits = new Map(changes.map(({ what }) => [what, 0]));
  for (const entry of await readdir(directory, { recursive: true })) {
    if (!entry.endsWith('.mjs')) continue;
    const path = join(directory, entry);
    const text = await readFile(path, 'utf8');
    let changed = text;
    for (const { what, from, to } of changes) {
      const next = changed.replaceAll(from, to);
      if (next !== changed) hits.set(what, hits.get(what)! + 1);
      changed = next;
    }
    if (changed !== text) await writeFile(path, changed);
  }
  for (const [what, count] of hits) assert.ok(count > 0, `${what} was found in the built program and changed`);
}

describe('an upgrade', () => {
  let cluster: TestCluster;
  let machine: SystemdMachine;
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flotilla-next-'));
    await nextRelease(directory);
    cluster = await TestCluster.start({ machines: 1, bindInMachines: { [directory]: inMachine } });
    machine = cluster.dev.machines[0]!;
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  const running = ['plain.service', 'everywhere.service', 'each@1.service', 'once.service', 'ticks.timer'];
  const others = ['fails.service', 'waits.service'];
  /** What would be another one after a restart. */
  const lives = async () => {
    const seen: Record<string, Record<string, string>> = {};
    for (const name of [...running, ...others]) {
      seen[name] = await cluster.show(
        machine,
        name,
        'ActiveState',
        'InvocationID',
        ...(name.endsWith('.service') ? ['MainPID', 'NRestarts'] : []),
      );
    }
    return seen;
  };
  const agentVersion = async () => {
    const { items } = await cluster.dev.list<{ status: { info: { agentVersion: string } } }>('machines');
    return items[0]!.status.info.agentVersion;
  };
  const header = async (unit: string) => (await machine.must(['head', '-n1', `/run/systemd/system/${unit}`])).trim();

  test('of the agent restarts no unit, whatever kind and state it is in', async () => {
    const each = stampingUnit({ note: '%i' });
    await cluster.apply(
      unitManifest('plain.service', stampingUnit()),
      unitManifest('everywhere.service', stampingUnit({ sections: '[X-Fleet]\nGlobal=true\n' })),
      unitManifest('each@.service', each),
      unitManifest('each@1.service', each),
      unitManifest('once.service', '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n'),
      unitManifest('ticks.timer', '[Timer]\nOnActiveSec=1h\nUnit=once.service\n'),
      unitManifest('fails.service', '[Service]\nExecStart=/bin/false\n'),
      unitManifest('waits.service', stampingUnit(), { desiredState: 'loaded' }),
    );
    for (const name of [...running, 'waits.service']) await cluster.untilReady(name);
    await cluster.untilUnit('fails.service', 'failed', ({ status }) => status?.active === 'failed');
    const before = await lives();
    const stamps = await cluster.stamps();
    const versionBefore = await agentVersion();

    await machine.must(['mount', '--bind', inMachine, '/opt/flotilla/dist']);
    await machine.must(['systemctl', 'restart', 'flotilla-agent']);
    await until('the new agent to be known', async () => (await agentVersion()) === newVersion);
    assert.notEqual(versionBefore, newVersion);

    // A change that needs the new agent's hands: what it does now, it would have done by then to the others too.
    await cluster.apply(unitManifest('plain.service', `# a comment\n${stampingUnit()}`));
    await cluster.untilUnit(
      'plain.service',
      'rewritten',
      (unit) => unit.metadata.generation === 2 && unit.status?.observedGeneration === 2 && conditionOf(unit, 'UpToDate')?.status === 'True',
    );
    await until('its file', async () => (await header('plain.service')).endsWith(' renderer=2'));
    await cluster.apply(unitManifest('newcomer.service', stampingUnit()));
    await cluster.untilReady('newcomer.service');
    assert.match(await header('newcomer.service'), / renderer=2$/);

    assert.deepEqual(await lives(), before);
    assert.deepEqual(
      (await cluster.stamps()).filter(({ unit }) => unit !== 'newcomer.service'),
      stamps,
    );
  });

  test('of the server restarts no unit and moves none', async () => {
    const before = await lives();
    const stamps = await cluster.stamps();
    const handle = cluster.dev.servers[0]!;
    const [, ...args] = handle.process.options.args;
    await handle.process.stop();
    const next = new ManagedProcess({ ...handle.process.options, args: [join(directory, 'flotilla.mjs'), ...args] });
    next.start();
    cluster.dev.servers[0] = { ...handle, process: next };
    await cluster.dev.untilReady(cluster.dev.servers[0]);
    assert.match(await cluster.dev.mustCli(['get', '--raw', '/version']), new RegExp(`"flotillaVersion": ?"${newVersion}"`));

    // The new leader has decided, and the machine has carried out.
    await cluster.apply(unitManifest('after.service', stampingUnit()));
    await cluster.untilReady('after.service', 60_000);
    assert.deepEqual(await lives(), before);
    assert.deepEqual(
      (await cluster.stamps()).filter(({ unit }) => unit !== 'after.service'),
      stamps,
    );
  });

  test('and the agent after it, once more: adopted again, from the files that it wrote', async () => {
    const before = await lives();
    const stamps = await cluster.stamps();
    await machine.must(['systemctl', 'restart', 'flotilla-agent']);
    await cluster.dev.mustCli(['delete', 'unit', 'newcomer.service']);
    assert.deepEqual(await lives(), before);
    assert.deepEqual(
      (await cluster.stamps()).filter(({ unit, what }) => unit !== 'newcomer.service' || what === 'start'),
      stamps,
    );
  });
});
