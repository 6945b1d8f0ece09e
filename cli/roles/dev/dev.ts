/**
 * `flotilla dev`: a whole cluster on this computer, in the foreground, gone without a trace when it ends. As root with `--machines N` the
 * machines are real systemd machines; without root, one machine is the user's own systemd.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ask } from './ask.js';
import { DevCluster, removeAbandonedClusters } from './cluster.js';
import { until } from './managed-process.js';
import { preferredPort } from './ports.js';
import { startUserAgent } from './user-agent.js';

export interface DevOptions {
  readonly machines: number;
  /** Manifests to apply once the machines are ready. */
  readonly apply?: string;
  readonly program: string;
  readonly signal: AbortSignal;
}

const defaultSocket = '/run/flotilla/flotilla.sock';
const defaultPort = 7080;
const unitsUpLimitMs = 60_000;

/** Exit code of the command. */
export async function dev(options: DevOptions): Promise<number> {
  const isRoot = process.getuid?.() === 0;
  const runtime = process.env.XDG_RUNTIME_DIR;
  if (!isRoot && !(runtime && existsSync(join(runtime, 'systemd/private')))) {
    say('flotilla dev: needs root (for machines of its own), or a systemd user session (for your own systemd); here is neither.');
    return 1;
  }
  if (!isRoot && options.machines > 1) {
    say('flotilla dev: more than one machine needs root; without it, one machine is your own systemd.');
    return 1;
  }

  const started = performance.now();
  const parent = isRoot ? '/run/flotilla-dev' : join(runtime ?? '/tmp', 'flotilla-dev');
  await mkdir(parent, { recursive: true, mode: 0o755 });
  for (const id of await removeAbandonedClusters(parent)) say(`removed what an earlier run (${id}) had left behind`);

  const usesDefaultSocket = isRoot && !(await answers(defaultSocket));
  const httpPort = await preferredPort(defaultPort);
  const cluster = await DevCluster.start({
    parent,
    program: options.program,
    machines: isRoot ? options.machines : 0,
    httpPort,
    ...(usesDefaultSocket ? { socket: defaultSocket } : {}),
    metadata: exampleMetadata,
    progress: (sentence) => say(`» ${sentence}`),
  });
  let userAgent: { stop(): Promise<void> } | undefined;
  try {
    if (!isRoot) userAgent = await startUserAgent(cluster);
    const machines = isRoot ? options.machines : 1;
    say(`» waiting for ${machines === 1 ? 'the machine' : `${machines} machines`} to join`);
    await cluster.untilMachinesReady(machines);
    if (options.apply && !options.signal.aborted) await applyAndShow(cluster, options.apply);
    say(`\nUp after ${((performance.now() - started) / 1_000).toFixed(1)} s. In a second terminal:`);
    const socket = cluster.servers[0]?.socket ?? '';
    for (const line of nextSteps(usesDefaultSocket ? '' : `--endpoint unix://${socket} `, httpPort)) say(`  ${line}`);
    say('Ctrl-C takes everything down.');
    await ended(options.signal, cluster);
    return 0;
  } finally {
    say('\n» taking everything down');
    await userAgent?.stop();
    await cluster.stop();
    say('gone');
  }
}

async function applyAndShow(cluster: DevCluster, path: string): Promise<void> {
  say(`» flotilla apply -f ${path}`);
  const applied = await cluster.cli(['apply', '-f', path]);
  process.stderr.write(applied.stdout.replace(/^/gm, '  ').trimEnd());
  if (applied.code !== 0) say(`\n${applied.stderr.trim()}`);
  else say('');
  await until('the units to come up', async () => (await cluster.list<UnitLike>('units')).items.every(isSettled), {
    timeoutMs: unitsUpLimitMs,
  }).catch((error: Error) => say(`  ${error.message}; flotilla describe says why`));
  say('» flotilla get units');
  process.stdout.write(await cluster.mustCli(['get', 'units', '-o', 'wide']));
}

interface UnitLike {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}
const isSettled = (unit: UnitLike) => unit.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;

const exampleMetadata = (index: number) => ({ zone: `z${index}`, disk: index % 3 === 0 ? 'hdd' : 'ssd' });

const nextSteps = (endpoint: string, port: number) => [
  `npx flotilla ${endpoint}get units                   what runs where`,
  `npx flotilla ${endpoint}describe unit hello.service  everything about one unit`,
  `npx flotilla ${endpoint}logs hello.service -f        its journal, from whichever machine runs it`,
  `kubectl --server=http://127.0.0.1:${port} get units,machines`,
  `npx flotilla ${endpoint}delete unit hello.service`,
];

/** Resolves when a person wants it to end; rejects when the server died by itself. */
async function ended(signal: AbortSignal, cluster: DevCluster): Promise<void> {
  while (!signal.aborted) {
    const dead = [...cluster.servers.map((server) => server.process), ...cluster.etcds].find((child) => !child.isRunning);
    if (dead) throw new Error(`${dead.options.name} ended by itself: ${(await dead.log()).trim().slice(-1_500)}`);
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, 1_000);
      signal.addEventListener('abort', done);
    });
  }
}

/** Whether a server answers there already: then that one keeps the default socket and we take another. */
const answers = (socket: string): Promise<boolean> =>
  ask(socket, '/livez', 1_000).then(
    () => true,
    () => false,
  );

const say = (sentence: string) => process.stderr.write(`${sentence}\n`);
