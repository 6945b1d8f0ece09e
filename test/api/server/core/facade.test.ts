import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { namespaceKind } from '../../../../api/server/core/fixed.js';
import { nodeKind } from '../../../../api/server/core/nodes.js';
import { podKind } from '../../../../api/server/core/pods.js';
import { keys, put, remove, write } from '../../objects/cluster-writer.js';
import { type Rig, startRig, unitBody, units } from '../rig.js';
import { infoOf, machineA, machineB, ready, removeCopy, writeCopy, writeMachine } from './cluster.js';

const pods = '/api/v1/namespaces/default/pods';
const nodes = '/api/v1/nodes';
const asTable = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
const merge = 'application/strategic-merge-patch+json';

const namesIn = ({ json }: { json: { items: { metadata: { name: string } }[] } }) => json.items.map(({ metadata }) => metadata.name);

describe('nodes and pods', () => {
  let rig: Rig;
  let web: string;
  before(async () => {
    rig = await startRig();
    await writeMachine(rig, machineA, infoOf('web-1'));
    await writeMachine(rig, machineB, infoOf('web-2', { address: '10.0.0.2' }));
    web = await writeCopy(rig, 'web.service', machineA, { labels: { app: 'web' } });
    await writeCopy(rig, 'db.service', machineB, { labels: { app: 'db' } });
    await writeCopy(rig, 'pinned.service', machineA, { spec: { placement: { machineID: machineA } } });
  });
  after(() => rig.close());

  test('nodes have their hostnames for names, and kubectl finds its columns', async () => {
    assert.deepEqual(namesIn(await rig.get(nodes)), ['web-1', 'web-2']);
    const { json } = await rig.get(nodes, asTable);
    assert.deepEqual(
      json.columnDefinitions
        .filter(({ priority }: { priority: number }) => priority === 0)
        .map(({ name }: { name: string }) => name.toUpperCase()),
      ['NAME', 'STATUS', 'ROLES', 'AGE', 'VERSION'],
    );
    assert.deepEqual(json.rows[1].cells.slice(0, 3), ['web-2', 'Ready', '<none>']);
  });

  test('a node is found by the id of its machine too, and says its name', async () => {
    assert.equal((await rig.get(`${nodes}/${machineA}`)).json.metadata.name, 'web-1');
    const { status, json } = await rig.get(`${nodes}/web-9`);
    assert.deepEqual([status, json.message], [404, 'nodes "web-9" not found']);
  });

  test('describe node: its lease is the presence of its machine', async () => {
    const lease = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/web-1';
    assert.match((await rig.get(lease)).json.message, /not found: no server hears of its agent/);
    await rig.cache.untilRevision(
      await write(rig.store, [
        put(keys.presence(machineA), {
          info: infoOf('web-1'),
          machineUid: 'u',
          session: 's',
          server: 'alpha',
          leaseId: '1',
          since: '2026-01-01T00:00:00.5Z',
        }),
      ]),
    );
    assert.deepEqual((await rig.get(lease)).json.spec, {
      holderIdentity: 'alpha',
      leaseDurationSeconds: 10,
      acquireTime: '2026-01-01T00:00:00.500000Z',
    });
  });

  test('pods: in the namespace default, over all namespaces, and in no other', async () => {
    const all = ['db.service.bbbbbbbb', 'pinned.service.aaaaaaaa', 'web.service.aaaaaaaa'];
    assert.deepEqual(namesIn(await rig.get(pods)), all);
    assert.deepEqual(namesIn(await rig.get('/api/v1/pods')), all);
    assert.deepEqual(namesIn(await rig.get('/api/v1/namespaces/kube-system/pods')), []);
    assert.equal((await rig.get(`/api/v1/namespaces/kube-system/pods/${web}`)).status, 404);
    assert.equal((await rig.get(`${pods}/${web}`)).json.metadata.namespace, 'default');
  });

  test('a pod that is on its way out says since when, as kubectl wants to know', async () => {
    const removeAt = '2026-01-01T00:00:00Z';
    const leaving = await writeCopy(rig, 'leaving.service', machineB, { assignment: { remove: 'moves', removeAt } });
    const { json } = await rig.get(`${pods}/${leaving}`);
    assert.deepEqual([json.metadata.deletionTimestamp, json.metadata.deletionGracePeriodSeconds], [removeAt, 90]);
    assert.equal((await rig.get(`${pods}/${leaving}`, asTable)).json.rows[0].cells[2], 'Terminating');
    await removeCopy(rig, 'leaving.service', machineB);
  });

  test('nothing is deleted in a namespace where it is not', async () => {
    for (const namespace of ['kube-system', 'default']) {
      const { status } = await rig.call('DELETE', `/api/v1/namespaces/${namespace}/pods/${web}`, { body: {} });
      assert.equal(status, namespace === 'default' ? 429 : 404, namespace);
    }
  });

  for (const { query, names } of [
    { query: 'fieldSelector=spec.nodeName%3Dweb-1', names: ['pinned.service.aaaaaaaa', 'web.service.aaaaaaaa'] },
    { query: 'fieldSelector=spec.nodeName%3Dweb-1,status.phase!%3DRunning', names: [] },
    { query: 'fieldSelector=metadata.namespace%3Ddefault,metadata.name%3Ddb.service.bbbbbbbb', names: ['db.service.bbbbbbbb'] },
    { query: 'labelSelector=app%3Ddb', names: ['db.service.bbbbbbbb'] },
    { query: 'labelSelector=flotilla.dev/unit%3Dweb.service', names: ['web.service.aaaaaaaa'] },
  ]) {
    test(`pods by ${decodeURIComponent(query)}`, async () => {
      assert.deepEqual(namesIn(await rig.get(`/api/v1/pods?${query}`)), names);
    });
  }

  test('pages of pods fit together', async () => {
    const first = await rig.get(`${pods}?limit=2`);
    const second = await rig.get(`${pods}?limit=2&continue=${first.json.metadata.continue}`);
    assert.deepEqual([...namesIn(first), ...namesIn(second)], ['db.service.bbbbbbbb', 'pinned.service.aaaaaaaa', 'web.service.aaaaaaaa']);
  });

  test('cordon, uncordon, taint and label a node: its machine is changed', async () => {
    const machine = () => rig.cache.joined('machines', machineA)!;
    const patch = (body: unknown, type = merge) => rig.call('PATCH', `${nodes}/web-1?fieldManager=kubectl`, { type, body });
    const cordoned = await patch({ spec: { unschedulable: true } });
    assert.deepEqual([cordoned.status, cordoned.json.kind, cordoned.json.spec.unschedulable], [200, 'Node', true]);
    assert.equal((machine().spec as { unschedulable?: boolean }).unschedulable, true);
    await rig.call('PATCH', `/apis/flotilla.dev/v1/machines/${machineA}`, {
      type: 'application/merge-patch+json',
      body: { spec: { drain: true } },
    });
    await patch({ spec: { unschedulable: null } });
    assert.deepEqual(machine().spec, {}, 'and with the cordon the drain ends');
    await patch({ spec: { taints: [{ key: 'a', value: 'b', effect: 'NoSchedule' }] } });
    assert.deepEqual(machine().spec, { taints: [{ key: 'a', value: 'b', effect: 'NoSchedule' }] });
    await patch(
      [
        { op: 'remove', path: '/spec/taints' },
        { op: 'add', path: '/metadata/labels/disk', value: 'ssd' },
      ],
      'application/json-patch+json',
    );
    assert.deepEqual([machine().spec, machine().metadata.labels], [{}, { disk: 'ssd' }]);
    const { json } = await rig.get(`${nodes}/web-1`);
    const replaced = await rig.call('PUT', `${nodes}/web-1`, { body: { ...json, metadata: { ...json.metadata, labels: {} } } });
    assert.equal(replaced.status, 200, replaced.text);
    assert.deepEqual(machine().metadata.labels ?? {}, {});
    const stale = await rig.call('PUT', `${nodes}/web-1`, { body: { ...json, metadata: { ...json.metadata, labels: { disk: 'hdd' } } } });
    assert.equal(stale.json.reason, 'Conflict');
  });

  test('of taints that are added at the same time none is lost', async () => {
    const keys = ['a', 'b', 'c', 'd'];
    const set = await rig.call('PATCH', `${nodes}/web-1`, {
      type: merge,
      body: { spec: { taints: [{ key: 'x', effect: 'NoSchedule' }] } },
    });
    assert.equal(set.status, 200, set.text);
    // Slow enough that all of them are made out on the same node.
    const commit = rig.store.commit.bind(rig.store);
    rig.store.commit = async (...write) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return commit(...write);
    };
    const answers = await Promise.all(
      keys.map((key) => {
        const body = [{ op: 'add', path: '/spec/taints/-', value: { key, effect: 'NoSchedule' } }];
        return rig.call('PATCH', `${nodes}/web-1`, { type: 'application/json-patch+json', body });
      }),
    );
    rig.store.commit = commit;
    assert.deepEqual(
      answers.map(({ status }) => status),
      keys.map(() => 200),
    );
    const { spec } = (await rig.get(`${nodes}/web-1`)).json;
    assert.deepEqual(spec.taints.map(({ key }: { key: string }) => key).sort(), ['a', 'b', 'c', 'd', 'x']);
    await rig.call('PATCH', `${nodes}/web-1`, { type: merge, body: { spec: { taints: null } } });
  });

  test('nothing else about a node or a pod can be changed, and the answer says what can', async () => {
    const wrong = await rig.call('PATCH', `${nodes}/web-1`, { type: merge, body: { spec: { podCIDR: '10.0.0.0/8' } } });
    assert.deepEqual([wrong.status, wrong.json.details.causes[0].field], [422, 'spec.podCIDR']);
    const typo = await rig.call('PATCH', `${nodes}/web-1`, { type: merge, body: { metadata: { lables: { a: 'b' } } } });
    assert.deepEqual([typo.status, typo.json.details.causes[0].field], [422, 'metadata.lables']);
    assert.match(wrong.json.message, /only labels, annotations, spec\.unschedulable and spec\.taints/);
    const refusals: [string, string, RegExp][] = [
      ['DELETE', `${nodes}/web-1`, /machines\.flotilla\.dev/],
      ['POST', nodes, /join/],
      ['POST', pods, /units/],
      ['PATCH', `${pods}/${web}`, /units/],
      ['POST', '/api/v1/namespaces/default/services', /no services/],
    ];
    for (const [method, path, sentence] of refusals) {
      const { status, json } = await rig.call(method, path, { body: {}, type: method === 'PATCH' ? merge : 'application/json' });
      assert.deepEqual([status, sentence.test(json.message)], [405, true], `${method} ${path}: ${json.message}`);
    }
    const applied = await rig.call('PATCH', `${nodes}/web-1?fieldManager=me`, {
      type: 'application/apply-patch+yaml',
      body: { metadata: { name: 'web-1' } },
    });
    assert.match(applied.json.message, /apply to machines\.flotilla\.dev/);
  });

  test('namespaces and services: enough for clients that ask', async () => {
    assert.deepEqual(namesIn(await rig.get('/api/v1/namespaces')), ['default']);
    assert.equal((await rig.get('/api/v1/namespaces/default')).json.status.phase, 'Active');
    assert.equal((await rig.get('/api/v1/namespaces/other')).status, 404);
    const { json } = await rig.get('/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io/cluster-service%3Dtrue');
    assert.deepEqual([json.kind, json.items], ['ServiceList', []]);
    const create = (name: string) =>
      rig.call('POST', '/api/v1/namespaces', { body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } } });
    assert.equal((await create('default')).json.reason, 'AlreadyExists');
    assert.match((await create('other')).json.message, /default is the only namespace/);
  });

  test('what is served is as explain says, no field more', async () => {
    for (const [kind, path] of [
      [nodeKind, nodes],
      [podKind, pods],
      [namespaceKind, '/api/v1/namespaces'],
    ] as const) {
      const { items } = (await rig.get(path)).json;
      assert.ok(items.length > 0);
      for (const item of items) kind.schema.parse(item);
    }
  });

  test('explain: each kind of the facade has a document and a path, and of a node it says what can be changed', async () => {
    const { paths } = (await rig.get('/openapi/v3')).json;
    assert.deepEqual(Object.keys(paths).sort(), ['api/v1', 'apis/flotilla.dev/v1', 'apis/metrics.k8s.io/v1beta1']);
    const { json } = await rig.get(paths['api/v1'].serverRelativeURL);
    for (const plural of ['nodes', 'pods', 'namespaces', 'services', 'events']) assert.ok(json.paths[`/api/v1/${plural}`], plural);
    const { get, put, patch, delete: remove, post } = json.paths['/api/v1/nodes/{name}'];
    assert.deepEqual([get, put, patch, remove, post].map(Boolean), [true, true, true, false, false]);
    assert.ok(!('application/strategic-merge-patch+json' in patch.requestBody.content));
    const { spec } = json.components.schemas['io.k8s.api.core.v1.Node'].properties;
    assert.match(spec.properties.unschedulable.description, /Can be changed/);
    assert.equal((await rig.get('/openapi/v2')).json.definitions['io.k8s.api.core.v1.Pod'].properties.spec.type, 'object');
  });

  test('discovery: pods lie in a namespace, nodes do not, and none of them is in "all"', async () => {
    const { json } = await rig.get('/api/v1');
    const found = (name: string) => json.resources.find((resource: { name: string }) => resource.name === name);
    assert.deepEqual([found('pods').namespaced, found('nodes').namespaced, found('namespaces').namespaced], [true, false, false]);
    assert.deepEqual(found('nodes').verbs, ['get', 'list', 'watch', 'patch', 'update']);
    for (const resource of json.resources) assert.deepEqual(resource.categories ?? [], [], resource.name);
  });
});

describe('watches of the facade', () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await writeMachine(rig, machineA, infoOf('web-1'));
    await writeCopy(rig, 'web.service', machineA, { labels: { app: 'web' } });
  });
  after(() => rig.close());
  const versionOf = async (path: string) => (await rig.get(path)).json.metadata.resourceVersion;

  test('pods: what is assigned, what changes, what goes', async () => {
    const watch = await rig.watch(`${pods}?watch=true&resourceVersion=${await versionOf(pods)}`);
    await writeCopy(rig, 'new.service', machineA, { state: null });
    await writeCopy(rig, 'new.service', machineA);
    await removeCopy(rig, 'new.service', machineA);
    const name = 'new.service.aaaaaaaa';
    assert.deepEqual(await watch.types(3), [`ADDED ${name}`, `MODIFIED ${name}`, `DELETED ${name}`]);
    watch.close();
  });

  test('pods: a label of the unit, which is no part of the assignment, moves its pods into a selection and out of it', async () => {
    const from = await versionOf(pods);
    const watch = await rig.watch(`${pods}?watch=true&labelSelector=tier%3Dfront&resourceVersion=${from}`);
    const label = (tier: string | null) =>
      rig.call('PATCH', `${units}/web.service`, { type: 'application/merge-patch+json', body: { metadata: { labels: { tier } } } });
    await label('front');
    await label(null);
    const expected = ['ADDED web.service.aaaaaaaa', 'DELETED web.service.aaaaaaaa'];
    assert.deepEqual(await watch.types(2), expected);
    watch.close();
    const late = await rig.watch(`${pods}?watch=true&resourceVersion=${from}`);
    assert.deepEqual(
      await late.types(2),
      ['MODIFIED web.service.aaaaaaaa', 'MODIFIED web.service.aaaaaaaa'],
      'and who comes later is told, too',
    );
    late.close();
  });

  test('pods: a unit that vanishes together with its labels is still told to whoever selected by them', async () => {
    const name = await writeCopy(rig, 'gone.service', machineA, { labels: { app: 'gone' } });
    const selected = `${pods}?labelSelector=app%3Dgone`;
    const watch = await rig.watch(`${selected}&watch=true&resourceVersion=${await versionOf(selected)}`);
    await write(rig.store, [
      remove(keys.object('units', 'gone.service')),
      remove(keys.condition('units', 'gone.service')),
      remove(keys.assignment(machineA, 'gone.service')),
      remove(keys.state(machineA, 'gone.service')),
    ]);
    assert.deepEqual(await watch.types(1), [`DELETED ${name}`]);
    watch.close();
  });

  test('pods: when their machine is not heard of any more, and when it is back', async () => {
    const watch = await rig.watch(`${pods}?watch=true&resourceVersion=${await versionOf(pods)}`);
    await writeMachine(rig, machineA, infoOf('web-1'), ready('False', 'It does not answer.'));
    assert.equal((await watch.next())!.object.status.phase, 'Unknown');
    await writeMachine(rig, machineA, infoOf('web-1'));
    assert.equal((await watch.next())!.object.status.phase, 'Running');
    watch.close();
  });

  test('pods: what a watch has told of is never newer than what a list says later, whoever changed it', async () => {
    const name = await writeCopy(rig, 'dated.service', machineA);
    const watch = await rig.watch(`${pods}?watch=true&fieldSelector=metadata.name%3D${name}&resourceVersion=${await versionOf(pods)}`);
    const told = async () => Number((await watch.next())!.object.metadata.resourceVersion);
    const read = async () => Number(await versionOf(`${pods}/${name}`));
    await writeMachine(rig, machineA, infoOf('web-1'), ready('False', 'It does not answer.'));
    assert.equal(await read(), await told(), 'its machine');
    await writeMachine(rig, machineA, infoOf('web-1'));
    assert.equal(await read(), await told(), 'its machine again');
    const annotations = { note: 'a' };
    await rig.call('PATCH', `${units}/dated.service`, { type: 'application/merge-patch+json', body: { metadata: { annotations } } });
    assert.equal(await read(), await told(), 'a note in its unit, which it does not show');
    await writeCopy(rig, 'dated.service', machineA, { state: { restarts: 1 } });
    assert.equal(await read(), await told(), 'its state');
    watch.close();
    await removeCopy(rig, 'dated.service', machineA);
  });

  test('pods: a watch from long ago dates each event by itself, so that who comes back misses nothing', async () => {
    const from = await versionOf(pods);
    const name = await writeCopy(rig, 'replayed.service', machineA);
    await writeCopy(rig, 'other.service', machineA);
    await rig.call('PATCH', `${units}/replayed.service`, {
      type: 'application/merge-patch+json',
      body: { metadata: { labels: { late: 'yes' } } },
    });
    const watch = await rig.watch(`${pods}?watch=true&resourceVersion=${from}`);
    const [first, second] = [await watch.next(), await watch.next()];
    assert.deepEqual([first!.object.metadata.name, second!.object.metadata.name], [name, 'other.service.aaaaaaaa']);
    assert.ok(Number(first!.object.metadata.resourceVersion) < Number(second!.object.metadata.resourceVersion));
    watch.close();
    for (const unit of ['replayed.service', 'other.service']) await removeCopy(rig, unit, machineA);
  });

  test('nodes: a machine becomes one when its agent has told of it', async () => {
    const watch = await rig.watch(`${nodes}?watch=true&resourceVersion=${await versionOf(nodes)}`);
    await writeMachine(rig, machineB, undefined);
    assert.deepEqual(namesIn(await rig.get(nodes)), ['web-1']);
    await writeMachine(rig, machineB, infoOf('web-2'));
    await writeMachine(rig, machineB, infoOf('web-2'), ready('False'));
    assert.deepEqual(await watch.types(2), ['ADDED web-2', 'MODIFIED web-2']);
    watch.close();
    await rig.cache.untilRevision(
      await write(rig.store, [remove(keys.object('machines', machineB)), remove(keys.condition('machines', machineB))]),
    );
    assert.deepEqual(namesIn(await rig.get(nodes)), ['web-1']);
  });

  test('nodes: who takes the hostname of another gets neither name nor pods of it, and every watch starts anew', async () => {
    const from = await versionOf(nodes);
    const [ofNodes, ofPods] = [
      await rig.watch(`${nodes}?watch=true&resourceVersion=${from}`),
      await rig.watch(`${pods}?watch=true&resourceVersion=${from}`),
    ];
    await writeMachine(rig, machineB, infoOf('web-1'));
    for (const watch of [ofNodes, ofPods]) {
      let line = await watch.next();
      while (line && line.type !== 'ERROR') line = await watch.next();
      assert.equal(line?.object.reason, 'Expired');
    }
    assert.deepEqual(namesIn(await rig.get(nodes)), [machineA, machineB]);
    assert.deepEqual(namesIn(await rig.get(`/api/v1/pods?fieldSelector=spec.nodeName%3D${machineA}`)), ['web.service.aaaaaaaa']);
    assert.equal((await rig.get(`${nodes}/web-1`)).status, 404, 'a name that two share means neither');
    assert.equal((await (await rig.watch(`${nodes}?watch=true&resourceVersion=${from}`)).next())?.object.code, 410);
    await rig.cache.untilRevision(
      await write(rig.store, [put(keys.condition('machines', machineB), { info: infoOf('web-2'), conditions: [] })]),
    );
    assert.deepEqual(namesIn(await rig.get(nodes)), ['web-1', 'web-2'], 'and both are called as they should be again');
  });
});

test('a unit that is there before its assignment is no pod', async () => {
  const rig = await startRig();
  await rig.call('POST', units, { body: unitBody('idle.service') });
  assert.deepEqual(namesIn(await rig.get(pods)), []);
  await rig.close();
});
