/**
 * A whole cluster on this computer, made of real parts: etcd, servers, and systemd machines with an agent each. `flotilla dev` shows one to
 * a person; the end-to-end tests and the bench drive one as an operator and break it. Everything lies in one directory and is gone after `stop`.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ask } from './ask.js';
import { killMachineProcesses, removeCgroups, removeMachineDirectory, SystemdMachine } from './machine.js';
import { ManagedProcess, until } from './managed-process.js';
import { type MachineNetwork, openMachineNetwork } from './network.js';
import { freePort } from './ports.js';
import { type Finished, type RunOptions, run } from './run.js';

export interface ClusterOptions {
  /** Parent of this cluster's own directory, e.g. /run/flotilla-dev. */
  readonly parent: string;
  /** The built program, dist/flotilla.mjs. */
  readonly program: string;
  readonly machines: number;
  readonly servers?: number;
  readonly etcds?: 1 | 3;
  /** Loopback port of the first server's plain http listener; without it there is none. */
  readonly httpPort?: number;
  /** Unix socket of the first server; default: in the cluster's directory. */
  readonly socket?: string;
  /** Metadata of machine `index` (from 1). */
  readonly metadata?: (index: number) => Readonly<Record<string, string>>;
  readonly agentFlags?: readonly string[];
  /** Directories of the host that every machine sees: host path → path inside. */
  readonly bindInMachines?: Readonly<Record<string, string>>;
  readonly serverFlags?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Told what is being done, for people who wait. */
  readonly progress?: (sentence: string) => void;
  /** Gives the start up: what was started so far is taken down, and `start` throws. */
  readonly signal?: AbortSignal;
}

export interface ServerHandle {
  readonly process: ManagedProcess;
  readonly socket: string;
  readonly agentUrl: string;
  readonly httpUrl?: string;
}

const nodeInMachine = '/opt/flotilla/node';
const programInMachine = '/opt/flotilla/dist/flotilla.mjs';
const agentPort = 7443;

export class DevCluster {
  readonly etcds: ManagedProcess[] = [];
  readonly servers: ServerHandle[] = [];
  readonly machines: SystemdMachine[] = [];
  #network: MachineNetwork | undefined;
  #etcdUrls: string[] = [];

  private constructor(
    readonly id: string,
    readonly directory: string,
    readonly options: ClusterOptions,
  ) {}

  /** Starts all of it; when a part fails, what was started is taken down again before this throws. */
  static async start(options: ClusterOptions): Promise<DevCluster> {
    const id = randomBytes(2).toString('hex');
    const directory = join(options.parent, id);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await writeFile(join(directory, 'secret.key'), `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    await writeFile(join(directory, 'owner'), `${process.pid} ${await startTimeOf(process.pid)}\n`);
    const cluster = new DevCluster(id, directory, options);
    try {
      await cluster.#startAll();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async #startAll(): Promise<void> {
    const progress = this.options.progress ?? (() => undefined);
    const { machines, servers = 1, signal } = this.options;
    progress('starting etcd');
    await this.#startEtcds();
    signal?.throwIfAborted();
    if (machines > 0) this.#network = await openMachineNetwork(this.id);
    progress(servers === 1 ? 'starting the server' : `starting ${servers} servers`);
    for (let index = 1; index <= servers; index++) await this.addServer();
    signal?.throwIfAborted();
    if (machines > 0) progress(machines === 1 ? 'booting a machine' : `booting ${machines} machines`);
    // All have ended, well or not, before anything is taken down: a mount that is still under way would stay.
    const booted = await Promise.allSettled(Array.from({ length: machines }, (_, index) => this.addMachine(index + 1)));
    for (const outcome of booted) if (outcome.status === 'rejected') throw outcome.reason;
    signal?.throwIfAborted();
  }

  get network(): MachineNetwork {
    if (!this.#network) throw new Error('this cluster has no machines, so no network of its own');
    return this.#network;
  }

  get etcdUrls(): readonly string[] {
    return this.#etcdUrls;
  }

  async #startEtcds(): Promise<void> {
    const members = await Promise.all(
      Array.from({ length: this.options.etcds ?? 1 }, async (_, index) => ({
        name: `etcd${index + 1}`,
        client: `http://127.0.0.1:${await freePort()}`,
        peer: `http://127.0.0.1:${await freePort()}`,
      })),
    );
    const initial = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
    for (const { name, client, peer } of members) {
      const args = [
        `--name=${name}`,
        `--data-dir=${join(this.directory, name)}`,
        `--listen-client-urls=${client}`,
        `--advertise-client-urls=${client}`,
        `--listen-peer-urls=${peer}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=${initial}`,
        `--initial-cluster-token=${this.id}`,
        '--auto-compaction-mode=periodic',
        '--auto-compaction-retention=1h',
        '--logger=zap',
      ];
      const etcd = new ManagedProcess({ name, command: 'etcd', args, logFile: join(this.directory, `${name}.log`) });
      etcd.start();
      this.etcds.push(etcd);
    }
    this.#etcdUrls = members.map(({ client }) => client);
    for (const [index, url] of this.#etcdUrls.entries()) {
      const member = this.etcds[index];
      await until(`etcd ${url}`, async () => (await fetch(`${url}/health`)).ok, member ? { process: member } : {});
    }
  }

  /** Another server over the same etcd. The first one makes the CA; the others get its key, as an operator would bring it. */
  async addServer(): Promise<ServerHandle> {
    const index = this.servers.length + 1;
    const name = `server${index}`;
    const isFirst = index === 1;
    const socket = isFirst && this.options.socket ? this.options.socket : join(this.directory, `${name}.sock`);
    await mkdir(dirname(socket), { recursive: true });
    const host = this.#network?.hostAddress ?? '127.0.0.1';
    const agentUrl = `https://${host}:${this.#network && isFirst ? agentPort : await freePort(host)}`;
    const httpUrl = isFirst && this.options.httpPort !== undefined ? `http://127.0.0.1:${this.options.httpPort}` : undefined;
    const args = [
      this.options.program,
      'server',
      `--etcd=${this.#etcdUrls.join(',')}`,
      `--listen=unix://${socket}`,
      `--listen=${agentUrl}`,
      ...(httpUrl ? [`--listen=${httpUrl}`, '--insecure-loopback'] : []),
      `--pki-dir=${join(this.directory, 'pki')}`,
      `--secret-key-file=${join(this.directory, 'secret.key')}`,
      `--git-dir=${join(this.directory, `git-${name}`)}`,
      // Whoever runs a cluster of their own may read what they may read.
      '--git-file-root=/',
      ...(this.options.serverFlags ?? []),
    ];
    const server = new ManagedProcess({
      name,
      command: process.execPath,
      args,
      logFile: join(this.directory, `${name}.log`),
      ...(this.options.env ? { env: this.options.env } : {}),
    });
    server.start();
    const handle: ServerHandle = { process: server, socket, agentUrl, ...(httpUrl ? { httpUrl } : {}) };
    this.servers.push(handle);
    await this.untilReady(handle);
    return handle;
  }

  /** Resolves when the server says that it is ready. */
  async untilReady(server: ServerHandle): Promise<void> {
    await until(`${server.process.options.name} ready`, async () => (await ask(server.socket, '/readyz')).status === 200, {
      process: server.process,
      everyMs: 100,
    });
  }

  async addMachine(index: number): Promise<SystemdMachine> {
    const token = (await this.mustCli(['token', 'create'])).trim();
    const metadata = Object.entries(this.options.metadata?.(index) ?? {}).map(([key, value]) => `${key}=${value}`);
    const environment = [
      `FLOTILLA_SERVER=${this.servers.map((server) => server.agentUrl).join(',')}`,
      `FLOTILLA_TOKEN=${token}`,
      ...(metadata.length > 0 ? [`FLOTILLA_METADATA=${metadata.join(',')}`] : []),
      ...Object.entries(this.options.env ?? {}).map(([key, value]) => `${key}=${value}`),
    ];
    const machine = await SystemdMachine.create({
      name: `fl${this.id}-m${index}`,
      hostname: `m${index}`,
      machineId: randomBytes(16).toString('hex'),
      directory: join(this.directory, `m${index}`),
      bridge: this.network.bridge,
      address: this.network.addressOf(index),
      bindReadOnly: { [process.execPath]: nodeInMachine, [dirname(this.options.program)]: dirname(programInMachine) },
      ...(this.options.bindInMachines ? { bind: this.options.bindInMachines } : {}),
      files: {
        '/etc/flotilla/agent.env': `${environment.join('\n')}\n`,
        '/etc/systemd/system/flotilla-agent.service': agentUnit(this.options.agentFlags ?? []),
      },
      enable: ['flotilla-agent.service'],
    });
    this.machines[index - 1] = machine;
    await machine.boot();
    return machine;
  }

  /** Runs a client verb against the first server, or the one that listens on `socket`. */
  cli(args: readonly string[], options: RunOptions & { socket?: string } = {}): Promise<Finished> {
    const socket = options.socket ?? this.servers[0]?.socket;
    if (!socket) throw new Error('no server');
    const env = { ...process.env, NO_COLOR: '1', ...options.env, FLOTILLA_ENDPOINT: `unix://${socket}` };
    return run(process.execPath, [this.options.program, ...args], { ...options, env });
  }

  /** Like `cli`; a failure throws. Returns stdout. */
  async mustCli(args: readonly string[], options: RunOptions & { socket?: string } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.cli(args, options);
    if (code !== 0) throw new Error(`flotilla ${args.join(' ')}: exit ${code}: ${(stderr || stdout).trim()}`);
    return stdout;
  }

  /** All objects of a kind, from the first server or the one that listens on `socket`. */
  async list<T>(plural: string, socket = this.servers[0]?.socket): Promise<{ items: readonly T[] }> {
    if (!socket) throw new Error('no server');
    const { status, body } = await ask(socket, `/apis/flotilla.dev/v1/${plural}`);
    if (status !== 200) throw new Error(`list of ${plural}: ${status}: ${body}`);
    return JSON.parse(body) as { items: readonly T[] };
  }

  /** Resolves when `count` machines are Ready, or when the signal says that nobody waits for them any more. */
  async untilMachinesReady(count = this.machines.length, timeoutMs = 60_000): Promise<void> {
    await until(
      `${count} machines ready`,
      async () => {
        if (this.options.signal?.aborted) return true;
        const { items } = await this.list<MachineLike>('machines');
        return (
          items.filter((item) => item.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')).length >= count
        );
      },
      { timeoutMs },
    );
  }

  /**
   * Takes everything down, last started first. Nothing of it is kept, so nothing is asked to end well: that would take seconds. Never throws
   * before it has tried all of it.
   */
  async stop(): Promise<void> {
    const problems: unknown[] = [];
    const attempt = async (...work: Promise<unknown>[]) => {
      for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') problems.push(result.reason);
    };
    await attempt(...this.machines.map((machine) => machine.destroy()));
    await attempt(...this.servers.map((server) => server.process.kill()));
    await attempt(...this.etcds.map((etcd) => etcd.kill()));
    await attempt(this.#network?.close() ?? Promise.resolve());
    await attempt(...this.servers.map((server) => rm(server.socket, { force: true })));
    await attempt(rm(this.directory, { recursive: true, force: true }));
    if (problems.length > 0) {
      const why = problems.map((problem) => (problem instanceof Error ? problem.message : String(problem))).join('; ');
      throw new AggregateError(problems, `the cluster did not come down cleanly: ${why}`);
    }
  }
}

interface MachineLike {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/**
 * For a process that waits most of its life: a small young generation, one helper thread, code that is compiled late. Measured with 100 units:
 * 75 to 82 MB instead of 115 to 127 MB, at no loss of speed that a burst would show.
 */
const smallHeap = ['--max-semi-space-size=1', '--v8-pool-size=1', '--optimize-for-size'];

const agentUnit = (flags: readonly string[]) => `[Unit]
Description=Flotilla agent
# An agent that cannot reach its cluster tries for ever: systemd must not give it up after five quick ends.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=all
EnvironmentFile=/etc/flotilla/agent.env
ExecStart=${[nodeInMachine, ...smallHeap, programInMachine, 'agent', ...flags].join(' ')}
Restart=always
RestartSec=1
# Stopping or upgrading the agent must leave the units that it runs alone: only its own process is signalled.
KillMode=process

[Install]
WantedBy=multi-user.target
`;

/** Field 22 of /proc/PID/stat: with it a pid names one process for ever. '' when there is none. */
async function startTimeOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

const ownerWithinMs = 10_000;

/** Nothing is in a directory that its owner has removed meanwhile. */
const gone = (error: NodeJS.ErrnoException): never[] => {
  if (error.code === 'ENOENT') return [];
  throw error;
};

async function isYoung(directory: string): Promise<boolean> {
  const [info] = await stat(directory).then((found) => [found], gone);
  return info === undefined || Date.now() - info.mtimeMs < ownerWithinMs;
}

/** Removes what dev clusters left behind whose owner is gone (killed with SIGKILL, or the terminal was closed on it). */
export async function removeAbandonedClusters(parent: string): Promise<string[]> {
  if (!existsSync(parent)) return [];
  const removed: string[] = [];
  for (const id of await readdir(parent)) {
    const directory = join(parent, id);
    const [pid, startTime] = (await readFile(join(directory, 'owner'), 'utf8').catch(() => '')).trim().split(' ');
    if (pid && startTime && (await startTimeOf(Number(pid))) === startTime) continue;
    // Just made by somebody who has not come to write who he is.
    if (!pid && (await isYoung(directory))) continue;
    for (const entry of await readdir(directory).catch(gone)) {
      if (!/^m\d+$/.test(entry)) continue;
      await killMachineProcesses(join(directory, entry));
      await removeMachineDirectory(join(directory, entry));
      await removeCgroups(`flotilla-fl${id}-${entry}`);
    }
    await run('ip', ['link', 'del', `flo-${id}`]);
    await rm(directory, { recursive: true, force: true });
    removed.push(id);
  }
  return removed;
}
