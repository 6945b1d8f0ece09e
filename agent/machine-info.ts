/** What the agent says of its host. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, hostname, networkInterfaces, release, totalmem } from 'node:os';
import type { MachineInfo } from '../api/resources/machine.js';

export async function readMachineId(): Promise<string> {
  const id = (await readFile('/etc/machine-id', 'utf8')).trim();
  if (!/^[0-9a-f]{32}$/.test(id)) throw new Error('/etc/machine-id holds no machine id: 32 hexadecimal digits');
  return id;
}

export const readBootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();

export async function machineInfo(of: { bootID: string; agentVersion: string; systemdVersion: string }): Promise<MachineInfo> {
  const osImage = await prettyName();
  return {
    hostname: hostname(),
    address: primaryAddress(),
    ...of,
    kernelVersion: release(),
    ...(osImage === undefined ? {} : { osImage }),
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
  };
}

/** The first address that other hosts can use, IPv4 before IPv6; loopback when there is none. */
function primaryAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outer = all.filter(({ internal, address }) => !internal && !/^(169\.254\.|fe80:)/i.test(address));
  return (outer.find(({ family }) => family === 'IPv4') ?? outer[0])?.address ?? '127.0.0.1';
}

async function prettyName(): Promise<string | undefined> {
  try {
    const text = await readFile('/etc/os-release', 'utf8');
    return /^PRETTY_NAME=(["']?)(.*)\1$/m.exec(text)?.[2];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
