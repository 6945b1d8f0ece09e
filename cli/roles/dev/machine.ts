/**
 * A real systemd machine on this computer: an overlay of `/`, booted by systemd-nspawn with its own PID 1, D-Bus, journal and network.
 * For `flotilla dev --machines N` and for the tests; needs root. The host's own files are never written: all changes land in a tmpfs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readdirSync, rmdirSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Finished, must, type RunOptions, run } from './run.js';

export interface MachineOptions {
  /** Unique on this host; also names the veth pair. At most 11 characters. */
  readonly name: string;
  readonly hostname: string;
  /** 32 hex digits. */
  readonly machineId: string;
  /** Directory that will hold the machine; made here, removed by `destroy`. */
  readonly directory: string;
  readonly bridge: string;
  readonly address: string;
  /** Mounted read-only inside: host path → path in the machine. */
  readonly bindReadOnly?: Readonly<Record<string, string>>;
  /** Bound read-write inside. */
  readonly bind?: Readonly<Record<string, string>>;
  /** Written into the machine's overlay before its first boot: path → text. */
  readonly files?: Readonly<Record<string, string>>;
  /** Units under /etc/systemd/system that multi-user.target wants. */
  readonly enable?: readonly string[];
}

const bootLimitMs = 60_000;
const exitLimitMs = 10_000;
/** systemctl speaks to PID 1 here; before it is there, to ask is in vain. */
const systemdSocket = '/run/systemd/private';

export class SystemdMachine {
  #leader: number | undefined;
  #supervisor: ReturnType<typeof spawn> | undefined;

  private constructor(readonly options: MachineOptions) {}

  /** Lays out the overlay; `boot` starts it. */
  static async create(options: MachineOptions): Promise<SystemdMachine> {
    const { directory, machineId, hostname } = options;
    await mkdir(directory, { recursive: true });
    await must('mount', ['-t', 'tmpfs', '-o', 'mode=755,size=75%', 'flotilla-machine', directory]);
    for (const part of ['upper', 'work', 'root']) await mkdir(join(directory, part));
    const overlay = `lowerdir=/,upperdir=${join(directory, 'upper')},workdir=${join(directory, 'work')}`;
    await must('mount', ['-t', 'overlay', 'overlay', '-o', overlay, join(directory, 'root')]);

    const machine = new SystemdMachine(options);
    await machine.writeFile('/etc/machine-id', `${machineId}\n`);
    await machine.writeFile('/etc/hostname', `${hostname}\n`);
    await machine.writeFile('/etc/hosts', `127.0.0.1 localhost\n127.0.1.1 ${hostname}\n`);
    await machine.writeFile('/etc/fstab', '');
    // What the host has enabled is not wanted here: with these empty only systemd's own services, D-Bus and a getty start.
    await rm(machine.path('/etc/systemd/system'), { recursive: true, force: true });
    await mkdir(machine.path('/etc/systemd/system/multi-user.target.wants'), { recursive: true });
    for (const level of readdirSync(machine.path('/etc')).filter((entry) => /^rc[0-6S]\.d$/.test(entry))) {
      await rm(machine.path(`/etc/${level}`), { recursive: true, force: true });
    }
    for (const [path, text] of Object.entries(options.files ?? {})) await machine.writeFile(path, text);
    for (const unit of options.enable ?? []) {
      await must('ln', ['-s', `/etc/systemd/system/${unit}`, machine.path(`/etc/systemd/system/multi-user.target.wants/${unit}`)]);
    }
    return machine;
  }

  /** Where a path of the machine lies on the host. */
  path(inside: string): string {
    return join(this.options.directory, 'root', inside);
  }

  async writeFile(inside: string, text: string): Promise<void> {
    await mkdir(dirname(this.path(inside)), { recursive: true });
    await writeFile(this.path(inside), text);
  }

  /** The pid, on the host, of the machine's PID 1; undefined while it is off. */
  get leader(): number | undefined {
    return this.#leader;
  }

  /** Starts the machine; resolves when its systemd answers. Works again after `kill`: the overlay, so its disk, is kept. */
  async boot(): Promise<void> {
    const { name, hostname, directory, bridge, address, bind = {}, bindReadOnly = {} } = this.options;
    const log = openSync(join(directory, 'console.log'), 'a');
    const hostRunsSystemd = existsSync('/run/systemd/system');
    const nspawn = [
      'systemd-nspawn',
      '--quiet',
      '--register=no',
      ...(hostRunsSystemd ? [] : ['--keep-unit']),
      `--directory=${join(directory, 'root')}`,
      `--machine=${name}`,
      `--hostname=${hostname}`,
      '--boot',
      '--console=pipe',
      '--link-journal=no',
      `--network-bridge=${bridge}`,
      ...Object.entries(bindReadOnly).map(([from, to]) => `--bind-ro=${from}:${to}`),
      ...Object.entries(bind).map(([from, to]) => `--bind=${from}:${to}`),
    ];
    // Told to power the machine off when we die, however that is: a killed nspawn would leave it running. And a cgroup of its own, or
    // machines would share one tree and kill each other's processes.
    this.#supervisor = spawn('setpriv', ['--pdeathsig', 'TERM', '/bin/sh', '-c', enterCgroups, 'sh', cgroupName(name), ...nspawn], {
      stdio: ['ignore', log, log],
      env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
      detached: true,
    });
    const supervisor = this.#supervisor;
    const hasEnded = () => supervisor.exitCode !== null || supervisor.signalCode !== null;

    const deadline = performance.now() + bootLimitMs;
    for (;;) {
      if (hasEnded()) throw new Error(`machine ${name} did not boot: ${(await this.console()).trim().slice(-2_000)}`);
      this.#leader ??= await onlyChild(supervisor.pid);
      const isListening = this.#leader !== undefined && existsSync(`/proc/${this.#leader}/root${systemdSocket}`);
      if (isListening && (await this.exec(['systemctl', 'show', '--property=Version'], { timeoutMs: 5_000 })).code === 0) break;
      if (performance.now() > deadline) throw new Error(`machine ${name} did not boot within ${bootLimitMs / 1_000} s`);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    const net = ['-t', String(this.#leader), '-n', 'ip'];
    await must('nsenter', [...net, 'addr', 'add', `${address}/24`, 'dev', 'host0']);
    await must('nsenter', [...net, 'link', 'set', 'host0', 'up']);
  }

  /** Runs a command inside, as root. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
    if (this.#leader === undefined) throw new Error(`machine ${this.options.name} is off`);
    return run('nsenter', ['-t', String(this.#leader), '-m', '-u', '-i', '-n', '-p', '--', ...argv], options);
  }

  /** Like `exec`; a failure throws. Returns stdout. */
  async must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.exec(argv, options);
    if (code !== 0) throw new Error(`${this.options.name}: ${argv.join(' ')}: exit ${code}: ${(stderr || stdout).trim()}`);
    return stdout;
  }

  /** Pulls the network cable out, or puts it back. */
  async plug(isPlugged: boolean): Promise<void> {
    if (this.#leader === undefined) return;
    await must('nsenter', ['-t', String(this.#leader), '-n', 'ip', 'link', 'set', 'host0', isPlugged ? 'up' : 'down']);
  }

  /** Ends the machine at once, as a power cut would. */
  async kill(): Promise<void> {
    const supervisor = this.#supervisor;
    const leader = this.#leader;
    this.#leader = undefined;
    this.#supervisor = undefined;
    if (!supervisor) return;
    const hasEnded = supervisor.exitCode !== null || supervisor.signalCode !== null;
    const ended = hasEnded ? Promise.resolve() : once(supervisor, 'exit');
    if (!hasEnded) {
      if (leader !== undefined) signal(leader);
      else if (supervisor.pid !== undefined) signal(supervisor.pid);
    }
    const timer = setTimeout(() => supervisor.pid !== undefined && signal(supervisor.pid), exitLimitMs);
    await ended;
    clearTimeout(timer);
    await removeCgroups(cgroupName(this.options.name));
  }

  /** Kills it and removes everything that it was. */
  async destroy(): Promise<void> {
    await this.kill();
    await removeMachineDirectory(this.options.directory);
  }

  async console(): Promise<string> {
    return readFile(join(this.options.directory, 'console.log'), 'utf8');
  }
}

/** Ends what still runs in a machine whose supervisor is gone: every process whose `/` is the machine's overlay. */
export async function killMachineProcesses(directory: string): Promise<void> {
  const isRoot = (mount: string) => mount.split(' ')[4] === '/' && mount.includes(`upperdir=${join(directory, 'upper')},`);
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
    if (mounts.split('\n').some(isRoot)) signal(Number(pid));
  }
}

/** Unmounts and removes a machine's directory; also used for what a killed dev cluster left behind. */
export async function removeMachineDirectory(directory: string): Promise<void> {
  await run('umount', ['-l', join(directory, 'root')]);
  await run('umount', ['-l', directory]);
  await rm(directory, { recursive: true, force: true });
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function onlyChild(pid: number | undefined): Promise<number | undefined> {
  if (pid === undefined) return undefined;
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const first = Number.parseInt(children, 10);
  if (!(first > 0)) return undefined;
  // Until nspawn has exec'ed the machine's init, the child is nspawn itself and its namespaces are not ready.
  const command = await readFile(`/proc/${first}/comm`, 'utf8').catch(() => '');
  return command.trim() === 'systemd' ? first : undefined;
}

const cgroupName = (machine: string) => `flotilla-${machine}`;

/** Every cgroup hierarchy: machines have their tree in cgroup v2, wherever it is mounted, and v1's name=systemd; what runs in them may use others. */
export const cgroupRoots = () =>
  ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((entry) => join('/sys/fs/cgroup', entry))].filter((root) =>
    existsSync(join(root, 'cgroup.procs')),
  );

/** $1 is the cgroup's name, the rest is the command. Only where the host's PID 1 is not systemd, which gives each machine a scope itself. */
const enterCgroups = `
name="$1"; shift
if ! [ -d /run/systemd/system ]; then
  for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -e "$root/cgroup.procs" ]; then mkdir -p "$root/$name" && echo $$ > "$root/$name/cgroup.procs" || exit 1; fi
  done
fi
exec "$@"`;

/** Cgroups are empty directories once their processes are gone, which takes a moment after they were killed; rmdir wants the leaves first. */
export async function removeCgroups(name: string): Promise<void> {
  const removeTree = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(path, entry.name));
    rmdirSync(path);
  };
  for (const tree of cgroupRoots().map((root) => join(root, name))) {
    for (let tries = 1; existsSync(tree); tries++) {
      try {
        removeTree(tree);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || tries === maxCgroupTries) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}
const maxCgroupTries = 40;
