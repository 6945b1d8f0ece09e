/**
 * `flotilla dev`: a whole cluster on this computer, in the foreground, gone without a trace when it ends. As root with `--machines N` the
 * machines are real systemd machines; without root, one machine is the user's own systemd.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ask } from './ask.js';
import { DevCluster, removeAbandonedClusters } from './cluster.js';
import { removeIfEmpty } from './directories.js';
import { until } from './managed-process.js';
import { missingPrograms } from './needs.js';
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
  const missing = missingPrograms(isRoot ? 'machines' : 'user');
  if (missing.length > 0) {
    say(`flotilla dev: these programs are missing: ${missing.map(({ program, of }) => `${program} (Debian package ${of})`).join(', ')}.`);
    return 1;
  }

  const started = performance.now();
  const parent = isRoot ? '/run/flotilla-dev' : join(runtime ?? '/tmp', 'flotilla-dev');
  await mkdir(parent, { recursive: true, mode: 0o755 });
  for (const id of await removeAbandonedClusters(parent)) say(`» removed what an earlier run (${id}) had left behind`);

  const usesDefaultSocket = isRoot && !(await answers(defaultSocket));
  if (isRoot && !usesDefaultSocket) say(`» a server answers on ${defaultSocket} already: this cluster has a socket of its own`);
  const httpPort = await preferredPort(defaultPort);
  if (httpPort !== defaultPort) say(`» port ${defaultPort} is taken: this cluster uses ${httpPort} for http`);
  const forget = async () => {
    await removeIfEmpty(parent);
    if (usesDefaultSocket) await removeIfEmpty(dirname(defaultSocket));
  };
  const cluster = await DevCluster.start({
    parent,
    program: options.program,
    machines: isRoot ? options.machines : 0,
    httpPort,
    ...(usesDefaultSocket ? { socket: defaultSocket } : {}),
    metadata: exampleMetadata,
    progress: (sentence) => say(`» ${sentence}`),
    signal: options.signal,
  }).catch((error: unknown) => {
    // One that is interrupted while it starts takes itself down.
    if (!options.signal.aborted) throw error;
  });
  if (!cluster) {
    await forget();
    say('\ngone');
    return 0;
  }
  let userAgent: { stop(): Promise<void> } | undefined;
  try {
    if (!isRoot) userAgent = await startUserAgent(cluster, exampleMetadata(1));
    const machines = isRoot ? options.machines : 1;
    say(`» waiting for ${machines === 1 ? 'the machine' : `${machines} machines`} to join`);
    await cluster.untilMachinesReady(machines);
    if (options.apply && !options.signal.aborted) await applyAndShow(cluster, options.apply, options.signal);
    if (options.signal.aborted) return 0;
    say(`\nUp after ${((performance.now() - started) / 1_000).toFixed(1)} s. In a second terminal:`);
    const socket = cluster.servers[0]?.socket ?? '';
    const steps = nextSteps(httpPort);
    if (!usesDefaultSocket) say(`  export FLOTILLA_ENDPOINT=unix://${socket}`);
    const width = Math.max(...steps.map(([command]) => command.length));
    for (const [command, about] of steps) say(`  ${command.padEnd(width)}   ${about}`);
    say('Ctrl-C takes everything down.');
    await ended(options.signal, cluster);
    return 0;
  } finally {
    say('\n» taking everything down');
    await userAgent?.stop();
    await cluster.stop();
    await forget();
    say('gone');
  }
}

async function applyAndShow(cluster: DevCluster, path: string, signal: AbortSignal): Promise<void> {
  say(`» flotilla apply -f ${path}`);
  const applied = await cluster.cli(['apply', '-f', path]);
  process.stderr.write(applied.stdout.replace(/^/gm, '  ').trimEnd());
  if (applied.code !== 0) say(`\n${applied.stderr.trim()}`);
  else say('');
  let units: readonly UnitLike[] = [];
  await until(
    'the units to come up',
    async () => {
      units = (await cluster.list<UnitLike>('units')).items;
      return signal.aborted || units.every((unit) => isReady(unit) || unplaced(unit) !== undefined);
    },
    { timeoutMs: unitsUpLimitMs },
  ).catch((error: Error) => say(`  ${error.message}; flotilla describe says why`));
  if (signal.aborted) return;
  for (const unit of units) if (unplaced(unit) !== undefined) say(`  ${unit.metadata.name} waits: ${unplaced(unit)}`);
  say('» flotilla get units');
  process.stdout.write(await cluster.mustCli(['get', 'units', '-o', 'wide']));
}

interface ConditionLike {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}
interface UnitLike {
  readonly metadata: { readonly name: string };
  readonly status?: { readonly conditions?: readonly ConditionLike[] };
}
const isReady = (unit: UnitLike) => unit.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
/** Why no machine here takes it: on a single machine, units that conflict with each other cannot all run. */
const unplaced = (unit: UnitLike) =>
  unit.status?.conditions?.find(({ type, status, reason }) => type === 'Scheduled' && status === 'False' && reason === 'Unschedulable')
    ?.message;

const exampleMetadata = (index: number) => ({ zone: `z${index}`, disk: index % 3 === 0 ? 'hdd' : 'ssd' });

/** Commands to try, each with what it shows. */
const nextSteps = (port: number): readonly (readonly [string, string])[] => [
  ['npx flotilla get units', 'what runs where'],
  ['npx flotilla describe unit hello.service', 'everything about one unit, and why'],
  ['npx flotilla logs -f hello.service', 'its journal, from whichever machine runs it'],
  ['npx flotilla delete unit hello.service', 'stop it everywhere, and forget it'],
  [`kubectl --server=http://127.0.0.1:${port} get units,machines`, 'the same API, for kubectl'],
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
