import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { RequestAttributes } from '../../../api/server/identity.js';
import { RouteRegistry } from '../../../api/server/routes.js';
import { admin, anonymous, machine, type Rig, startRig, units } from './rig.js';

let rig: Rig;
const asked: RequestAttributes[] = [];
before(async () => {
  rig = await startRig({
    authorize: (identity, attributes) => {
      asked.push(attributes);
      return identity.kind === 'admin' ? { allowed: true } : { allowed: false, reason: 'not in this test' };
    },
    extraPlugins: [
      (routes) =>
        routes.add(
          {
            method: 'POST',
            path: '/only/machines',
            audience: 'machine',
            attributes: () => ({ method: 'post', path: '/only/machines' }),
            handler: () => 'in',
          },
          {
            method: 'POST',
            path: '/only/admins',
            audience: 'admin',
            attributes: () => ({ method: 'post', path: '/only/admins' }),
            handler: () => 'in',
          },
        ),
    ],
  });
});
after(() => rig.close());

const open = ['/healthz', '/livez', '/readyz', '/version'];

describe('anonymous', () => {
  before(() => {
    rig.who.identity = anonymous;
  });
  after(() => {
    rig.who.identity = admin;
  });

  test('every route but health and version is 401, and so is a path that does not exist', async () => {
    const tried: string[] = [];
    for (const { method, path, audience } of rig.app.routes) {
      const url = path.replace(/:[a-z]+/g, 'x');
      const { status } = await rig.call(method, url, method === 'GET' || method === 'HEAD' ? {} : { body: {} });
      if (audience === 'public') assert.notEqual(status, 401, url);
      else assert.equal(status, 401, `${method} ${url}`);
      if (audience === 'public') tried.push(path);
    }
    assert.deepEqual([...new Set(tried.map((path) => path.replace('/:check', '')))].sort(), [...open].sort());
    assert.equal((await rig.get('/nowhere')).status, 401);
    assert.equal((await rig.get('/nowhere')).json.reason, 'Unauthorized');
  });

  for (const path of open) test(`${path} answers`, async () => assert.equal((await rig.get(path)).status, 200));

  test('health tells strangers nothing but whether', async () => assert.equal((await rig.get('/readyz?verbose')).text, 'ok'));

  test('a body is not read before the 401', async () => {
    const { status } = await rig.call('POST', units, { body: ' '.repeat(5 * 1024 * 1024) });
    assert.equal(status, 401);
  });
});

describe('a machine', () => {
  before(() => {
    rig.who.identity = machine;
  });
  after(() => {
    rig.who.identity = admin;
  });

  test('whatever the authorizer refuses is 403, with its reason, before the handler sees it', async () => {
    for (const { method, path, audience } of rig.app.routes) {
      if (audience === 'public') continue;
      const url = path.replace(/:[a-z]+/g, 'x');
      const { status, json } = await rig.call(method, url, method === 'GET' || method === 'HEAD' ? {} : { body: {} });
      assert.equal(status, 403, `${method} ${url}`);
      // The second is fleet's form.
      assert.ok(json.reason === 'Forbidden' || json.error?.code === 403, `${method} ${url}`);
    }
  });

  test('the refusal names the resource as Kubernetes does', async () => {
    const { json } = await rig.get(`${units}/a.service`);
    assert.match(json.message, /^units\.flotilla\.dev "a\.service" is forbidden: machine f+ cannot get units: not in this test$/);
  });

  test("an admin's route is closed without asking the authorizer", async () => {
    asked.length = 0;
    assert.equal((await rig.call('POST', '/only/admins', { body: {} })).status, 403);
    assert.deepEqual(asked, []);
  });
});

test("a machine's route is closed to admins", async () => {
  assert.equal((await rig.call('POST', '/only/machines', { body: {} })).status, 403);
  assert.equal((await rig.call('POST', '/only/admins', { body: {} })).text, 'in');
});

for (const header of ['Impersonate-User', 'impersonate-group', 'Impersonate-Extra-Scopes']) {
  test(`${header} is refused, never ignored`, async () => {
    const { status, json } = await rig.get(units, { [header]: 'root' });
    assert.deepEqual([status, json.reason], [403, 'Forbidden']);
  });
}

for (const { name, method = 'GET', path, wants } of [
  { name: 'list', path: units, wants: { resource: 'units', verb: 'list' } },
  { name: 'get', path: `${units}/a.service`, wants: { resource: 'units', verb: 'get', name: 'a.service' } },
  {
    name: 'the name as it is meant, not as it is written',
    path: `${units}/dev%5Cx2da.mount`,
    wants: { resource: 'units', verb: 'get', name: 'dev\\x2da.mount' },
  },
  { name: 'watch by query', path: `${units}?watch=1&timeoutSeconds=1`, wants: { resource: 'units', verb: 'watch' } },
  { name: 'a watch that is switched off is a list', path: `${units}?watch=false`, wants: { resource: 'units', verb: 'list' } },
  {
    name: 'watch of one',
    path: `${units}/a.service?watch=true&timeoutSeconds=1`,
    wants: { resource: 'units', verb: 'watch', name: 'a.service' },
  },
  {
    name: 'status',
    path: `${units}/a.service/status`,
    wants: { resource: 'units', verb: 'get', name: 'a.service', subresource: 'status' },
  },
  { name: 'logs', path: `${units}/a.service/log`, wants: { resource: 'units', verb: 'get', name: 'a.service', subresource: 'log' } },
  { name: 'create', method: 'POST', path: units, wants: { resource: 'units', verb: 'create' } },
  { name: 'update', method: 'PUT', path: `${units}/a.service`, wants: { resource: 'units', verb: 'update', name: 'a.service' } },
  { name: 'patch', method: 'PATCH', path: `${units}/a.service`, wants: { resource: 'units', verb: 'patch', name: 'a.service' } },
  { name: 'delete', method: 'DELETE', path: `${units}/a.service`, wants: { resource: 'units', verb: 'delete', name: 'a.service' } },
  { name: 'events of any namespace', path: '/api/v1/namespaces/x/events', wants: { resource: 'events', verb: 'list' } },
  { name: 'components', path: '/apis/flotilla.dev/v1/components', wants: { resource: 'components', verb: 'list' } },
  { name: 'metrics', path: '/metrics', wants: { method: 'get', path: '/metrics' } },
]) {
  test(`the authorizer is asked about: ${name}`, async () => {
    asked.length = 0;
    await rig.call(method, path, method === 'GET' ? {} : { body: {} });
    assert.deepEqual(asked, [wants]);
  });
}

test('a trailing slash is the same route, under the same rules', async () => {
  asked.length = 0;
  assert.equal((await rig.get(`${units}/`)).status, 200);
  assert.deepEqual(asked, [{ resource: 'units', verb: 'list' }]);
});

test('the registry refuses a second route for the same method and path', () => {
  const routes = new RouteRegistry();
  const route = {
    method: 'GET',
    path: '/x',
    audience: 'public',
    attributes: () => ({ method: 'get', path: '/x' }),
    handler: () => '',
  } as const;
  routes.add(route);
  assert.throws(() => routes.add(route), /registered twice/);
});

test('nothing answers that is not in the registry', async () => {
  const listed = new Set([...rig.app.routes].map(({ method, path }) => `${method} ${path}`));
  const { fastify } = rig.app;
  const printed = fastify.printRoutes({ commonPrefix: false, includeMeta: false });
  const count = (printed.match(/\((?:[A-Z, ]+)\)/g) ?? []).flatMap((methods) => methods.slice(1, -1).split(', ')).length;
  assert.equal(count, listed.size);
});
