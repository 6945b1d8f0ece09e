/** A machine in memory with the whole real agent on it. No server answers: the test says what one would have said. */
import type { TestContext } from 'node:test';
import { Agent } from '../../agent/agent.js';
import { LastKnownGood } from '../../agent/last-known-good.js';
import { Pki } from '../../agent/pki.js';
import { Records } from '../../agent/records.js';
import type { Systemd } from '../../agent/systemd.js';
import { sha256 } from '../../agent/unit-text.js';
import type { AgentAssignment, FromAgent } from '../../api/resources/protocol.js';
import type { Clock } from '../../runtime/clock.js';
import { silentLogger } from '../../runtime/log.js';
import { noMetrics } from '../../runtime/metrics.js';
import { generateKeyPair, issueCertificate, privateKeyPem } from '../../runtime/x509/certificates.js';
import { FakeSystemd, type FakeSystemdOptions } from '../rigs/fake-systemd.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';
import { MemoryStateFiles, MemoryUnitFiles } from '../rigs/memory-files.js';

export const clusterUid = 'cluster-1';
/** Nobody listens there. */
const nowhere = 'https://127.0.0.1:1';

/** What a server answered when the machine joined, and the key that it is for. */
const joined = await (async () => {
  const keys = await generateKeyPair();
  const [notBefore, notAfter] = [new Date('2025-01-01'), new Date('2035-01-01')];
  const content = { commonName: 'm1', notBefore, notAfter, publicKey: keys.publicKey, usage: ['client'] } as const;
  const certificate = await issueCertificate(content, { ...keys, commonName: 'm1' });
  return {
    key: await privateKeyPem(keys),
    reply: { certificate, ca: certificate, clusterUid, machineUid: 'uid-m1', servers: [nowhere] },
  };
})();

export interface MachineOptions extends Omit<FakeSystemdOptions, 'files'> {
  /** Between the agent and its systemd. */
  readonly port?: (systemd: FakeSystemd) => Systemd;
  /** Between the agent and its clock. */
  readonly time?: (clock: Clock) => Clock;
}

/** The stream to nowhere never opens; whether there is a server is for the test to say. */
class TestedAgent extends Agent {
  override closed(): void {}

  lost(): void {
    super.closed();
  }
}

export class Machine {
  readonly clock = new ManualClock();
  readonly files = new MemoryUnitFiles();
  readonly systemd: FakeSystemd;
  state = new MemoryStateFiles();
  /** What the agent sent, while a server listened. */
  readonly sent: FromAgent[] = [];
  agent!: TestedAgent;
  version = '1';
  #options: MachineOptions;
  #stop = new AbortController();
  #boot = 1;

  constructor(options: MachineOptions = {}) {
    this.#options = options;
    this.systemd = new FakeSystemd({ ...options, files: this.files });
  }

  static async start(t: TestContext, options: MachineOptions = {}): Promise<Machine> {
    const machine = new Machine(options);
    t.after(() => machine.#stop.abort());
    await new Pki(machine.state).store(joined.key, sha256('a token'), joined.reply);
    await machine.startAgent();
    return machine;
  }

  async startAgent(): Promise<void> {
    const { port = (systemd) => systemd, time = (clock) => clock } = this.#options;
    const bootID = `boot-${this.#boot}`;
    this.#stop = new AbortController();
    const options = {
      servers: [nowhere],
      metadata: {},
      metricsListen: 'off',
      stateDir: '/nowhere',
      version: this.version,
      log: silentLogger,
      metrics: noMetrics,
      clock: time(this.clock),
      random: () => 0.5,
      signal: this.#stop.signal,
    };
    this.agent = new TestedAgent(options, {
      systemd: port(this.systemd),
      machine: '1'.repeat(32),
      bootID,
      isUserManager: false,
      info: { hostname: 'm1', address: '10.0.0.1', bootID, agentVersion: this.version, cpus: 1, memoryBytes: 1 },
      files: this.files,
      records: new Records(this.files, silentLogger),
      lastKnownGood: await LastKnownGood.open(this.state, silentLogger),
      pki: new Pki(this.state),
    });
    // It ends only by the signal, and never when its disk was cut off before.
    void this.agent.run();
    await this.rest();
  }

  /** The agent's process is gone at once: nothing that it still does reaches disk or systemd. */
  killAgent(): void {
    this.state.isDead = true;
    this.state = this.state.survivor();
    this.systemd.forgetListeners();
    this.#stop.abort();
  }

  /** Power off and on, and no agent yet. */
  reboot(): void {
    this.killAgent();
    this.systemd.reboot();
    this.files.reboot();
    this.#boot += 1;
  }

  /** A server says all that belongs here. False when it was not believed. */
  async told(revision: number, ...assignments: AgentAssignment[]): Promise<boolean> {
    const snapshot = { type: 'snapshot' as const, revision, assignments, held: [], states: {} };
    const isBelieved = this.agent.snapshot(snapshot, (message) => this.sent.push(message));
    await this.rest();
    return isBelieved;
  }

  /** Until nothing moves, without any time passing. */
  async rest(): Promise<void> {
    for (let quiet = 0; quiet < 8; quiet++) {
      const calls = this.systemd.calls.length;
      await settle();
      await settle();
      if (this.systemd.calls.length !== calls) quiet = 0;
    }
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.rest();
  }
}
