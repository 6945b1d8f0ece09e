/**
 * The contract on a real systemd. Not run by itself: bundled, it runs inside a machine, `node systemd-contract.mjs [--bus ADDRESS]`, and
 * leaves the exit code and the output of node:test.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parseArgs, promisify } from 'node:util';
import { runtimeDirectory } from '../../agent/agent.js';
import { DiskUnitFiles } from '../../agent/files-disk.js';
import { NoAnswer, type Systemd } from '../../agent/systemd.js';
import { openSystemdDbus } from '../../agent/systemd-dbus.js';
import { sha256 } from '../../agent/unit-text.js';
import { systemClock } from '../../runtime/clock.js';
import { createLogger } from '../../runtime/log.js';
import { type SystemdUnderTest, systemdContract } from './systemd.contract.js';

/** systemctl's exit code for units that are not loaded; it has done its work on the others. */
const notLoaded = [1, 5];
const ignoreNotLoaded = (error: { code?: number; stderr?: string }) => {
  if (!notLoaded.includes(error.code ?? 0) || !error.stderr?.includes('not loaded')) throw error;
};

const { bus } = parseArgs({ options: { bus: { type: 'string' } } }).values;

async function open(): Promise<SystemdUnderTest & { readonly systemctl: (...args: string[]) => Promise<unknown> }> {
  const systemd = openSystemdDbus({
    ...(bus === undefined ? {} : { address: bus }),
    clock: systemClock,
    random: Math.random,
    log: createLogger({ component: 'contract', level: 'error', format: 'human' }),
  });
  await connected(systemd);
  const { directory, isUserManager } = runtimeDirectory((await systemd.about()).unitPath);
  const files = new DiskUnitFiles({ directory });
  const before = new Set(files.names());
  const systemctl = (...args: string[]) => promisify(execFile)('systemctl', [...(isUserManager ? ['--user'] : []), ...args]);
  return {
    systemd,
    files,
    systemctl,
    byHand: async (verb, name) => void (await systemctl(verb, name)),
    vendor: isUserManager
      ? { running: 'dbus.service', idle: 'systemd-exit.service' }
      : { running: 'systemd-journald.service', idle: 'getty@9.service' },
    close: async () => {
      const left = files.names().filter((name) => !before.has(name));
      // A unit that was let go of already is no error here.
      for (const verb of ['stop', 'reset-failed']) if (left.length > 0) await systemctl(verb, ...left).catch(ignoreNotLoaded);
      for (const name of left) files.remove(name);
      systemd.close();
    },
  };
}

const connected = (systemd: Systemd) =>
  new Promise<void>((resolve) => {
    const stop = systemd.listen({
      connected: () => {
        stop();
        resolve();
      },
    });
  });

systemdContract('real', open);

describe('systemd over D-Bus: connections that end', () => {
  const stopping = 'flotilla-contract-stopping.service';

  /** Lets a stop last long enough for the connection to end in its middle. */
  async function cutOff(cut: (under: Awaited<ReturnType<typeof open>>) => Promise<unknown> | unknown): Promise<void> {
    const under = await open();
    const { systemd, files } = under;
    try {
      const text = '[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 4\n';
      files.stage(stopping, { uid: 'contract', textHash: sha256(text), text });
      files.commit(stopping);
      await (await systemd.start(stopping)).ended;
      const stop = await systemd.stop(stopping);
      const again = connected(systemd);
      await cut(under);
      assert.equal(await stop.ended, 'lost', 'nobody knows how the job ended');
      await again;
      const seen = (await systemd.list([stopping])).get(stopping);
      assert.deepEqual([seen?.active, seen?.job], ['deactivating', 'stop'], 'the state is read back');
      await (await systemd.stop(stopping)).ended;
      assert.equal((await systemd.list([stopping])).get(stopping)?.active, 'inactive', 'signals come again');
    } finally {
      await under.close();
    }
  }

  test('systemd executes itself anew: jobs are lost, and everything works on', { timeout: 60_000 }, async () => {
    await cutOff(({ systemctl }) => systemctl('daemon-reexec'));
  });

  test('the bus is killed: calls under way end at once, and everything works on', { timeout: 60_000 }, async (t) => {
    // A user's bus takes the session with it.
    if (bus !== undefined) return t.diagnostic('on the system bus only');
    await cutOff(async ({ systemd }) => {
      const pid = readdirSync('/proc').find((entry) => commandOf(entry) === 'dbus-daemon');
      process.kill(Number(pid), 'SIGKILL');
      await assert.rejects(systemd.list([stopping]), NoAnswer);
    });
  });
});

function commandOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH') return undefined;
    throw error;
  }
}
