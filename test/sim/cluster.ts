/**
 * A cluster without processes: the real store contract in memory, the real cache and controllers, and agents that are a few lines each.
 * Time moves only when the test says so; whatever random there is comes from a seed.
 */
import assert from 'node:assert/strict';
import { openClusterCache } from '../../api/objects/cache.js';
import { openObjectDoor } from '../../api/objects/door.js';
import type { ClusterCache, ObjectDoor } from '../../api/objects/ports.js';
import type { AssignmentSpec, UnitState } from '../../api/resources/assignment.js';
import { type Keys, keysUnder } from '../../api/resources/keys.js';
import type { MachineSpec } from '../../api/resources/machine.js';
import { heartbeatEveryMs, presenceTtlMs } from '../../api/resources/protocol.js';
import { kinds } from '../../api/resources/registry.js';
import type { UnitSpec } from '../../api/resources/unit.js';
import { textHash } from '../../api/resources/unit-text.js';
import { runControllers } from '../../controllers/manager.js';
import type { Clock } from '../../runtime/clock.js';
import { silentLogger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import type { Lease, Operation } from '../../runtime/store/store.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';

export interface SaidEvent {
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
  readonly message: string;
}

/** One server's controllers, with a store client and a cache of their own. */
export class SimServer {
  readonly stop = new AbortController();
  readonly metrics = createMetrics({ component: 'server', version: '0', process: false });
  readonly store: MemoryStore;
  readonly cache: ClusterCache;
  /** What this server's HTTP API writes through. */
  readonly door: ObjectDoor;
  readonly done: Promise<void>;
  readonly #stopCache: () => void;

  constructor(
    readonly name: string,
    cluster: SimCluster,
    clock: Clock,
  ) {
    this.store = cluster.store.peer();
    const { keys } = cluster;
    const opened = openClusterCache({ store: this.store, keys, clock, log: silentLogger, random: cluster.random });
    this.cache = opened.cache;
    this.#stopCache = opened.stop;
    const uuid = () => cluster.uid();
    this.door = openObjectDoor({ kinds, cache: this.cache, store: this.store, keys, clock, random: cluster.random, uuid });
    this.done = runControllers({
      store: this.store,
      cache: this.cache,
      door: this.door,
      random: cluster.random,
      clock,
      log: cluster.log,
      metrics: this.metrics,
      events: {
        record: ({ kind, name: about }, _type, reason, message) => void cluster.events.push({ kind, name: about, reason, message }),
      },
      identity: { server: name },
      signal: this.stop.signal,
    });
    // A fault of the program must not go unnoticed while the test looks elsewhere.
    this.done.catch((error: unknown) => cluster.failures.push(error));
  }

  async end(cluster: SimCluster): Promise<void> {
    this.stop.abort();
    await cluster.until('the server has stopped', () => this.done.then(() => true));
    this.#stopCache();
    await this.store.close();
  }
}

export interface SimOptions {
  readonly random?: () => number;
  readonly log?: typeof silentLogger;
}

export class SimCluster {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore({ clock: this.clock, callTimeoutMs: 2_000 });
  readonly keys: Keys = keysUnder();
  readonly events: SaidEvent[] = [];
  readonly failures: unknown[] = [];
  readonly agents = new Map<string, SimAgent>();
  readonly servers: SimServer[] = [];
  readonly random: () => number;
  readonly log: typeof silentLogger;
  /** Called when a machine starts a unit, before anything else happens. */
  onStart: (agent: SimAgent, unit: string) => void = () => {};
  #uids = 0;

  constructor({ random = () => 0.5, log = silentLogger }: SimOptions = {}) {
    this.random = random;
    this.log = log;
  }

  async start(machines: readonly string[] = [], servers = 1): Promise<this> {
    for (const name of machines) await this.addMachine(name);
    for (let at = 0; at < servers; at++) this.addServer();
    await this.rest();
    return this;
  }

  /** `clock`: the server's own, when it is to go wrong. */
  addServer(clock: Clock = this.clock): SimServer {
    const server = new SimServer(`server-${this.servers.length + 1}`, this, clock);
    this.servers.push(server);
    return server;
  }

  async end(): Promise<void> {
    for (const server of this.servers) await server.end(this);
    for (const agent of this.agents.values()) agent.halt();
    await this.store.close();
    assert.deepEqual(this.failures, []);
  }

  /** Lets everything that can happen without time passing happen. */
  async rest(): Promise<void> {
    for (let turn = 0; turn < 40; turn++) await settle();
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      await this.clock.advance(Math.min(left, 250));
      await this.rest();
    }
  }

  async until(what: string, check: () => boolean | Promise<boolean>, withinMs = 120_000): Promise<void> {
    let settled: boolean | undefined;
    for (let waited = 0; waited <= withinMs; waited += 250) {
      const answer = check();
      if (answer === true) return;
      if (answer !== false) {
        answer.then((value) => {
          settled = value;
        }, this.failures.push.bind(this.failures));
      }
      await this.rest();
      if (settled) return;
      await this.clock.advance(250);
    }
    throw new Error(`never: ${what}`);
  }

  // --- what users do ----------------------------------------------------------------------------------------------------------------

  /** Writes as the object door would: the text apart, the generation raised. */
  async apply(name: string, spec: UnitSpec & { annotations?: Record<string, string>; finalizers?: string[] } = {}): Promise<void> {
    const { content = `[Service]\nExecStart=/bin/sleep infinity\n# ${name}\n`, annotations, finalizers, ...rest } = spec;
    const key = this.keys.object('units', name);
    const { entry } = await this.store.get(key);
    const before = entry && JSON.parse(entry.value);
    const follows = content === '';
    const hash = textHash(content);
    const value = {
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata: {
        name,
        uid: before?.metadata.uid ?? this.uid(),
        generation: (before?.metadata.generation ?? 0) + 1,
        creationTimestamp: '2026-01-01T00:00:00Z',
        ...(annotations ? { annotations } : {}),
        ...(finalizers ? { finalizers } : {}),
      },
      spec: { desiredState: name.includes('@.') ? 'inactive' : 'launched', ...rest },
      ...(follows ? {} : { textHash: hash }),
    };
    const operations: Operation[] = [{ do: 'put', key, value: JSON.stringify(value) }];
    if (!follows) operations.push({ do: 'put', key: this.keys.content(hash), value: content });
    await this.store.commit({ compares: [{ key, modRevision: entry?.modRevision ?? 0 }], operations });
  }

  /** Changes an object in place, without a new generation. */
  async touch(
    plural: string,
    name: string,
    change: (object: { metadata: Record<string, unknown>; spec?: Record<string, unknown> }) => void,
  ) {
    const key = this.keys.object(plural, name);
    const { entry } = await this.store.get(key);
    assert.ok(entry, `${plural}/${name} exists`);
    const object = JSON.parse(entry.value);
    change(object);
    const value = JSON.stringify(object);
    await this.store.commit({ compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'put', key, value }] });
  }

  /** What is stored of an object becomes nothing that anybody can read. */
  async damage(plural: string, name: string): Promise<void> {
    const key = this.keys.object(plural, name);
    const { entry } = await this.store.get(key);
    assert.ok(entry, `${plural}/${name} exists`);
    await this.store.commit({ compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'put', key, value: 'x' }] });
  }

  remove(name: string): Promise<void> {
    return this.touch('units', name, ({ metadata }) => {
      metadata.deletionTimestamp = '2026-01-01T00:00:01Z';
    });
  }

  async addMachine(name: string, spec: MachineSpec = {}, labels: Record<string, string> = {}): Promise<SimAgent> {
    const id = machineId(name);
    const key = this.keys.object('machines', id);
    const metadata = { name: id, uid: this.uid(), generation: 1, creationTimestamp: '2026-01-01T00:00:00Z', labels };
    const value = JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata, spec });
    await this.store.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value }] });
    const agent = new SimAgent(name, id, this);
    this.agents.set(name, agent);
    await agent.connect();
    return agent;
  }

  async removeMachine(name: string): Promise<void> {
    const id = machineId(name);
    for (const key of [this.keys.object('machines', id), this.keys.condition('machines', id)]) {
      const { entry } = await this.store.get(key);
      if (entry) await this.store.commit({ compares: [{ key, modRevision: entry.modRevision }], operations: [{ do: 'delete', key }] });
    }
  }

  machine(name: string, spec: MachineSpec): Promise<void> {
    return this.touch('machines', machineId(name), (object) => {
      object.spec = { ...spec };
    });
  }

  uid(): string {
    return `uid-${++this.#uids}`;
  }

  agent(name: string): SimAgent {
    return this.agents.get(name)!;
  }

  // --- what can be seen -------------------------------------------------------------------------------------------------------------

  get cache(): ClusterCache {
    return this.servers.at(-1)!.cache;
  }

  /** Machines that the unit is assigned to, with `leaving` before those that it is to leave. */
  assigned(unit: string): string[] {
    return [...this.cache.assignmentsOf(unit)]
      .map(([machine, { value }]) => `${value.remove === undefined ? '' : 'leaving '}${nameOfMachine(machine)}`)
      .sort();
  }

  /** Machines where a process of the unit runs, known to the cluster or not. */
  running(unit: string): string[] {
    return [...this.agents.values()].filter((agent) => agent.running.has(unit)).map(({ name }) => name);
  }

  condition(plural: string, name: string, type: string): { status: string; reason: string; message: string } | undefined {
    const object = this.cache.joined(plural, plural === 'machines' ? machineId(name) : name);
    return (
      object?.status as { conditions?: { type: string; status: string; reason: string; message: string }[] } | undefined
    )?.conditions?.find((one) => one.type === type);
  }

  said(reason: string, about?: string): string[] {
    return this.events
      .filter((event) => event.reason === reason && (about === undefined || event.kind === about))
      .map(({ name, message }) => `${name}: ${message}`);
  }
}

/** `m1` as a machine id; its first 8 characters are `m1000000`-like hex. */
export const machineId = (name: string): string => Buffer.from(name).toString('hex').padEnd(8, '0').padEnd(32, 'f');
export const nameOfMachine = (id: string): string => Buffer.from(id.replace(/(00)*f*$/, ''), 'hex').toString();

/** An agent and the server that holds its stream, in one: reads its assignments, runs units, reports states, keeps its presence. */
export class SimAgent {
  readonly running = new Map<string, { readonly hash: string; readonly assignedAt: string; readonly since: string }>();
  /** Every start and stop, in order. */
  readonly history: string[] = [];
  connected = false;
  /** How long it takes to stop a unit; a function, so that a test can make it hang. */
  stopTakesMs = 0;
  /** What becomes of a unit that is started. */
  outcome: (unit: string, hash: string) => Partial<UnitState> = () => ({});
  #lease: Lease | undefined;
  #cancel: (() => void) | undefined;
  #unwatch: (() => void) | undefined;
  #working = false;
  #again = false;
  #halted = false;
  readonly #stoppingUntilMs = new Map<string, number>();
  readonly #restarts = new Map<string, string>();

  constructor(
    readonly name: string,
    readonly id: string,
    private readonly cluster: SimCluster,
  ) {}

  /** A new stream: presence with a new lease, and a look at everything. */
  async connect(): Promise<void> {
    const { store, keys, clock } = this.cluster;
    this.connected = true;
    const lease = await store.lease(presenceTtlMs, { keepAlive: 'manual' });
    this.#lease = lease;
    const key = keys.presence(this.id);
    const { entry } = await store.get(key);
    const info = {
      hostname: this.name,
      address: '10.0.0.1',
      bootID: `boot-${this.name}`,
      agentVersion: '0',
      cpus: 4,
      memoryBytes: 2 ** 33,
    };
    const since = clock.now().toISOString();
    const presence = { info, machineUid: 'x', session: this.cluster.uid(), server: 's', leaseId: lease.id, since };
    const value = JSON.stringify(presence);
    await store.commit({
      compares: [{ key, modRevision: entry?.modRevision ?? 0 }],
      operations: [{ do: 'put', key, value, lease: lease.id }],
    });
    const { revision } = await store.list(keys.assignments(this.id));
    const watch = store.watch(keys.assignments(this.id), revision, { events: () => this.#look(), compacted: () => this.#look() });
    this.#unwatch = () => watch.close();
    this.#beat(lease);
    this.#look();
  }

  /** The network is gone: no heartbeat, no news, and whatever runs goes on. */
  cutOff(): void {
    this.connected = false;
    this.#lease = undefined;
    this.#unwatch?.();
    this.#cancel?.();
  }

  /** The machine is off: nothing runs any more. */
  kill(): void {
    this.cutOff();
    for (const unit of this.running.keys()) this.history.push(`killed ${unit}`);
    this.running.clear();
  }

  halt(): void {
    this.#halted = true;
    this.cutOff();
  }

  #beat(lease: Lease): void {
    this.#cancel = this.cluster.clock.after(heartbeatEveryMs, () => {
      if (this.#lease !== lease) return;
      lease.keepAlive().then(
        (isKept) => {
          if (this.#lease !== lease || this.#halted) return undefined;
          if (isKept) return this.#beat(lease);
          this.cutOff();
          return this.connect();
        },
        // The store is away: the next heartbeat tries again.
        () => this.#lease === lease && this.#beat(lease),
      );
      this.#look();
    });
  }

  #look(): void {
    if (this.#working) {
      this.#again = true;
      return;
    }
    this.#working = true;
    void this.#work()
      .catch(() => undefined) // The store is away: the next heartbeat looks again.
      .finally(() => {
        this.#working = false;
        if (this.#again) {
          this.#again = false;
          this.#look();
        }
      });
  }

  async #work(): Promise<void> {
    const { store, keys, clock } = this.cluster;
    if (!this.connected) return;
    const { entries } = await store.list(keys.assignments(this.id));
    if (!this.connected) return;
    const assignments = new Map(entries.map(({ value }) => JSON.parse(value) as AssignmentSpec).map((spec) => [spec.unit, spec]));
    for (const unit of [...this.running.keys()]) if (!assignments.has(unit)) this.#stop(unit);
    for (const assignment of assignments.values()) {
      const { unit } = assignment;
      if (assignment.remove !== undefined) {
        if (this.running.has(unit) && this.stopTakesMs > 0) {
          const untilMs = this.#stoppingUntilMs.get(unit) ?? clock.monotonicMs() + this.stopTakesMs;
          this.#stoppingUntilMs.set(unit, untilMs);
          if (clock.monotonicMs() < untilMs) {
            clock.after(untilMs - clock.monotonicMs(), () => this.#look());
            await this.#report(assignment, { active: 'deactivating', sub: 'stop' });
            continue;
          }
        }
        this.#stoppingUntilMs.delete(unit);
        this.#stop(unit);
        await this.#report(assignment, { active: 'inactive', sub: 'dead', load: 'not-found', gone: true, textHash: '' });
        continue;
      }
      if (assignment.wanted === 'loaded') {
        this.#stop(unit);
        await this.#report(assignment, { active: 'inactive', sub: 'dead' });
        continue;
      }
      const now = this.running.get(unit);
      const isRestart = assignment.restart !== undefined && this.#restarts.get(unit) !== assignment.restart;
      if (now && (now.hash !== assignment.textHash || now.assignedAt !== assignment.assignedAt || isRestart)) this.#stop(unit);
      if (assignment.restart !== undefined) this.#restarts.set(unit, assignment.restart);
      if (!this.running.has(unit)) {
        this.running.set(unit, { hash: assignment.textHash, assignedAt: assignment.assignedAt, since: clock.now().toISOString() });
        this.history.push(`start ${unit}`);
        this.cluster.onStart(this, unit);
      }
      const state = { active: 'active', sub: 'running', runningHash: assignment.textHash, ...this.outcome(unit, assignment.textHash) };
      await this.#report(assignment, { ...state, since: this.running.get(unit)!.since });
    }
  }

  #stop(unit: string): void {
    if (this.running.delete(unit)) this.history.push(`stop ${unit}`);
  }

  async #report(assignment: AssignmentSpec, seen: Partial<UnitState>): Promise<void> {
    const { store, keys } = this.cluster;
    const { unit, unitUid, generation, textHash: hash, template } = assignment;
    const state = {
      unitUid,
      generation,
      textHash: hash,
      load: 'loaded',
      active: 'inactive',
      sub: 'dead',
      since: '2026-01-01T00:00:00.000Z',
      ...(template ? { template: { uid: template.uid, generation: template.generation } } : {}),
      ...seen,
    };
    const key = keys.state(this.id, unit);
    const [{ entry }, { entry: own }] = [await store.get(key), await store.get(keys.assignment(this.id, unit))];
    const value = JSON.stringify(state);
    if (!own || entry?.value === value || !this.connected) return;
    await store.commit({
      compares: [
        { key, modRevision: entry?.modRevision ?? 0 },
        { key: own.key, createRevision: own.createRevision },
      ],
      operations: [{ do: 'put', key, value }],
    });
  }
}
