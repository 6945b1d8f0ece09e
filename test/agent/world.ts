/** A machine in memory with an agent's convergence on it, that can be killed and begun again. */
import { Convergence } from '../../agent/converge.js';
import { Records } from '../../agent/records.js';
import { sha256 } from '../../agent/unit-text.js';
import type { AgentAssignment } from '../../api/resources/protocol.js';
import { silentLogger } from '../../runtime/log.js';
import { FakeSystemd, type FakeSystemdOptions } from '../rigs/fake-systemd.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';
import { MemoryUnitFiles } from '../rigs/memory-files.js';

export const service = (body = 'ExecStart=/bin/sleep infinity') => `[Service]\n${body}\n`;

export function assignment(unit: string, text = service(), more: Partial<AgentAssignment> = {}): AgentAssignment {
  return {
    unit,
    machine: 'm1',
    unitUid: `uid-of-${unit.replace(/[^a-z0-9]/g, '-')}`,
    generation: 1,
    textHash: sha256(text),
    text,
    wanted: 'launched',
    failover: 'atLeastOnce',
    assignedAt: '2026-01-01T00:00:00.000Z',
    ...more,
  };
}

export class AgentWorld {
  readonly files = new MemoryUnitFiles();
  readonly systemd: FakeSystemd;
  readonly clock = new ManualClock();
  readonly events: { unit: string; reason: string }[] = [];
  readonly changed = new Set<string>();
  agent!: Convergence;
  #boot = 1;
  #life = { isOver: false };

  constructor(options: Omit<FakeSystemdOptions, 'files'> = {}) {
    this.systemd = new FakeSystemd({ ...options, files: this.files });
  }

  static async start(options: Omit<FakeSystemdOptions, 'files'> = {}): Promise<AgentWorld> {
    const world = new AgentWorld(options);
    await world.startAgent();
    return world;
  }

  /** `isTold`: a server has said what belongs here. */
  async startAgent(isTold = true): Promise<void> {
    const life = { isOver: false };
    this.#life = life;
    const files = mortal(this.files, life);
    this.agent = new Convergence({
      systemd: mortal(this.systemd, life),
      files,
      records: new Records(files, silentLogger),
      bootID: `boot-${this.#boot}`,
      clock: this.clock,
      random: () => 0.5,
      log: silentLogger,
      explainLoad: async (path) => `what is wrong with ${path}`,
      onChange: (name) => this.changed.add(name),
      onEvent: ({ unit, reason }) => this.events.push({ unit, reason }),
    });
    if (isTold) this.agent.setPolicy({ mayLeave: true, startHeld: () => undefined });
  }

  /** The agent's process is gone at once: nothing that it still does reaches disk or systemd. */
  killAgent(): void {
    this.#life.isOver = true;
    this.systemd.forgetListeners();
    void this.agent.close();
  }

  async reboot(): Promise<void> {
    this.killAgent();
    this.systemd.reboot();
    this.files.reboot();
    this.#boot += 1;
    await this.startAgent();
  }

  /** Gives the agent everything that belongs here and lets it work until nothing more happens. */
  async want(...assignments: AgentAssignment[]): Promise<void> {
    this.agent.replace(assignments);
    await this.rest();
  }

  /** Until nothing moves, waiting out back-offs and stuck units for at most `byMs`. */
  async rest(byMs = 3_000): Promise<void> {
    for (let quiet = 0; quiet < 6; quiet++) {
      const calls = this.systemd.calls.length;
      await settle();
      await settle();
      if (this.systemd.calls.length !== calls) quiet = 0;
    }
    await this.clock.advance(byMs);
    for (let turn = 0; turn < 10; turn++) await settle();
  }

  /** Changing calls while `work` runs. */
  async changesDuring(work: () => Promise<unknown>): Promise<string[]> {
    const before = this.systemd.changes.length;
    await work();
    return this.systemd.changes.slice(before);
  }
}

/** The same object, until its user is dead: what it asks for then never happens. What it had asked before still does. */
function mortal<Port extends object>(port: Port, life: { readonly isOver: boolean }): Port {
  return new Proxy(port, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (life.isOver) throw new Error('killed');
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
}
