/**
 * A whole cluster in this process, real but for etcd and systemd: the server with its API and controllers over a store in memory, and real
 * agents that join it by TLS, each with a systemd in memory. What a verb sees here, it would see anywhere.
 */
import { Agent } from '../../agent/agent.js';
import { LastKnownGood } from '../../agent/last-known-good.js';
import { Pki } from '../../agent/pki.js';
import { Records } from '../../agent/records.js';
import { runControllers } from '../../controllers/manager.js';
import { systemClock } from '../../runtime/clock.js';
import { silentLogger } from '../../runtime/log.js';
import { noMetrics } from '../../runtime/metrics.js';
import { type Cluster, newCluster, type Server, until } from '../api/server/agents/rig.js';
import { FakeSystemd, type FakeSystemdOptions } from './fake-systemd.js';
import { MemoryStateFiles, MemoryUnitFiles } from './memory-files.js';

export interface MachineOptions extends Omit<FakeSystemdOptions, 'files'> {
  readonly id: string;
  readonly hostname: string;
  readonly address: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export class LiveMachine {
  readonly files = new MemoryUnitFiles();
  readonly systemd: FakeSystemd;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(readonly options: MachineOptions) {
    this.systemd = new FakeSystemd({ ...options, files: this.files });
  }

  async start(server: Server): Promise<void> {
    const { id, hostname, address, labels = {} } = this.options;
    const { token } = await server.tokens.create({});
    const bootID = `boot-${hostname}`;
    const state = new MemoryStateFiles();
    const agent = new Agent(
      {
        servers: [server.url],
        token,
        metadata: labels,
        metricsListen: 'off',
        stateDir: '/nowhere',
        version: '1',
        log: silentLogger,
        metrics: noMetrics,
        clock: systemClock,
        random: Math.random,
        signal: this.#stop.signal,
      },
      {
        systemd: this.systemd,
        machine: id,
        bootID,
        isUserManager: false,
        info: { hostname, address, bootID, agentVersion: '1', cpus: 4, memoryBytes: 2 ** 33 },
        files: this.files,
        records: new Records(this.files, silentLogger),
        lastKnownGood: await LastKnownGood.open(state, silentLogger),
        pki: new Pki(state),
      },
    );
    this.#running = agent.run();
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

export class LiveCluster {
  private constructor(
    readonly cluster: Cluster,
    readonly server: Server,
    readonly machines: readonly LiveMachine[],
    private readonly stop: AbortController,
    private readonly controllers: Promise<void>,
  ) {}

  get endpoint(): string {
    return `unix://${this.server.socketPath}`;
  }

  static async start(machines: readonly MachineOptions[]): Promise<LiveCluster> {
    const cluster = await newCluster();
    const server = await cluster.startServer('alpha');
    const stop = new AbortController();
    const controllers = runControllers({
      store: server.store,
      cache: server.cache,
      door: server.door,
      clock: systemClock,
      log: silentLogger,
      metrics: noMetrics,
      events: { record: () => {} },
      identity: { server: 'alpha' },
      signal: stop.signal,
    });
    const live = machines.map((options) => new LiveMachine(options));
    for (const machine of live) await machine.start(server);
    for (const { options } of live) await until(`machine ${options.hostname} is ready`, () => isReady(server, options.id));
    return new LiveCluster(cluster, server, live, stop, controllers);
  }

  async end(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.end()));
    this.stop.abort();
    await this.controllers;
    await this.cluster.close();
  }
}

function isReady(server: Server, id: string): boolean {
  const status = server.cache.joined('machines', id)?.status as { conditions?: { type: string; status: string }[] } | undefined;
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}
