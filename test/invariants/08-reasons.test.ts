/** Invariant 8. A cluster full of things that do not happen, and what `flotilla describe` says of each. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { openClusterCache } from '../../api/objects/cache.js';
import type { UnitState } from '../../api/resources/assignment.js';
import type { UnitSpec } from '../../api/resources/unit.js';
import { silentLogger } from '../../runtime/log.js';
import { startRig } from '../api/server/rig.js';
import { sourceArgs } from '../rigs/source-process.js';
import { machineId, SimCluster } from '../sim/cluster.js';
import { invariant } from './invariant.js';

const main = sourceArgs('cli/main.ts');

/** What is asked for, what becomes of it on its machine, and what must be said about that. */
const stories: readonly { unit: string; spec: UnitSpec; seen?: Partial<UnitState>; says: RegExp }[] = [
  { unit: 'nowhere.service', spec: { placement: { machineMetadata: ['disk=ssd'] } }, says: /disk=ssd/ },
  { unit: 'elsewhere.service', spec: { placement: { machineID: 'e'.repeat(32) } }, says: /eeeeeeee/ },
  {
    unit: 'loner.service',
    spec: { placement: { machineMetadata: ['zone=1'], conflicts: ['web.service'] } },
    says: /conflict with web.service/,
  },
  { unit: 'follower.service', spec: { placement: { machineOf: ['nobody.service'] } }, says: /nobody\.service/ },
  { unit: 'untaught@1.service', spec: { content: '' }, says: /untaught@\.service/ },
  { unit: 'failing.service', spec: {}, seen: { active: 'failed', sub: 'failed', result: 'exit-code', exitStatus: 3 }, says: /status 3/ },
  { unit: 'starting.service', spec: {}, seen: { active: 'activating', sub: 'start-pre' }, says: /[Aa]ctivating \(start-pre\)/ },
  {
    unit: 'sshd.service',
    spec: {},
    seen: {
      active: 'inactive',
      sub: 'dead',
      load: 'not-found',
      textHash: '',
      problem: { reason: 'NameTaken', message: 'sshd.service is a unit of the machine itself' },
    },
    says: /unit of the machine itself/,
  },
  { unit: 'lost.service', spec: { placement: { machineID: machineId('dead') } }, says: /does not answer/ },
  { unit: 'deleted.service', spec: { placement: { machineID: machineId('dead') } }, says: /waiting for machine/ },
];

invariant(8, 'whatever is not happening has a reason in describe, in a sentence', 'no sentence', async (plant, t) => {
  const sim = new SimCluster();
  for (const [zone, name] of ['a', 'b', 'c', 'dead'].entries()) await sim.addMachine(name, {}, { zone: String(zone + 1) });
  for (const agent of sim.agents.values()) agent.outcome = (unit) => stories.find((story) => story.unit === unit)?.seen ?? {};
  const { store } = sim.addServer();
  // The fault: a store that loses the words.
  if (plant) {
    const commit = store.commit.bind(store);
    store.commit = (write, options) => {
      const operations = write.operations.map((operation) =>
        operation.do === 'put' ? { ...operation, value: operation.value.replace(/"message":"[^"]*"/g, '"message":""') } : operation,
      );
      return commit({ ...write, operations }, options);
    };
  }
  await sim.advance(25_000);
  await sim.apply('web.service', { placement: { machineMetadata: ['zone=1'] } });
  await sim.rest();
  for (const { unit, spec } of stories) await sim.apply(unit, spec);
  await sim.advance(5_000);
  sim.agent('dead').kill();
  await sim.advance(12_000);
  await sim.remove('deleted.service');
  await sim.advance(15_000);

  const { cache, hub, stop } = openClusterCache({ store: sim.store, keys: sim.keys, clock: sim.clock, log: silentLogger });
  t.after(stop);
  await sim.rest();
  const rig = await startRig({ cache, hub, store: sim.store });
  t.after(() => rig.close());
  const described = await describe(rig.url, 'units');
  assert.deepEqual([...described.keys()], ['web.service', ...stories.map(({ unit }) => unit)].sort());
  assert.deepEqual(described.get('web.service'), [], 'what is well needs no reason');
  for (const { unit, says } of stories) {
    const reasons = described.get(unit)!;
    assert.ok(reasons.length > 0, `nothing at all is said of ${unit}`);
    for (const reason of reasons) assert.match(reason, sentence, `no sentence says why ${unit} is not as it should be`);
    assert.ok(
      reasons.some((reason) => says.test(reason)),
      `of ${unit} something else is said than ${says}: ${reasons.join(' ')}`,
    );
  }
  const [dead] = (await describe(rig.url, `machine/${machineId('dead')}`)).values();
  assert.match(dead?.[0] ?? '', /does not answer: its heartbeats have stopped\.$/);
  await sim.end();
});

/** One condition or several, and more than a catchword about them. */
const sentence = /^\w+(?:, \w+)*: \S+ \S+ \S.*$/;

/** What describe lists under "Not as it should be", by name of the object. */
async function describe(endpoint: string, words: string): Promise<Map<string, string[]>> {
  const child = spawn(process.execPath, [...main, '--endpoint', endpoint, 'describe', words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => (text += chunk));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0);
  const objects = text.split(/^(?=Name: )/m);
  return new Map(
    objects.map((object) => {
      const name = /^Name: +(\S+)/.exec(object)?.[1] ?? '';
      const [, reasons = ''] = /^Not as it should be:\n((?: {2}.*\n)*)/m.exec(object) ?? [];
      return [
        name,
        reasons
          .split('\n')
          .filter(Boolean)
          .map((line) => line.trim()),
      ];
    }),
  );
}
