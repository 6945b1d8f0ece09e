/**
 * systemd's jobs from the question to the end. The end is a signal, JobRemoved, which may overtake the answer that names the job and may
 * get lost around a daemon-reload; jobs of others are told apart from ours by whether we have asked.
 */
import type { Clock } from '../runtime/clock.js';
import { JobWindow } from './job-window.js';
import { type Job, type JobResult, SystemdError } from './systemd.js';
import { systemd } from './systemd-values.js';

export interface JobsOptions {
  readonly clock: Clock;
  /** Calls a method of systemd's manager. */
  readonly call: (member: string, signature: string, body: readonly unknown[]) => Promise<readonly unknown[]>;
  /** Told of a job on this unit that somebody else asked for, once it has ended. */
  readonly onForeign: (name: string, result: JobResult) => void;
}

const checkEveryMs = 30_000;
const checkAfterReloadMs = 500;

export class Jobs {
  readonly #options: JobsOptions;
  readonly #window: JobWindow;
  #cancelCheck: (() => void) | undefined;
  /** Jobs that we asked for and that have not ended, by job id. */
  readonly #running = new Map<number, (result: JobResult) => void>();
  /** Unit → calls for a job on it that have no answer yet, and what ended meanwhile. */
  readonly #asking = new Map<string, { calls: number; readonly ended: Map<number, JobResult> }>();

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#window = new JobWindow({ clock: options.clock });
  }

  async run(method: 'StartUnit' | 'StopUnit', name: string): Promise<Job> {
    const giveBack = await this.#window.take();
    const asking = this.#asking.get(name) ?? { calls: 0, ended: new Map<number, JobResult>() };
    asking.calls += 1;
    this.#asking.set(name, asking);
    try {
      const [path] = (await this.#options.call(method, 'ss', [name, 'replace'])) as [string];
      const id = Number(path.slice(path.lastIndexOf('/') + 1));
      const early = asking.ended.get(id);
      asking.ended.delete(id);
      const ended = early !== undefined ? Promise.resolve(early) : this.#untilRemoved(id);
      void ended.then(giveBack);
      return { ended };
    } catch (error) {
      giveBack();
      throw error;
    } finally {
      asking.calls -= 1;
      if (asking.calls === 0) {
        this.#asking.delete(name);
        for (const result of asking.ended.values()) this.#options.onForeign(name, result);
      }
    }
  }

  /** systemd says that this job has ended. */
  removed(id: number, name: string, result: JobResult): void {
    const job = this.#running.get(id);
    if (job) {
      this.#running.delete(id);
      job(result);
      return;
    }
    const asking = this.#asking.get(name);
    if (asking) asking.ended.set(id, result);
    else this.#options.onForeign(name, result);
  }

  /** systemd has read its files again: signals of before may be lost. */
  reloaded(): void {
    if (this.#running.size > 0) this.#checkIn(checkAfterReloadMs);
  }

  /** The connection or systemd itself is another one now: whoever waits for a job has to look for itself. */
  loseAll(): void {
    this.#stopChecking();
    const jobs = [...this.#running.values()];
    this.#running.clear();
    for (const job of jobs) job('lost');
  }

  #untilRemoved(id: number): Promise<JobResult> {
    this.#checkIn(checkEveryMs);
    return new Promise((resolve) => this.#running.set(id, resolve));
  }

  /** One timer, and only while jobs are in flight. */
  #checkIn(delayMs: number): void {
    if (delayMs < checkEveryMs) this.#stopChecking();
    this.#cancelCheck ??= this.#options.clock.after(delayMs, () => {
      this.#cancelCheck = undefined;
      void this.#check();
    });
  }

  #stopChecking(): void {
    this.#cancelCheck?.();
    this.#cancelCheck = undefined;
  }

  /** A job that systemd no longer knows has ended, however it did. */
  async #check(): Promise<void> {
    await Promise.all(
      [...this.#running.keys()].map(async (id) => {
        try {
          await this.#options.call('GetJob', 'u', [id]);
        } catch (error) {
          if (!(error instanceof SystemdError && error.code === `${systemd}.NoSuchJob`)) return;
          const job = this.#running.get(id);
          this.#running.delete(id);
          job?.('lost');
        }
      }),
    );
    if (this.#running.size > 0) this.#checkIn(checkEveryMs);
  }
}
