/** A real cluster for end-to-end tests, and units that write what they do, with the kernel's clock, into one directory that all machines share. */
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ask } from '../../cli/roles/dev/ask.js';
import { type ClusterOptions, DevCluster, removeAbandonedClusters } from '../../cli/roles/dev/cluster.js';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { until as untilQuietly } from '../../cli/roles/dev/managed-process.js';
import { clusterState } from './cluster-state.js';

const top = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const program = join(top, 'dist/flotilla.mjs');

/** What a unit of `stampingUnit` wrote: `at` is seconds since boot of the kernel, one clock for all machines and for us. */
export interface Stamp {
  readonly unit: string;
  readonly machine: string;
  readonly what: 'start' | 'stop';
  readonly pid: number;
  readonly at: number;
}

export interface WireUnit {
  readonly metadata: { readonly name: string; readonly uid: string; readonly generation: number; readonly deletionTimestamp?: string };
  readonly spec: { readonly desiredState?: string };
  readonly status?: {
    readonly machine?: string;
    readonly active?: string;
    readonly sub?: string;
    readonly mainPID?: number;
    readonly observedGeneration?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
  };
}

const running = new Set<DevCluster>();
/** A test that fails for want of something is told once or twice why; the next ones fail for the same reason. */
const mostStates = 3;
let toldStates = 0;

/** Prints the state of every running cluster. */
async function tellStates(): Promise<void> {
  if (++toldStates > mostStates) return;
  for (const dev of running) process.stderr.write(`\n=== cluster ${dev.id} at that time\n${await clusterState(dev)}\n===\n`);
}

/** As for `flotilla dev`: looks often, until `check` returns something. When that is not in time, the state of the clusters is printed. */
export async function until<T>(...words: Parameters<typeof untilQuietly<T>>): Promise<T> {
  try {
    return await untilQuietly(...words);
  } catch (error) {
    process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}`);
    await tellStates();
    throw error;
  }
}

export class TestCluster {
  private constructor(
    readonly dev: DevCluster,
    readonly stampsDirectory: string,
  ) {}

  static async start(options: Partial<ClusterOptions> = {}): Promise<TestCluster> {
    if (!existsSync(program)) throw new Error('dist/flotilla.mjs is missing: npm run build makes it (npm test does so by itself)');
    const parent = '/run/flotilla-test';
    await mkdir(parent, { recursive: true });
    await removeAbandonedClusters(parent);
    const stamps = await mkdtemp(join(tmpdir(), 'flotilla-stamps-'));
    await chmod(stamps, 0o777);
    const dev = await DevCluster.start({
      parent,
      program,
      machines: 3,
      metadata: (index) => ({ zone: `z${index}`, disk: index === 3 ? 'hdd' : 'ssd' }),
      ...options,
      bindInMachines: { ...options.bindInMachines, [stamps]: '/var/stamps' },
    });
    running.add(dev);
    const cluster = new TestCluster(dev, stamps);
    try {
      await dev.untilMachinesReady();
      return cluster;
    } catch (error) {
      await tellStates();
      await cluster.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    running.delete(this.dev);
    await this.dev.stop();
    await rm(this.stampsDirectory, { recursive: true, force: true });
  }

  /** Applies manifests given as text; throws when the CLI does not exit 0. */
  apply(...manifests: readonly string[]): Promise<string> {
    return this.dev.mustCli(['apply', '-f', '-'], { input: manifests.join('\n---\n') });
  }

  async unit(name: string): Promise<WireUnit | undefined> {
    const { status, body } = await ask(this.dev.servers[0]!.socket, `/apis/flotilla.dev/v1/units/${encodeURIComponent(name)}`);
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(`unit ${name}: ${status}: ${body}`);
    return JSON.parse(body) as WireUnit;
  }

  async units(): Promise<readonly WireUnit[]> {
    return (await this.dev.list<WireUnit>('units')).items;
  }

  /** Resolves with the unit once `check` holds of it. */
  untilUnit(name: string, what: string, check: (unit: WireUnit) => boolean, timeoutMs = 30_000): Promise<WireUnit> {
    let last: WireUnit | undefined;
    return until(
      `${name} ${what}`,
      async () => {
        last = await this.unit(name);
        if (last && check(last)) return last;
        throw new Error(`last seen: ${JSON.stringify(last?.status)}`);
      },
      { timeoutMs },
    );
  }

  untilReady(name: string, timeoutMs?: number): Promise<WireUnit> {
    return this.untilUnit(
      name,
      'Ready',
      (unit) => isTrue(unit, 'Ready') && unit.status?.observedGeneration === unit.metadata.generation,
      timeoutMs,
    );
  }

  untilGone(name: string, timeoutMs = 30_000): Promise<true> {
    return until(`${name} gone`, async () => (await this.unit(name)) === undefined, { timeoutMs });
  }

  machineOf(unit: WireUnit): SystemdMachine {
    const machine = this.dev.machines.find(({ options }) => options.machineId === unit.status?.machine);
    if (!machine) throw new Error(`${unit.metadata.name} is on no machine of this cluster: ${JSON.stringify(unit.status)}`);
    return machine;
  }

  /** Properties of a unit, from the machine's own systemctl. */
  async show(machine: SystemdMachine, unit: string, ...properties: readonly string[]): Promise<Record<string, string>> {
    const text = await machine.must(['systemctl', 'show', unit, ...properties.map((property) => `--property=${property}`)]);
    return Object.fromEntries(
      text
        .trim()
        .split('\n')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** Resolves once the unit's stamps are these, in this order: a process is active a moment before it has written anything. */
  untilStamps(unit: string, ...expected: readonly Stamp['what'][]): Promise<true> {
    return until(`stamps of ${unit}`, async () => {
      const seen = (await this.stamps(unit)).map(({ what }) => what);
      if (seen.join() === expected.join()) return true;
      throw new Error(`expected ${expected.join(', ')}; there are ${seen.join(', ') || 'none'}`);
    });
  }

  /** Everything that stamping units have written, oldest first. */
  async stamps(unit?: string): Promise<Stamp[]> {
    const stamps: Stamp[] = [];
    for (const file of await readdir(this.stampsDirectory)) {
      for (const line of (await readFile(join(this.stampsDirectory, file), 'utf8')).split('\n')) {
        if (line === '') continue;
        const [name = '', machine = '', what, pid, at] = line.split(' ');
        if (what !== 'start' && what !== 'stop') throw new Error(`bad stamp: ${line}`);
        stamps.push({ unit: name, machine, what, pid: Number(pid), at: Number(at) });
      }
    }
    return stamps.filter((stamp) => unit === undefined || stamp.unit === unit).sort((a, b) => a.at - b.at);
  }
}

export const conditionOf = (unit: WireUnit, type: string) => unit.status?.conditions?.find((condition) => condition.type === type);
export const isTrue = (unit: WireUnit, type: string) => conditionOf(unit, type)?.status === 'True';

/** Seconds since the kernel booted: the clock of all stamps. */
export const bootClock = async (): Promise<number> => Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]);

/**
 * A service that stamps its start and its stop, and runs until it is stopped. It counts as started only once its start is stamped: a process
 * is there a moment before it has written anything. `extra` goes into [Service], `sections` behind it.
 */
export const stampingUnit = (options: { extra?: string; sections?: string; note?: string } = {}): string => `[Unit]
Description=stamps ${options.note ?? ''}

[Service]
ExecStart=/bin/sh -c 'echo "%n $(hostname) start $$$$ $(cut -d" " -f1 /proc/uptime)" >> /var/stamps/%n.$(hostname); exec sleep infinity'
ExecStartPost=/bin/sh -c 'until grep -q " start $$MAINPID " /var/stamps/%n.$(hostname); do sleep 0.01; done'
ExecStopPost=/bin/sh -c 'echo "%n $(hostname) stop $$$$ $(cut -d" " -f1 /proc/uptime)" >> /var/stamps/%n.$(hostname)'
${options.extra ?? ''}
${options.sections ?? ''}`;

/** A Unit manifest around a unit file. */
export const unitManifest = (name: string, content: string, spec: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name }, spec: { content, ...spec } });
