/**
 * The leader's loop: keeps an index of the cluster in step with the cache, decides in passes for all that changed, and writes what was
 * decided, concurrently, each thing in a write of its own. A pass ends when the cache holds what it wrote, so the next one never decides on
 * less than the leader itself has done. What could not be written is dirty again.
 */
import type { ClusterCache } from '../../api/objects/ports.js';
import { type Clock, sleep } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import { type Fence, Fenced, OutcomeUnknown, type Store, StoreUnavailable } from '../../runtime/store/store.js';
import type { EventRecorder } from '../events.js';
import type { cautionLimits } from '../machines/caution.js';
import { MachineHealth } from '../machines/health.js';
import type { ControllerMetrics, Progress } from '../metrics.js';
import { plan } from '../scheduler/plan.js';
import type { Verdict } from '../scheduler/types.js';
import { World } from '../scheduler/world.js';
import { Committer, type Job } from './committer.js';
import { Dirty } from './dirty.js';
import { Drains } from './drains.js';
import { GlobalJobs } from './global-jobs.js';
import { MachineJobs } from './machine-jobs.js';
import { Marking } from './marking.js';
import { Pace } from './pace.js';
import { FactsReader } from './read.js';
import { UnitSources } from './source.js';
import { UnitJobs } from './unit-jobs.js';
import { WaitingUnits } from './waiting.js';
import { WorldSync } from './world-sync.js';

export const reconcileLimits = {
  /** A pass decides for at most this many units; the others wait for the next one. */
  unitsPerPass: 4_000,
  /** The sweep that finds what no event told of. */
  sweepEveryMs: 30_000,
  /** Units that one sweep looks at: a large cluster is gone through in several. */
  unitsPerSweep: 10_000,
  /** Counts of global units and of machines, and sums of reasons, are written at most this often per object. */
  countsEveryMs: 1_000,
  messagesEveryMs: 5_000,
  /** Pause after the store failed, doubled up to the second. */
  pauseMs: 100,
  maxPauseMs: 5_000,
};

export interface ReconcilerOptions {
  readonly store: Pick<Store, 'commit' | 'leaseTtlMs' | 'revision'>;
  readonly cache: ClusterCache;
  readonly fence: Fence;
  readonly electedAtMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly signal: AbortSignal;
  readonly limits?: Partial<typeof reconcileLimits>;
  readonly caution?: typeof cautionLimits;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #limits: typeof reconcileLimits;
  readonly #world = new World();
  readonly #waiting = new WaitingUnits();
  readonly #dirty: Dirty;
  readonly #drains: Drains;
  readonly #health: MachineHealth;
  readonly #sources: UnitSources;
  readonly #marking: Marking;
  readonly #sync: WorldSync;
  readonly #unitJobs: UnitJobs;
  readonly #globalJobs: GlobalJobs;
  readonly #machineJobs: MachineJobs;
  readonly #committer: Committer;
  #passSinceMs: number | undefined;
  #pauseMs: number;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { cache, store, clock, log, electedAtMs } = options;
    const limits = { ...reconcileLimits, ...options.limits };
    this.#limits = limits;
    this.#pauseMs = limits.pauseMs;

    const world = this.#world;
    const waiting = this.#waiting;
    const pace = new Pace();
    const dirty = new Dirty(clock);
    const drains = new Drains(world, dirty);
    const sources = new UnitSources(cache);
    const onChecked = () => {
      dirty.health = true;
      dirty.wake();
    };
    const healthLimits = options.caution ? { limits: options.caution } : {};
    const health = new MachineHealth({ cache, store, clock, log, electedAtMs, onChecked, ...healthLimits });
    const reader = new FactsReader(cache, health);
    const marking = new Marking({ cache, world, sources, waiting, dirty, log, limits });
    const isOrphan = (unit: string) => marking.isOrphan(unit);
    this.#sync = new WorldSync({ cache, world, sources, reader, health, dirty, waiting, drains, pace, isOrphan, limits });
    this.#unitJobs = new UnitJobs({ cache, clock, sources, reader, pace, marks: dirty, limits });
    this.#globalJobs = new GlobalJobs({ cache, clock, sources, reader, pace, marks: dirty, limits });
    this.#machineJobs = new MachineJobs({ cache, clock, reader, health, drains, pace, marks: dirty, limits });
    this.#committer = new Committer({ ...options, again: (job) => this.#again(job) });
    this.#dirty = dirty;
    this.#drains = drains;
    this.#health = health;
    this.#sources = sources;
    this.#marking = marking;
  }

  /** For metrics. */
  get progress(): Progress {
    return {
      waiting: this.#dirty.waiting,
      passAgeMs: this.#passSinceMs === undefined ? undefined : this.#options.clock.monotonicMs() - this.#passSinceMs,
    };
  }

  /** Units without a place, by reason; for metrics. */
  pendingByReason(): Map<string, number> {
    return this.#waiting.pendingByReason();
  }

  /** Machines by what is known of them; for metrics. */
  machinesByHealth(): Map<string, number> {
    const counts = new Map<string, number>([
      ['present', 0],
      ['held', 0],
      ['lost', 0],
    ]);
    for (const machine of this.#options.cache.objects('machines').keys()) {
      const health = this.#health.of(machine);
      counts.set(health, counts.get(health)! + 1);
    }
    return counts;
  }

  /** Caution is in force (SEMANTICS 22). */
  get isCautious(): boolean {
    return this.#health.caution.active !== undefined;
  }

  /** Runs until the signal aborts. Rejects with Fenced when the leadership is lost in mid-work. */
  async run(): Promise<void> {
    const { cache, signal } = this.#options;
    const unsubscribe = cache.subscribe((batch) => this.#marking.changed(batch));
    const stop = () => this.#dirty.wake();
    signal.addEventListener('abort', stop);
    this.#marking.everything();
    try {
      await this.#readAll();
      while (!signal.aborted) {
        const failure = await this.#timedPass();
        if (signal.aborted) break;
        if (failure === undefined) this.#pauseMs = this.#limits.pauseMs;
        else await this.#pauseAfter(failure);
        await this.#dirty.untilWork(this.#marking.sweepDueMs, signal);
      }
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', stop);
    }
  }

  /** The index has to know all units before the first decision; a large cluster is read in pieces, because agents' heartbeats must not wait. */
  async #readAll(): Promise<void> {
    const { cache, signal } = this.#options;
    let read = 0;
    for (const name of cache.objects('units').keys()) {
      if (signal.aborted) return;
      this.#sources.read(name);
      if (++read % this.#limits.unitsPerPass === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Resolves with what kept the pass from being finished, if anything. */
  async #timedPass(): Promise<unknown> {
    const { clock, metrics, signal } = this.#options;
    const startedMs = clock.monotonicMs();
    let failure: unknown;
    this.#passSinceMs = startedMs;
    try {
      failure = await this.#pass();
    } catch (error) {
      if (error instanceof Fenced) throw error;
      failure = error;
    } finally {
      this.#passSinceMs = undefined;
    }
    if (!signal.aborted) metrics.passed(failure === undefined ? 'success' : 'error', clock.monotonicMs() - startedMs);
    return failure;
  }

  async #pauseAfter(failure: unknown): Promise<void> {
    const { clock, log, signal } = this.#options;
    const isStore = failure instanceof StoreUnavailable || failure instanceof OutcomeUnknown;
    log[isStore ? 'warn' : 'error']('a pass could not be finished and is repeated', { error: failure, again_in_ms: this.#pauseMs });
    await sleep(clock, this.#pauseMs, signal);
    this.#pauseMs = Math.min(2 * this.#pauseMs, this.#limits.maxPauseMs);
  }

  /** Looks, decides, writes. Resolves with what could not be written for, if anything. */
  async #pass(): Promise<unknown> {
    const { clock, log, metrics } = this.#options;
    await this.#committer.catchUp();
    const nowMs = clock.monotonicMs();
    const startedMs = this.#dirty.takeSinceMs() ?? nowMs;
    this.#dirty.collectDue(nowMs);
    this.#marking.sweepIfDue(nowMs);

    const jobs: Job[] = [];
    const touched = this.#lookAtMachines(nowMs, jobs);
    this.#sync.copies(touched, nowMs);
    const { units, globals } = this.#sync.units();
    metrics.took(units.size + globals.size, nowMs - startedMs);
    const planned = plan(this.#world, [...units, ...globals], touched);
    for (const [name, error] of planned.failed) log.error('a unit could not be decided for', { unit: name, error });
    for (const name of planned.again) this.#dirty.markUnit(name);

    // Those that were asked about, and whoever else was decided for with them.
    for (const name of new Set([...units, ...planned.verdicts.keys()])) {
      this.#alone(name, () => this.#carryOut(name, planned.verdicts.get(name), nowMs, jobs));
    }
    for (const name of new Set([...globals, ...planned.globals.keys()])) {
      const verdict = planned.globals.get(name);
      if (!verdict) continue;
      this.#waiting.dropPending(name);
      const decided = globals.has(name) ? this.#globalJobs.everywhere(name, verdict, nowMs) : this.#globalJobs.on(touched, name, verdict);
      this.#alone(name, () => {
        for (const job of decided) jobs.push(job);
      });
    }
    this.#drains.settle((unit) => this.#waiting.isPending(unit));

    return this.#committer.write(jobs, startedMs);
  }

  /** Brings the index in step with machines that changed; returns those where global units have to be looked at. */
  #lookAtMachines(nowMs: number, jobs: Job[]): Set<string> {
    this.#sync.health(nowMs);
    const touched = new Set<string>();
    for (const machine of this.#dirty.machines) {
      const change = this.#sync.machine(machine);
      if (change === 'gone') continue;
      if (change === 'changed') touched.add(machine);
      const job = this.#machineJobs.job(machine, nowMs);
      if (job) jobs.push(job);
    }
    this.#dirty.machines.clear();
    return touched;
  }

  #carryOut(name: string, verdict: Verdict | undefined, nowMs: number, jobs: Job[]): void {
    this.#waiting.note(name, verdict);
    this.#drains.note(name, verdict);
    const job = this.#unitJobs.job(name, verdict, nowMs);
    if (job) jobs.push(job);
  }

  /** A fault in deciding for one unit hurts that unit only; the sweep looks at it again. */
  #alone(unit: string, decide: () => void): void {
    try {
      decide();
    } catch (error) {
      this.#options.log.error('a unit could not be planned', { unit, error });
    }
  }

  #again(job: Job): void {
    this.#options.metrics.retried();
    this.#marking.notWritten(job);
  }
}
