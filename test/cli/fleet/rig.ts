/** Three machines as they are in test/cli/fleet/transcript.txt, a folder with unit files, and the command line in it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../api/server/agents/rig.js';
import { CommandLine, type Ran } from '../../rigs/command-line.js';
import { LiveCluster } from '../../rigs/live-cluster.js';

/** A unit of the machines themselves. */
const vendor = { 'sshd.service': '[Service]\nExecStart=/usr/sbin/sshd -D\n' };

export const machineIds = [1, 2, 3].map((n) => `000000000000000000000000f1ee700${n}`);

/** A unit file; `sections` come behind its [Service]. */
export const unitFile = (command: string, { service = '', sections = '' } = {}): string =>
  `[Unit]\nDescription=Hello\n\n[Service]\n${service}ExecStart=${command}\n${sections}`;

export class FleetRig {
  private constructor(
    readonly live: LiveCluster,
    readonly folder: string,
    readonly command: CommandLine,
  ) {}

  static async start(): Promise<FleetRig> {
    const live = await LiveCluster.start(
      machineIds.map((id, at) => ({ id, hostname: `m${at + 1}`, address: `10.77.0.${at + 1}`, labels: { az: `z${at + 1}` }, vendor })),
    );
    const folder = await mkdtemp(join(tmpdir(), 'flotilla-fleet-'));
    return new FleetRig(live, folder, new CommandLine({ endpoint: live.endpoint, cwd: folder }));
  }

  async write(name: string, text: string): Promise<void> {
    await writeFile(join(this.folder, name), text);
  }

  /** One command line, words by spaces. */
  run(line: string, options: { env?: Readonly<Record<string, string>>; input?: string } = {}): Promise<Ran> {
    return this.command.run(
      line.split(' ').filter((word) => word !== ''),
      options,
    );
  }

  /** Processes of the unit that were ever begun, on all machines. */
  starts(unit: string): number {
    return this.live.machines.reduce((sum, { systemd }) => sum + (systemd.starts.get(unit) ?? 0), 0);
  }

  /** Main processes of the unit that run now, by machine. */
  pids(unit: string): (number | undefined)[] {
    return this.live.machines.map(({ systemd }) => (systemd.active(unit) === 'active' ? systemd.mainPID(unit) : undefined));
  }

  until(what: string, look: () => Promise<boolean>): Promise<boolean> {
    return until(what, look);
  }

  async end(): Promise<void> {
    await this.command.end();
    await this.live.end();
    await rm(this.folder, { recursive: true });
  }
}
