/**
 * systemd as the agent sees it: what it says of units, jobs that start and stop them, and word of changes. `systemd-dbus.ts` is the real
 * one, `test/rigs/fake-systemd.ts` the fake; `test/contract/systemd.contract.ts` speaks for both.
 */

/** One row of ListUnitsByNames: the cheap answer, for thousands of units in one call. */
export interface SeenUnit {
  /** systemd's own name for it: another one than was asked for when that is an alias. */
  readonly id: string;
  /** loaded, not-found, bad-setting, error, masked. */
  readonly load: string;
  /** active, reloading, inactive, failed, activating, deactivating, maintenance. */
  readonly active: string;
  /** The type's own word: running, exited, dead, auto-restart, stop-sigterm... */
  readonly sub: string;
  /** Type of the job that is queued or running for it: start, stop... */
  readonly job?: string;
}

/** What any unit knows of its current or last run. A value that systemd does not have is absent, never 0 and never 2^64 - 1. */
export interface RunFacts {
  /** Wall-clock milliseconds of the last change of the active state. */
  readonly sinceMs?: number;
  /** Wall-clock milliseconds at which it last became active. */
  readonly activeSinceMs?: number;
  /** 32 hex digits, new with each start; absent when the unit has not run since systemd loaded it. */
  readonly invocationID?: string;
}

/** What a service knows beside that. */
export interface ServiceFacts {
  /** success, exit-code, signal, timeout... */
  readonly result?: string;
  readonly mainPID?: number;
  /** How often Restart= has restarted it. */
  readonly restarts?: number;
  /** How the process ended that the result is about: exited, killed or dumped. Absent while it runs. */
  readonly exitCode?: string;
  /** Its exit status, or the signal's number. `details` also finds that of an ExecStartPre= and the like; a signal knows the main process only. */
  readonly exitStatus?: number;
}

export interface UnitDetails {
  readonly run: RunFacts;
  readonly service?: ServiceFacts;
  /** Service Type=: simple, oneshot, notify... */
  readonly type?: string;
}

/** The whole of what one PropertiesChanged says: the facts of one interface, all of them. */
export type UnitChange =
  | { readonly of: 'unit'; readonly active: string; readonly sub: string; readonly run: RunFacts }
  | { readonly of: 'service'; readonly service: ServiceFacts };

/**
 * How a job ended, in JobRemoved's words: done, canceled, timeout, failed, dependency, skipped, invalid, assert... `lost` when the
 * connection ended first: nobody knows, read the state back. `done` does not mean running either: a process may die a moment later.
 */
export type JobResult = string;

export interface Job {
  readonly ended: Promise<JobResult>;
}

export interface SystemdListener {
  /** A connection is there, a new one or one to a new systemd: what was known may be stale, read everything again. */
  connected?(): void;
  disconnected?(why: string): void;
  /** systemd says that a unit changed; for any unit of the machine. True at its moment, and may be missing: resync by period. */
  changed?(name: string, change: UnitChange): void;
  /** A job ended that this agent did not ask for: somebody's systemctl, a timer, or a dependency. */
  foreignJobEnded?(name: string, result: JobResult): void;
  /** A daemon-reload ended, whoever asked for it. */
  reloaded?(): void;
}

/** Every call throws `SystemdError` when systemd says no, and `NoAnswer` when nobody knows whether it was carried out. */
export interface Systemd {
  readonly isConnected: boolean;
  listen(listener: SystemdListener): () => void;
  /** Rows by the names asked for; one call. systemd loads what it does not know yet, and says not-found of what has no file. */
  list(names: readonly string[]): Promise<ReadonlyMap<string, SeenUnit>>;
  details(name: string): Promise<UnitDetails>;
  /** The file that systemd has the unit from; '' when it comes from none. */
  fragmentPath(name: string): Promise<string>;
  /** Why it could not be loaded, in systemd's words; undefined when it could. */
  loadError(name: string): Promise<string | undefined>;
  /** Units in systemd's memory that want this one started along with them (Wants=); they may have been loaded before there was a file of it. */
  wantedBy(name: string): Promise<readonly string[]>;
  /** Whether the loaded unit is older than its file: true after an edit when something kept the unit loaded. */
  needsReload(name: string): Promise<boolean>;
  /** Path of the unit's cgroup below the root of the hierarchy; absent while it has none. */
  controlGroup(name: string): Promise<string | undefined>;
  /** Resolves when systemd has accepted the job; mode `replace`. */
  start(name: string): Promise<Job>;
  stop(name: string): Promise<Job>;
  /** Lets go of a failed run. Nothing happens when the unit is not loaded. */
  resetFailed(name: string): Promise<void>;
  /** daemon-reload; calls that come while one is wanted share it. */
  reload(): Promise<void>;
  /** The directories that systemd looks for units in, most important first, and its version. */
  about(): Promise<{ readonly unitPath: readonly string[]; readonly version: string }>;
  close(): void;
}

/** systemd refused. `code` is the D-Bus error name. */
export class SystemdError extends Error {
  override readonly name = 'SystemdError';
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The call may or may not have been carried out: no answer came in time, or the connection ended. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** Its processes run, or are about to. */
export const isUp = (unit: Pick<SeenUnit, 'active'>): boolean =>
  unit.active === 'active' || unit.active === 'reloading' || unit.active === 'activating' || unit.active === 'refreshing';

/** Nothing of it runs any more. */
export const isDown = (unit: Pick<SeenUnit, 'active'>): boolean => unit.active === 'inactive' || unit.active === 'failed';
