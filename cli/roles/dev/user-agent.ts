/** Without root: an agent on this host that drives the user's own systemd (`systemd --user`, session bus). */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DevCluster } from './cluster.js';
import { removeEmptyTree } from './directories.js';
import { ManagedProcess } from './managed-process.js';

export async function startUserAgent(cluster: DevCluster, metadata: Readonly<Record<string, string>>): Promise<{ stop(): Promise<void> }> {
  const runtime = process.env.XDG_RUNTIME_DIR ?? '';
  const server = cluster.servers[0];
  if (!server) throw new Error('no server');
  const stateDir = join(cluster.directory, 'agent');
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const tokenFile = join(stateDir, 'token');
  await writeFile(tokenFile, (await cluster.mustCli(['token', 'create'])).trim(), { mode: 0o600 });
  const agent = new ManagedProcess({
    name: 'agent',
    command: process.execPath,
    args: [cluster.options.program, 'agent', '--user', `--server=${server.agentUrl}`, `--state-dir=${stateDir}`, '--metrics=off'],
    logFile: join(cluster.directory, 'agent.log'),
    env: {
      FLOTILLA_TOKEN_FILE: tokenFile,
      FLOTILLA_METADATA: Object.entries(metadata)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      DBUS_SESSION_BUS_ADDRESS: process.env.DBUS_SESSION_BUS_ADDRESS ?? `unix:path=${runtime}/bus`,
    },
  });
  agent.start();
  return {
    stop: async () => {
      // The units are the cluster's, and the cluster ends: they go before the agent does.
      for (const { metadata } of (await cluster.list<{ metadata: { name: string } }>('units')).items) {
        await cluster.cli(['delete', 'unit', metadata.name, '--timeout=20s']);
      }
      await agent.stop();
      // Where the agent keeps unit files, and prepares them; what others put there stays.
      for (const directory of ['systemd/user.flotilla', 'systemd/user']) await removeEmptyTree(join(runtime, directory));
    },
  };
}
