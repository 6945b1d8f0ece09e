/**
 * What this machine and its units use right now: two looks at the same counters, and what lies between. Nothing is looked at until a server
 * asks; a look that was asked for lately is the first of the next two.
 */
import { readFile } from 'node:fs/promises';
import type { FromAgent } from '../api/resources/protocol.js';
import { type Clock, sleep } from '../runtime/clock.js';
import { type CgroupUsage, readCgroup } from './cgroup.js';
import type { RunUsage } from './unit-cgroups.js';

export type Usage = Omit<Extract<FromAgent, { type: 'usage' }>, 'type' | 'request'>;
type Rates = Usage['machine'];

export interface UsagePorts {
  readonly machine: () => Promise<CgroupUsage>;
  /** Of the units that are assigned here and active, by name. */
  readonly units: () => Promise<ReadonlyMap<string, RunUsage>>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A shorter time tells of noise, and a longer one of the past. */
const minWindowMs = 1_000;
const maxWindowMs = 60_000;

interface Look {
  readonly atMs: number;
  readonly machine: CgroupUsage;
  readonly units: ReadonlyMap<string, RunUsage>;
}

export class UsageMeter {
  #last: Look | undefined;
  #measuring: Promise<Usage> | undefined;

  constructor(private readonly ports: UsagePorts) {}

  /** Whoever asks while it is being measured gets the same answer. */
  measure(): Promise<Usage> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  async #measure(): Promise<Usage> {
    const { clock, signal } = this.ports;
    const ageMs = this.#last ? clock.monotonicMs() - this.#last.atMs : Number.POSITIVE_INFINITY;
    const first = this.#last && ageMs <= maxWindowMs ? this.#last : await this.#look();
    const waitMs = minWindowMs - (clock.monotonicMs() - first.atMs);
    if (waitMs > 0) await sleep(clock, waitMs, signal);
    const second = await this.#look();
    this.#last = second;
    return between(first, second);
  }

  async #look(): Promise<Look> {
    const [machine, units] = await Promise.all([this.ports.machine(), this.ports.units()]);
    return { atMs: this.ports.clock.monotonicMs(), machine, units };
  }
}

/** Pure. */
function between(first: Look, second: Look): Usage {
  const windowMs = Math.max(1, Math.round(second.atMs - first.atMs));
  const rates = (before: RunUsage | undefined, now: RunUsage): Rates => {
    const isSameRun = before?.cpuSeconds !== undefined && now.cpuSeconds !== undefined && before.invocationID === now.invocationID;
    const seconds = isSameRun ? now.cpuSeconds - before.cpuSeconds : undefined;
    return {
      ...(seconds === undefined || seconds < 0 ? {} : { cpuNanoCores: Math.round((seconds * 1e12) / windowMs) }),
      ...(now.memoryBytes === undefined ? {} : { memoryBytes: now.memoryBytes }),
    };
  };
  const units = [...second.units].map(([name, now]) => [name, rates(first.units.get(name), now)] as const);
  return {
    windowMs,
    machine: rates(first.machine, second.machine),
    units: Object.fromEntries(units.filter(([, { cpuNanoCores, memoryBytes }]) => cpuNanoCores !== undefined || memoryBytes !== undefined)),
  };
}

/** The machine as a whole. Its memory is what cannot be given to others, as `free` counts it; in a container, the host's. */
export async function readMachineUsage(): Promise<CgroupUsage> {
  const [{ cpuSeconds }, memoryBytes] = await Promise.all([readCgroup('/'), usedMemory()]);
  return { ...(cpuSeconds === undefined ? {} : { cpuSeconds }), ...(memoryBytes === undefined ? {} : { memoryBytes }) };
}

async function usedMemory(): Promise<number | undefined> {
  return usedIn(await readFile('/proc/meminfo', 'utf8'));
}

/** Bytes; undefined when the kernel does not say. */
export function usedIn(meminfo: string): number | undefined {
  const kibibytes = (name: string) => new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(meminfo)?.[1];
  const [total, available] = [kibibytes('MemTotal'), kibibytes('MemAvailable')];
  return total === undefined || available === undefined ? undefined : (Number(total) - Number(available)) * 1024;
}
