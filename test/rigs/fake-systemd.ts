/**
 * A systemd in memory for tests of the agent. It keeps the manners that matter: units are loaded from files on demand and let go when
 * nothing needs them, a loaded unit is stale until it was let go or reloaded, jobs take time, signals come on their own. It notes what
 * the real one would only suffer from, and can be told to misbehave, so that a test shows that it would notice.
 */
import { createHash } from 'node:crypto';
import {
  isDown,
  type Job,
  type JobResult,
  NoAnswer,
  type RunFacts,
  type SeenUnit,
  type ServiceFacts,
  type Systemd,
  SystemdError,
  type SystemdListener,
  type UnitDetails,
} from '../../agent/systemd.js';
import { lastValueOf, parseUnitFile, UnitFileError } from '../../api/resources/unit-file/parse.js';
import { templateNameOf } from '../../api/resources/unit-name.js';
import type { MemoryUnitFiles } from './memory-files.js';

export interface FakeSystemdOptions {
  readonly files: MemoryUnitFiles;
  /** Units of the machine itself: name → text, from /usr/lib/systemd/system. */
  readonly vendor?: Readonly<Record<string, string>>;
  /** Other names of the machine's units. */
  readonly aliases?: Readonly<Record<string, string>>;
}

/** Faults that a test plants to see that it would turn red. */
export type Fault =
  /** The stop job is said to be done while the process still runs. */
  | 'stop-is-not-awaited'
  /** Everything that runs is restarted when an agent looks at it. */
  | 'looking-restarts'
  /** What is still being stopped looks as if it were down already, and its job is said to be done. */
  | 'stops-look-done'
  /** A job is taken only when the one before it has ended, whichever unit that was for. */
  | 'one-job-at-a-time'
  /** Whatever lies anywhere is said to come from the agent's own directory. */
  | 'hides-owners'
  /** No signal is ever sent. */
  | 'silent';

interface Loaded {
  readonly name: string;
  readonly fragmentPath: string;
  text: string;
  load: string;
  loadError: string | undefined;
  active: string;
  sub: string;
  job: { readonly type: 'start' | 'stop'; end(result: JobResult): void } | undefined;
  run: RunFacts;
  service: ServiceFacts;
}

const noSuchUnit = 'org.freedesktop.systemd1.NoSuchUnit';

export class FakeSystemd implements Systemd {
  readonly #options: FakeSystemdOptions;
  readonly #listeners = new Set<SystemdListener>();
  readonly #loaded = new Map<string, Loaded>();
  readonly #pinned = new Set<string>();
  readonly #stuck = new Set<string>();
  readonly faults = new Set<Fault>();
  /** Every call, in order: `start web.service`, `list`, ... */
  readonly calls: string[] = [];
  /** What must never happen. */
  readonly violations: string[] = [];
  /** How often a process was begun. */
  readonly starts = new Map<string, number>();
  /** Jobs in flight now, and the most that there ever were. */
  jobs = 0;
  mostJobs = 0;
  isConnected = true;
  #nowMs = Date.UTC(2026, 0, 1);
  #pid = 1_000;
  #lastJob: Promise<JobResult> | undefined;

  constructor(options: FakeSystemdOptions) {
    this.#options = options;
  }

  // ── the port ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  listen(listener: SystemdListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async list(names: readonly string[]): Promise<ReadonlyMap<string, SeenUnit>> {
    await this.#answer('list');
    return new Map(
      names.map((name) => {
        const unit = this.#load(name);
        if (this.faults.has('looking-restarts') && unit.active === 'active') this.#begin(unit);
        const looksDone = this.faults.has('stops-look-done') && unit.active === 'deactivating';
        const row: SeenUnit = {
          id: this.faults.has('hides-owners') ? name : unit.name,
          load: unit.load,
          active: looksDone ? 'inactive' : unit.active,
          sub: looksDone ? 'dead' : unit.sub,
          ...(unit.job ? { job: unit.job.type } : {}),
        };
        this.#collect(unit);
        return [name, row] as const;
      }),
    );
  }

  async details(name: string): Promise<UnitDetails> {
    await this.#answer(`details ${name}`);
    const unit = this.#load(name);
    const { run, service } = unit;
    const isService = name.endsWith('.service');
    this.#collect(unit);
    return { run, ...(isService ? { service, type: typeOf(unit.text) } : {}) };
  }

  async fragmentPath(name: string): Promise<string> {
    await this.#answer(`fragmentPath ${name}`);
    return this.faults.has('hides-owners') ? this.#options.files.path(name) : this.#load(name).fragmentPath;
  }

  async loadError(name: string): Promise<string | undefined> {
    await this.#answer(`loadError ${name}`);
    return this.#load(name).loadError;
  }

  async wantedBy(name: string): Promise<readonly string[]> {
    await this.#answer(`wantedBy ${name}`);
    return [...this.#loaded.values()].filter(({ text }) => wantsOf(text).includes(name)).map((unit) => unit.name);
  }

  async needsReload(name: string): Promise<boolean> {
    await this.#answer(`needsReload ${name}`);
    const unit = this.#load(name);
    return unit.load !== 'not-found' && unit.text !== this.#source(name)?.text;
  }

  async controlGroup(name: string): Promise<string | undefined> {
    await this.#answer(`controlGroup ${name}`);
    return isDown(this.#load(name)) ? undefined : `/system.slice/${name}`;
  }

  async start(name: string): Promise<Job> {
    await this.#answer(`start ${name}`);
    if (this.faults.has('one-job-at-a-time')) await this.#lastJob;
    return this.#start(name, true);
  }

  async stop(name: string): Promise<Job> {
    await this.#answer(`stop ${name}`);
    if (this.faults.has('one-job-at-a-time')) await this.#lastJob;
    return this.#stop(name, true);
  }

  async resetFailed(name: string): Promise<void> {
    await this.#answer(`resetFailed ${name}`);
    const unit = this.#loaded.get(name);
    if (unit?.active === 'failed') this.#turn(unit, 'inactive', 'dead');
    if (unit) this.#collect(unit);
  }

  async reload(): Promise<void> {
    await this.#answer('reload');
    for (const unit of this.#loaded.values()) Object.assign(unit, this.#fresh(unit.name, unit));
    this.#tell((listener) => listener.reloaded?.());
  }

  async about(): Promise<{ unitPath: readonly string[]; version: string }> {
    return { unitPath: ['/etc/systemd/system', '/run/systemd/system', '/usr/lib/systemd/system'], version: 'fake' };
  }

  close(): void {
    this.isConnected = false;
  }

  // ── what happens to it ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Calls that change something, as `start web.service`. */
  get changes(): string[] {
    return this.calls.filter((call) => /^(start|stop|resetFailed|reload)\b/.test(call));
  }

  active(name: string): string {
    return this.#loaded.get(name)?.active ?? 'inactive';
  }

  mainPID(name: string): number | undefined {
    return this.#loaded.get(name)?.service.mainPID;
  }

  runningText(name: string): string | undefined {
    const unit = this.#loaded.get(name);
    return unit && !isDown(unit) ? unit.text : undefined;
  }

  /** Somebody at the machine uses systemctl. */
  async byHand(verb: 'start' | 'stop', name: string): Promise<void> {
    const { ended } = verb === 'start' ? this.#start(name, false) : this.#stop(name, false);
    const result = await ended;
    this.#tell((listener) => listener.foreignJobEnded?.(name, result));
  }

  /** A signal says what is not so, as one does that was late. */
  hearsay(name: string, active: string, sub: string): void {
    this.#tell((listener) => listener.changed?.(name, { of: 'unit', active, sub, run: this.#load(name).run }));
    this.#tell((listener) => listener.foreignJobEnded?.(name, 'done'));
  }

  /** The main process ends by itself. */
  exit(name: string, status: number): void {
    const unit = this.#loaded.get(name);
    if (unit?.active !== 'active' || unit.job) return;
    this.#end(unit, status);
  }

  /** Something keeps the unit loaded, so that edits of its file are not seen before a reload. */
  pin(name: string): void {
    this.#pinned.add(name);
  }

  /** Stops of this unit hang until `release`. */
  stick(name: string): void {
    this.#stuck.add(name);
  }

  release(name: string): void {
    this.#stuck.delete(name);
    const unit = this.#loaded.get(name);
    if (unit?.active === 'deactivating') this.#stopped(unit);
  }

  /** The bus goes away and comes back; signals of the time between are lost. */
  disconnect(): void {
    this.isConnected = false;
    this.#tell((listener) => listener.disconnected?.('test'));
  }

  connect(): void {
    this.isConnected = true;
    this.#tell((listener) => listener.connected?.());
  }

  /** The old agent's connection is gone, as after its death. */
  forgetListeners(): void {
    this.#listeners.clear();
  }

  reboot(): void {
    this.#loaded.clear();
    this.#stuck.clear();
    this.#pinned.clear();
    this.#listeners.clear();
  }

  // ── inside ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #answer(call: string): Promise<void> {
    this.calls.push(call);
    if (!this.isConnected) throw new NoAnswer('not connected to systemd');
    await turn();
    if (!this.isConnected) throw new NoAnswer('connection lost');
  }

  #source(name: string): { path: string; text: string } | undefined {
    const own = this.#options.files.entries.get(name);
    if (own !== undefined && !own.startsWith('-> ')) return { path: this.#options.files.path(name), text: own };
    for (const from of [name, templateNameOf(name)]) {
      const text = from === undefined ? undefined : this.#options.vendor?.[from];
      if (text !== undefined) return { path: `/usr/lib/systemd/system/${from}`, text };
    }
    return undefined;
  }

  #fresh(name: string, before?: Loaded): Pick<Loaded, 'fragmentPath' | 'text' | 'load' | 'loadError'> {
    const source = this.#source(name);
    if (!source) return { fragmentPath: '', text: '', load: before && !isDown(before) ? before.load : 'not-found', loadError: undefined };
    const loadError = whyBad(name, source.text);
    return { fragmentPath: source.path, text: source.text, load: loadError === undefined ? 'loaded' : 'bad-setting', loadError };
  }

  #load(asked: string): Loaded {
    const name = this.#options.aliases?.[asked] ?? asked;
    const known = this.#loaded.get(name);
    // A name that was not found before is looked for again: that needs no reload.
    if (known && known.load !== 'not-found') return known;
    const unit: Loaded = { name, ...this.#fresh(name), active: 'inactive', sub: 'dead', job: undefined, run: {}, service: {} };
    if (unit.load !== 'not-found') this.#loaded.set(name, unit);
    return unit;
  }

  /** What is down, not failed and needed by nothing is let go, and all that was known of its last run with it. */
  #collect(unit: Loaded): void {
    if (unit.active === 'inactive' && !unit.job && !this.#pinned.has(unit.name)) this.#loaded.delete(unit.name);
  }

  #start(name: string, isOurs: boolean): Job {
    const unit = this.#load(name);
    if (unit.load === 'not-found') throw new SystemdError(noSuchUnit, `Unit ${name} not found.`);
    if (unit.load !== 'loaded') {
      throw new SystemdError('org.freedesktop.systemd1.BadUnitSetting', `Unit ${name} has a bad unit file setting.`);
    }
    const missing = lastValueOf(parseUnitFile(unit.text), 'Unit', 'Requires');
    if (missing && !this.#source(missing)) throw new SystemdError(noSuchUnit, `Unit ${missing} not found.`);
    if (missing && isDown(this.#load(missing))) this.#propagate(missing, this.#start(missing, false));
    const file = this.#options.files.entries.get(name);
    if (isOurs && file !== undefined && unit.text !== file)
      this.violations.push(`${name} was started from a file that is not the one on disk`);
    unit.job?.end('canceled');
    const { ended, job } = this.#job('start', unit);
    if (/\.(device|swap|automount)$/.test(name)) {
      void turn().then(() => job.end('unsupported'));
      return { ended };
    }
    const activated = name.endsWith('.socket')
      ? (lastValueOf(parseUnitFile(unit.text), 'Socket', 'Service') ?? name.replace(/socket$/, 'service'))
      : undefined;
    if (activated !== undefined && !this.#source(activated)) {
      void turn().then(() => job.end('failed'));
      return { ended };
    }
    for (const wanted of wantsOf(unit.text)) {
      if (this.#source(wanted) && isDown(this.#load(wanted))) this.#propagate(wanted, this.#start(wanted, false));
    }
    if (!isDown(unit) && unit.active !== 'deactivating') {
      void turn().then(() => job.end('done'));
      return { ended };
    }
    this.#turn(unit, 'activating', 'start');
    if (/ExecStartPre=\/bin\/sleep/.test(unit.text)) return { ended };
    void turn().then(() => {
      if (unit.job !== job) return;
      this.#begin(unit);
      const isOneshot = typeOf(unit.text) === 'oneshot';
      const fails = /ExecStart=\/bin\/false/.test(unit.text)
        ? 1
        : (failsBefore(unit.text) ?? Number(/exit (\d+)/.exec(unit.text)?.[1] ?? 0));
      if (isOneshot && !fails && /RemainAfterExit=yes/.test(unit.text)) this.#turn(unit, 'active', 'exited');
      else if (isOneshot) this.#end(unit, fails);
      job.end(isOneshot && fails ? 'failed' : 'done');
      if (!isOneshot && fails) this.#end(unit, fails);
    });
    return { ended };
  }

  #stop(name: string, isOurs: boolean): Job {
    const unit = this.#loaded.get(name);
    if (!unit) throw new SystemdError(noSuchUnit, `Unit ${name} not loaded.`);
    if (isOurs && unit.fragmentPath !== this.#options.files.path(name)) this.violations.push(`${name} is not ours and was stopped`);
    for (const { name: dependent, text, ...other } of [...this.#loaded.values()]) {
      if (!isDown(other) && new RegExp(`^Requires=${name}$`, 'm').test(text)) this.#propagate(dependent, this.#stop(dependent, false));
    }
    unit.job?.end('canceled');
    const { ended, job } = this.#job('stop', unit);
    if (isDown(unit)) void turn().then(() => job.end('done'));
    else {
      this.#turn(unit, 'deactivating', 'stop-sigterm');
      if (this.faults.has('stop-is-not-awaited') || this.faults.has('stops-look-done')) job.end('done');
      if (!this.#stuck.has(name)) void turn().then(() => unit.active === 'deactivating' && this.#stopped(unit));
    }
    return { ended };
  }

  /** A job that another unit's job brought with it is nobody's who listens. */
  #propagate(name: string, { ended }: Job): void {
    void ended.then((result) => this.#tell((listener) => listener.foreignJobEnded?.(name, result)));
  }

  #stopped(unit: Loaded): void {
    if (unit.fragmentPath === this.#options.files.path(unit.name) && !this.#options.files.entries.has(unit.name)) {
      this.violations.push(`the file of ${unit.name} vanished before its stop ended`);
    }
    unit.service = { result: 'success', restarts: 0, exitCode: 'killed', exitStatus: 15 };
    this.#turn(unit, 'inactive', 'dead');
    unit.job?.end('done');
    this.#collect(unit);
  }

  #job(type: 'start' | 'stop', unit: Loaded) {
    this.jobs += 1;
    this.mostJobs = Math.max(this.mostJobs, this.jobs);
    let resolve: (result: JobResult) => void = () => {};
    const ended = new Promise<JobResult>((done) => {
      resolve = done;
    });
    const job = {
      type,
      end: (result: JobResult) => {
        if (unit.job === job) unit.job = undefined;
        this.jobs -= 1;
        job.end = () => {};
        resolve(result);
      },
    };
    unit.job = job;
    this.#lastJob = ended;
    return { ended, job };
  }

  #begin(unit: Loaded): void {
    this.#pid += 1;
    this.#nowMs += 1;
    this.starts.set(unit.name, (this.starts.get(unit.name) ?? 0) + 1);
    const invocationID = createHash('md5').update(`${unit.name} ${this.#pid}`).digest('hex');
    unit.run = { ...unit.run, invocationID, activeSinceMs: this.#nowMs };
    unit.service = { result: 'success', mainPID: this.#pid, restarts: 0 };
    // A oneshot is activating for as long as it runs.
    if (typeOf(unit.text) === 'oneshot') this.#turn(unit, 'activating', 'start');
    else this.#turn(unit, 'active', 'running');
  }

  #end(unit: Loaded, status: number): void {
    unit.service = { result: status === 0 ? 'success' : 'exit-code', restarts: 0, exitCode: 'exited', exitStatus: status };
    if (status === 0) this.#turn(unit, 'inactive', 'dead');
    else this.#turn(unit, 'failed', 'failed');
    this.#collect(unit);
  }

  #turn(unit: Loaded, active: string, sub: string): void {
    this.#nowMs += 1;
    unit.active = active;
    unit.sub = sub;
    unit.run = { ...unit.run, sinceMs: this.#nowMs };
    const { name, run, service } = unit;
    if (this.faults.has('silent') || !this.isConnected) return;
    this.#tell((listener) => listener.changed?.(name, { of: 'unit', active, sub, run }));
    if (!name.endsWith('.service')) return;
    // Signals carry what is known of the main process, and it has not run.
    const { exitCode: _, exitStatus: __, ...mainUnknown } = service;
    const told = failsBefore(unit.text) === undefined ? service : mainUnknown;
    this.#tell((listener) => listener.changed?.(name, { of: 'service', service: told }));
  }

  #tell(tell: (listener: SystemdListener) => void): void {
    for (const listener of this.#listeners) tell(listener);
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What it starts along with itself, where there is a file of it. */
const wantsOf = (text: string): string[] => [...text.matchAll(/^Wants=(.+)$/gm)].flatMap(([, names]) => names!.split(' '));

/** Status of an ExecStartPre= that fails and must not. */
const failsBefore = (text: string): number | undefined => {
  const status = /^ExecStartPre=(?!-).*exit (\d+)/m.exec(text)?.[1];
  return status === undefined ? undefined : Number(status);
};

const typeOf = (text: string): string => /^Type=(\w+)$/m.exec(text)?.[1] ?? 'simple';

function whyBad(name: string, text: string): string | undefined {
  if (!name.endsWith('.service')) return undefined;
  try {
    parseUnitFile(text);
  } catch (error) {
    if (error instanceof UnitFileError) return error.message;
    throw error;
  }
  return /^ExecStart=./m.test(text) ? undefined : `Unit ${name} has a bad unit file setting.`;
}
