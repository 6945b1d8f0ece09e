/** What a cluster looks like when a test has waited for something in vain: so much that its output alone, in CI, leads to the cause. */
import type { DevCluster } from '../../cli/roles/dev/cluster.js';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';

const shown = { objects: 20, events: 15, logLines: 12, lineLength: 400 };
const askMs = 5_000;

interface WireObject {
  readonly metadata: { readonly name: string; readonly generation?: number; readonly deletionTimestamp?: string };
  readonly spec?: { readonly hostname?: string };
  readonly status?: {
    readonly hostname?: string;
    readonly machine?: string;
    readonly active?: string;
    readonly sub?: string;
    readonly observedGeneration?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
  };
}

/** Text of several lines: objects with their conditions, the last events, the ends of the logs. Never throws; what cannot be had says why. */
export async function clusterState(dev: DevCluster): Promise<string> {
  const parts = await Promise.all([
    ...['machines', 'units', 'unitsets', 'gitsyncs'].map((plural) => part(plural, () => objects(dev, plural))),
    part('events', async () => (await dev.mustCli(['events'], { timeoutMs: askMs })).trimEnd().split('\n').slice(-shown.events)),
    ...dev.servers.map(({ process }) => part(`log of ${process.options.name}`, async () => lastLines(await process.log()))),
    ...dev.machines.map((machine) => part(`agent on ${machine.options.hostname}`, () => agentLog(machine))),
  ]);
  return parts.join('\n');
}

async function part(title: string, read: () => Promise<readonly string[]>): Promise<string> {
  const lines = await read().catch((error: unknown) => [error instanceof Error ? error.message : String(error)]);
  const cut = lines.map((line) => (line.length > shown.lineLength ? `${line.slice(0, shown.lineLength)}...` : line));
  return [`--- ${title}`, ...cut].join('\n');
}

async function objects(dev: DevCluster, plural: string): Promise<string[]> {
  const { items } = await dev.list<WireObject>(plural);
  const lines = items.slice(0, shown.objects).map(objectLine);
  return items.length > lines.length ? [...lines, `and ${items.length - lines.length} more`] : lines;
}

function objectLine({ metadata, status = {} }: WireObject): string {
  const { conditions = [], observedGeneration, machine, active, sub, hostname } = status;
  const facts = [
    metadata.name,
    hostname,
    metadata.generation === undefined ? undefined : `generation ${metadata.generation}, seen ${observedGeneration ?? 'none'}`,
    machine && `on ${machine}`,
    active && `${active}/${sub}`,
    metadata.deletionTimestamp && `being deleted since ${metadata.deletionTimestamp}`,
    ...conditions.map(({ type, status: is, reason, message }) => `${type}=${is} ${reason}${message ? ` (${message})` : ''}`),
  ];
  return facts.filter((fact) => fact !== undefined && fact !== '').join('; ');
}

async function agentLog(machine: SystemdMachine): Promise<string[]> {
  const command = ['journalctl', '--unit=flotilla-agent', `--lines=${shown.logLines}`, '--no-pager', '--output=cat'];
  return lastLines(await machine.must(command, { timeoutMs: askMs }));
}

const lastLines = (text: string): string[] => text.trimEnd().split('\n').slice(-shown.logLines);
