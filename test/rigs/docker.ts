/**
 * Docker for the machines of a TestCluster, without a network and without systemd on the host: one dockerd for each machine, run on the host
 * inside the machine's network namespace, so that published ports are the machine's own and its bridge and firewall rules end with it. The
 * machine finds its socket where every docker client looks; its docker.service is a oneshot that checks it, for units that require one.
 *
 * Each dockerd has a data root in memory and runs in a process and mount namespace of its own: when that is killed, also
 * because the test is, the kernel ends its containerd, its containers and its mounts with it. Only empty cgroups stay, and `stop` or the next
 * start removes them.
 *
 * `docker pull` is answered by a registry in memory that mirrors Docker Hub. Its images are stand-ins, all made of Debian's static busybox:
 * `busybox` is that, `nginx` is its httpd with one page on port 80, and `dockerfile/redis` says +PONG to whoever connects to port 6379.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupRoots, removeCgroups, type SystemdMachine } from '../../cli/roles/dev/machine.js';
import { ManagedProcess, until } from '../../cli/roles/dev/managed-process.js';
import { freePort } from '../../cli/roles/dev/ports.js';
import { must } from '../../cli/roles/dev/run.js';
import type { TestCluster } from './cluster.js';

/** A repository of Docker Hub, as the registry names it, and what its containers run by default. */
interface Image {
  readonly repository: string;
  readonly command: readonly string[];
}

export const nginxPage = 'Welcome to nginx, or what stands in for it\n';
const images: readonly Image[] = [
  { repository: 'library/busybox', command: ['sh'] },
  { repository: 'library/nginx', command: ['httpd', '-f', '-p', '80', '-h', '/www'] },
  { repository: 'dockerfile/redis', command: ['nc', '-ll', '-p', '6379', '-e', 'echo', '+PONG'] },
];

const socketInMachine = '/var/lib/docker-on-host.sock';
const cgroupPrefix = 'flotilla-docker-';

/** /usr/bin/docker is what the units call, too; `docker version` fails when nobody answers. */
const checkingService = `[Unit]
Description=Docker, which runs on the host for this machine

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ln -sf ${socketInMachine} /run/docker.sock
ExecStart=/usr/bin/docker version
`;

export class DockerRig {
  readonly #processes: ManagedProcess[] = [];

  private constructor(private readonly cluster: TestCluster) {}

  /** Starts registry and dockerds; resolves when every machine's docker.service would find its socket answering. */
  static async start(cluster: TestCluster): Promise<DockerRig> {
    const rig = new DockerRig(cluster);
    try {
      await removeAbandonedCgroups(cluster.dev.options.parent);
      const mirror = await rig.#startRegistry();
      await Promise.all([pushImages(mirror), ...cluster.dev.machines.map((machine) => rig.#startDocker(machine, mirror))]);
      return rig;
    } catch (error) {
      await rig.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.kill()));
    await removeCgroups(`${cgroupPrefix}${this.cluster.dev.id}`);
  }

  /** Runs docker's client inside a machine; a failure throws. Returns stdout. */
  docker(machine: SystemdMachine, ...args: readonly string[]): Promise<string> {
    return machine.must(['/usr/bin/docker', ...args]);
  }

  /** Names of the containers that run on a machine, or that are there at all. */
  async containers(machine: SystemdMachine, which: 'running' | 'all' = 'running'): Promise<string[]> {
    const text = await this.docker(machine, 'ps', '--format', '{{.Names}}', ...(which === 'all' ? ['--all'] : []));
    return text.split('\n').filter(Boolean).sort();
  }

  async #startRegistry(): Promise<string> {
    const { directory, network } = this.cluster.dev;
    const address = `${network.hostAddress}:${await freePort(network.hostAddress)}`;
    const config = join(directory, 'registry.json');
    await writeFile(config, JSON.stringify({ version: '0.1', storage: { inmemory: {} }, http: { addr: address } }));
    const registry = this.#start('registry', 'docker-registry', ['serve', config]);
    await until('the registry', async () => (await fetch(`http://${address}/v2/`)).ok, { process: registry });
    return `http://${address}`;
  }

  async #startDocker(machine: SystemdMachine, mirror: string): Promise<void> {
    const { id, directory } = this.cluster.dev;
    const name = `docker-${machine.options.hostname}`;
    // Empty but for the private mount that the script makes on it.
    const store = join(directory, name);
    await mkdir(store);
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const dockerd = [
      '--config-file=',
      `--data-root=${store}/data`,
      `--exec-root=${store}/exec`,
      `--pidfile=${store}/docker.pid`,
      `--host=unix://${machine.path(socketInMachine)}`,
      `--cgroup-parent=/${cgroupPrefix}${id}`,
      '--exec-opt=native.cgroupdriver=cgroupfs',
      `--registry-mirror=${mirror}`,
    ];
    const script = 'mount -t tmpfs -o mode=755,size=50% flotilla-docker "$1" && shift && exec tini -- dockerd "$@"';
    const process = this.#start(name, 'nsenter', [
      `--net=/proc/${machine.leader}/ns/net`,
      'unshare',
      ...namespaces,
      ...['sh', '-c', script, 'sh', store, ...dockerd],
    ]);
    await machine.writeFile('/etc/systemd/system/docker.service', checkingService);
    await machine.must(['systemctl', 'daemon-reload']);
    await until(name, async () => (await machine.exec(['/usr/bin/docker', `--host=unix://${socketInMachine}`, 'info'])).code === 0, {
      process,
    });
  }

  #start(name: string, command: string, args: readonly string[]): ManagedProcess {
    const started = new ManagedProcess({
      name,
      command,
      args,
      logFile: join(this.cluster.dev.directory, `${name}.log`),
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    started.start();
    this.#processes.push(started);
    return started;
  }
}

/** Uploads the images over the registry's own HTTP API: they share one layer, so nothing is built and no dockerd is needed for it. */
async function pushImages(registry: string): Promise<void> {
  const layer = await busyboxLayer();
  for (const { repository, command } of images) {
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        // As PID 1 of a container none of them would heed SIGTERM, and `docker stop` would wait 10 s for it.
        config: { Cmd: command, Env: ['PATH=/bin'], ...(repository === 'library/busybox' ? {} : { StopSignal: 'SIGKILL' }) },
        rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
      }),
    );
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: config.length, digest: digestOf(config) },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar', size: layer.length, digest: digestOf(layer) }],
    });
    const base = `${registry}/v2/${repository}`;
    for (const blob of [layer, config]) {
      const opened = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
      const upload = new URL(opened.headers.get('location') ?? '', registry);
      upload.searchParams.set('digest', digestOf(blob));
      await put(upload, blob, 'application/octet-stream');
    }
    await put(new URL(`${base}/manifests/latest`), Buffer.from(manifest), manifestType);
  }
}

const manifestType = 'application/vnd.docker.distribution.manifest.v2+json';
const digestOf = (blob: Buffer) => `sha256:${createHash('sha256').update(blob).digest('hex')}`;

async function put(url: URL, body: Buffer, type: string): Promise<void> {
  const response = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body });
  if (!response.ok) throw new Error(`registry: PUT ${url.pathname}: ${response.status}: ${await response.text()}`);
}

/** A tar of /bin with busybox under all its names, and of the page that nginx serves. */
async function busyboxLayer(): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), 'flotilla-image-'));
  try {
    const root = join(directory, 'root');
    for (const path of ['bin', 'tmp', 'www']) await mkdir(join(root, path), { recursive: true });
    await must('cp', [await realBusybox(), join(root, 'bin/busybox')]);
    const applets = (await must(join(root, 'bin/busybox'), ['--list'])).trim().split('\n');
    for (const applet of applets) if (applet !== 'busybox') await symlink('busybox', join(root, 'bin', applet));
    await writeFile(join(root, 'www/index.html'), nginxPage);
    const tar = join(directory, 'layer.tar');
    await must('tar', ['-C', root, '-cf', tar, '.']);
    return await readFile(tar);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function realBusybox(): Promise<string> {
  const found = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  if (!found) throw new Error('busybox is missing: the Debian package busybox-static has it (npm test installs it)');
  return found;
}

/** What rigs left behind whose cluster is gone: killed with SIGKILL, they could not remove the cgroups of their containers. */
async function removeAbandonedCgroups(parent: string): Promise<void> {
  for (const name of new Set(cgroupRoots().flatMap((root) => readdirSync(root)))) {
    if (name.startsWith(cgroupPrefix) && !existsSync(join(parent, name.slice(cgroupPrefix.length)))) await removeCgroups(name);
  }
}
