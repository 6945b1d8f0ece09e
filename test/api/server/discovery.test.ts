import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { kinds } from '../../../api/resources/registry.js';
import { type Rig, startRig } from './rig.js';

const aggregated = (version: string) => `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
/** As kubectl asks: newest first, plain last. */
const kubectl = `${aggregated('v2')},${aggregated('v2beta1')},application/json`;

let rig: Rig;
before(async () => {
  rig = await startRig();
});
after(() => rig.close());

test('version: what kubectl and people need, and the cluster it belongs to', async () => {
  const { json } = await rig.get('/version');
  assert.match(json.gitVersion, /^v1\.\d+\.\d+\+flotilla\.0\.1\.0$/);
  assert.deepEqual([json.major, json.clusterUid, json.flotillaVersion], ['1', 'cluster-uid', '0.1.0']);
});

test('discovery, plain: groups, the group, and what is in it', async () => {
  assert.deepEqual((await rig.get('/api')).json.versions, ['v1']);
  assert.deepEqual(
    (await rig.get('/apis')).json.groups.map((group: { name: string }) => group.name),
    ['flotilla.dev', 'metrics.k8s.io', 'authorization.k8s.io', 'authentication.k8s.io'],
  );
  const { json } = await rig.get('/apis/flotilla.dev');
  assert.deepEqual([json.kind, json.preferredVersion.groupVersion], ['APIGroup', 'flotilla.dev/v1']);
});

test('discovery, plain: every kind of the registry with its names, and only verbs that it has', async () => {
  for (const kind of kinds) {
    const { json } = await rig.get(kind.group === '' ? '/api/v1' : '/apis/flotilla.dev/v1');
    const listed = json.resources.find((resource: { name: string }) => resource.name === kind.plural);
    assert.deepEqual([listed.kind, listed.singularName, listed.namespaced], [kind.kind, kind.singular, false]);
    assert.equal(listed.verbs.includes('create'), kind.writable);
    assert.ok(listed.verbs.includes('watch'));
  }
});

test('every verb that discovery names is answered, every other refused', async () => {
  const { json } = await rig.get('/apis/flotilla.dev/v1');
  const methods = { create: 'POST', update: 'PUT', patch: 'PATCH', delete: 'DELETE' } as const;
  for (const resource of json.resources as { name: string; verbs: string[] }[]) {
    if (resource.name.includes('/')) continue;
    for (const [verb, method] of Object.entries(methods)) {
      const path = `/apis/flotilla.dev/v1/${resource.name}${verb === 'create' ? '' : '/x'}`;
      const { status } = await rig.call(method, path, { body: {} });
      assert.equal(status === 405, !resource.verbs.includes(verb), `${verb} ${resource.name}: ${status}`);
    }
  }
});

for (const version of ['v2', 'v2beta1']) {
  test(`discovery, aggregated ${version}: the content type says so, since that is what clients go by`, async () => {
    const { headers, json } = await rig.get('/apis', { accept: aggregated(version) });
    assert.equal(headers['content-type'], aggregated(version));
    assert.deepEqual([json.kind, json.apiVersion], ['APIGroupDiscoveryList', `apidiscovery.k8s.io/${version}`]);
    const group = json.items[0];
    assert.equal(group.metadata.name, 'flotilla.dev');
    const units = group.versions[0].resources.find(({ resource }: { resource: string }) => resource === 'units');
    assert.deepEqual([units.scope, units.responseKind.kind, units.shortNames.length > 0], ['Cluster', 'Unit', true]);
    assert.deepEqual(
      units.subresources.map(({ subresource }: { subresource: string }) => subresource),
      ['status', 'log', 'systemd-status'],
    );
  });
}

test('discovery: kubectl gets the newest form, a browser the plain one', async () => {
  assert.equal((await rig.get('/api', { accept: kubectl })).json.apiVersion, 'apidiscovery.k8s.io/v2');
  assert.equal((await rig.get('/api', { accept: 'text/html,*/*;q=0.8' })).json.kind, 'APIVersions');
});

for (const path of ['/api', '/apis', '/apis/flotilla.dev/v1', '/api/v1', '/openapi/v2', '/openapi/v3']) {
  test(`${path}: who has it already gets 304 and no body`, async () => {
    const { headers } = await rig.get(path, { accept: kubectl });
    const again = await rig.get(path, { accept: kubectl, 'if-none-match': headers.etag });
    assert.deepEqual([again.status, again.text, again.headers.etag], [304, '', headers.etag]);
    assert.equal((await rig.get(path, { accept: kubectl, 'if-none-match': '"other"' })).status, 200);
  });
}

test('the forms of one path have an ETag each', async () => {
  const tags = await Promise.all(
    [aggregated('v2'), aggregated('v2beta1'), 'application/json'].map(async (accept) => (await rig.get('/apis', { accept })).headers.etag),
  );
  assert.equal(new Set(tags).size, 3);
});

test('OpenAPI: the index leads to documents that may be kept for ever', async () => {
  const { json } = await rig.get('/openapi/v3');
  const { serverRelativeURL } = json.paths['apis/flotilla.dev/v1'];
  const document = await rig.get(serverRelativeURL);
  assert.equal(document.headers['cache-control'], 'public, immutable');
  assert.ok(Date.parse(document.headers.expires!) > Date.now());
  assert.equal(document.json.openapi, '3.0.0');
  const stale = await rig.get(serverRelativeURL.replace(/hash=.*/, 'hash=OLD'));
  assert.doesNotMatch(String(stale.headers['cache-control']), /immutable/);
});

test('OpenAPI: kubectl finds what makes it leave validation to the server', async () => {
  const { json } = await rig.get('/openapi/v3/apis/flotilla.dev/v1');
  const { patch } = json.paths['/apis/flotilla.dev/v1/units/{name}'];
  assert.deepEqual(patch['x-kubernetes-group-version-kind'], { group: 'flotilla.dev', version: 'v1', kind: 'Unit' });
  assert.ok(patch.parameters.some(({ name }: { name: string }) => name === 'fieldValidation'));
  assert.equal(patch.requestBody.content['application/strategic-merge-patch+json'], undefined);
});

test('OpenAPI v2: protobuf for those who name it, under the type that they can read; JSON for all others', async () => {
  const asked = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
  const protobuf = await rig.get('/openapi/v2', { accept: asked });
  assert.equal(protobuf.headers['content-type'], asked.replace('@', '.'));
  assert.equal(protobuf.text.includes('dev.flotilla.v1.Unit'), true);
  for (const accept of ['application/json', '*/*', `application/json, ${asked};q=0.5`]) {
    const { json, headers } = await rig.get('/openapi/v2', { accept });
    assert.equal(json.swagger, '2.0');
    assert.notEqual(headers.etag, protobuf.headers.etag);
  }
});
