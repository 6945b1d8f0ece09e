/** What each step of a plan does: to systemd, to the unit's file, and to what is recorded of it. Decides nothing; `plan.ts` does. */
import type { AgentAssignment } from '../api/resources/protocol.js';
import { mayLackAnother } from '../api/resources/start-results.js';
import type { Clock } from '../runtime/clock.js';
import type { Logger } from '../runtime/log.js';
import type { Drift } from './drift.js';
import type { UnitFiles } from './files.js';
import { whyNotStarted } from './job-results.js';
import type { Leaving } from './leaving.js';
import type { ExplainLoad } from './load-problems.js';
import type { Observations } from './observe.js';
import type { World } from './plan.js';
import type { Records, UnitRecord } from './records.js';
import { carryOut, type Executors, type Step, type StepOutcome } from './steps.js';
import { isDown, type JobResult, type SeenUnit, type Systemd, SystemdError } from './systemd.js';
import type { Problem } from './unit-state.js';

/** Something worth telling people once. */
export interface UnitEvent {
  readonly unit: string;
  readonly reason: string;
  readonly message: string;
  readonly warning: boolean;
}

/** What a step needs of whoever works on the unit. */
export interface Lane {
  row(name: string): Promise<SeenUnit>;
  /** Looks at the unit's file again: it has changed. */
  reread(name: string): void;
  fileGone(name: string): void;
  desired(name: string): AgentAssignment | undefined;
  setProblem(name: string, problem: Problem): void;
  /** Sets the unit's one timer, or takes it away. */
  timer(name: string, delayMs?: number, run?: () => void): void;
  /** Works on the unit once more. */
  again(name: string): void;
  forgetBackoff(name: string): void;
}

export interface ExecutionOptions {
  readonly systemd: Systemd;
  readonly files: UnitFiles;
  readonly records: Records;
  readonly clock: Clock;
  readonly log: Logger;
  /** What is wrong with the file at this path that systemd does not load; undefined when that is not found out. */
  readonly explainLoad?: ExplainLoad;
  readonly onChange: (name: string) => void;
  readonly onEvent: (event: UnitEvent) => void;
  readonly observations: Observations;
  readonly drift: Drift;
  readonly leaving: Leaving;
}

/** A unit that could not be started is tried again this long after the last other one has come. */
const arrivalsGraceMs = 500;
/** A stop that lasts longer than this is worth a word. */
const slowStopMs = 5_000;

export class Execution {
  readonly #options: ExecutionOptions;
  readonly #lane: Lane;
  /** Units whose start job has not ended. */
  readonly #starting = new Set<string>();
  /** How many files have come to this machine since this agent started. */
  #arrivals = 0;
  /** Units whose last start came to nothing, and since then the file of another one has come. */
  readonly #hasNews = new Set<string>();

  /** Units that were started before the file of one that they want had come, and that one. */
  readonly #lateWanted = new Map<string, string>();

  constructor(options: ExecutionOptions, lane: Lane) {
    this.#options = options;
    this.#lane = lane;
  }

  isStarting(name: string): boolean {
    return this.#starting.has(name);
  }

  hasNews(name: string): boolean {
    return this.#hasNews.has(name);
  }

  lateWanted(name: string): string | undefined {
    return this.#lateWanted.get(name);
  }

  /** Carries one step out. Rejects with what systemd or the disk refuse, which is tried again. */
  async carryOut(name: string, step: Step, world: World): Promise<StepOutcome> {
    const { clock, log } = this.#options;
    const startedAt = clock.monotonicMs();
    const outcome = await carryOut(this.#executors(world), name, step);
    log.debug('step done', { unit: name, do: step.do, why: step.why, took_ms: Math.round(clock.monotonicMs() - startedAt) });
    return outcome;
  }

  #executors({ invocationID, isDriftDue, isMadeUp, file }: World): Executors {
    const { files, records, systemd, onEvent } = this.#options;
    const done: StepOutcome = 'done';
    return {
      stage: (name, { file }) => {
        files.stage(name, file);
        return done;
      },
      write: async (name) => {
        files.commit(name);
        this.#lane.reread(name);
        this.#tellUnstarted(name);
        if (file === undefined) await this.#tellWhoWants(name);
        return done;
      },
      link: async (name, { links }) => {
        const taken: string[] = [];
        for (const { alias } of links) {
          if (alias === undefined) continue;
          const { load, id } = await this.#lane.row(alias);
          if (load !== 'not-found' && id !== name) taken.push(alias);
        }
        taken.push(
          ...files.link(
            name,
            links.filter(({ alias }) => alias === undefined || !taken.includes(alias)),
          ),
        );
        const warning = taken.length > 0 && {
          reason: 'LinkTaken',
          message: `not enabled as ${taken.join(', ')}: the machine has that itself`,
        };
        const { warning: _, ...rest } = this.#record(name);
        records.set(name, warning ? { ...rest, warning } : rest);
        return done;
      },
      reload: async (name) => {
        // Of a unit that it has from no file systemd does not say that there is one now.
        if (isMadeUp || (await systemd.needsReload(name))) await systemd.reload();
        return done;
      },
      resetFailed: async (name) => {
        await systemd.resetFailed(name);
        return done;
      },
      stop: (name) => this.#stop(name),
      unlaunch: (name) => {
        this.#forgetStart(name);
        return done;
      },
      start: async (name, { start }) => {
        await this.#options.leaving.untilGone();
        const { started: _, stopping: __, unstarted: ___, ...rest } = this.#record(name);
        records.set(name, { ...rest, starting: { ...start, invocationBefore: invocationID } });
        if (isDriftDue) this.#options.drift.repairing(name);
        this.#options.drift.ended(name);
        this.#hasNews.delete(name);
        this.#lateWanted.delete(name);
        try {
          const { ended } = await systemd.start(name);
          this.#starting.add(name);
          const arrivals = this.#arrivals;
          void ended.then((result) => this.#started(name, result, invocationID, arrivals));
        } catch (error) {
          if (!(error instanceof SystemdError && loadFailures.has(error.code))) throw error;
          return this.#refused(name, error);
        }
        records.set(name, { ...rest, started: start });
        files.settle(name);
        if (isDriftDue)
          onEvent({ unit: name, reason: 'DriftRepaired', message: 'started again: somebody stopped it on the machine', warning: true });
        return done;
      },
      startWanted: async (name) => {
        this.#lateWanted.delete(name);
        await systemd.start(name);
        return done;
      },
      adopt: (name, { start }) => {
        const { starting: _, stopping: __, ...rest } = this.#record(name);
        records.set(name, { ...rest, started: start });
        files.settle(name);
        return done;
      },
      rollBack: (name) => {
        files.rollBack(name);
        this.#lane.reread(name);
        return done;
      },
      accept: (name, { uid, generation, template }) => {
        const { template: _, refused, ...rest } = this.#record(name);
        records.set(name, { ...rest, uid, generation, ...(template ? { template } : {}) });
        return done;
      },
      remove: (name) => {
        files.remove(name);
        this.#lane.fileGone(name);
        return done;
      },
      forget: (name) => {
        records.set(name, undefined);
        this.#options.drift.forget(name);
        this.#hasNews.delete(name);
        this.#lateWanted.delete(name);
        this.#lane.timer(name);
        this.#lane.forgetBackoff(name);
        if (!this.#lane.desired(name)) this.#options.observations.forget(name);
        return done;
      },
    };
  }

  async #stop(name: string): Promise<StepOutcome> {
    const { systemd, records } = this.#options;
    this.#options.drift.replacing(name);
    records.set(name, { ...this.#record(name), stopping: true });
    this.#lane.timer(name, slowStopMs, () =>
      this.#lane.setProblem(name, {
        reason: 'StopPending',
        message: 'systemd is still stopping it, and waits for ExecStop= or the processes to end',
      }),
    );
    try {
      const result = await this.#stopJob(name);
      const seen = await this.#lane.row(name);
      this.#options.observations.row(name, seen);
      if (!isDown(seen)) throw new StillRunning(`the stop job ended (${result}) and it is still ${seen.active} (${seen.sub})`);
      if (seen.active === 'failed') await systemd.resetFailed(name);
    } finally {
      this.#lane.timer(name);
    }
    this.#options.leaving.end(name);
    this.#forgetStart(name);
    return 'done';
  }

  async #stopJob(name: string): Promise<string> {
    try {
      return await (await this.#options.systemd.stop(name)).ended;
    } catch (error) {
      // Nothing of that name is loaded, so nothing of it runs.
      if (error instanceof SystemdError && error.code === 'org.freedesktop.systemd1.NoSuchUnit') return 'not loaded';
      throw error;
    }
  }

  async #refused(name: string, error: SystemdError): Promise<StepOutcome> {
    const { files, records, systemd, log, onEvent } = this.#options;
    const desired = this.#lane.desired(name);
    const words = (await systemd.loadError(name)) ?? error.message;
    // Of a bad file it says only that it is bad.
    const problems = error.code === badUnitSetting ? await this.#options.explainLoad?.(files.path(name)) : undefined;
    const why = problems === undefined ? words : `${words.replace(/\.$/, '')}: ${problems}`;
    const { starting: _, ...rest } = this.#record(name);
    log.warn('systemd does not load the unit', { unit: name, error: why });
    onEvent({ unit: name, reason: 'LoadFailed', message: `systemd does not load this text: ${why}`, warning: true });
    const refused = desired && {
      uid: desired.unitUid,
      textHash: desired.textHash,
      ...(desired.restart === undefined ? {} : { restart: desired.restart }),
      message: why,
    };
    records.set(name, refused ? { ...rest, refused } : rest);
    return 'again';
  }

  /** A job that is `done` need not have left the unit running: what systemd says of it counts, and is asked for unless it has said it. */
  async #started(name: string, result: JobResult, invocationBefore: string, arrivals: number): Promise<void> {
    try {
      if (!this.#options.observations.isUpSince(name, invocationBefore)) await this.#readBack(name, result, arrivals);
    } catch (error) {
      this.#options.log.warn('state after a start is not known', { unit: name, error: (error as Error).message });
    } finally {
      this.#starting.delete(name);
      this.#options.onChange(name);
    }
  }

  async #readBack(name: string, result: JobResult, arrivals: number): Promise<void> {
    const { systemd, records } = this.#options;
    const seen = await this.#lane.row(name);
    this.#options.observations.row(name, seen);
    const unstarted = seen.active === 'inactive' ? whyNotStarted(name, result) : undefined;
    const record = records.get(name);
    if (unstarted && record?.started) {
      records.set(name, { ...record, unstarted });
      if (arrivals < this.#arrivals) this.#trySoon(name);
    }
    // Usually systemd's signals have told everything by now.
    const known = this.#options.observations.get(name);
    if (known && !this.#options.observations.areDetailsCurrent(name)) this.#options.observations.details(name, await systemd.details(name));
  }

  /** Whoever could not be started may have lacked the unit that has come now: a socket its service, say. */
  #tellUnstarted(arrived: string): void {
    this.#arrivals += 1;
    const { records } = this.#options;
    for (const name of records.names()) if (name !== arrived && records.get(name)?.unstarted) this.#trySoon(name);
  }

  /**
   * What is only wanted loaded is started by others, and systemd passes over what a unit wants while there is no file of it. So that it does not
   * matter which of two units came first, those that run are looked at again.
   */
  async #tellWhoWants(arrived: string): Promise<void> {
    if (this.#lane.desired(arrived)?.wanted !== 'loaded') return;
    for (const name of await this.#options.systemd.wantedBy(arrived)) {
      const record = this.#options.records.get(name);
      if (!record?.started && !record?.starting) continue;
      this.#lateWanted.set(name, arrived);
      this.#lane.again(name);
    }
  }

  /** Not at once: units often come many at a time. */
  #trySoon(name: string): void {
    const { unstarted } = this.#options.records.get(name) ?? {};
    if (!unstarted || !mayLackAnother(unstarted.reason)) return;
    this.#hasNews.add(name);
    this.#lane.timer(name, arrivalsGraceMs, () => this.#lane.again(name));
  }

  #record(name: string): UnitRecord {
    return this.#options.records.get(name) ?? { uid: this.#lane.desired(name)?.unitUid ?? '' };
  }

  #forgetStart(name: string): void {
    const { started: _, starting: __, stopping: ___, unstarted: ____, ...rest } = this.#record(name);
    this.#options.records.set(name, rest);
  }
}

/** systemd said that the stop is over, and it is not. */
export class StillRunning extends Error {
  override readonly name = 'StillRunning';
}

const badUnitSetting = 'org.freedesktop.systemd1.BadUnitSetting';
/** systemd's words for "I cannot use this file"; anything else that it says of a start is about something else, and is tried again. */
const loadFailures: ReadonlySet<string> = new Set([
  badUnitSetting,
  ...['LoadFailed', 'UnitMasked', 'JobTypeNotApplicable'].map((code) => `org.freedesktop.systemd1.${code}`),
]);
