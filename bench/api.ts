/**
 * The HTTP door under load, on one server without machines: 10,000 units applied, a list of them, and 1,000 who watch. The rate of the
 * applies stands beside plain etcd transactions of the same run, though each unit is validated, merged by ownership, stored with its text,
 * looked at by the scheduler and joined again besides.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Etcd3 } from 'etcd3';
import { linesOf } from '../cli/client.js';
import { ManagedProcess, until } from '../cli/roles/dev/managed-process.js';
import { freePort } from '../cli/roles/dev/ports.js';
import { must } from '../cli/roles/dev/run.js';
import { startEtcd } from '../test/rigs/etcd.js';
import type { Row } from './row.js';
import { median, percentile } from './statistics.js';
import { writeRaw } from './store.js';

const unitCount = 10_000;
const patchesInFlight = 128;
const unitsInAFile = 500;
const listRounds = 5;
const watcherCount = 1_000;
const latencySamples = 50;
const rawMs = 3_000;
const units = '/apis/flotilla.dev/v1/units';

export async function benchApi(program: string): Promise<Row[]> {
  const directory = await mkdtemp(join(tmpdir(), 'flotilla-bench-'));
  const etcd = await startEtcd({ flags: ['--quota-backend-bytes', String(8 * 2 ** 30)] });
  const port = await freePort();
  const socket = join(directory, 'flotilla.sock');
  const server = new ManagedProcess({
    name: 'server',
    command: process.execPath,
    args: [
      ...[program, 'server', '--etcd', etcd.endpoints.join(','), '--pki-dir', join(directory, 'pki'), '--log-level', 'warn'],
      ...['--listen', `http://127.0.0.1:${port}`, '--insecure-loopback', '--listen', `unix://${socket}`],
    ],
    logFile: join(directory, 'server.log'),
  });
  server.start();
  const door = new Door(port);
  const raw = new Etcd3({ hosts: [...etcd.endpoints] });
  try {
    await until('the server', async () => (await door.call('GET', '/readyz').catch(() => undefined))?.status === 200);
    await applyAll(door, 'warm', 500);
    await writeRaw(raw, 500);
    const rawRate = await writeRaw(raw, rawMs);
    const reference = `raw etcd3, 128 puts in a txn: ${Math.round(rawRate)}/s`;
    const patchRate = await applyAll(door, 'patched', unitCount);
    const cliRate = await applyByCli(program, directory, socket);
    return [
      {
        name: `${unitCount} units by PATCH, ${patchesInFlight} in flight`,
        value: patchRate,
        unit: 'units/s',
        reference,
        ratio: patchRate / rawRate,
        aim: '≥ 0.25',
      },
      {
        name: `${unitCount} units by flotilla apply -f`,
        value: cliRate,
        unit: 'units/s',
        reference,
        ratio: cliRate / rawRate,
        aim: '≥ 0.5',
      },
      ...(await lists(door, server)),
      ...(await watchers(door, server)),
    ];
  } finally {
    door.close();
    raw.close();
    await server.stop();
    await etcd.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

const unit = (name: string) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name, labels: { app: name.split('-', 1)[0]! } },
  // A text of its own for each: nothing is stored once for all.
  spec: { content: `[Unit]\nDescription=${name}\n\n[Service]\nExecStart=/bin/sleep infinity\n` },
});

/** Units per second, each by a server-side apply of its own over connections that stay open. */
async function applyAll(door: Door, prefix: string, count: number): Promise<number> {
  const bodies = Array.from({ length: count }, (_, index) => unit(`${prefix}-${index}.service`)).map(
    (object) => [object.metadata.name, JSON.stringify(object)] as const,
  );
  const startMs = performance.now();
  let next = 0;
  const worker = async () => {
    for (let item = bodies[next++]; item; item = bodies[next++]) {
      const [name, body] = item;
      const { status, text } = await door.call('PATCH', `${units}/${name}?fieldManager=bench`, body, 'application/apply-patch+yaml');
      if (status >= 300) throw new Error(`${name}: ${status} ${text}`);
    }
  };
  await Promise.all(Array.from({ length: patchesInFlight }, worker));
  return (count * 1_000) / (performance.now() - startMs);
}

async function applyByCli(program: string, directory: string, socket: string): Promise<number> {
  const manifests = join(directory, 'manifests');
  await mkdir(manifests);
  for (let first = 0; first < unitCount; first += unitsInAFile) {
    const documents = Array.from({ length: unitsInAFile }, (_, index) => JSON.stringify(unit(`cli-${first + index}.service`)));
    await writeFile(join(manifests, `${first}.yaml`), documents.join('\n---\n'));
  }
  const startMs = performance.now();
  await must(process.execPath, [program, '--endpoint', `unix://${socket}`, 'apply', '-f', manifests], { timeoutMs: 600_000 });
  return (unitCount * 1_000) / (performance.now() - startMs);
}

/** Lists of all units of one prefix, of which there are as many as the row says. */
async function lists(door: Door, server: ManagedProcess): Promise<Row[]> {
  const firstByte: number[] = [];
  const total: number[] = [];
  let bytes = 0;
  const before = await rssMiB(server);
  for (let round = 0; round < listRounds; round++) {
    const startMs = performance.now();
    const response = await door.open('GET', `${units}?labelSelector=app%3Dpatched`);
    firstByte.push(performance.now() - startMs);
    bytes = 0;
    for await (const chunk of response) bytes += (chunk as Buffer).length;
    total.push(performance.now() - startMs);
  }
  const name = `list of ${unitCount} units`;
  return [
    { name: `${name}, first byte`, value: median(firstByte), unit: 'ms' },
    { name: `${name}, whole`, value: median(total), unit: 'ms', reference: `${(bytes / 2 ** 20).toFixed(1)} MiB` },
    {
      name: `server's memory after ${listRounds} lists`,
      value: await rssMiB(server),
      unit: 'MiB',
      reference: `${before.toFixed(0)} MiB before`,
    },
  ];
}

/** From sending a change to its event, for one watcher alone and for one among many. */
async function watchers(door: Door, server: ManagedProcess): Promise<Row[]> {
  const one = await Watcher.open(door);
  const alone = await latencies(door, [one]);
  const before = await rssMiB(server);
  const many: Watcher[] = [];
  while (many.length < watcherCount) many.push(...(await Promise.all(Array.from({ length: 50 }, () => Watcher.open(door)))));
  await latencies(door, many, 5);
  const perWatcherKiB = (((await rssMiB(server)) - before) * 1_024) / watcherCount;
  const first = await latencies(door, [one]);
  const last = await latencies(door, many);
  for (const watcher of [one, ...many]) watcher.close();
  return [
    {
      name: `event seen by one watcher beside ${watcherCount} others, p50`,
      value: percentile(first, 0.5),
      unit: 'ms',
      reference: `alone: ${percentile(alone, 0.5).toFixed(1)} ms`,
    },
    { name: `event seen by all of ${watcherCount} watchers, p50`, value: percentile(last, 0.5), unit: 'ms' },
    { name: `server's memory for a watcher`, value: perWatcherKiB, unit: 'KiB' },
  ];
}

/** Milliseconds, sorted, from sending a change until all of these watchers have it. */
async function latencies(door: Door, watching: readonly Watcher[], samples = latencySamples): Promise<number[]> {
  const tookMs: number[] = [];
  for (let sample = 0; sample < samples; sample++) {
    const step = `s${performance.now()}`;
    const seen = Promise.all(watching.map((watcher) => watcher.until(step)));
    const startMs = performance.now();
    const body = JSON.stringify({ metadata: { labels: { step } } });
    await door.call('PATCH', `${units}/warm-0.service`, body, 'application/merge-patch+json');
    await seen;
    tookMs.push(performance.now() - startMs);
  }
  return tookMs.sort((a, b) => a - b);
}

class Watcher {
  #waiting = new Map<string, () => void>();

  private constructor(private readonly response: IncomingMessage) {
    void this.#read();
  }

  static async open(door: Door): Promise<Watcher> {
    const now = JSON.parse((await door.call('GET', `${units}?limit=1`)).text) as { metadata: { resourceVersion: string } };
    return new Watcher(await door.open('GET', `${units}?watch=true&resourceVersion=${now.metadata.resourceVersion}`));
  }

  until(step: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(step, resolve));
  }

  close(): void {
    this.response.destroy();
  }

  async #read(): Promise<void> {
    try {
      for await (const line of linesOf(this.response)) {
        const step = /"step":"([^"]+)"/.exec(line)?.[1] ?? '';
        this.#waiting.get(step)?.();
        this.#waiting.delete(step);
      }
    } catch (error) {
      if (!this.response.destroyed) throw error;
    }
  }
}

/** Requests over connections that stay open; streams get one each. */
class Door {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

  constructor(private readonly port: number) {}

  open(method: string, path: string, body?: string, type?: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) };
      const sent = request({ host: '127.0.0.1', port: this.port, method, path, agent: this.#agent, headers }, resolve);
      sent.on('error', reject);
      sent.end(body);
    });
  }

  async call(method: string, path: string, body?: string, type?: string): Promise<{ status: number; text: string }> {
    const response = await this.open(method, path, body, type);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function rssMiB(server: ManagedProcess): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024;
}
