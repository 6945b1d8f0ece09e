/** A real etcd for tests: one member or three, on loopback, with its data in memory, that can be killed, frozen and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface EtcdMember {
  readonly name: string;
  /** Client URL, such as `http://127.0.0.1:20211`. */
  readonly endpoint: string;
  readonly port: number;
  /** SIGKILL, and waits until the process is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: its sockets stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** Starts it again on the same ports and data after `kill()`; resolves when it is healthy. */
  restart(): Promise<void>;
  /** After `kill()`: keeps a copy of its data, or puts the copy back. */
  saveData(): Promise<void>;
  restoreData(): Promise<void>;
}

export interface EtcdRig {
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  /** Forgets the history up to and including `revision`. */
  compact(revision: number): Promise<void>;
  /** Every event below `prefix` since the beginning, in order, as etcd itself tells it, without any of our code. */
  history(prefix: string): Promise<HistoricEvent[]>;
  stop(): Promise<void>;
}

export interface HistoricEvent {
  readonly type: 'put' | 'delete';
  readonly key: string;
  /** As stored, with the line that names the write. */
  readonly value: string;
  readonly revision: number;
}

export interface EtcdRigOptions {
  readonly members?: 1 | 3;
  /** More flags for each member, e.g. `['--quota-backend-bytes', '16777216']`. */
  readonly flags?: readonly string[];
  /** Serve clients over TLS and ask for their certificate: paths of PEM files. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

const START_TIMEOUT_MS = 30_000;

export async function startEtcd(options: EtcdRigOptions = {}): Promise<EtcdRig> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryToStart(options);
    } catch (error) {
      // Somebody else may have taken a port between our look and etcd's listen.
      if (attempt === 5 || !(error instanceof PortTaken)) throw error;
    }
  }
}

class PortTaken extends Error {}

async function tryToStart(options: EtcdRigOptions): Promise<EtcdRig> {
  const directory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'flotilla-etcd-'));
  const ports = await freePorts(3 * (options.members ?? 1));
  const scheme = options.tls ? 'https' : 'http';
  const plans = Array.from({ length: options.members ?? 1 }, (_, i) => {
    const [client = 0, peer = 0, metrics = 0] = ports.slice(3 * i);
    return { name: `m${i}`, client, peer, metrics };
  });
  const cluster = plans.map(({ name, peer }) => `${name}=http://127.0.0.1:${peer}`).join(',');
  const members = plans.map(
    (plan) => new Member(plan.name, `${scheme}://127.0.0.1:${plan.client}`, plan.client, plan.metrics, directory, flagsOf(plan)),
  );

  function flagsOf({ name, client, peer, metrics }: (typeof plans)[number]): string[] {
    const url = `${scheme}://127.0.0.1:${client}`;
    const peerUrl = `http://127.0.0.1:${peer}`;
    return [
      ...['--name', name, '--data-dir', join(directory, name), '--unsafe-no-fsync'],
      ...['--listen-client-urls', url, '--advertise-client-urls', url, '--listen-metrics-urls', `http://127.0.0.1:${metrics}`],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', cluster, '--initial-cluster-token', `flotilla-${directory}`, '--initial-cluster-state', 'new'],
      ...(options.tls
        ? ['--client-cert-auth', '--trusted-ca-file', options.tls.ca, '--cert-file', options.tls.cert, '--key-file', options.tls.key]
        : []),
      ...(options.flags ?? []),
    ];
  }

  const stop = async () => {
    await Promise.all(members.map((member) => member.kill()));
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  const compact = async (revision: number) => {
    const answer = await fetch(`${members[0]?.endpoint}/v3/kv/compaction`, {
      method: 'POST',
      body: JSON.stringify({ revision, physical: true }),
    });
    if (!answer.ok) throw new Error(`compaction: ${await answer.text()}`);
  };
  const history = (prefix: string) => readHistory(members[0]?.endpoint ?? '', prefix);
  return { members, endpoints: members.map((member) => member.endpoint), compact, history, stop };
}

/** Over etcd's JSON gateway: all keys from revision 1 to the present one. */
async function readHistory(endpoint: string, prefix: string): Promise<HistoricEvent[]> {
  const post = (path: string, body: unknown, signal?: AbortSignal) =>
    fetch(`${endpoint}${path}`, { method: 'POST', body: JSON.stringify(body), ...(signal ? { signal } : {}) });
  const all = { key: 'AA==', range_end: 'AA==' };
  // A member that has just come back from the dead may have no leader yet, and says so instead of answering.
  let now: { header?: { revision: string }; error?: string } = {};
  for (let attempt = 0; now.header === undefined; attempt++) {
    now = (await (await post('/v3/kv/range', { ...all, limit: 1 })).json()) as typeof now;
    if (now.header !== undefined) break;
    if (attempt === 50) throw new Error(`no revision from ${endpoint}: ${now.error}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { revision: last } = now.header;
  const abort = new AbortController();
  const answer = await post('/v3/watch', { create_request: { ...all, start_revision: 1 } }, abort.signal);
  const events: HistoricEvent[] = [];
  const decode = (base64 = '') => Buffer.from(base64, 'base64').toString();
  // Lines of JSON, each of up to all events: gathered in pieces, for they may have many megabytes.
  let line: Buffer[] = [];
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
    const lines: string[] = [];
    let rest = Buffer.from(chunk);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      lines.push(Buffer.concat([...line, rest.subarray(0, end)]).toString());
      line = [];
      rest = rest.subarray(end + 1);
    }
    line.push(rest);
    let reached = 0;
    for (const text of lines) {
      const { result } = JSON.parse(text) as GatewayWatchLine;
      for (const { type, kv } of result.events ?? []) {
        reached = Number(kv.mod_revision);
        const key = decode(kv.key);
        if (key.startsWith(prefix))
          events.push({ type: type === 'DELETE' ? 'delete' : 'put', key, value: decode(kv.value), revision: reached });
      }
    }
    if (reached >= Number(last)) break;
  }
  abort.abort();
  return events;
}

const NEWLINE = 0x0a;

interface GatewayWatchLine {
  readonly result: {
    readonly events?: readonly {
      readonly type?: 'DELETE';
      readonly kv: { readonly key: string; readonly value?: string; readonly mod_revision: string };
    }[];
  };
}

class Member implements EtcdMember {
  #process: ChildProcess | undefined;

  constructor(
    readonly name: string,
    readonly endpoint: string,
    readonly port: number,
    private readonly metricsPort: number,
    private readonly directory: string,
    private readonly flags: readonly string[],
  ) {}

  async start(): Promise<void> {
    const logFile = join(this.directory, `${this.name}.log`);
    const log = await open(logFile, 'a');
    // The kernel takes etcd down with the test, however the test ends.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'etcd', ...this.flags], { stdio: ['ignore', log.fd, log.fd] });
    this.#process = child;
    await log.close();
    const spawned = new Promise<never>((_, reject) => child.on('error', reject));
    await Promise.race([spawned, this.#untilHealthy(child, logFile)]);
  }

  async #untilHealthy(child: ChildProcess, logFile: string): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline) {
      if (child.exitCode !== null || child.signalCode !== null) break;
      try {
        const answer = await fetch(`http://127.0.0.1:${this.metricsPort}/health`, { signal: AbortSignal.timeout(1000) });
        if (answer.ok) return;
      } catch {
        // Not listening yet: that is what we are waiting for.
      }
      await delay(25);
    }
    const log = await readFile(logFile, 'utf8');
    const message = `etcd ${this.name} did not become healthy:\n${log.split('\n').slice(-15).join('\n')}`;
    throw log.includes('address already in use') ? new PortTaken(message) : new Error(message);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  async saveData(): Promise<void> {
    await cp(join(this.directory, this.name), join(this.directory, `${this.name}.saved`), { recursive: true });
  }

  async restoreData(): Promise<void> {
    const data = join(this.directory, this.name);
    await rm(data, { recursive: true });
    await cp(`${data}.saved`, data, { recursive: true });
  }
}

/** Ports that are free now, below the range that the kernel gives to outgoing connections, so that a restart finds them free again. */
async function freePorts(count: number): Promise<number[]> {
  const servers = new Map<number, ReturnType<typeof createServer>>();
  while (servers.size < count) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    if (servers.has(port)) continue;
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (free) servers.set(port, server);
  }
  await Promise.all([...servers.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  return [...servers.keys()];
}
