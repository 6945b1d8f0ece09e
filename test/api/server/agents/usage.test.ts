import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { MachineUsage } from '../../../../api/resources/protocol.js';
import { type Cluster, FakeAgent, joinMachine, newCluster, type Server, until } from './rig.js';

let cluster: Cluster;
let alpha: Server;
let beta: Server;
before(async () => {
  cluster = await newCluster();
  alpha = await cluster.startServer('alpha', { limits: { usageTimeoutMs: 300 } });
  beta = await cluster.startServer('beta');
  await until('beta to know alpha', () => beta.registry.all().some(({ name, urls }) => name === 'alpha' && urls.length > 0));
});
after(() => cluster.close());

let count = 0;

async function machineOn(server: Server, features?: readonly string[]) {
  const id = (count++).toString(16).padStart(32, '0');
  const agent = await FakeAgent.open(server, await joinMachine(server, id), 'boot-1', {}, features);
  await until('all caches', () => [alpha, beta].every(({ cache }) => cache.presence(id)));
  return { id, agent };
}

const { signal } = new AbortController();
const usage: MachineUsage = { windowMs: 1_000, machine: { cpuNanoCores: 1 }, units: { 'web.service': { memoryBytes: 5 } } };
const answerTo = async (agent: FakeAgent) => agent.send({ type: 'usage', request: (await agent.next('measure')).request, ...usage });

test('an agent is asked once however many want to know, and nothing is stored', async () => {
  const { id, agent } = await machineOn(alpha);
  const before = await cluster.store.revision();
  const answers = [alpha.gateway.usage.of([id], signal), alpha.gateway.usage.of([id], signal)];
  await answerTo(agent);
  for (const answer of answers) assert.deepEqual((await answer).get(id), usage);
  assert.equal(agent.all('measure').length, 1);
  assert.equal(await cluster.store.revision(), before);
  agent.close();
});

test('a machine on another server is asked through that one', async () => {
  const { id, agent } = await machineOn(alpha);
  const here = await machineOn(beta);
  const answer = beta.gateway.usage.of([id, here.id], signal);
  await Promise.all([answerTo(agent), answerTo(here.agent)]);
  assert.deepEqual(Object.fromEntries(await answer), { [id]: usage, [here.id]: usage });
  agent.close();
  here.agent.close();
});

test('who does not answer, is too old, not connected or unknown is left out, and holds up the others no longer than the limit', async () => {
  const [silent, old, well] = [await machineOn(alpha), await machineOn(alpha, []), await machineOn(alpha)];
  const answer = alpha.gateway.usage.of([silent.id, old.id, well.id, 'f'.repeat(32)], signal);
  await answerTo(well.agent);
  assert.deepEqual([...(await answer).keys()], [well.id]);
  assert.deepEqual(old.agent.all('measure'), []);
  for (const { agent } of [silent, old, well]) agent.close();
});

test('an answer to what was asked of another machine is nobody’s', async () => {
  const [one, other] = [await machineOn(alpha), await machineOn(alpha)];
  const answer = alpha.gateway.usage.of([one.id], signal);
  const { request } = await one.agent.next('measure');
  other.agent.send({ type: 'usage', request, ...usage, machine: { cpuNanoCores: 999 } });
  await new Promise((resolve) => setTimeout(resolve, 20));
  one.agent.send({ type: 'usage', request, ...usage });
  assert.deepEqual((await answer).get(one.id), usage);
  for (const { agent } of [one, other]) agent.close();
});
