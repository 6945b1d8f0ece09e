import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { keys, put, write } from '../../objects/cluster-writer.js';
import { type Rig, startRig } from '../rig.js';
import { infoOf, machineA, machineB, writeCopy, writeMachine } from './cluster.js';

const events = '/api/v1/namespaces/default/events';
let rig: Rig;
let web: string;
before(async () => {
  rig = await startRig();
  await writeMachine(rig, machineA, infoOf('web-1'));
  await writeMachine(rig, machineB, infoOf('web-2'));
  web = await writeCopy(rig, 'web.service', machineA);
  for (const machine of [machineA, machineB]) await writeCopy(rig, 'all.service', machine, { spec: { placement: { global: true } } });
});
after(() => rig.close());

let count = 0;
type Told = { reason: string; lastTimestamp?: string; source?: { component: string; host?: string } };

async function tell(plural: 'units' | 'machines', name: string, { reason, ...more }: Told): Promise<void> {
  const at = '2026-06-01T00:00:00Z';
  const id = (++count).toString(16).padStart(16, '0');
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${id}`, creationTimestamp: at },
    involvedObject: {
      apiVersion: 'flotilla.dev/v1',
      kind: plural === 'units' ? 'Unit' : 'Machine',
      name,
      uid: rig.cache.joined(plural, name)!.metadata.uid,
    },
    reason,
    message: 'It happened.',
    type: 'Normal',
    count: 1,
    firstTimestamp: at,
    lastTimestamp: at,
    source: { component: 'scheduler', host: 'alpha' },
    ...more,
  };
  await rig.cache.untilRevision(await write(rig.store, [put(keys.event(plural, name, id), event)]));
}

/** Reasons of the events that a client finds. */
async function about(...terms: string[]): Promise<string[]> {
  const { json } = await rig.get(`${events}?fieldSelector=${encodeURIComponent(terms.join(','))}`);
  return json.items.map(({ reason }: { reason: string }) => reason).sort();
}

test('events of a unit and of a machine are those of its pod and its node, and stand once in the list of all', async () => {
  await tell('units', 'web.service', { reason: 'Scheduled' });
  await tell('units', 'web.service', { reason: 'LongAgo', lastTimestamp: '2020-01-01T00:00:00Z' });
  await tell('machines', machineA, { reason: 'Joined' });
  const { uid } = (await rig.get(`/api/v1/namespaces/default/pods/${web}`)).json.metadata;
  const ofPod = [`involvedObject.name=${web}`, 'involvedObject.namespace=default', `involvedObject.uid=${uid}`];
  assert.deepEqual(await about(...ofPod), ['Scheduled'], 'what was before it was assigned is about another pod');
  assert.deepEqual(await about(...ofPod, 'involvedObject.kind=Pod'), ['Scheduled']);
  const node = (await rig.get('/api/v1/nodes/web-1')).json.metadata;
  assert.deepEqual(await about('involvedObject.kind=Node', 'involvedObject.name=web-1', `involvedObject.uid=${node.uid}`), ['Joined']);
  assert.deepEqual(await about('involvedObject.kind=Unit'), ['LongAgo', 'Scheduled']);
  const { json } = await rig.get(`${events}?fieldSelector=involvedObject.kind%3DPod`);
  assert.deepEqual(json.items[0].involvedObject, { apiVersion: 'v1', kind: 'Pod', name: web, namespace: 'default', uid });
  assert.equal((await rig.get(events)).json.items.length, 3);
});

test('of a global unit each machine’s word is about its own copy, and what is said of the whole about none', async () => {
  await tell('units', 'all.service', { reason: 'Everywhere' });
  for (const [reason, machine] of [
    ['OnA', machineA],
    ['OnB', machineB],
  ] as const) {
    await tell('units', 'all.service', { reason, source: { component: 'agent', host: machine.slice(0, 8) } });
  }
  assert.deepEqual(await about('involvedObject.kind=Pod', 'involvedObject.name=all.service.aaaaaaaa'), ['OnA']);
  assert.deepEqual(await about('involvedObject.kind=Pod', 'involvedObject.name=all.service.bbbbbbbb'), ['OnB']);
  assert.deepEqual(await about('involvedObject.name=all.service'), ['Everywhere', 'OnA', 'OnB']);
});

test('events of a pod can be watched', async () => {
  const { json } = await rig.get(events);
  const watch = await rig.watch(
    `${events}?watch=true&resourceVersion=${json.metadata.resourceVersion}&fieldSelector=involvedObject.kind%3DPod,involvedObject.name%3D${web}`,
  );
  await tell('units', 'all.service', { reason: 'Other' });
  await tell('units', 'web.service', { reason: 'Seen' });
  const { type, object } = (await watch.next())!;
  assert.deepEqual([type, object.reason, object.involvedObject.name], ['ADDED', 'Seen', web]);
  watch.close();
});
