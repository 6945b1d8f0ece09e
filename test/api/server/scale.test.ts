/** The scale subresource as kubectl and autoscalers use it, and where it is announced. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { type Rig, startRig } from './rig.js';

const sets = '/apis/flotilla.dev/v1/unitsets';
const web = `${sets}/web`;
const merge = { 'content-type': 'application/merge-patch+json' };
const json = { 'content-type': 'application/json-patch+json' };
const manifest = {
  apiVersion: 'flotilla.dev/v1',
  kind: 'UnitSet',
  metadata: { name: 'web' },
  spec: { replicas: 2, template: { spec: { content: '[Service]\nExecStart=/bin/true\n' } } },
};

let rig: Rig;
before(async () => {
  rig = await startRig();
});
after(() => rig.close());
beforeEach(async () => {
  await rig.call('DELETE', web);
  assert.equal((await rig.call('POST', sets, { body: manifest })).status, 201);
});

const replicas = async () => (await rig.get(web)).json.spec.replicas;

test('scale: GET shows the number, what there is, and how to find it', async () => {
  const { status, json: scale } = await rig.get(`${web}/scale`);
  const { metadata, ...rest } = scale;
  assert.equal(status, 200);
  assert.deepEqual(rest, {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    spec: { replicas: 2 },
    status: { replicas: 0, selector: 'flotilla.dev/unitset=web' },
  });
  assert.deepEqual([metadata.name, metadata.uid], ['web', (await rig.get(web)).json.metadata.uid]);
});

test('scale: PATCH as kubectl scale sends it, under the name of its User-Agent', async () => {
  const headers = { ...merge, 'user-agent': 'kubectl/v1.33.0 (linux/amd64)' };
  const { status, json: scale } = await rig.call('PATCH', `${web}/scale`, { headers, body: { spec: { replicas: 5 } } });
  assert.deepEqual([status, scale.kind, scale.spec.replicas], [200, 'Scale', 5]);
  const { metadata, spec } = (await rig.get(web)).json;
  assert.deepEqual([spec.replicas, metadata.generation], [5, 2]);
  const owner = metadata.managedFields.find(
    ({ fieldsV1 }: { fieldsV1: { 'f:spec'?: object } }) => 'f:replicas' in (fieldsV1['f:spec'] ?? {}),
  );
  assert.equal(owner.manager, 'kubectl');
});

test('scale: PUT as kubectl scale --current-replicas sends it is refused when the set has changed', async () => {
  const { json: scale } = await rig.get(`${web}/scale`);
  const put = (body: object) => rig.call('PUT', `${web}/scale`, { body });
  assert.equal((await put({ ...scale, spec: { replicas: 4 } })).status, 200);
  const stale = await put({ ...scale, spec: { replicas: 9 } });
  assert.deepEqual([stale.status, stale.json.reason], [409, 'Conflict']);
  assert.equal(await replicas(), 4);
});

test('scale: PATCH with a resourceVersion is refused when the set has changed, also by a server that does not know it yet', async () => {
  const etcd = new MemoryStore();
  const behind = etcd.peer();
  const [first, second] = [await startRig({}, etcd.peer()), await startRig({}, behind)];
  try {
    await first.call('POST', sets, { body: manifest });
    const { metadata } = (await second.get(`${web}/scale`)).json;
    behind.faults.watchesCut = true;
    await first.call('PATCH', `${web}/scale`, { headers: merge, body: { spec: { replicas: 5 } } });
    const commit = behind.commit.bind(behind);
    behind.commit = async (...write) => {
      const outcome = await commit(...write);
      behind.faults.watchesCut = false;
      return outcome;
    };
    const { resourceVersion } = metadata;
    const stale = await second.call('PATCH', `${web}/scale`, {
      headers: merge,
      body: { metadata: { resourceVersion }, spec: { replicas: 9 } },
    });
    assert.deepEqual([stale.status, stale.json.reason], [409, 'Conflict']);
    assert.equal((await first.get(web)).json.spec.replicas, 5);
  } finally {
    await first.close();
    await second.close();
  }
});

test('scale: a JSON patch, and one whose test fails', async () => {
  const patch = (value: number) => ({
    headers: json,
    body: [
      { op: 'test', path: '/spec/replicas', value },
      { op: 'replace', path: '/spec/replicas', value: 7 },
    ],
  });
  assert.equal((await rig.call('PATCH', `${web}/scale`, patch(3))).status, 422);
  assert.equal((await rig.call('PATCH', `${web}/scale`, patch(2))).status, 200);
  assert.equal(await replicas(), 7);
});

test('scale: a dry run changes nothing', async () => {
  const { status, json: scale } = await rig.call('PATCH', `${web}/scale?dryRun=All`, { headers: merge, body: { spec: { replicas: 5 } } });
  assert.deepEqual([status, scale.spec.replicas, await replicas()], [200, 5, 2]);
});

for (const { name, method = 'PATCH', headers = merge, body, code, message, path = 'web' } of [
  {
    name: 'no number at all is not zero',
    method: 'PUT',
    headers: {},
    body: { spec: {} },
    code: 422,
    message: /spec\.replicas: Required value/,
  },
  { name: 'null is not zero', body: { spec: { replicas: null } }, code: 422, message: /spec\.replicas: Required value/ },
  { name: 'a negative number', body: { spec: { replicas: -1 } }, code: 422, message: /expected a whole number, 0 or more/ },
  { name: 'a word', body: { spec: { replicas: 'three' } }, code: 422, message: /expected a whole number/ },
  { name: 'more than a set can have', body: { spec: { replicas: 5_000 } }, code: 422, message: /spec\.replicas/ },
  { name: 'another kind', method: 'PUT', headers: {}, body: manifest, code: 400, message: /expected a Scale/ },
  {
    name: 'another name',
    method: 'PUT',
    headers: {},
    body: { metadata: { name: 'api' }, spec: { replicas: 1 } },
    code: 400,
    message: /does not match/,
  },
  {
    name: 'an apply',
    headers: { 'content-type': 'application/apply-patch+yaml' },
    body: { spec: { replicas: 1 } },
    code: 415,
    message: /cannot be applied/,
  },
  {
    name: 'a set that is not there',
    body: { spec: { replicas: 1 } },
    path: 'nope',
    code: 404,
    message: /unitsets\.flotilla\.dev "nope" not found/,
  },
] as { name: string; method?: string; headers?: Record<string, string>; body: object; code: number; message: RegExp; path?: string }[]) {
  test(`scale: ${name} is refused in words`, async () => {
    const answer = await rig.call(method, `${sets}/${path}/scale`, { headers, body });
    assert.equal(answer.status, code, answer.json.message);
    assert.match(answer.json.message, message);
    assert.equal(await replicas(), 2);
  });
}

test('scale: kinds without a number of replicas have none', async () => {
  assert.equal((await rig.get('/apis/flotilla.dev/v1/units/a.service/scale')).status, 404);
});

test('scale: discovery says what it answers with, in both forms', async () => {
  const { json: plain } = await rig.get('/apis/flotilla.dev/v1');
  const listed = plain.resources.find(({ name }: { name: string }) => name === 'unitsets/scale');
  assert.deepEqual([listed.group, listed.version, listed.kind, listed.verbs], ['autoscaling', 'v1', 'Scale', ['get', 'patch', 'update']]);
  const { json: all } = await rig.get('/apis', { accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' });
  const resources = all.items.flatMap(
    ({ versions }: { versions: { resources: { resource: string; subresources?: object[] }[] }[] }) => versions[0]!.resources,
  );
  const { subresources } = resources.find(({ resource }: { resource: string }) => resource === 'unitsets');
  assert.deepEqual(subresources.find(({ subresource }: { subresource: string }) => subresource === 'scale').responseKind, {
    group: 'autoscaling',
    version: 'v1',
    kind: 'Scale',
  });
});

test('scale: OpenAPI describes it without claiming that the set itself is a Scale', async () => {
  const { json: document } = await rig.get('/openapi/v3/apis/flotilla.dev/v1');
  const path = document.paths[`${sets}/{name}/scale`];
  assert.deepEqual(Object.keys(path).sort(), ['get', 'parameters', 'patch', 'put']);
  assert.deepEqual(path.patch['x-kubernetes-group-version-kind'], { group: 'autoscaling', version: 'v1', kind: 'Scale' });
  assert.equal(document.paths[`${sets}/{name}`].patch['x-kubernetes-group-version-kind'].kind, 'UnitSet');
  const { $ref: reference } = path.get.responses[200].content['application/json'].schema;
  assert.ok(document.components.schemas[reference.split('/').at(-1)].properties.spec.properties.replicas);
  const { placement } =
    document.components.schemas['dev.flotilla.v1.UnitSet'].properties.spec.properties.template.properties.spec.properties;
  assert.equal(placement.properties.conflicts['x-kubernetes-list-type'], 'set', 'list types of units hold in the template');
});
