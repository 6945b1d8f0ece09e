/**
 * Makes systemd match what is wanted on this machine: looks at one unit, plans, has the steps carried out, each unit in its own lane. Nothing
 * here decides; `plan.ts` does.
 */
import type { UnitState } from '../api/resources/assignment.js';
import type { AgentAssignment } from '../api/resources/protocol.js';
import type { Clock, Random } from '../runtime/clock.js';
import type { Logger } from '../runtime/log.js';
import type { Metrics } from '../runtime/metrics.js';
import { createWorkQueue, type Outcome, settled, type WorkQueue } from '../runtime/work-queue.js';
import { batched } from './batched.js';
import { Drift } from './drift.js';
import { Execution, StillRunning, type UnitEvent } from './execution.js';
import { isUnexplained } from './failed-command.js';
import type { UnitFiles } from './files.js';
import { isImplicit } from './implicit-units.js';
import { Leaving } from './leaving.js';
import type { ExplainLoad } from './load-problems.js';
import { Observations } from './observe.js';
import { plan, type World } from './plan.js';
import type { Records } from './records.js';
import type { Step, StepOutcome } from './steps.js';
import { isDown, isUp, NoAnswer, type SeenUnit, type Systemd } from './systemd.js';
import { type FileOnDisk, type Problem, unitState } from './unit-state.js';
import { serviceType } from './unit-text.js';

export interface ConvergenceOptions {
  readonly systemd: Systemd;
  readonly files: UnitFiles;
  readonly records: Records;
  readonly bootID: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics?: Metrics;
  /** What is wrong with the file at this path that systemd does not load; undefined when that is not found out. */
  readonly explainLoad?: ExplainLoad;
  /** What would be reported of the unit may have changed. */
  readonly onChange: (name: string) => void;
  readonly onEvent: (event: UnitEvent) => void;
}

/** What may be done at this time (SEMANTICS 16). */
export interface Policy {
  /** A server has said what belongs here, since this agent started. */
  readonly mayLeave: boolean;
  /** Why this unit may not be started yet; undefined when it may. */
  startHeld(assignment: AgentAssignment): string | undefined;
}

/** Rounds of look, plan and do in one go; a unit that has not settled by then is tried again later. */
const maxRounds = 6;
const closeLimitMs = 2_000;

export class Convergence {
  readonly #options: ConvergenceOptions;
  /** One lane per unit: it is worked on by one at a time, and units among each other in parallel. */
  readonly #lanes: WorkQueue;
  readonly #busy = new Set<string>();
  readonly #row: (name: string) => Promise<SeenUnit>;
  readonly #desired = new Map<string, AgentAssignment>();
  #policy: Policy = { mayLeave: false, startHeld: () => 'no server has been reached yet' };
  readonly #leaving: Leaving;
  readonly #drift: Drift;
  readonly #problems = new Map<string, Problem>();
  readonly #execution: Execution;
  readonly #onDisk = new Map<string, FileOnDisk>();
  /** Whose name it is, of units that were found to be the machine's own. */
  readonly #owners = new Map<string, string>();
  readonly #timers = new Map<string, () => void>();
  readonly observations: Observations;

  constructor(options: ConvergenceOptions) {
    this.#options = options;
    const { systemd, clock, random, log } = options;
    this.#leaving = new Leaving(clock);
    this.#drift = new Drift(clock);
    this.observations = new Observations(options.onChange);
    this.#row = batched((names) => systemd.list(names));
    this.#lanes = createWorkQueue({
      name: 'units',
      work: (name) => this.#work(name),
      clock,
      random,
      log,
      ...(options.metrics ? { metrics: options.metrics } : {}),
      // No limit in effect: a lane that waits for a stuck unit must not take another one's place. The job window limits what matters.
      concurrency: 10_000,
      // A stop lasts as long as the unit's ExecStop= and TimeoutStopSec= let it.
      limits: { runMs: 86_400_000 },
    });
    this.#execution = new Execution(
      { ...options, observations: this.observations, drift: this.#drift, leaving: this.#leaving },
      {
        row: this.#row,
        reread: (name) => void this.#file(name),
        fileGone: (name) => void this.#onDisk.delete(name),
        desired: (name) => this.#desired.get(name),
        setProblem: (name, problem) => this.#setProblem(name, problem),
        timer: (name, delayMs, run) => this.#timer(name, delayMs, run),
        again: (name) => this.#lanes.add(name),
        forgetBackoff: (name) => this.#lanes.forget(name),
      },
    );
    systemd.listen({
      connected: () => this.#lookAgain(),
      changed: (name, change) => {
        this.observations.change(name, change);
        if (change.of === 'service' && isUnexplained(change.service)) this.#explain(name);
        const seen = this.observations.get(name)?.seen;
        if (seen && isUp(seen)) this.#drift.ended(name);
      },
      foreignJobEnded: (name, result) => this.#foreignJobEnded(name, result),
    });
  }

  // ── what is wanted ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  desired(name: string): AgentAssignment | undefined {
    return this.#desired.get(name);
  }

  assignments(): AgentAssignment[] {
    return [...this.#desired.values()];
  }

  /** Units that are wanted, or of which something of ours is here. */
  names(): string[] {
    const { files, records } = this.#options;
    return [...new Set([...this.#desired.keys(), ...records.names(), ...files.names()])];
  }

  setPolicy(policy: Policy): void {
    this.#policy = policy;
  }

  /** Everything that is wanted. `held` units stay as they are whatever is known of them. */
  replace(assignments: readonly AgentAssignment[], held: readonly string[] = []): void {
    const names = new Set(assignments.map(({ unit }) => unit));
    const untouched = new Set(held);
    const dropped = this.names().filter((name) => !names.has(name) && !untouched.has(name));
    this.#apply(assignments, dropped);
  }

  /** What a server has stored of units here, from before this agent: their last runs, which systemd may have forgotten. */
  remember(states: Readonly<Record<string, UnitState>>): void {
    for (const [name, state] of Object.entries(states)) {
      if (state.unitUid !== this.#desired.get(name)?.unitUid || state.invocationID === undefined) continue;
      const { result, exitCode, exitStatus, restarts } = state;
      this.observations.remember(name, {
        run: { sinceMs: Date.parse(state.since), invocationID: state.invocationID },
        service: {
          ...(result === undefined ? {} : { result }),
          ...(exitCode === undefined ? {} : { exitCode }),
          ...(exitStatus === undefined ? {} : { exitStatus }),
          ...(restarts === undefined ? {} : { restarts }),
        },
      });
    }
  }

  change(assignments: readonly AgentAssignment[], dropped: readonly string[]): void {
    this.#apply(assignments, dropped);
  }

  /** Works on every unit: after a change of policy. */
  lookAtAll(): void {
    for (const name of this.names()) this.#lanes.add(name);
  }

  #apply(assignments: readonly AgentAssignment[], dropped: readonly string[]): void {
    for (const name of dropped) this.#desired.delete(name);
    for (const assignment of assignments) this.#desired.set(assignment.unit, assignment);
    const leaving = [...dropped, ...assignments.filter(({ remove }) => remove !== undefined).map(({ unit }) => unit)].sort();
    for (const name of leaving) {
      this.#beginLeaving(name);
      this.#lanes.add(name);
    }
    for (const { unit, remove } of assignments) if (remove === undefined) this.#lanes.add(unit);
  }

  #beginLeaving(name: string): void {
    const seen = this.observations.get(name)?.seen;
    if (this.#policy.mayLeave && !(seen && isDown(seen))) this.#leaving.begin(name);
  }

  // ── what is seen ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** One ListUnitsByNames for everything of ours; whatever is not as it should be is worked on (invariant 4). */
  async resync(): Promise<void> {
    const names = this.names();
    const rows = await this.#options.systemd.list(names);
    for (const [name, seen] of rows) {
      if (this.#busy.has(name)) continue;
      const isNews = this.observations.row(name, seen);
      const [file, foreignFile] = this.#file(name);
      const world = this.#world(name, seen, '', foreignFile ?? this.#owners.get(name), file);
      if (isNews || plan(world).steps.length > 0) this.#lanes.add(name);
    }
  }

  /** A new connection: signals were lost, rows and details are read again, and what was under way is looked at. */
  #lookAgain(): void {
    this.observations.doubtDetails();
    for (const name of this.names()) this.#lanes.add(name);
  }

  /** Its failure is not its main process's: which command it was, systemd says only when asked. */
  #explain(name: string): void {
    const unexplained = this.observations.get(name)?.service;
    if (!unexplained) return;
    this.#options.systemd.details(name).then(
      (details) => {
        // Whatever was told meanwhile is newer.
        if (this.observations.get(name)?.service === unexplained) this.observations.details(name, details);
      },
      (error: Error) => this.#options.log.warn('why it failed is not known', { unit: name, error: error.message }),
    );
  }

  #foreignJobEnded(name: string, result: string): void {
    if (result !== 'done' || this.#desired.get(name)?.wanted !== 'launched' || !this.observations.has(name)) return;
    void this.#row(name).then(
      (seen) => {
        this.observations.row(name, seen);
        if (!this.observations.wasStopped(name)) return;
        this.#drift.stopped(name);
        this.#repairDriftWhenDue(name);
      },
      (error: Error) => this.#options.log.warn('state after a foreign job is not known', { unit: name, error: error.message }),
    );
  }

  #repairDriftWhenDue(name: string): void {
    const waitMs = this.#drift.waitMs(name);
    if (waitMs <= 0) {
      this.#lanes.add(name);
      return;
    }
    if (this.#drift.wasRepaired(name)) {
      this.#setProblem(name, {
        reason: 'StoppedByHand',
        message: 'somebody stops it on the machine again and again; it is started once a minute',
      });
    }
    this.#timer(name, waitMs, () => this.#lanes.add(name));
  }

  /** Everything about the unit, from systemd, disk and memory. */
  async #look(name: string): Promise<World> {
    const { systemd } = this.#options;
    const seen = await this.#row(name);
    this.observations.row(name, seen);
    const [file, foreignFile] = this.#file(name);
    this.#owners.delete(name);
    if (seen.load === 'not-found') return this.#world(name, seen, '', foreignFile, file);
    const { observations } = this;
    const [fragmentPath, details] = await Promise.all([
      systemd.fragmentPath(name),
      observations.areDetailsCurrent(name) ? undefined : systemd.details(name),
    ]);
    const isMadeUp = fragmentPath === '' && isImplicit(name, seen);
    const isOurs = seen.id === name && (fragmentPath === this.#options.files.path(name) || isMadeUp) && seen.load !== 'masked';
    const owner = seen.id === name ? fragmentPath || 'made by systemd, without a file' : `another name of ${seen.id}`;
    if (isOurs && details) observations.details(name, details);
    if (!isOurs) this.#owners.set(name, owner);
    const { invocationID = '' } = details?.run ?? observations.get(name)?.run ?? {};
    return { ...this.#world(name, seen, invocationID, foreignFile ?? (isOurs ? undefined : owner), file), isMadeUp };
  }

  #file(name: string) {
    const { files } = this.#options;
    const file = files.read(name);
    if (file === 'foreign') return [undefined, files.path(name)] as const;
    if (file && this.#onDisk.get(name)?.textHash !== file.textHash) {
      this.#onDisk.set(name, { textHash: file.textHash, type: serviceType(name, file.text) });
    }
    if (!file) this.#onDisk.delete(name);
    return [file, undefined] as const;
  }

  #world(name: string, seen: SeenUnit, invocationID: string, foreign: string | undefined, file: World['file']): World {
    const { files, records, bootID } = this.#options;
    const desired = this.#desired.get(name);
    return {
      name,
      desired,
      seen,
      invocationID,
      foreign,
      file,
      previous: files.previous(name),
      record: records.get(name),
      bootID,
      mayLeave: this.#policy.mayLeave,
      startHeld: desired && this.#policy.startHeld(desired),
      hasNews: this.#execution.hasNews(name),
      lateWanted: this.#execution.lateWanted(name),
      isDriftDue: this.#drift.isDue(name),
    };
  }

  // ── what is done ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #work(name: string): Promise<Outcome> {
    this.#busy.add(name);
    try {
      await this.#converge(name);
      return settled;
    } catch (error) {
      const reason = error instanceof NoAnswer ? 'SystemdUnreachable' : error instanceof StillRunning ? 'StopFailed' : 'StepFailed';
      this.#setProblem(name, { reason, message: `${(error as Error).message}; trying again` });
      throw error;
    } finally {
      this.#busy.delete(name);
      this.#options.onChange(name);
      for (const stopped of this.#drift.replaced(name)) this.#repairDriftWhenDue(stopped);
    }
  }

  async #converge(name: string): Promise<void> {
    const { clock, log } = this.#options;
    const startedAt = clock.monotonicMs();
    const did: Step[] = [];
    for (let round = 0; round < maxRounds; round++) {
      const world = await this.#look(name);
      const { steps, problem } = plan(world);
      if (problem) this.#setProblem(name, problem);
      let outcome: StepOutcome = 'done';
      for (const step of steps) {
        outcome = await this.#execution.carryOut(name, step, world);
        did.push(step);
        if (outcome === 'again') break;
      }
      if (outcome === 'done') {
        // systemd tells by itself of what starts and stops, and says nothing of a file that came or went without either.
        if (steps.some(({ do: done }) => done === 'write') && !steps.some(({ do: done }) => done === 'start')) await this.#look(name);
        const words = did.map((step) => step.do).join(' ');
        if (did[0])
          log.info('unit brought to its state', {
            unit: name,
            did: words,
            why: did[0].why,
            took_ms: Math.round(clock.monotonicMs() - startedAt),
          });
        this.#setProblem(name, problem ?? this.#options.records.get(name)?.warning);
        this.#leaving.end(name);
        return;
      }
    }
    throw new Error(`it does not settle after ${maxRounds} attempts`);
  }

  /** Sets the unit's one timer, or takes it away. */
  #timer(name: string, delayMs?: number, run?: () => void): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
    if (delayMs !== undefined && run) this.#timers.set(name, this.#options.clock.after(delayMs, run));
  }

  #setProblem(name: string, problem: Problem | undefined): void {
    const known = this.#problems.get(name);
    if (known?.reason === problem?.reason && known?.message === problem?.message) return;
    if (problem) this.#problems.set(name, problem);
    else this.#problems.delete(name);
    if (problem && problem.reason === 'NameTaken') this.#options.onEvent({ unit: name, ...problem, warning: true });
    this.#options.onChange(name);
  }

  /** Whether it is being changed right now, so that what is seen of it will be another thing in a moment. */
  isMoving(name: string): boolean {
    return this.#busy.has(name) || this.#execution.isStarting(name);
  }

  /** Service Type=, as systemd said it or else as the file says it. */
  type(name: string): string | undefined {
    return this.observations.get(name)?.type ?? this.#onDisk.get(name)?.type;
  }

  // ── what is said of it ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What a server is told of the unit; undefined when it is not assigned here, or has not been looked at yet. */
  state(name: string): UnitState | undefined {
    const assignment = this.#desired.get(name);
    const observation = this.observations.get(name);
    if (!assignment || !observation) return undefined;
    return unitState({
      name,
      assignment,
      observation,
      record: this.#options.records.get(name),
      onDisk: this.#onDisk.get(name),
      problem: this.#problems.get(name),
      bootID: this.#options.bootID,
    });
  }

  /** Resolves when no unit is being worked on; what waits to be tried again does not count. */
  rest(): Promise<void> {
    return this.#lanes.idle();
  }

  /** Lets go of every unit as it is: nothing is stopped, and what systemd is doing it does to the end. */
  async close(): Promise<void> {
    for (const cancel of this.#timers.values()) cancel();
    this.#leaving.endAll();
    await this.#lanes.stop({ drain: false, limitMs: closeLimitMs });
  }
}
