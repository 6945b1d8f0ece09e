/**
 * What users wait for, measured on three real machines: apply → running, a burst against native systemctl, the agent's weight, and the
 * start-up of `get` beside kubectl. Product defaults everywhere; every figure stands beside a limit measured in the same run.
 */

import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { linesOf } from '../cli/client.js';
import type { DevCluster } from '../cli/roles/dev/cluster.js';
import type { SystemdMachine } from '../cli/roles/dev/machine.js';
import { until } from '../cli/roles/dev/managed-process.js';
import { run } from '../cli/roles/dev/run.js';
import { onCluster } from './dev-cluster.js';
import type { Row } from './row.js';
import { median, percentile } from './statistics.js';

const latencySamples = 100;
const burstUnits = 300;
const burstRounds = 3;
const idleSeconds = 20;
const startUpRuns = 15;

/** A service that does nothing, as in the reference figures of docs/decisions: what is measured is us and systemd, not the service. */
const content = '[Service]\nExecStart=/bin/sleep infinity\n';

export const benchCluster = (program: string): Promise<Row[]> =>
  onCluster(program, async (cluster) => [
    ...(await applyToRunning(cluster)),
    ...(await burst(cluster)),
    ...(await startUp(cluster, program)),
  ]);

/** One unit after another: from sending the apply to the moment a second client's watch shows it active. */
async function applyToRunning(cluster: DevCluster): Promise<Row[]> {
  const watch = await UnitWatch.open(cluster);
  const samples: number[] = [];
  for (let index = 0; index < latencySamples; index++) {
    const name = `latency-${index}.service`;
    const active = watch.untilActive([name]);
    const started = performance.now();
    await applyUnit(cluster, name);
    await active;
    samples.push(performance.now() - started);
  }
  watch.close();
  await removeUnits(cluster, (name) => name.startsWith('latency-'));
  samples.sort((a, b) => a - b);
  // What systemd alone takes for one start of the same file, by systemctl, on one of the machines.
  const native = await nativeStart(cluster.machines[0]!, 30);
  return [
    {
      name: 'apply → running seen by a watch, p50',
      value: percentile(samples, 0.5),
      unit: 'ms',
      reference: `one systemctl start ${native.toFixed(1)} ms`,
      aim: '< 25 ms',
    },
    { name: 'apply → running seen by a watch, p99', value: percentile(samples, 0.99), unit: 'ms' },
  ];
}

/** The same units through us and through `systemctl start`, by turns; median of the rounds. */
async function burst(cluster: DevCluster): Promise<Row[]> {
  const ours: number[] = [];
  const native: number[] = [];
  let weight: Row[] = [];
  for (let round = 0; round < burstRounds; round++) {
    const names = Array.from({ length: burstUnits }, (_, index) => `burst-${round}-${index}.service`);
    const watch = await UnitWatch.open(cluster);
    const active = watch.untilActive(names);
    const started = performance.now();
    await Promise.all(names.map((name) => applyUnit(cluster, name)));
    await active;
    ours.push(performance.now() - started);
    watch.close();
    if (round === burstRounds - 1) weight = await agentWeight(cluster);
    await removeUnits(cluster, (name) => name.startsWith('burst-'));
    native.push(await nativeBurst(cluster, round));
  }
  const [us, them] = [median(ours), median(native)];
  return [
    {
      name: `burst of ${burstUnits} units over ${cluster.machines.length} machines`,
      value: (burstUnits / us) * 1_000,
      unit: 'units/s',
      reference: `native ${((burstUnits / them) * 1_000).toFixed(0)} units/s`,
      ratio: them / us,
      aim: '≥ 50 % of native',
    },
    ...weight,
  ];
}

async function nativeBurst(cluster: DevCluster, round: number): Promise<number> {
  const share = burstUnits / cluster.machines.length;
  const names = Array.from({ length: share }, (_, index) => `native-${round}-${index}.service`);
  const write = names.map((name) => `printf '${content.replaceAll('\n', '\\n')}' > /run/systemd/system/${name}`).join('\n');
  await Promise.all(cluster.machines.map((machine) => machine.must(['sh', '-s'], { input: write })));
  const started = performance.now();
  await Promise.all(cluster.machines.map((machine) => machine.must(['systemctl', 'start', ...names])));
  const took = performance.now() - started;
  await Promise.all(
    cluster.machines.map((machine) =>
      machine.must(['sh', '-c', `systemctl stop ${names.join(' ')}; cd /run/systemd/system && rm ${names.join(' ')}`]),
    ),
  );
  return took;
}

async function nativeStart(machine: SystemdMachine, count: number): Promise<number> {
  const script = `for i in $(seq ${count}); do printf '${content.replaceAll('\n', '\\n')}' > /run/systemd/system/one-$i.service
a=$(date +%s%N); systemctl start one-$i.service; b=$(date +%s%N); echo $(( (b - a) / 1000 )); done`;
  const micros = (await machine.must(['sh', '-s'], { input: script })).trim().split('\n').map(Number);
  await machine.must(['sh', '-c', 'cd /run/systemd/system && systemctl stop one-*.service; rm one-*.service']);
  return median(micros) / 1_000;
}

/** RSS and idle CPU of each agent while it has its share of the burst's units, from /proc. */
async function agentWeight(cluster: DevCluster): Promise<Row[]> {
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const look = () =>
    Promise.all(
      cluster.machines.map(async (machine) => {
        const pid = (await machine.must(['systemctl', 'show', '--property=MainPID', '--value', 'flotilla-agent.service'])).trim();
        const text = await machine.must([
          'sh',
          '-c',
          `cat /proc/${pid}/stat; grep -E '^(VmRSS|RssAnon)' /proc/${pid}/status; getconf CLK_TCK`,
        ]);
        const [stat = '', ...rest] = text.trim().split('\n');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const ticks = Number(rest.at(-1));
        const kilobytes = Number(rest.find((line) => line.startsWith('VmRSS'))?.replace(/\D/g, ''));
        return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticks, megabytes: kilobytes / 1_024 };
      }),
    );
  const before = await look();
  await new Promise((resolve) => setTimeout(resolve, idleSeconds * 1_000));
  const after = await look();
  const cpu = after.map((value, index) => ((value.cpuSeconds - before[index]!.cpuSeconds) / idleSeconds) * 100);
  return [
    {
      name: `agent memory, ${burstUnits / cluster.machines.length} units each (largest)`,
      value: Math.max(...after.map(({ megabytes }) => megabytes)),
      unit: 'MB RSS',
      aim: '< 90 MB',
    },
    { name: `agent idle CPU over ${idleSeconds} s (largest)`, value: Math.max(...cpu), unit: '% of a core', aim: '< 0.5 %' },
  ];
}

async function startUp(cluster: DevCluster, program: string): Promise<Row[]> {
  const socket = cluster.servers[0]!.socket;
  const kubectl = await kubectlPath();
  // Node reads this file before it runs anything, which costs more than all that we do, and kubectl does not: no figure of ours.
  const { NODE_EXTRA_CA_CERTS: _, ...plain } = process.env;
  const time = async (command: string, args: readonly string[], env: NodeJS.ProcessEnv) => {
    const samples: number[] = [];
    for (let index = 0; index <= startUpRuns; index++) {
      const started = performance.now();
      const { code, stderr } = await run(command, args, { env });
      if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
      if (index > 0) samples.push(performance.now() - started);
    }
    return median(samples);
  };
  const ours = await time(process.execPath, [program, 'get', 'units'], { ...plain, FLOTILLA_ENDPOINT: `unix://${socket}` });
  const node = await time(process.execPath, ['-e', '0'], plain);
  const row: Row = { name: 'flotilla get units, whole process', value: ours, unit: 'ms', reference: `bare node ${node.toFixed(0)} ms` };
  if (!kubectl || !cluster.servers[0]!.httpUrl) return [row];
  const cache = join(cluster.directory, 'kubectl-cache');
  const theirs = await time(kubectl, [`--server=${cluster.servers[0]!.httpUrl}`, `--cache-dir=${cache}`, 'get', 'units'], {
    ...process.env,
    KUBECONFIG: '/dev/null',
  });
  return [
    {
      ...row,
      reference: `kubectl get ${theirs.toFixed(0)} ms, bare node ${node.toFixed(0)} ms`,
      ratio: ours / theirs,
      aim: '≤ 1.5 × kubectl',
    },
  ];
}

const kubectlPath = async (): Promise<string | undefined> =>
  (process.env.PATH ?? '')
    .split(':')
    .map((directory) => join(directory, 'kubectl'))
    .find((file) => existsSync(file));

/** One watch of all units over a connection of its own. */
class UnitWatch {
  readonly #active = new Set<string>();
  #check: () => void = () => undefined;

  private constructor(private readonly abort: AbortController) {}

  static async open(cluster: DevCluster): Promise<UnitWatch> {
    const watch = new UnitWatch(new AbortController());
    const socketPath = cluster.servers[0]!.socket;
    await new Promise<void>((resolve, reject) => {
      const req = request(
        { socketPath, path: '/apis/flotilla.dev/v1/units?watch=true&resourceVersion=0', agent: false, signal: watch.abort.signal },
        (response) => {
          resolve();
          watch.#read(response).catch((error: Error) => {
            if (!watch.abort.signal.aborted) throw error;
          });
        },
      );
      req.on('error', (error) => (watch.abort.signal.aborted ? undefined : reject(error)));
      req.end();
    });
    return watch;
  }

  async #read(response: AsyncIterable<unknown>): Promise<void> {
    for await (const line of linesOf(response)) {
      if (line === '') continue;
      const { object } = JSON.parse(line) as { object: { metadata: { name: string }; status?: { active?: string } } };
      if (object.status?.active !== 'active') continue;
      this.#active.add(object.metadata.name);
      this.#check();
    }
  }

  untilActive(names: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`not active within 120 s: ${names.filter((name) => !this.#active.has(name)).slice(0, 5)}`)),
        120_000,
      );
      this.#check = () => {
        if (!names.every((name) => this.#active.has(name))) return;
        clearTimeout(timer);
        resolve();
      };
      this.#check();
    });
  }

  close(): void {
    this.abort.abort();
  }
}

const send = (cluster: DevCluster, method: string, path: string, body?: unknown): Promise<void> =>
  new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = body === undefined ? {} : { 'content-type': 'application/apply-patch+yaml', 'content-length': Buffer.byteLength(text) };
    const req = request({ socketPath: cluster.servers[0]!.socket, path, method, headers }, (response) => {
      response.resume();
      response.on('end', () =>
        (response.statusCode ?? 0) < 400 ? resolve() : reject(new Error(`${method} ${path}: ${response.statusCode}`)),
      );
    });
    req.on('error', reject);
    req.end(text);
  });

const applyUnit = (cluster: DevCluster, name: string) =>
  send(cluster, 'PATCH', `/apis/flotilla.dev/v1/units/${name}?fieldManager=bench`, {
    apiVersion: 'flotilla.dev/v1',
    kind: 'Unit',
    metadata: { name },
    spec: { content },
  });

async function removeUnits(cluster: DevCluster, matches: (name: string) => boolean): Promise<void> {
  const units = async () =>
    (await cluster.list<{ metadata: { name: string } }>('units')).items.map(({ metadata }) => metadata.name).filter(matches);
  await Promise.all((await units()).map((name) => send(cluster, 'DELETE', `/apis/flotilla.dev/v1/units/${name}`)));
  await until('the units to be gone', async () => (await units()).length === 0, { timeoutMs: 120_000, everyMs: 200 });
}
