/** What syncing from a repository costs: 2,000 manifests at once, nothing new, and one commit until it runs. One server, one real machine. */
import { execFile } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { request as requestOverTls } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DevCluster, removeAbandonedClusters } from '../cli/roles/dev/cluster.js';
import { until } from '../cli/roles/dev/managed-process.js';
import type { Row } from './row.js';

const manifests = 2_000;
const quietSamples = 20;
const commitSamples = 20;
const incrementalSamples = 5;
const pollSamples = 8;

const execute = promisify(execFile);

interface Seen {
  readonly metadata: { readonly name: string; readonly generation?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly lastHandledReconcileAt?: string;
    readonly lastAppliedRevision?: string;
    readonly active?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[];
  };
}

export async function benchGitSync(program: string): Promise<Row[]> {
  const parent = '/run/flotilla-bench';
  await mkdir(parent, { recursive: true });
  await removeAbandonedClusters(parent);
  const repository = await mkdtemp(join(tmpdir(), 'flotilla-bench-git-'));
  const cluster = await DevCluster.start({ parent, program, machines: 1 });
  try {
    await cluster.untilMachinesReady();
    return await measure(cluster, repository);
  } finally {
    await cluster.stop();
    await rm(repository, { recursive: true, force: true });
  }
}

async function measure(cluster: DevCluster, repository: string): Promise<Row[]> {
  const git = async (...args: string[]) =>
    execute('git', ['-c', 'user.name=bench', '-c', 'user.email=bench@example.com', ...args], {
      cwd: repository,
      env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
    });
  const commit = async () => {
    await git('add', '--all');
    await git('commit', '--quiet', '--message=bench');
  };
  await git('init', '--quiet', '--initial-branch=main');
  for (const directory of ['many', 'one']) await mkdir(join(repository, directory));
  for (let index = 0; index < manifests; index++) {
    const object = {
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata: { name: `many-${index}.service` },
      spec: { desiredState: 'inactive', content: `[Service]\nExecStart=/bin/sleep ${index}\n` },
    };
    await writeFile(join(repository, `many/${index}.yaml`), JSON.stringify(object));
  }
  await writeFile(join(repository, 'one/one-0.service'), '[Service]\nExecStart=/bin/sleep infinity\n');
  await commit();

  const url = `file://${repository}`;
  const started = performance.now();
  await apply(cluster, 'many', { url, path: 'many', interval: '1h' });
  await untilSeen(cluster, 'gitsyncs', 'many', isApplied, 50);
  const full = performance.now() - started;

  // The server's own figure for each sync: what asks for it and waits for it here is no part of a poll.
  const quiet: number[] = [];
  const listing: number[] = [];
  for (let sample = 0; sample < quietSamples; sample++) {
    const before = await secondsIn(cluster, 'many');
    const at = await requestSync(cluster, 'many');
    await untilSeen(cluster, 'gitsyncs', 'many', ({ status }) => status?.lastHandledReconcileAt === at, 50);
    await until('the sync to be counted', async () => (await secondsIn(cluster, 'many')) > before);
    quiet.push(((await secondsIn(cluster, 'many')) - before) * 1_000);
    const listed = performance.now();
    await git('ls-remote', url, 'HEAD');
    listing.push(performance.now() - listed);
  }

  // Nobody asks for a poll, and nothing is written after it.
  await apply(cluster, 'many', { url, path: 'many', interval: '5s' });
  const polled: number[] = [];
  const pollListing: number[] = [];
  await untilSeen(cluster, 'gitsyncs', 'many', ({ metadata, status }) => status?.observedGeneration === metadata.generation);
  for (let before = await syncsOf(cluster, 'many'); polled.length < pollSamples; ) {
    await until('the next poll', async () => (await syncsOf(cluster, 'many')).count > before.count, { everyMs: 100 });
    const after = await syncsOf(cluster, 'many');
    polled.push(((after.seconds - before.seconds) * 1_000) / (after.count - before.count));
    before = after;
    const listed = performance.now();
    await git('ls-remote', url, 'HEAD');
    pollListing.push(performance.now() - listed);
  }
  await apply(cluster, 'many', { url, path: 'many', interval: '1h' });

  const token = randomBytes(24).toString('hex');
  const secret = { apiVersion: 'flotilla.dev/v1', kind: 'Secret', metadata: { name: 'hook' }, stringData: { token } };
  await ask(cluster, 'PATCH', '/apis/flotilla.dev/v1/secrets/hook?fieldManager=bench', 'application/apply-patch+yaml', secret);
  await apply(cluster, 'one', { url, path: 'one', interval: '1h', webhook: { secretRef: { name: 'hook' } } });
  await untilSeen(cluster, 'gitsyncs', 'one', isApplied);
  const running: number[] = [];
  for (let sample = 1; sample <= commitSamples; sample++) {
    const name = `one-${sample}.service`;
    await writeFile(join(repository, `one/${name}`), '[Service]\nExecStart=/bin/sleep infinity\n');
    await commit();
    const pushed = performance.now();
    await pushHook(cluster, 'one', token);
    await untilSeen(cluster, 'units', name, ({ status }) => status?.active === 'active');
    running.push(performance.now() - pushed);
  }
  const incremental: number[] = [];
  for (let sample = 0; sample < incrementalSamples; sample++) {
    await writeFile(join(repository, `many/new-${sample}.service`), '[Service]\nExecStart=/bin/true\n');
    await commit();
    const before = await secondsIn(cluster, 'many');
    const at = await requestSync(cluster, 'many');
    await untilSeen(cluster, 'gitsyncs', 'many', ({ status }) => status?.lastHandledReconcileAt === at, 50);
    await until('the sync to be counted', async () => (await secondsIn(cluster, 'many')) > before);
    incremental.push(((await secondsIn(cluster, 'many')) - before) * 1_000);
  }
  const [quietMs, listingMs] = [median(quiet), median(listing)];
  return [
    { name: `GitSync, ${manifests} manifests: first full sync`, value: full / 1_000, unit: 's' },
    {
      name: `GitSync, ${manifests} manifests: a poll that finds nothing new, p50`,
      value: median(polled),
      unit: 'ms',
      reference: `git ls-remote ${median(pollListing).toFixed(1)} ms`,
      ratio: median(polled) / median(pollListing),
      aim: '≤ 2 × git ls-remote',
    },
    {
      name: `GitSync, ${manifests} manifests: the same, asked for, and noted in its status, p50`,
      value: quietMs,
      unit: 'ms',
      reference: `git ls-remote ${listingMs.toFixed(1)} ms`,
      ratio: quietMs / listingMs,
      aim: '≤ 2 × git ls-remote',
    },
    { name: `GitSync, ${manifests} manifests: a commit that adds one, p50`, value: median(incremental), unit: 'ms' },
    { name: 'GitSync: signed webhook over https after a commit → running, p50', value: median(running), unit: 'ms', aim: '< 1000 ms' },
    { name: 'GitSync: signed webhook over https after a commit → running, max', value: Math.max(...running), unit: 'ms' },
  ];
}

const isApplied = ({ status }: Seen): boolean => {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status === 'False') throw new Error(ready.message);
  return ready?.status === 'True';
};

function untilSeen(cluster: DevCluster, plural: string, name: string, met: (seen: Seen) => boolean, everyMs = 5): Promise<true> {
  return until(
    `${plural}/${name}`,
    async () => {
      const text = await ask(cluster, 'GET', `/apis/flotilla.dev/v1/${plural}/${name}`).catch(() => '{"metadata":{}}');
      return met(JSON.parse(text) as Seen);
    },
    { timeoutMs: 120_000, everyMs },
  );
}

/** Seconds that all syncs of a GitSync have taken so far. */
async function secondsIn(cluster: DevCluster, name: string): Promise<number> {
  return (await syncsOf(cluster, name)).seconds;
}

/** The server's own figures. */
async function syncsOf(cluster: DevCluster, name: string): Promise<{ readonly seconds: number; readonly count: number }> {
  const text = await ask(cluster, 'GET', '/metrics');
  const [seconds = 0, count = 0] = ['sum', 'count'].map((what) => {
    const pattern = new RegExp(`^flotilla_gitsync_reconcile_duration_seconds_${what}\\{gitsync="${name}"\\} (\\S+)$`, 'm');
    return Number(pattern.exec(text)?.[1] ?? 0);
  });
  return { seconds, count };
}

/** As a forge calls: a connection of its own, signed. Resolves once the server has taken it. */
function pushHook(cluster: DevCluster, name: string, token: string): Promise<void> {
  const body = JSON.stringify({ ref: 'refs/heads/main' });
  const signature = `sha256=${createHmac('sha256', token).update(body).digest('hex')}`;
  const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature };
  return new Promise((resolve, reject) => {
    const url = `${cluster.servers[0]!.agentUrl}/hooks/git/${name}`;
    const call = requestOverTls(url, { method: 'POST', headers, rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      if (response.statusCode === 202) resolve();
      else reject(new Error(`the webhook was answered with ${response.statusCode}`));
    });
    call.on('error', reject);
    call.end(body);
  });
}

/** What a webhook writes once its signature is known to be right. */
async function requestSync(cluster: DevCluster, name: string): Promise<string> {
  const at = `${new Date().toISOString()} ${performance.now()}`;
  const body = { metadata: { annotations: { 'flotilla.dev/reconcile-requested-at': at } } };
  await ask(cluster, 'PATCH', `/apis/flotilla.dev/v1/gitsyncs/${name}?fieldManager=bench`, 'application/merge-patch+json', body);
  return at;
}

const apply = (cluster: DevCluster, name: string, spec: object) =>
  ask(cluster, 'PATCH', `/apis/flotilla.dev/v1/gitsyncs/${name}?fieldManager=bench`, 'application/apply-patch+yaml', {
    apiVersion: 'flotilla.dev/v1',
    kind: 'GitSync',
    metadata: { name },
    spec,
  });

const ask = (cluster: DevCluster, method: string, path: string, type = 'application/json', body?: unknown): Promise<string> =>
  new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(text) };
    const req = request({ socketPath: cluster.servers[0]!.socket, path, method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString();
        if ((response.statusCode ?? 500) < 400) resolve(answer);
        else reject(new Error(`${method} ${path}: ${response.statusCode}: ${answer}`));
      });
    });
    req.on('error', reject);
    req.end(text);
  });

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
