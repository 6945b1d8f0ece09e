/**
 * fleet's own measure: `start` and `destroy` of 300 instances of a template by the verbs that a user types, whole processes, until all run and
 * until all are gone. Beside it, by turns, systemctl on the same machines with the same files.
 */
import type { DevCluster } from '../cli/roles/dev/cluster.js';
import { onCluster } from './dev-cluster.js';
import type { Row } from './row.js';
import { median } from './statistics.js';

const instances = 300;
const rounds = 5;
const content = '[Service]\nExecStart=/bin/sleep infinity\n';

export const benchInstances = (program: string): Promise<Row[]> => onCluster(program, measure);

async function measure(cluster: DevCluster): Promise<Row[]> {
  const machines = cluster.machines.length;
  const taken: Record<'start' | 'destroy' | 'nativeStart' | 'nativeStop', number[]> = {
    start: [],
    destroy: [],
    nativeStart: [],
    nativeStop: [],
  };
  await cluster.mustCli(['apply', '-f', '-'], { input: manifestOf('many@.service') });
  for (let round = 0; round < rounds; round++) {
    const names = Array.from({ length: instances }, (_, index) => `many@${round}-${index}.service`);
    taken.start.push(await timed(() => cluster.mustCli(['start', ...names])));
    const { items } = await cluster.list<{ metadata: { name: string }; status?: { active?: string } }>('units');
    const running = items.filter(({ metadata, status }) => metadata.name.startsWith(`many@${round}-`) && status?.active === 'active');
    if (running.length !== instances) throw new Error(`start ended with ${running.length} of ${instances} instances running`);
    taken.destroy.push(await timed(() => cluster.mustCli(['destroy', ...names])));

    const share = names.slice(0, instances / machines);
    const write = share.map((name) => `printf '${content.replaceAll('\n', '\\n')}' > /run/systemd/system/${name}`).join('\n');
    const onEach = (script: string) => Promise.all(cluster.machines.map((machine) => machine.must(['sh', '-s'], { input: script })));
    taken.nativeStart.push(await timed(() => onEach(`${write}\nsystemctl start ${share.join(' ')}`)));
    taken.nativeStop.push(await timed(() => onEach(`cd /run/systemd/system\nsystemctl stop ${share.join(' ')}\nrm ${share.join(' ')}`)));
  }
  await cluster.mustCli(['destroy', 'many@.service']);
  const row = (what: string, ours: number, theirs: number, fleet: string): Row => ({
    name: `${what}, ${instances} instances over ${machines} machines`,
    value: ours / 1_000,
    unit: 's',
    reference: `systemctl ${(theirs / 1_000).toFixed(2)} s; fleet 1.0 took ${fleet}`,
    ratio: ours / theirs,
    aim: '< 1 s',
  });
  return [
    row('start until all run', median(taken.start), median(taken.nativeStart), '5.4 s'),
    row('destroy until all are gone', median(taken.destroy), median(taken.nativeStop), 'about 90 s'),
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

const manifestOf = (name: string) => JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name }, spec: { content } });
