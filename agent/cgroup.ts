/** CPU and memory of a unit from its cgroup's files, v2 and v1. What a host does not account for is absent, never 0 (SEMANTICS 15). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface CgroupUsage {
  readonly cpuSeconds?: number;
  readonly memoryBytes?: number;
}

const unlimited = 0xffff_ffff_ffff_ffffn;

/** `path` as systemd's ControlGroup has it: `/system.slice/web.service`. */
export async function readCgroup(path: string, root = '/sys/fs/cgroup'): Promise<CgroupUsage> {
  const read = (...parts: string[]) => readOptional(join(root, ...parts));
  const [cpu, memory] = await Promise.all([read(path, 'cpu.stat'), read(path, 'memory.current')]);
  const cpuSeconds =
    cpuOfV2(cpu) ?? cpuOfV1((await read('cpuacct', path, 'cpuacct.usage')) ?? (await read('cpu,cpuacct', path, 'cpuacct.usage')));
  const memoryBytes = count(memory) ?? count(await read('memory', path, 'memory.usage_in_bytes'));
  return { ...(cpuSeconds === undefined ? {} : { cpuSeconds }), ...(memoryBytes === undefined ? {} : { memoryBytes }) };
}

/** `usage_usec 12345` */
export function cpuOfV2(text: string | undefined): number | undefined {
  const microseconds = count(/^usage_usec (\d+)$/m.exec(text ?? '')?.[1]);
  return microseconds === undefined ? undefined : microseconds / 1e6;
}

/** Nanoseconds. */
export function cpuOfV1(text: string | undefined): number | undefined {
  const nanoseconds = count(text);
  return nanoseconds === undefined ? undefined : nanoseconds / 1e9;
}

/** A number in a file of its own; systemd's and the kernel's "no value" is absent. */
export function count(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  if (!/^\d{1,20}$/.test(trimmed) || BigInt(trimmed) === unlimited) return undefined;
  return Number(trimmed);
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ENODEV: the cgroup went while it was being read.
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
