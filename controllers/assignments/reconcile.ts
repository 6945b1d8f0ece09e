/**
 * The leader's loop: keeps an index of the cluster in step with the cache, decides in passes for all that changed, and writes what was
 * decided, concurrently, each thing in a write of its own. A pass ends when the cache holds what it wrote, so the next one never decides on
 * less than the leader itself has done. What could not be written is dirty again. Levels, not edges: whatever is marked dirty is read anew,
 * and a sweep marks everything now and then.
 */
import type { CacheBatch, ClusterCache } from '../../api/objects/ports.js';
import type { UnitFragment } from '../../api/objects/unit-fragment.js';
import { parseKey } from '../../api/resources/keys.js';
import type { MachineSpec } from '../../api/resources/machine.js';
import { templateNameOf } from '../../api/resources/unit-name.js';
import { type Clock, sleep } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import { type Fence, Fenced, OutcomeUnknown, type Store, StoreUnavailable } from '../../runtime/store/store.js';
import type { ControllerEvent, EventRecorder } from '../events.js';
import type { cautionLimits } from '../machines/caution.js';
import { MachineHealth } from '../machines/health.js';
import { differs, type MachineFragment, planMachine } from '../machines/plan.js';
import { plannedMachine } from '../machines/planned.js';
import type { ControllerMetrics, Progress } from '../metrics.js';
import { type Plan, plan } from '../scheduler/plan.js';
import type { Health, Verdict } from '../scheduler/types.js';
import { World } from '../scheduler/world.js';
import { Committer, type Job } from './committer.js';
import { type CopyFacts, isSettled } from './facts.js';
import { globalFragment, type PairChange, planPair, planRollout } from './global-plan.js';
import { type Changes, planUnit, sameFragment } from './plan.js';
import { UnitSources } from './source.js';
import { fragmentWrite, pairWrite, unitWrite } from './write.js';

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

type Due = Map<string, number>;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #limits: typeof reconcileLimits;
  readonly #world = new World();
  readonly #sources: UnitSources;
  readonly #committer: Committer;
  readonly #health: MachineHealth;

  /** Units to read anew. */
  readonly #units = new Set<string>();
  /** Units that were read and are to be decided for. */
  readonly #undecided = new Set<string>();
  /** Unit → machines whose assignment or state changed. */
  readonly #pairs = new Map<string, Set<string>>();
  readonly #machines = new Set<string>();
  #healthDirty = true;

  /** Units without a place, and why in one word: asked again when something became possible. */
  readonly #pending = new Map<string, string>();
  #pendingSeen = 0;
  /** Units that are where they belong and may not start yet. */
  readonly #gated = new Set<string>();
  /** Units whose text is not known yet. */
  readonly #broken = new Set<string>();
  /** Units on their way off a drained machine, until they have settled elsewhere. */
  readonly #moves = new Map<string, string>();
  /** What is said of units that are to leave a drained machine. */
  readonly #drainNotes = new Map<string, string>();

  /** When to look again, by the monotonic clock. */
  readonly #unitsDue: Due = new Map();
  readonly #machinesDue: Due = new Map();
  readonly #writtenAtMs = new Map<string, number>();
  #healthDueMs = Number.POSITIVE_INFINITY;
  #sweepDueMs = 0;
  #sweepFrom: string[] = [];
  #orphansSeen = new Set<string>();

  #dirtySinceMs: number | undefined;
  #passSinceMs: number | undefined;
  #wake: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;
  #pauseMs: number;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#limits = { ...reconcileLimits, ...options.limits };
    this.#pauseMs = this.#limits.pauseMs;
    this.#sources = new UnitSources(options.cache);
    this.#committer = new Committer({ ...options, again: (job) => this.#again(job) });
    const { cache, store, clock, log, electedAtMs } = options;
    this.#health = new MachineHealth({
      cache,
      store,
      clock,
      log,
      electedAtMs,
      onChecked: () => {
        this.#healthDirty = true;
        this.#wakeUp();
      },
      ...(options.caution ? { limits: options.caution } : {}),
    });
  }

  /** For metrics. */
  get progress(): Progress {
    const { clock } = this.#options;
    return {
      waiting: this.#units.size + this.#undecided.size + this.#pairs.size + this.#machines.size,
      passAgeMs: this.#passSinceMs === undefined ? undefined : clock.monotonicMs() - this.#passSinceMs,
    };
  }

  /** Units without a place, by reason; for metrics. */
  pendingByReason(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const reason of this.#pending.values()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    return counts;
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
    const { cache, signal, log, clock, metrics } = this.#options;
    const unsubscribe = cache.subscribe((batch) => this.#take(batch));
    const stop = () => this.#wakeUp();
    signal.addEventListener('abort', stop);
    this.#everything();
    try {
      await this.#readAll();
      while (!signal.aborted) {
        let failure: unknown;
        const startedMs = clock.monotonicMs();
        this.#passSinceMs = startedMs;
        try {
          failure = await this.#pass();
        } catch (error) {
          if (error instanceof Fenced) throw error;
          failure = error;
        } finally {
          this.#passSinceMs = undefined;
        }
        if (signal.aborted) break;
        metrics.passed(failure === undefined ? 'success' : 'error', clock.monotonicMs() - startedMs);
        if (failure === undefined) this.#pauseMs = this.#limits.pauseMs;
        else {
          const isStore = failure instanceof StoreUnavailable || failure instanceof OutcomeUnknown;
          log[isStore ? 'warn' : 'error']('a pass could not be finished and is repeated', { error: failure, again_in_ms: this.#pauseMs });
          await sleep(clock, this.#pauseMs, signal);
          this.#pauseMs = Math.min(2 * this.#pauseMs, this.#limits.maxPauseMs);
        }
        await this.#untilWork();
      }
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', stop);
      this.#cancelTimer?.();
    }
  }

  // --- what to look at ------------------------------------------------------------------------------------------------------------

  #take(batch: CacheBatch): void {
    if (batch.relisted) this.#everything();
    for (const change of batch.changes) {
      switch (change.table) {
        case 'object':
          if (change.plural === 'units') {
            this.#units.add(change.name);
            for (const follower of this.#sources.followersOf(change.name)) this.#units.add(follower);
            if (!change.row) this.#templateOf(change.name);
          } else if (change.plural === 'machines') {
            this.#machines.add(change.name);
            this.#healthDirty = true;
          }
          break;
        case 'presence':
          this.#machines.add(change.machine);
          this.#healthDirty = true;
          break;
        case 'assignment':
        case 'state':
          this.#pair(change.unit, change.machine);
          break;
        case 'content':
          for (const unit of this.#broken) {
            this.#sources.forget(unit);
            this.#units.add(unit);
          }
          break;
        default:
      }
    }
    if (this.#hasWork()) this.#wakeUp();
  }

  /** A template that is being deleted waits for its followers. */
  #templateOf(unit: string): void {
    const template = templateNameOf(unit);
    if (template !== undefined) this.#units.add(template);
  }

  #pair(unit: string, machine: string): void {
    const machines = this.#pairs.get(unit);
    if (machines) machines.add(machine);
    else this.#pairs.set(unit, new Set([machine]));
  }

  #everything(): void {
    const { cache } = this.#options;
    this.#healthDirty = true;
    for (const machine of cache.objects('machines').keys()) this.#machines.add(machine);
    for (const slot of this.#world.slots) {
      this.#machines.add(slot.id);
      for (const unit of slot.units) this.#pair(unit, slot.id);
    }
    for (const unit of cache.objects('units').keys()) this.#units.add(unit);
    for (const unit of this.#world.unitNames()) this.#units.add(unit);
    for (const machine of cache.objects('machines').keys()) {
      for (const unit of cache.assignmentsOn(machine).keys()) this.#pair(unit, machine);
    }
    for (const unit of cache.objects('units').keys()) {
      for (const machine of cache.assignmentsOf(unit).keys()) this.#pair(unit, machine);
    }
    this.#wakeUp();
  }

  #hasWork(): boolean {
    return this.#units.size > 0 || this.#undecided.size > 0 || this.#pairs.size > 0 || this.#machines.size > 0 || this.#healthDirty;
  }

  #wakeUp(): void {
    this.#dirtySinceMs ??= this.#options.clock.monotonicMs();
    this.#wake?.();
  }

  /** Resolves at once when there is work, or when there is some, or when it is time to look. */
  async #untilWork(): Promise<void> {
    const { clock, signal } = this.#options;
    // One turn of the event loop, so that all events of one read from the socket are taken together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.#hasWork() || signal.aborted) return;
    this.#dirtySinceMs = undefined;
    let dueMs = Math.min(this.#sweepDueMs, this.#healthDueMs);
    for (const due of [this.#unitsDue, this.#machinesDue]) for (const ms of due.values()) dueMs = Math.min(dueMs, ms);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#cancelTimer = clock.after(Math.max(0, dueMs - clock.monotonicMs()), resolve);
    });
    this.#cancelTimer?.();
    this.#wake = undefined;
    this.#cancelTimer = undefined;
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

  // --- a pass -----------------------------------------------------------------------------------------------------------------------

  /** Resolves with what kept it from being finished, if anything. */
  async #pass(): Promise<unknown> {
    const { clock, metrics } = this.#options;
    await this.#committer.catchUp();
    const nowMs = clock.monotonicMs();
    const startedMs = this.#dirtySinceMs ?? nowMs;
    this.#dirtySinceMs = undefined;
    this.#collectDue(nowMs);

    const jobs: Job[] = [];
    const touched = this.#syncMachines(nowMs, jobs);
    const { units, globals } = this.#syncUnits(touched, nowMs);
    metrics.took(units.size + globals.size, nowMs - startedMs);
    const planned = plan(this.#world, [...units, ...globals], touched);
    for (const [name, error] of planned.failed) this.#options.log.error('a unit could not be decided for', { unit: name, error });
    for (const name of planned.again) this.#units.add(name);

    for (const name of units) this.#alone(name, () => this.#unitJob(name, planned.verdicts.get(name), nowMs, jobs));
    for (const name of planned.verdicts.keys()) {
      if (!units.has(name)) this.#alone(name, () => this.#unitJob(name, planned.verdicts.get(name), nowMs, jobs));
    }
    for (const name of globals) this.#alone(name, () => this.#globalJobs(name, planned, undefined, nowMs, jobs));
    for (const name of planned.globals.keys()) {
      if (!globals.has(name)) this.#alone(name, () => this.#globalJobs(name, planned, touched, nowMs, jobs));
    }
    this.#settleMoves();

    return this.#committer.write(jobs, startedMs);
  }

  /** A fault in deciding for one unit hurts that unit only; the sweep looks at it again. */
  #alone(unit: string, decide: () => void): void {
    try {
      decide();
    } catch (error) {
      this.#options.log.error('a unit could not be planned', { unit, error });
    }
  }

  #collectDue(nowMs: number): void {
    for (const [name, dueMs] of this.#unitsDue) {
      if (dueMs > nowMs) continue;
      this.#unitsDue.delete(name);
      this.#units.add(name);
    }
    for (const [machine, dueMs] of this.#machinesDue) {
      if (dueMs > nowMs) continue;
      this.#machinesDue.delete(machine);
      this.#machines.add(machine);
    }
    if (this.#healthDueMs <= nowMs) this.#healthDirty = true;
    if (this.#sweepDueMs <= nowMs) this.#sweep(nowMs);
  }

  /** Levels, not edges (invariant 4): everything is looked at again now and then, by the same code. */
  #sweep(nowMs: number): void {
    const { cache } = this.#options;
    this.#sweepDueMs = nowMs + this.#limits.sweepEveryMs;
    this.#healthDirty = true;
    for (const machine of cache.objects('machines').keys()) this.#machines.add(machine);
    if (this.#sweepFrom.length === 0) this.#sweepFrom = [...cache.objects('units').keys()];
    for (const name of this.#sweepFrom.splice(0, this.#limits.unitsPerSweep)) {
      this.#units.add(name);
      for (const machine of cache.assignmentsOf(name).keys()) this.#pair(name, machine);
      for (const machine of this.#world.copiesOf(name).keys()) this.#pair(name, machine);
    }
    this.#sweepOrphans();
  }

  /**
   * Assignments without their Unit come from a fault, since the Unit goes last. They are let go of one sweep after they were first seen,
   * and not at all when they are many: a table that is suddenly empty is not a wish to stop everything (invariant 13).
   */
  #sweepOrphans(): void {
    const { cache, log } = this.#options;
    const orphans = new Set<string>();
    let assigned = 0;
    for (const slot of this.#world.slots) {
      for (const unit of slot.units) {
        assigned++;
        if (!cache.object('units', unit) && !cache.broken.has(cache.keys.object('units', unit))) orphans.add(unit);
      }
    }
    if (orphans.size > Math.max(1, assigned / 3)) {
      log.error('most assignments have no unit; they are left as they are', { orphans: orphans.size, assigned });
      this.#orphansSeen = new Set();
      return;
    }
    for (const unit of orphans) if (this.#orphansSeen.has(unit)) this.#units.add(unit);
    this.#orphansSeen = orphans;
  }

  // --- machines -----------------------------------------------------------------------------------------------------------------------

  /** Brings the index in step with machines that changed; returns those where global units have to be looked at. */
  #syncMachines(nowMs: number, jobs: Job[]): Set<string> {
    if (this.#healthDirty) {
      this.#healthDirty = false;
      for (const machine of this.#health.update()) this.#machines.add(machine);
      const { againInMs } = this.#health.caution;
      this.#healthDueMs = againInMs === undefined ? Number.POSITIVE_INFINITY : nowMs + againInMs;
      const why = this.#health.caution.active?.why;
      if (this.#world.caution !== why) {
        this.#world.caution = why;
        for (const slot of this.#world.slots) if (slot.machine?.draining) this.#unitsOn(slot.id);
      }
    }
    const touched = new Set<string>();
    for (const machine of this.#machines) {
      const before = this.#world.machine(machine);
      const after = plannedMachine(this.#options.cache, this.#health, machine, before, this.#busyOn(machine));
      if (after === undefined) {
        if (before) this.#world.removeMachine(machine);
        this.#unitsOn(machine);
        continue;
      }
      if (JSON.stringify(before) !== JSON.stringify(after)) {
        this.#world.setMachine(after);
        // Whether it is lost alone is known in a moment: until then there is nothing to say to its units.
        if (after.health !== 'held' || after.heldWhy !== undefined) this.#unitsOn(machine);
        touched.add(machine);
      }
      this.#machineJob(machine, nowMs, jobs);
    }
    this.#machines.clear();
    return touched;
  }

  #unitsOn(machine: string): void {
    for (const unit of this.#world.slot(machine)?.units ?? []) {
      if (this.#world.unit(unit)?.constraints.global) this.#pair(unit, machine);
      else this.#units.add(unit);
    }
  }

  #healthOf(machine: string): Health | 'removed' {
    const { cache } = this.#options;
    if (cache.broken.has(cache.keys.object('machines', machine))) return 'held';
    return cache.object('machines', machine) ? this.#health.of(machine) : 'removed';
  }

  #busyOn(machine: string): string | undefined {
    let busy: string | undefined;
    for (const [unit, from] of this.#moves) if (from === machine && (busy === undefined || unit < busy)) busy = unit;
    return busy;
  }

  #machineJob(id: string, nowMs: number, jobs: Job[]): void {
    const { cache, clock } = this.#options;
    const row = cache.object('machines', id);
    if (!row) return;
    const before = cache.fragment('machines', id);
    const { fragment, events } = planMachine({
      id,
      uid: row.value.metadata.uid ?? '',
      generation: row.value.metadata.generation ?? 0,
      presence: cache.presence(id)?.value,
      caution: this.#health.cautionAbout(id),
      drain: (row.value.spec as MachineSpec | undefined)?.drain ? this.#drainOf(id) : undefined,
      units: cache.assignmentsOn(id).size,
      fragment: before?.value as MachineFragment | undefined,
      now: clock.now().toISOString(),
    });
    const news = differs(fragment, before?.value as MachineFragment | undefined);
    if (news === 'no') return;
    const key = `machines/${id}`;
    const earliestMs = (this.#writtenAtMs.get(key) ?? Number.NEGATIVE_INFINITY) + this.#limits.countsEveryMs;
    if (news === 'count' && nowMs < earliestMs) {
      this.#machinesDue.set(id, earliestMs);
      return;
    }
    this.#writtenAtMs.set(key, nowMs);
    const write = fragmentWrite(cache.keys, 'machines', id, this.#fragmentRevision('machines', id), fragment);
    jobs.push({ write, events, placements: 0, machine: id });
  }

  #drainOf(machine: string): { moving: Map<string, string>; staying: Map<string, string> } {
    const moving = new Map<string, string>();
    const staying = new Map<string, string>();
    for (const unit of this.#world.slot(machine)?.units ?? []) {
      const constraints = this.#world.unit(unit)?.constraints;
      if (constraints?.global) staying.set(unit, 'global');
      else if (constraints?.machineID !== undefined) staying.set(unit, 'pinned by machineID');
      else moving.set(unit, this.#drainNotes.get(unit) ?? '');
    }
    return { moving, staying };
  }

  // --- units --------------------------------------------------------------------------------------------------------------------------

  /** Brings the index in step with units and copies that changed; returns what to decide for. */
  #syncUnits(touched: Set<string>, nowMs: number): { units: Set<string>; globals: Set<string> } {
    const { cache } = this.#options;
    const units = new Set<string>();
    const globals = new Set<string>();

    for (const [unit, machines] of this.#pairs) {
      for (const machine of machines) this.#syncCopy(unit, machine);
      if (!this.#world.unit(unit)?.constraints.global) {
        this.#units.add(unit);
        continue;
      }
      for (const machine of machines) touched.add(machine);
      const isDone = this.#world.unit(unit)!.deleting && cache.assignmentsOf(unit).size === 0;
      if (isDone) this.#units.add(unit);
      else if (!this.#unitsDue.has(unit)) this.#unitsDue.set(unit, Math.max(nowMs, this.#countsDueMs(unit)));
    }
    for (const machines of this.#pairs.values()) for (const machine of machines) this.#countLater(machine, nowMs);
    this.#pairs.clear();

    if (this.#world.version !== this.#pendingSeen) for (const name of this.#pending.keys()) this.#units.add(name);
    this.#pendingSeen = this.#world.version;
    for (const name of this.#gated) this.#units.add(name);

    for (const name of this.#units) this.#readUnit(name);
    this.#units.clear();

    let left = this.#limits.unitsPerPass;
    for (const name of this.#undecided) {
      if (left-- === 0) break;
      this.#undecided.delete(name);
      (this.#world.unit(name)?.constraints.global ? globals : units).add(name);
    }
    return { units, globals };
  }

  /** Brings the index in step with one unit. */
  #readUnit(name: string): void {
    if (this.#isUnreadable(name)) return;
    const source = this.#sources.read(name);
    if (!source) {
      if (this.#world.unit(name)) this.#world.removeUnit(name);
      this.#forget(name);
      if (this.#orphansSeen.has(name)) this.#undecided.add(name);
      return;
    }
    const { planned } = source;
    if (this.#world.unit(name) !== planned) this.#world.setUnit(planned);
    if (planned.broken === undefined) this.#broken.delete(name);
    else this.#broken.add(name);
    this.#undecided.add(name);
  }

  /** Whoever acts on absence looks here first: a unit of which something cannot be read is left alone (invariants 7, 13). */
  #isUnreadable(name: string): boolean {
    const { broken, keys } = this.#options.cache;
    if (broken.size === 0) return false;
    if (broken.has(keys.object('units', name))) return true;
    for (const key of broken.keys()) {
      const parsed = parseKey(keys.root, key);
      if (parsed.table === 'assignment' && parsed.unit === name) return true;
    }
    return false;
  }

  #forget(name: string): void {
    this.#pending.delete(name);
    this.#gated.delete(name);
    this.#broken.delete(name);
    this.#drainNotes.delete(name);
    this.#writtenAtMs.delete(`units/${name}`);
    this.#unitsDue.delete(name);
  }

  #syncCopy(unit: string, machine: string): void {
    const { cache } = this.#options;
    const row = cache.assignment(machine, unit);
    if (!row) {
      this.#world.removeCopy(unit, machine);
      return;
    }
    const uid = cache.object('units', unit)?.value.metadata.uid;
    const leaving = row.value.remove !== undefined || (uid !== undefined && row.value.unitUid !== uid);
    const facts = this.#copyFacts(unit, machine);
    const why = row.value.remove;
    const copy = {
      leaving,
      why,
      generation: row.value.generation,
      wanted: row.value.wanted,
      settled: facts !== undefined && isSettled(facts),
    };
    const before = this.#world.copiesOf(unit).get(machine);
    if (before?.settled !== copy.settled) for (const follower of this.#world.followersOf(unit)) this.#units.add(follower);
    this.#world.setCopy(unit, machine, copy);
    const at = this.#world.machine(machine);
    if (leaving && at?.draining && !this.#moves.has(unit)) this.#moves.set(unit, machine);
  }

  #copyFacts(unit: string, machine: string): CopyFacts | undefined {
    const { cache } = this.#options;
    const row = cache.assignment(machine, unit);
    return row && { machine, row, state: cache.state(machine, unit), health: this.#healthOf(machine) };
  }

  #copies(unit: string): CopyFacts[] {
    const machines = [...this.#options.cache.assignmentsOf(unit).keys()].sort();
    return machines.map((machine) => this.#copyFacts(unit, machine)!);
  }

  #countLater(machine: string, nowMs: number): void {
    if (!this.#machinesDue.has(machine)) {
      this.#machinesDue.set(machine, Math.max(nowMs, (this.#writtenAtMs.get(`machines/${machine}`) ?? 0) + this.#limits.countsEveryMs));
    }
  }

  #countsDueMs = (unit: string): number =>
    (this.#writtenAtMs.get(`units/${unit}`) ?? Number.NEGATIVE_INFINITY) + this.#limits.countsEveryMs;

  /** What the leader said and nobody can read any more is said anew, over it. */
  #fragmentRevision(plural: string, name: string): number {
    const { cache } = this.#options;
    return (cache.fragment(plural, name) ?? cache.broken.get(cache.keys.condition(plural, name)))?.modRevision ?? 0;
  }

  #rows(name: string, copies: readonly CopyFacts[]) {
    const { cache } = this.#options;
    return {
      own: cache.object('units', name),
      fragment: cache.fragment('units', name),
      fragmentRevision: this.#fragmentRevision('units', name),
      copies,
      hasState: (machine: string) => cache.state(machine, name) !== undefined,
      presence: (machine: string) => cache.presence(machine)?.modRevision ?? 0,
    };
  }

  #unitJob(name: string, verdict: Verdict | undefined, nowMs: number, jobs: Job[]): void {
    const { cache, clock } = this.#options;
    const source = this.#sources.read(name);
    this.#remember(name, verdict);
    const copies = this.#copies(name);
    const rows = this.#rows(name, copies);
    const changes = planUnit({
      name,
      source,
      verdict,
      copies,
      fragment: rows.fragment?.value as UnitFragment | undefined,
      now: clock.now().toISOString(),
      hasFollowers: source?.planned.template ? !isEmpty(this.#sources.followersOf(name)) : false,
    });
    if (!changes) return;
    if (this.#isTooSoon(name, verdict, changes, rows.fragment?.value as UnitFragment | undefined, nowMs)) return;
    this.#writtenAtMs.set(`units/${name}`, nowMs);
    const placements = verdict?.go === 'place' ? 1 : 0;
    jobs.push({ write: unitWrite(cache.keys, name, rows, changes), events: changes.events, placements, unit: name });
  }

  #remember(name: string, verdict: Verdict | undefined): void {
    const isPending = verdict?.go === 'unschedulable' || (verdict?.go === 'wait' && verdict.reason !== 'Moving');
    if (isPending) this.#pending.set(name, verdict.reason);
    else this.#pending.delete(name);
    if (verdict && 'start' in verdict && !verdict.start) this.#gated.add(name);
    else this.#gated.delete(name);
    if (verdict?.go === 'stay' && verdict.reason === 'Draining') {
      const note = verdict.message.replace(/^.*, but /, '');
      if (this.#drainNotes.get(name) !== note) this.#machines.add(verdict.machine);
      this.#drainNotes.set(name, note);
    } else this.#drainNotes.delete(name);
    if (verdict?.go === 'leave' && this.#world.machine(verdict.machine)?.draining) {
      this.#moves.set(name, verdict.machine);
      this.#machines.add(verdict.machine);
    }
  }

  /** A sum of reasons changes with every machine that comes or goes: for thousands of waiting units that need not be told at once. */
  #isTooSoon(name: string, verdict: Verdict | undefined, changes: Changes, before: UnitFragment | undefined, nowMs: number): boolean {
    if (verdict?.go !== 'unschedulable' || changes.puts.length + changes.drops.length > 0) return false;
    const was = before?.conditions?.find(({ type }) => type === 'Scheduled');
    if (was?.reason !== verdict.reason || before?.observedGeneration !== changes.fragment?.observedGeneration) return false;
    const dueMs = (this.#writtenAtMs.get(`units/${name}`) ?? Number.NEGATIVE_INFINITY) + this.#limits.messagesEveryMs;
    if (nowMs >= dueMs) return false;
    this.#unitsDue.set(name, dueMs);
    return true;
  }

  /** A unit that left a drained machine has arrived when it has settled elsewhere, or is not going anywhere: then the next one leaves. */
  #settleMoves(): void {
    for (const [unit, from] of this.#moves) {
      const planned = this.#world.unit(unit);
      const isLeaving = this.#world.copiesOf(unit).has(from);
      const place = this.#world.placeOf(unit);
      const isArrived = place !== undefined && place.machine !== from && place.copy.settled;
      const isStuck = place === undefined && this.#pending.has(unit);
      if (planned && (isLeaving || !(isArrived || isStuck || planned.wanted === 'inactive' || planned.deleting))) continue;
      this.#moves.delete(unit);
      this.#machines.add(from);
    }
  }

  // --- global units -------------------------------------------------------------------------------------------------------------------

  /** All machines of a global unit, with its counts and its rollout; or only those that were touched. */
  #globalJobs(name: string, planned: Plan, touched: ReadonlySet<string> | undefined, nowMs: number, jobs: Job[]): void {
    const { cache, clock } = this.#options;
    const source = this.#sources.read(name);
    const verdict = planned.globals.get(name);
    if (!source || !verdict) return;
    this.#pending.delete(name);
    const now = clock.now().toISOString();
    const placed = new Set(verdict.place);
    const copies = touched ? [...touched].flatMap((machine) => this.#copyFacts(name, machine) ?? []) : this.#copies(name);
    const rows = this.#rows(name, copies);
    const byMachine = new Map(copies.map((copy) => [copy.machine, copy]));
    const push = (machine: string, change: PairChange) => {
      const placements = 'put' in change && !byMachine.has(machine) ? 1 : 0;
      jobs.push({ write: pairWrite(cache.keys, name, machine, rows, change), events: [], placements, unit: name, machine });
    };
    for (const machine of new Set([...byMachine.keys(), ...placed])) {
      const pair = { place: placed.has(machine), leave: verdict.leave.get(machine) };
      const change = planPair(source, byMachine.get(machine), pair, machine, now);
      if (change) push(machine, change);
    }
    if (touched) return;

    if (source.planned.deleting && copies.length === 0 && source.finalizers.length === 0) {
      const about = { kind: 'Unit', name, uid: source.uid };
      const events: ControllerEvent[] = [{ about, type: 'Normal', reason: 'Removed', message: `Removed ${name}.` }];
      const changes: Changes = { puts: [], drops: [], deleteUnit: true, events };
      jobs.push({ write: unitWrite(cache.keys, name, rows, changes), events, placements: 0, unit: name });
      return;
    }
    const rollout = planRollout(source, copies);
    if (rollout.next) push(rollout.next.machine, { put: rollout.next });
    const before = rows.fragment?.value as UnitFragment | undefined;
    const fragment = globalFragment({ source, verdict, copies, rollout, fragment: before, now });
    if (sameFragment(fragment, before)) return;
    const isNews = before?.observedGeneration !== source.generation;
    const dueMs = this.#countsDueMs(name);
    if (!isNews && nowMs < dueMs) {
      this.#unitsDue.set(name, dueMs);
      return;
    }
    this.#writtenAtMs.set(`units/${name}`, nowMs);
    jobs.push({
      write: fragmentWrite(cache.keys, 'units', name, rows.fragmentRevision, fragment),
      events: [],
      placements: 0,
      unit: name,
    });
  }

  // --- writing ------------------------------------------------------------------------------------------------------------------------

  /** It was not written: what the index took for decided is put right from the cache. */
  #again({ unit, machine }: Job): void {
    this.#options.metrics.retried();
    if (unit === undefined) {
      if (machine !== undefined) this.#machines.add(machine);
      return;
    }
    if (machine !== undefined) {
      this.#pair(unit, machine);
      return;
    }
    this.#units.add(unit);
    const { cache } = this.#options;
    for (const at of new Set([...this.#world.copiesOf(unit).keys(), ...cache.assignmentsOf(unit).keys()])) this.#pair(unit, at);
  }
}

function isEmpty(names: Iterable<string>): boolean {
  for (const _name of names) return false;
  return true;
}
