/**
 * The contract on a real systemd. Not run by itself: bundled, it runs inside a machine, `node systemd-contract.mjs [--bus ADDRESS]`, and
 * leaves the exit code and the output of node:test.
 */
import { execFile } from 'node:child_process';
import { parseArgs, promisify } from 'node:util';
import { runtimeDirectory } from '../../agent/agent.js';
import { DiskUnitFiles } from '../../agent/files-disk.js';
import { openSystemdDbus } from '../../agent/systemd-dbus.js';
import { systemClock } from '../../runtime/clock.js';
import { createLogger } from '../../runtime/log.js';
import { systemdContract } from './systemd.contract.js';

const { bus } = parseArgs({ options: { bus: { type: 'string' } } }).values;

systemdContract('real', async () => {
  const systemd = openSystemdDbus({
    ...(bus === undefined ? {} : { address: bus }),
    clock: systemClock,
    random: Math.random,
    log: createLogger({ component: 'contract', level: 'error', format: 'human' }),
  });
  await new Promise<void>((resolve) => systemd.listen({ connected: resolve }));
  const { directory, isUserManager } = runtimeDirectory((await systemd.about()).unitPath);
  const files = new DiskUnitFiles({ directory });
  const before = new Set(files.names());
  const systemctl = (...args: string[]) => promisify(execFile)('systemctl', [...(isUserManager ? ['--user'] : []), ...args]);
  return {
    systemd,
    files,
    byHand: async (verb, name) => void (await systemctl(verb, name)),
    vendor: isUserManager
      ? { running: 'dbus.service', instance: 'app@autostart.service' }
      : { running: 'systemd-journald.service', instance: 'getty@9.service' },
    close: async () => {
      const left = files.names().filter((name) => !before.has(name));
      if (left.length > 0) await systemctl('stop', ...left);
      for (const name of left) await systemctl('reset-failed', name).catch(() => {});
      for (const name of left) files.remove(name);
      systemd.close();
    },
  };
});
