/** The contract of the agent's port to systemd, on the real one: the machine's own manager, and a user's. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build, stop } from 'esbuild';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { TestCluster, until } from '../rigs/cluster.js';

const script = join(dirname(dirname(fileURLToPath(import.meta.url))), 'contract/systemd.machine.ts');
const inside = '/opt/contract';

/** Fewer than these are not the whole contract. */
const leastChecks = 15;

describe('systemd contract in a machine', () => {
  let directory: string;
  let cluster: TestCluster;
  let machine: SystemdMachine;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flotilla-contract-'));
    await chmod(directory, 0o755);
    await build({
      entryPoints: [script],
      outfile: join(directory, 'contract.mjs'),
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      external: ['usocket', 'x11'],
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
      logLevel: 'warning',
    });
    await stop();
    cluster = await TestCluster.start({ machines: 1, bindInMachines: { [directory]: inside } });
    machine = cluster.dev.machines[0]!;
    // Nobody else tells this systemd what to do meanwhile.
    await machine.must(['systemctl', 'stop', 'flotilla-agent']);
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  /** Runs the contract; what it checks becomes checks of ours, under the same names. */
  async function holds(run: (argv: readonly string[]) => ReturnType<SystemdMachine['exec']>, ...flags: string[]) {
    // Under the runner of these tests node:test would speak the runner's own protocol.
    const argv = ['env', '--unset=NODE_TEST_CONTEXT', '/opt/flotilla/node', '--test-reporter=tap', `${inside}/contract.mjs`, ...flags];
    const { code, stdout, stderr } = await run(argv);
    const checks = [...stdout.matchAll(/^ +(not ok|ok) \d+ - (.+)$/gm)];
    const failed = checks.filter(([, verdict]) => verdict === 'not ok').map(([, , name]) => name);
    assert.deepEqual(failed, [], `${stdout}\n${stderr}`);
    assert.equal(code, 0, `${stdout}\n${stderr}`);
    assert.ok(checks.length >= leastChecks, `only ${checks.length} checks ran:\n${stdout}\n${stderr}`);
  }

  test("holds on the machine's manager, through a re-execution and a killed bus", async () => {
    await holds((argv) => machine.exec(argv));
  });

  test("holds on a user's manager", async () => {
    await machine.must(['useradd', '--create-home', 'ada']);
    await machine.must(['loginctl', 'enable-linger', 'ada']);
    const runtime = `/run/user/${(await machine.must(['id', '-u', 'ada'])).trim()}`;
    const asAda = (argv: readonly string[]) =>
      machine.exec(['setpriv', '--reuid=ada', '--regid=ada', '--init-groups', 'env', `XDG_RUNTIME_DIR=${runtime}`, ...argv]);
    await until('the session', async () => (await asAda(['systemctl', '--user', 'is-system-running'])).stdout.trim() === 'running');
    await holds(asAda, `--bus=unix:path=${runtime}/bus`);
  });
});
