/** SEMANTICS 18 on a real machine: a journal that nobody can read as fast as it is written. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { program, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

/** Longer than a presence without heartbeats lives. */
const floodMs = 15_000;

const loud = `[Service]
ExecStart=/bin/sh -c 'exec yes "$(printf %%08000d 7)"'
LogRateLimitIntervalSec=0
# What is tested is the stream, not whether this computer has a core to spare. Unhindered this is 50 MB a second and more.
Nice=19
`;

describe('a unit that writes its journal without end', () => {
  let cluster: TestCluster;
  let machine: SystemdMachine;
  before(async () => {
    cluster = await TestCluster.start({ machines: 1 });
    machine = cluster.dev.machines[0]!;
    await machine.writeFile('/etc/systemd/journald.conf', '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\nRateLimitIntervalSec=0\n');
    await machine.must(['systemctl', 'restart', 'systemd-journald.service']);
  });
  after(async () => {
    await cluster?.stop();
  });

  test('SEMANTICS 18: followed by a slow reader it delays no heartbeat and no assignment, fills no memory, and its journal process dies with the reader', async (t) => {
    await cluster.apply(unitManifest('loud.service', loud));
    const { status } = await cluster.untilReady('loud.service');
    const written = async () => Number(/^wchar: (\d+)$/m.exec(await machine.must(['cat', `/proc/${status?.mainPID}/io`]))?.[1]);
    const socket = cluster.dev.servers[0]!.socket;
    const reader = spawn(process.execPath, [program, 'logs', '--follow', '--lines=1000', 'loud.service'], {
      env: { ...process.env, FLOTILLA_ENDPOINT: `unix://${socket}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let bytes = 0;
    reader.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      reader.stdout.pause();
    });
    try {
      await until('the first lines', async () => bytes > 0);
      assert.equal((await machine.exec(followers)).code, 0, 'a journal process reads for the reader');
      const presence = await presenceOf(cluster, machine);
      const memory = await memoryOf(cluster, machine);
      const before = { written: await written(), read: bytes };

      const untilMs = performance.now() + floodMs;
      await cluster.apply(unitManifest('beside.service', stampingUnit()));
      await cluster.untilReady('beside.service');
      while (performance.now() < untilMs) {
        await sleep(500);
        reader.stdout.resume();
      }

      assert.deepEqual(await presenceOf(cluster, machine), presence, 'the same stream holds the machine all the time');
      const grown = await memoryOf(cluster, machine);
      for (const who of ['server', 'agent'] as const) {
        const by = grown[who] - memory[who];
        assert.ok(by < 150, `the ${who} has grown by ${by} MB`);
      }
      const megabytes = { written: ((await written()) - before.written) / 1e6, read: (bytes - before.read) / 1e6 };
      t.diagnostic(
        `MB written ${megabytes.written.toFixed(1)}, read ${megabytes.read.toFixed(1)}; grown ${JSON.stringify({ memory, grown })}`,
      );
      assert.ok(megabytes.read > 0, 'it is still followed');
      assert.ok(megabytes.written > 20 * megabytes.read, 'the reader is far behind');
    } finally {
      reader.kill('SIGKILL');
    }
    await until('the journal process to end', async () => (await machine.exec(followers)).code === 1);
  });
});

const followers = ['pgrep', '--full', 'journalctl .*--unit=loud\\.service'];

/** The presence key: put again by every stream that takes the machine over, and gone when heartbeats stay away. */
async function presenceOf({ dev }: TestCluster, { options }: SystemdMachine): Promise<{ value?: string; mod_revision?: string }> {
  const key = Buffer.from(`/flotilla/presence/${options.machineId}`).toString('base64');
  const response = await fetch(`${dev.etcdUrls[0]}/v3/kv/range`, { method: 'POST', body: JSON.stringify({ key }) });
  const { kvs } = (await response.json()) as { kvs?: { value: string; mod_revision: string }[] };
  assert.ok(kvs?.[0], 'the machine is present');
  return kvs[0];
}

/** Resident megabytes. */
async function memoryOf({ dev }: TestCluster, machine: SystemdMachine): Promise<{ server: number; agent: number }> {
  const megabytes = (status: string) => Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024);
  const agent = (await machine.must(['systemctl', 'show', '--property=MainPID', '--value', 'flotilla-agent.service'])).trim();
  return {
    server: megabytes(await readFile(`/proc/${dev.servers[0]!.process.pid}/status`, 'utf8')),
    agent: megabytes(await machine.must(['cat', `/proc/${agent}/status`])),
  };
}
