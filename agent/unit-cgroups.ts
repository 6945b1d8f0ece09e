/** What units use, by the cgroups of their current runs. Files are read when somebody asks and at no other time (SEMANTICS 15). */
import { type CgroupUsage, readCgroup } from './cgroup.js';
import type { Observation } from './observe.js';
import type { Systemd } from './systemd.js';

/** Counters begin anew with each run. */
export interface RunUsage extends CgroupUsage {
  readonly invocationID?: string;
}

export class UnitCgroups {
  /** Paths of the current runs; a cgroup belongs to one invocation. */
  readonly #paths = new Map<string, { readonly invocationID: string; readonly path: string | undefined }>();

  /** @param root for tests; default /sys/fs/cgroup */
  constructor(
    private readonly systemd: Pick<Systemd, 'controlGroup' | 'isConnected'>,
    private readonly root?: string,
  ) {}

  /** Of those that are active and have a cgroup, by name. */
  async read(units: Iterable<readonly [name: string, observation: Observation, ...more: unknown[]]>): Promise<Map<string, RunUsage>> {
    const usage = new Map<string, RunUsage>();
    await Promise.all(
      [...units].map(async ([name, observation]) => {
        const path = await this.#pathOf(name, observation);
        const { invocationID } = observation.run;
        if (path !== undefined && invocationID !== undefined) usage.set(name, { invocationID, ...(await readCgroup(path, this.root)) });
      }),
    );
    return usage;
  }

  async #pathOf(name: string, { seen, run }: Observation): Promise<string | undefined> {
    if (seen.active !== 'active' || run.invocationID === undefined || !this.systemd.isConnected) {
      this.#paths.delete(name);
      return undefined;
    }
    const known = this.#paths.get(name);
    if (known?.invocationID === run.invocationID) return known.path;
    try {
      const path = await this.systemd.controlGroup(name);
      this.#paths.set(name, { invocationID: run.invocationID, path });
      return path;
    } catch {
      // systemd went away, or the unit did, while it was asked: there is no sample this time.
      return undefined;
    }
  }
}
