import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { evictAnnotation, evictionReason, readEviction } from '../../../../api/resources/eviction.js';
import { ManualClock } from '../../../rigs/manual-clock.js';
import { at, keys, put, scheduledOn, write } from '../../objects/cluster-writer.js';
import { type Answer, type Rig, startRig } from '../rig.js';
import { infoOf, machineA, machineB, writeCopy, writeMachine } from './cluster.js';

const pods = '/api/v1/namespaces/default/pods';
const clock = new ManualClock();
let rig: Rig;
before(async () => {
  rig = await startRig({ clock });
  await writeMachine(rig, machineA, infoOf('web-1'));
  await writeMachine(rig, machineB, infoOf('web-2'));
});
after(() => rig.close());

const cordon = (unschedulable: boolean | null) =>
  rig.call('PATCH', '/api/v1/nodes/web-1', { type: 'application/merge-patch+json', body: { spec: { unschedulable } } });
const evict = (pod: string, deleteOptions?: object): Promise<Answer> =>
  rig.call('POST', `${pods}/${pod}/eviction`, {
    body: {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: pod, namespace: 'default' },
      ...(deleteOptions && { deleteOptions }),
    },
  });
const askedOf = (unit: string) => readEviction(rig.cache.joined('units', unit)?.metadata.annotations?.[evictAnnotation]);

/** Resolves once the wish is written. */
async function wished(unit: string): Promise<void> {
  while (askedOf(unit) === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What the leader says to it. */
async function decided(unit: string, message: string): Promise<void> {
  const [condition] = scheduledOn(machineA, 1).conditions!;
  await write(rig.store, [
    put(keys.condition('units', unit), { ...scheduledOn(machineA, 1), conditions: [{ ...condition!, reason: evictionReason, message }] }),
  ]);
}

test('nothing is moved off a node that takes pods: 429, and no time after which asking again would help', async () => {
  const pod = await writeCopy(rig, 'open.service', machineA);
  for (const answer of [await evict(pod), await rig.call('DELETE', `${pods}/${pod}`)]) {
    assert.deepEqual([answer.status, answer.json.reason, answer.headers['retry-after']], [429, 'TooManyRequests', undefined]);
    assert.match(answer.json.message, /cordon it first \(kubectl cordon web-1\)/);
  }
  assert.equal(askedOf('open.service'), undefined);
});

test('what belongs to its node stays: a pinned unit, a global one', async () => {
  await cordon(true);
  for (const [unit, placement] of [
    ['pinned.service', { machineID: machineA }],
    ['all.service', { global: true }],
  ] as const) {
    const pod = await writeCopy(rig, unit, machineA, { spec: { placement } });
    const { status, json } = await evict(pod);
    assert.deepEqual([status, /belongs to this node/.test(json.message)], [409, true], json.message);
  }
});

test('the wish names this stay on this machine under this cordon, and the answer comes with the first step', async () => {
  const pod = await writeCopy(rig, 'web.service', machineA);
  const answered = evict(pod);
  await wished('web.service');
  const { generation } = rig.cache.joined('machines', machineA)!.metadata;
  assert.deepEqual(askedOf('web.service'), { machine: machineA, machineGeneration: generation, assignedAt: at });
  await writeCopy(rig, 'web.service', machineA, { assignment: { remove: 'it was asked to leave' } });
  const { status, json } = await answered;
  assert.deepEqual([status, json.status], [201, 'Success']);
  const before = rig.cache.joined('units', 'web.service')!.metadata.resourceVersion;
  assert.equal((await evict(pod)).status, 201, 'a second time it changes nothing');
  assert.equal(rig.cache.joined('units', 'web.service')!.metadata.resourceVersion, before);
});

test('what the leader has against it is the answer, so that kubectl says it and asks again', async () => {
  const pod = await writeCopy(rig, 'stuck.service', machineA);
  const answered = rig.call('DELETE', `${pods}/${pod}`, { body: { kind: 'DeleteOptions', apiVersion: 'v1' } });
  await wished('stuck.service');
  await decided('stuck.service', 'There is nowhere else to go.');
  const { status, json } = await answered;
  assert.deepEqual([status, json.message], [429, 'Cannot evict pod now: stuck.service: There is nowhere else to go.']);
});

test('while nobody leads, the wish is taken and waits', async () => {
  const pod = await writeCopy(rig, 'patient.service', machineA);
  const answered = evict(pod);
  await wished('patient.service');
  await new Promise((resolve) => setTimeout(resolve, 20));
  clock.advance(2_000);
  assert.equal((await answered).status, 201);
});

test('preconditions hold, and a dry run asks for nothing', async () => {
  const pod = await writeCopy(rig, 'dry.service', machineA);
  const { resourceVersion } = (await rig.get(`${pods}/${pod}`)).json.metadata;
  const seenAt = (more: number) => ({ preconditions: { resourceVersion: String(Number(resourceVersion) + more) }, dryRun: ['All'] });
  assert.equal((await evict(pod, seenAt(-2))).json?.reason, 'Conflict');
  assert.deepEqual([(await evict(pod, seenAt(0))).status, (await evict(pod, seenAt(4))).status], [201, 201], 'also from a watch');
  assert.equal((await evict(pod, { preconditions: { uid: 'another' } })).json.reason, 'Conflict');
  assert.equal((await evict(pod, { dryRun: ['All'] })).status, 201);
  assert.equal(askedOf('dry.service'), undefined);
  assert.equal((await evict('nobody.service.aaaaaaaa')).status, 404);
  assert.equal((await rig.call('POST', `${pods}/${pod}/eviction`, { body: { kind: 'Unit' } })).status, 400);
});
