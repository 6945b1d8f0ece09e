/**
 * The agent of one machine, put together: what a server says belongs here, what systemd says is here, and the work between the two.
 * It ends without stopping anything, and begins by adopting what runs (invariants 1 and 5).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { join as joinPath } from 'node:path';
import type { AgentAssignment, FromAgent } from '../api/resources/protocol.js';
import { backoffMs } from '../runtime/backoff.js';
import { type Clock, type Random, sleep } from '../runtime/clock.js';
import type { Logger } from '../runtime/log.js';
import type { Counter, Metrics } from '../runtime/metrics.js';
import { Convergence } from './converge.js';
import type { UnitFiles } from './files.js';
import { DiskStateFiles, DiskUnitFiles } from './files-disk.js';
import { JoinRefused, join, renew, renewAtMs, shouldJoin } from './join.js';
import { LastKnownGood } from './last-known-good.js';
import { type ExplainLoad, loadExplainer } from './load-problems.js';
import { machineInfo, readBootId, readMachineId } from './machine-info.js';
import { AgentMetrics, dbusMetrics, serveMetrics } from './metrics.js';
import { type Membership, Pki } from './pki.js';
import { Records } from './records.js';
import { Reporter } from './report.js';
import { ServerList } from './servers.js';
import { keepStream, type StreamHandler } from './stream.js';
import type { Systemd } from './systemd.js';
import { openSystemdDbus, systemBusAddress } from './systemd-dbus.js';
import { UnitCgroups } from './unit-cgroups.js';
import { UnitOutputs } from './unit-output.js';
import { readMachineUsage, UsageMeter } from './usage.js';

export interface AgentOptions {
  /** https URLs. */
  readonly servers: readonly string[];
  /** Needed until the machine has joined. */
  readonly token?: string;
  /** Labels of the machine. */
  readonly metadata: Readonly<Record<string, string>>;
  /** D-Bus address of the systemd to drive. Default: the system bus. */
  readonly bus?: string;
  /** `127.0.0.1:7081`, or `off`. */
  readonly metricsListen: string;
  readonly stateDir: string;
  readonly version: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the agent; what it manages stays as it is. */
  readonly signal: AbortSignal;
}

/** SEMANTICS 16: how long a movable unit waits for a server at boot, which may have moved it elsewhere meanwhile. */
const bootGraceMs = 20_000;
const resyncEveryMs = 60_000;
const resyncAfterReloadMs = 1_000;
const joinBackoff = { baseMs: 1_000, capMs: 30_000 };
const renewBackoff = { baseMs: 60_000, capMs: 3_600_000 };
/** setTimeout holds 24 days, and wall clocks are set: the time of renewal is looked at anew this often. */
const renewLookMs = 6 * 3_600_000;

/** Resolves after the signal. Throws `JoinRefused` when the machine is no member and cannot become one. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { log, metrics, clock, random, signal, stateDir } = options;
  const systemd = openSystemdDbus({
    address: options.bus ?? systemBusAddress,
    clock,
    random,
    log,
    onCall: dbusMetrics(metrics),
  });
  try {
    await untilConnected(systemd, signal);
    if (signal.aborted) return;
    const machine = await readMachineId();
    const bootID = await readBootId();
    const { unitPath, version: systemdVersion } = await systemd.about();
    const { directory, isUserManager } = runtimeDirectory(unitPath);
    const state = new DiskStateFiles({ directory: stateDir, log });
    const files = new DiskUnitFiles({ directory, log });
    const agent = new Agent(options, {
      systemd,
      machine,
      bootID,
      isUserManager,
      explainLoad: loadExplainer(isUserManager),
      info: await machineInfo({ bootID, agentVersion: options.version, systemdVersion }),
      files,
      records: new Records(files, log),
      lastKnownGood: await LastKnownGood.open(state, log),
      pki: new Pki(new DiskStateFiles({ directory: joinPath(stateDir, 'pki'), log })),
    });
    await agent.run();
  } finally {
    systemd.close();
  }
}

/** What the agent finds on its machine. */
export interface AgentParts {
  readonly systemd: Systemd;
  readonly machine: string;
  readonly bootID: string;
  readonly isUserManager: boolean;
  readonly explainLoad?: ExplainLoad;
  readonly info: Awaited<ReturnType<typeof machineInfo>>;
  readonly files: UnitFiles;
  readonly records: Records;
  readonly lastKnownGood: LastKnownGood;
  readonly pki: Pki;
}

export class Agent implements StreamHandler {
  readonly #options: AgentOptions;
  readonly #parts: AgentParts;
  readonly #convergence: Convergence;
  readonly #reporter: Reporter;
  readonly #outputs: UnitOutputs;
  readonly #cgroups: UnitCgroups;
  readonly #usage: UsageMeter;
  readonly #servers: ServerList;
  readonly #streamFailures: Counter<never>;
  #membership: Membership | undefined;
  #send: ((message: FromAgent) => void) | undefined;
  /** Events that happened without a stream; the oldest go first when there are too many. */
  readonly #events: Extract<FromAgent, { type: 'event' }>[] = [];
  #lastSyncMs: number | undefined;
  #isBootGraceOver = false;
  /** A server has said what belongs here, since this agent started. */
  #isToldWhatBelongs = false;
  #resyncSoon: (() => void) | undefined;

  constructor(options: AgentOptions, parts: AgentParts) {
    this.#options = options;
    this.#parts = parts;
    const { clock, random, log, metrics } = options;
    this.#servers = new ServerList(options.servers, random);
    this.#streamFailures = metrics.counter('flotilla_agent_stream_failures_total', 'Streams that ended or could not be opened.');
    this.#streamFailures.inc({}, 0);
    this.#reporter = new Reporter({
      clock,
      state: (name) => this.#convergence.state(name),
      isMoving: (name) => this.#convergence.isMoving(name),
    });
    this.#convergence = new Convergence({
      systemd: parts.systemd,
      files: parts.files,
      records: parts.records,
      bootID: parts.bootID,
      clock,
      random,
      log,
      metrics,
      ...(parts.explainLoad ? { explainLoad: parts.explainLoad } : {}),
      onChange: (name) => this.#reporter.changed(name),
      onEvent: ({ unit, reason, message, warning }) => this.#event({ type: 'event', unit, reason, message, warning }),
    });
    this.#outputs = new UnitOutputs({
      identity: () => this.#member,
      isAssigned: (unit) => this.#convergence.desired(unit) !== undefined,
      runOf: (unit) => {
        const { run, seen } = this.#convergence.observations.get(unit) ?? {};
        return { invocationID: run?.invocationID, isRestarting: seen?.sub.startsWith('auto-restart') ?? false };
      },
      isUserManager: parts.isUserManager,
      log,
    });
    this.#cgroups = new UnitCgroups(parts.systemd);
    this.#usage = new UsageMeter({
      machine: readMachineUsage,
      units: () => this.#cgroups.read(this.#seenUnits()),
      clock,
      signal: options.signal,
    });
  }

  async run(): Promise<void> {
    const { signal, log } = this.#options;
    const server = await this.#serveMetrics();
    const stopResyncing = this.#resyncOnAPeriod();
    const stopListening = this.#parts.systemd.listen({
      // PropertiesChanged may be lost around a reload.
      reloaded: () => this.#resyncIn(resyncAfterReloadMs),
    });
    try {
      this.#membership = await this.#parts.pki.membership();
      const cancelGrace = this.#startFromDisk();
      notifyReady(log);
      await this.#joinIfNeeded();
      await Promise.all([
        keepStream({
          servers: this.#servers,
          identity: () => this.#member,
          handler: this,
          clock: this.#options.clock,
          log,
          signal,
        }),
        this.#keepCertificate(),
      ]);
      cancelGrace();
    } finally {
      stopResyncing();
      stopListening();
      this.#resyncSoon?.();
      this.#reporter.disconnected();
      this.#outputs.closeAll();
      await this.#convergence.close();
      await this.#parts.lastKnownGood.flush();
      server?.close();
      server?.closeAllConnections();
      log.info('agent ended; the units stay as they are');
    }
  }

  get #member(): Membership {
    if (!this.#membership) throw new Error('this machine has not joined a cluster');
    return this.#membership;
  }

  // ── before a server is there ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs by what a server last said; returns what ends the wait for one (SEMANTICS 16). */
  #startFromDisk(): () => void {
    const { lastKnownGood } = this.#parts;
    const isSameCluster = this.#membership !== undefined && lastKnownGood.clusterUid === this.#membership.clusterUid;
    this.#convergence.setPolicy({ mayLeave: false, startHeld: (assignment) => this.#heldAtBoot(assignment) });
    if (isSameCluster) this.#convergence.change(lastKnownGood.assignments, []);
    return this.#options.clock.after(bootGraceMs, () => {
      this.#isBootGraceOver = true;
      if (!this.#isToldWhatBelongs) this.#convergence.lookAtAll();
    });
  }

  #heldAtBoot({ failover }: AgentAssignment): string | undefined {
    if (failover === 'stay') return undefined;
    if (failover === 'atMostOnce') return 'a unit that must not run twice starts only when a server says so, and none has been reached';
    return this.#isBootGraceOver ? undefined : `it may have been moved meanwhile: waiting ${bootGraceMs / 1_000} s for a server to say so`;
  }

  async #joinIfNeeded(): Promise<void> {
    const { token, metadata, clock, random, signal, log } = this.#options;
    const { machine, pki } = this.#parts;
    for (let failures = 1; shouldJoin(this.#membership, token, clock.now().getTime()) && !signal.aborted; failures++) {
      if (token === undefined) throw new JoinRefused('this machine has not joined a cluster: give it a token from `flotilla token create`');
      try {
        this.#membership = await join({ servers: this.#servers.all, token, machine, labels: metadata, pki });
        log.info('joined the cluster', { cluster: this.#membership.clusterUid });
      } catch (error) {
        if (error instanceof JoinRefused) {
          if (!this.#membership) throw error;
          log.warn('the token was refused; going on as the member that this machine is', { why: error.message });
          return;
        }
        const retryMs = backoffMs(joinBackoff, failures, random);
        log.warn('could not join', { error: (error as Error).message, retry_ms: Math.round(retryMs) });
        await sleep(clock, retryMs, signal);
      }
    }
  }

  async #keepCertificate(): Promise<void> {
    const { clock, random, signal, log } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      const dueMs = renewAtMs(this.#member) - clock.now().getTime();
      if (dueMs > 0 || failures > 0) {
        const waitMs = failures > 0 ? backoffMs(renewBackoff, failures, random) : Math.min(dueMs, renewLookMs);
        await sleep(clock, waitMs, signal);
      }
      if (signal.aborted || renewAtMs(this.#member) > clock.now().getTime()) continue;
      try {
        this.#membership = await renew(this.#servers.current, this.#parts.machine, this.#member, this.#parts.pki);
        failures = 0;
        log.info('certificate renewed', { not_after: new Date(this.#membership.notAfterMs).toISOString() });
      } catch (error) {
        failures += 1;
        log.warn('certificate could not be renewed', {
          error: (error as Error).message,
          not_after: new Date(this.#member.notAfterMs).toISOString(),
        });
      }
    }
  }

  // ── the stream ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  hello(): Extract<FromAgent, { type: 'hello' }> {
    return { type: 'hello', info: this.#parts.info, labels: { ...this.#options.metadata }, clusterUid: this.#member.clusterUid };
  }

  welcome({ clusterUid }: Parameters<StreamHandler['welcome']>[0]): boolean {
    if (clusterUid === this.#member.clusterUid) return true;
    this.#options.log.error('server belongs to another cluster; what runs here stays as it is', { theirs: clusterUid });
    return false;
  }

  snapshot(message: Parameters<StreamHandler['snapshot']>[0], send: (message: FromAgent) => void): boolean {
    const { lastKnownGood } = this.#parts;
    const { clusterUid } = this.#member;
    if (lastKnownGood.clusterUid === clusterUid && message.revision < (lastKnownGood.revision ?? 0)) {
      this.#options.log.error('server knows less than this machine; what runs here stays as it is', {
        theirs: message.revision,
        ours: lastKnownGood.revision,
      });
      send({
        type: 'event',
        reason: 'StaleSnapshot',
        message: `refused a snapshot of revision ${message.revision}: this machine has seen ${lastKnownGood.revision}`,
        warning: true,
      });
      return false;
    }
    this.#send = send;
    this.#isToldWhatBelongs = true;
    this.#synced();
    this.#convergence.setPolicy({ mayLeave: true, startHeld: () => undefined });
    const held = new Set(message.held);
    const kept = this.#convergence.assignments().filter(({ unit }) => held.has(unit));
    lastKnownGood.keep(clusterUid, message.revision, [...message.assignments, ...kept]);
    this.#convergence.replace(message.assignments, message.held);
    this.#convergence.remember(message.states);
    const tell = (batch: { batch: number; states: Readonly<Record<string, unknown>> }) => send({ type: 'states', ...batch } as FromAgent);
    this.#reporter.connected(tell, message.states, this.#convergence.names());
    for (const event of this.#events.splice(0)) send(event);
    return true;
  }

  changes({ revision, assignments, dropped }: Parameters<StreamHandler['changes']>[0]): void {
    this.#synced();
    this.#convergence.change(assignments, dropped);
    for (const name of dropped) this.#reporter.forget(name);
    this.#parts.lastKnownGood.keep(this.#member.clusterUid, revision, this.#convergence.assignments());
  }

  stored(batch: number): void {
    this.#synced();
    this.#reporter.stored(batch);
  }

  acknowledged(): void {
    this.#synced();
  }

  openOutput(message: Parameters<StreamHandler['openOutput']>[0], server: string): void {
    this.#outputs.open(message, server);
  }

  closeOutput(request: string): void {
    this.#outputs.close(request);
  }

  measure(request: string): void {
    this.#usage.measure().then(
      (usage) => this.#send?.({ type: 'usage', request, ...usage }),
      (error: Error) => this.#options.log.warn('usage could not be measured', { error: error.message }),
    );
  }

  closed(): void {
    this.#streamFailures.inc({});
    this.#send = undefined;
    this.#reporter.disconnected();
  }

  #synced(): void {
    this.#lastSyncMs = this.#options.clock.now().getTime();
  }

  #event(told: Extract<FromAgent, { type: 'event' }>): void {
    const event = { ...told, message: told.message.slice(0, maxEventLength) };
    if (this.#send) this.#send(event);
    else {
      this.#events.push(event);
      if (this.#events.length > maxKeptEvents) this.#events.shift();
    }
  }

  // ── the period, and what is shown ──────────────────────────────────────────────────────────────────────────────────────────────────

  #resyncOnAPeriod(): () => void {
    const { clock, random } = this.#options;
    let cancel = () => {};
    const plan = () => {
      cancel = clock.after(resyncEveryMs * (0.75 + 0.5 * random()), () => {
        this.#resync();
        plan();
      });
    };
    plan();
    return () => cancel();
  }

  #resyncIn(delayMs: number): void {
    this.#resyncSoon?.();
    this.#resyncSoon = this.#options.clock.after(delayMs, () => this.#resync());
  }

  #resync(): void {
    if (!this.#parts.systemd.isConnected) return;
    this.#convergence.resync().catch((error: Error) => this.#options.log.warn('resync failed', { error: error.message }));
  }

  *#seenUnits() {
    for (const { unit } of this.#convergence.assignments()) {
      const observation = this.#convergence.observations.get(unit);
      if (observation) yield [unit, observation, this.#convergence.type(unit) ?? ''] as const;
    }
  }

  async #serveMetrics(): Promise<Server | undefined> {
    const { metrics, metricsListen, log } = this.#options;
    const { systemd } = this.#parts;
    const shown = new AgentMetrics({
      metrics,
      systemd,
      machine: this.#parts.machine,
      hostname: this.#parts.info.hostname,
      units: () => this.#seenUnits(),
      cgroups: this.#cgroups,
      lastSyncMs: () => this.#lastSyncMs,
      isServerConnected: () => this.#send !== undefined,
      certificateNotAfterMs: () => this.#membership?.notAfterMs,
    });
    if (metricsListen === 'off') return undefined;
    const server = await serveMetrics(metricsListen, {
      contentType: metrics.contentType,
      metrics: () => shown.render(),
      problem: () => (systemd.isConnected ? undefined : 'systemd cannot be reached'),
    });
    log.info('metrics are served', { listen: metricsListen });
    return server;
  }
}

const maxKeptEvents = 100;
/** What a server takes of a sentence. */
const maxEventLength = 1_000;

async function untilConnected(systemd: Systemd, signal: AbortSignal): Promise<void> {
  if (systemd.isConnected || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      stop();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const stop = systemd.listen({ connected: done });
    signal.addEventListener('abort', done);
  });
}

/** Where units go that are gone at boot: the manager says where it looks, so the system's and a user's own work alike. */
export function runtimeDirectory(unitPath: readonly string[]): { directory: string; isUserManager: boolean } {
  if (unitPath.includes('/run/systemd/system')) return { directory: '/run/systemd/system', isUserManager: false };
  const own = process.env.XDG_RUNTIME_DIR && joinPath(process.env.XDG_RUNTIME_DIR, 'systemd/user');
  const directory = unitPath.find((path) => path === own) ?? unitPath.find((path) => /^\/run\/user\/\d+\/systemd\/user$/.test(path));
  if (directory === undefined) throw new Error(`systemd looks for units in no directory that is gone at boot: ${unitPath.join(', ')}`);
  return { directory, isUserManager: true };
}

/** Tells systemd that the agent is up; Node has no datagram sockets of that kind, so systemd's own tool does. */
function notifyReady(log: Logger): void {
  if (!process.env.NOTIFY_SOCKET) return;
  const notify = spawn('systemd-notify', ['--ready', `--pid=${process.pid}`], { stdio: 'ignore' });
  once(notify, 'exit').then(
    ([code]) => {
      if (code !== 0) log.warn('systemd-notify failed', { code });
    },
    (error: Error) => log.warn('systemd-notify could not be run', { error: error.message }),
  );
}
