/** Which routes there are, what is said where there is none, and that everything below fleet's paths is answered in fleet's form. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { authorize } from '../../../../api/server/authorize.js';
import { admin, anonymous, units as kubernetesUnits, machine, unitBody } from '../rig.js';
import { type FleetRig, hello, startFleetRig } from './rig.js';

let rig: FleetRig;
before(async () => {
  rig = await startFleetRig({ authorize });
  await rig.fleet('PUT', 'units/hello.service', { options: hello });
});
after(() => rig.close());

const onlyGet = 'only GET supported against this resource';
const onlyGetAndPatch = 'only GET and PATCH supported against this resource';
const onlyOnItems = 'only GET, PUT and DELETE supported against this resource';
const onlyHttpGet = 'only HTTP GET supported against this resource';

for (const { method, path, status, message } of [
  { method: 'GET', path: '', status: 405, message: '' },
  { method: 'POST', path: '', status: 405, message: '' },
  { method: 'GET', path: '/', status: 404, message: '' },
  { method: 'GET', path: '/jobs', status: 404, message: '' },
  { method: 'GET', path: '/units/', status: 404, message: '' },
  { method: 'GET', path: '/units/?alt=json', status: 404, message: '' },
  { method: 'GET', path: '/units/hello.service/', status: 404, message: '' },
  { method: 'GET', path: '/units/hello.service/status', status: 404, message: '' },
  { method: 'GET', path: '/state/', status: 404, message: '' },
  { method: 'GET', path: '/machines/', status: 404, message: '' },
  { method: 'GET', path: `/machines/${'a'.repeat(32)}`, status: 404, message: '' },
  { method: 'PATCH', path: '/machines/', status: 404, message: '' },
  { method: 'POST', path: '/units', status: 405, message: onlyGet },
  { method: 'PUT', path: '/units', status: 405, message: onlyGet },
  { method: 'DELETE', path: '/units', status: 405, message: onlyGet },
  { method: 'PATCH', path: '/units', status: 405, message: onlyGet },
  { method: 'POST', path: '/units/hello.service', status: 405, message: onlyOnItems },
  { method: 'PATCH', path: '/units/hello.service', status: 405, message: onlyOnItems },
  { method: 'PUT', path: '/state', status: 405, message: onlyGet },
  { method: 'DELETE', path: '/state/hello.service', status: 405, message: onlyGet },
  { method: 'PUT', path: '/machines', status: 405, message: onlyGetAndPatch },
  { method: 'DELETE', path: '/machines', status: 405, message: onlyGetAndPatch },
  { method: 'POST', path: '/discovery', status: 400, message: onlyHttpGet },
  { method: 'DELETE', path: '/discovery', status: 400, message: onlyHttpGet },
]) {
  test(`${method} ${path || '(the prefix)'} is ${status}, under both prefixes`, async () => {
    for (const prefix of ['/fleet/v1', '/v1-alpha']) {
      const answer = await rig.call(method, prefix + path);
      assert.deepEqual([answer.status, answer.json], [status, { error: { code: status, message } }]);
      assert.match(String(answer.headers.server), /^fleetd\//);
    }
  });
}

test('HEAD is 405 where GET is possible', async () => {
  for (const path of ['/units', '/units/hello.service', '/state', '/state/hello.service', '/machines']) {
    assert.equal((await rig.call('HEAD', `/fleet/v1${path}`)).status, 405, path);
  }
});

test('the older tree is the same', async () => {
  assert.deepEqual((await rig.get('/v1-alpha/units/hello.service')).json, (await rig.get('/fleet/v1/units/hello.service')).json);
  assert.equal((await rig.call('PUT', '/v1-alpha/units/old.service', { body: { options: hello } })).status, 201);
  assert.equal((await rig.call('DELETE', '/v1-alpha/units/old.service')).status, 204);
});

test('what is not below fleet’s paths is answered as ever', async () => {
  for (const path of ['/fleet', '/fleet/v2/units', '/fleet/v10', '/v1-alphabet', '/apis/flotilla.dev/v1/units/none.service']) {
    const answer = await rig.get(path);
    assert.deepEqual([answer.status, answer.json.kind, answer.headers.server], [404, 'Status', undefined], path);
  }
});

describe('what goes wrong before a route is reached has fleet’s form, too', () => {
  const isFleets = (answer: { status: number; json: { error?: { code?: number } } }, code: number) =>
    assert.deepEqual([answer.status, answer.json.error?.code], [code, code], JSON.stringify(answer.json));

  test('a URL that cannot be decoded', async () => isFleets(await rig.get('/fleet/v1/units/%zz'), 400));
  test('a name longer than any', async () => isFleets(await rig.get(`/fleet/v1/units/${'x'.repeat(600)}`), 400));
  test('a URL longer than any', async () => isFleets(await rig.get(`/fleet/v1/units?x=${'x'.repeat(9000)}`), 400));
  test('a type that is none', async () =>
    isFleets(await rig.call('PUT', '/fleet/v1/units/a.service', { body: '{}', type: 'nonsense' }), 415));
  test('a body that is too large', async () =>
    isFleets(await rig.call('PUT', '/fleet/v1/units/a.service', { body: `"${'x'.repeat(5_000_000)}"` }), 413));
  test('a body that nests too deeply', async () => {
    const answer = await rig.call('PUT', '/fleet/v1/units/a.service', { body: '['.repeat(5000) });
    isFleets(answer, 400);
    assert.match(answer.json.error.message, /^unable to decode body: /);
  });
  test('a client that wants to be somebody else', async () =>
    isFleets(await rig.get('/fleet/v1/units', { 'impersonate-user': 'bob' }), 403));
});

test('it is for admins: machines are refused, strangers are asked who they are', async () => {
  try {
    for (const [identity, code] of [
      [machine, 403],
      [anonymous, 401],
    ] as const) {
      rig.who.identity = identity;
      for (const [method, path] of [
        ['GET', 'units'],
        ['GET', 'units/hello.service'],
        ['PUT', 'units/hello.service'],
        ['DELETE', 'units/hello.service'],
        ['GET', 'state'],
        ['GET', 'machines'],
        ['PATCH', 'machines'],
        ['GET', 'discovery'],
      ] as const) {
        const answer = await rig.call(method, `/fleet/v1/${path}`);
        assert.deepEqual([answer.status, answer.json.error.code], [code, code], `${method} ${path}`);
      }
    }
  } finally {
    rig.who.identity = admin;
  }
});

test('while the cluster has not been read, everything is 503 in fleet’s words', async () => {
  const cache = new Proxy(rig.cache, {
    get: (target, property) => {
      if (property === 'synced') return false;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const early = await startFleetRig({ cache });
  try {
    for (const path of ['units', 'units/a.service', 'state', 'machines']) {
      const { status, json } = await early.fleet('GET', path);
      assert.deepEqual([status, json], [503, { error: { code: 503, message: 'fleet server unable to communicate with etcd' } }]);
    }
  } finally {
    await early.close();
  }
});

test('while etcd is away, what was read is shown and a write is 503', async () => {
  const away = await startFleetRig();
  try {
    await away.fleet('PUT', 'units/a.service', { options: hello });
    away.store.faults.unavailable = true;
    assert.equal((await away.fleet('GET', 'units/a.service')).status, 200);
    const { status, json } = await away.fleet('PUT', 'units/a.service', { desiredState: 'launched' });
    assert.deepEqual([status, json.error.code], [503, 503]);
  } finally {
    away.store.faults.unavailable = false;
    await away.close();
  }
});

describe('units made here and elsewhere are the same units', () => {
  test('one made here is an ordinary Unit', async () => {
    await rig.fleet('PUT', 'units/ours.service', { options: hello, desiredState: 'launched' });
    const { status, json } = await rig.get(`${kubernetesUnits}/ours.service`);
    assert.equal(status, 200);
    assert.equal(json.spec.content, '[Unit]\nDescription=Hello\n\n[Service]\nExecStart=/bin/sleep infinity\n');
    assert.equal(json.spec.desiredState, 'launched');
    assert.deepEqual(
      json.metadata.managedFields.map(({ manager }: { manager: string }) => manager),
      ['fleet'],
    );
    const table = await rig.get(kubernetesUnits, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
    assert.ok(table.json.rows.some(({ cells }: { cells: string[] }) => cells[0] === 'ours.service'));
    // What `diff` sends: nothing would change.
    const same = await rig.call('PATCH', `${kubernetesUnits}/ours.service?fieldManager=flotilla&force=true&dryRun=All`, {
      body: { ...unitBody('ours.service'), spec: { content: json.spec.content, desiredState: 'launched' } },
      type: 'application/apply-patch+yaml',
    });
    assert.equal(same.json.metadata.generation, json.metadata.generation);
  });

  test('one made elsewhere has its file as options, in order, whichever form it was given in', async () => {
    const content =
      '# a comment\n[Service]\nExecStartPre=-/bin/a\nExecStart=/bin/b \\\n  c\n[X-Fleet]\nConflicts=z*\n[Unit]\nDescription=d\n';
    await rig.call('POST', kubernetesUnits, { body: unitBody('file.service', { spec: { content } }) });
    assert.deepEqual((await rig.fleet('GET', 'units/file.service')).json, {
      currentState: 'inactive',
      desiredState: 'launched',
      name: 'file.service',
      options: [
        { section: 'Service', name: 'ExecStartPre', value: '-/bin/a' },
        { section: 'Service', name: 'ExecStart', value: '/bin/b \\\n  c' },
        { section: 'X-Fleet', name: 'Conflicts', value: 'z*' },
        { section: 'Unit', name: 'Description', value: 'd' },
      ],
    });
    const sections = { Service: { ExecStart: ['', '/bin/b'], User: 'core' } };
    await rig.call('POST', kubernetesUnits, { body: unitBody('map.service', { spec: { content: undefined, sections } }) });
    assert.deepEqual(
      (await rig.fleet('GET', 'units/map.service')).json.options.map(({ name, value }: { name: string; value: string }) => [name, value]),
      [
        ['ExecStart', ''],
        ['ExecStart', '/bin/b'],
        ['User', 'core'],
      ],
    );
    // Overwritten here, it is a file.
    assert.equal((await rig.fleet('PUT', 'units/map.service', { options: hello, desiredState: 'launched' })).status, 201);
    const { spec } = (await rig.get(`${kubernetesUnits}/map.service`)).json;
    assert.deepEqual(Object.keys(spec).sort(), ['content', 'desiredState']);
  });

  test('what a user of kubectl set beside the unit file stays', async () => {
    const spec = { placement: { conflicts: ['x*'] }, resources: { requests: { cpu: '500m' } } };
    await rig.call('POST', kubernetesUnits, { body: unitBody('kept.service', { labels: { app: 'a' }, spec }) });
    assert.equal((await rig.fleet('PUT', 'units/kept.service', { options: hello, desiredState: 'loaded' })).status, 201);
    const { json } = await rig.get(`${kubernetesUnits}/kept.service`);
    assert.deepEqual([json.spec.placement, json.spec.resources, json.metadata.labels], [spec.placement, spec.resources, { app: 'a' }]);
    // And is held against what it contradicts.
    const { status, json: refused } = await rig.fleet('PUT', 'units/kept.service', {
      options: [...hello, { section: 'X-Fleet', name: 'Replaces', value: 'y*' }],
    });
    assert.deepEqual([status, refused.error.message], [400, 'Conflicts cannot be used with Replaces']);
  });

  test('an instance that follows its template shows the template’s file; one made here is a copy (SEMANTICS 9)', async () => {
    await rig.call('POST', kubernetesUnits, { body: unitBody('t@.service') });
    await rig.call('POST', kubernetesUnits, { body: { ...unitBody('t@1.service'), spec: { desiredState: 'inactive' } } });
    const { options } = (await rig.fleet('GET', 'units/t%40.service')).json;
    assert.deepEqual((await rig.fleet('GET', 'units/t%401.service')).json.options, options);
    // The same options as it has: only the state changes, and it follows on.
    assert.equal((await rig.fleet('PUT', 'units/t%401.service', { options, desiredState: 'loaded' })).status, 204);
    assert.equal((await rig.get(`${kubernetesUnits}/t@1.service`)).json.spec.content, undefined);
    await rig.fleet('PUT', 'units/t%402.service', { options });
    assert.equal((await rig.get(`${kubernetesUnits}/t@2.service`)).json.spec.content, unitBody('t@.service').spec.content);
  });

  test('SEMANTICS 7: without a desired state a unit made here is inactive, and one made elsewhere launched', async () => {
    await rig.fleet('PUT', 'units/here.service', { options: hello });
    await rig.call('POST', kubernetesUnits, { body: unitBody('there.service') });
    const states = await Promise.all(
      ['here', 'there'].map(async (name) => (await rig.fleet('GET', `units/${name}.service`)).json.desiredState),
    );
    assert.deepEqual(states, ['inactive', 'launched']);
  });
});

/** A client as generators make it: it knows nothing but the document. */
async function generated(endpoint: string) {
  const document = JSON.parse(await (await fetch(`${endpoint}/fleet/v1/discovery`)).text());
  const root = document.rootUrl.replace('$ENDPOINT', endpoint) + document.servicePath;
  return {
    document,
    async call(resource: string, method: string, parameters: Record<string, string> = {}, body?: unknown) {
      const { httpMethod, path, parameters: known = {}, response, request } = document.resources[resource].methods[method];
      for (const name of Object.keys(parameters)) assert.ok(known[name], `${name} is a parameter`);
      assert.equal(body !== undefined, request !== undefined);
      const url = new URL(root + path.replace(/\{(\w+)\}/g, (_: string, name: string) => encodeURIComponent(parameters[name]!)));
      for (const [name, value] of Object.entries(parameters)) if (known[name].location === 'query') url.searchParams.set(name, value);
      url.searchParams.set('alt', 'json');
      const answer = await fetch(url, {
        method: httpMethod,
        ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      const text = await answer.text();
      if (text !== '' && answer.ok) this.check(response.$ref, JSON.parse(text), `${resource}.${method}`);
      return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
    },
    /** Every key of what came is one that the schema names, all the way down. */
    check(reference: string, value: Record<string, unknown>, at: string): void {
      const { properties } = document.schemas[reference];
      for (const [key, item] of Object.entries(value)) {
        assert.ok(properties[key], `${at}.${key} is in the schema ${reference}`);
        if (properties[key].type !== 'array') continue;
        for (const one of item as Record<string, unknown>[]) this.check(properties[key].items.$ref, one, `${at}.${key}`);
      }
    },
  };
}

test('a client made from the discovery document can do all that there is', async () => {
  const m1 = 'c'.repeat(32);
  await rig.machine(m1, { address: '10.0.0.9', labels: { az: 'z1' } });
  const client = await generated(rig.url);
  const { call } = client;
  const run = (...args: Parameters<typeof call>) => client.call(...args);
  assert.deepEqual([client.document.kind, client.document.id], ['discovery#restDescription', 'fleet:v1']);
  assert.deepEqual((await run('Machines', 'List')).body.machines.at(-1), { id: m1, metadata: { az: 'z1' }, primaryIP: '10.0.0.9' });
  const unitName = 'made@1.service';
  assert.equal((await run('Units', 'Set', { unitName }, { name: unitName, options: hello })).status, 201);
  assert.equal((await run('Units', 'Set', { unitName }, { desiredState: 'launched' })).status, 204);
  await rig.schedule(unitName, m1);
  await rig.report(unitName, m1);
  assert.equal((await run('Units', 'Get', { unitName })).body.machineID, m1);
  assert.ok((await run('Units', 'List')).body.units.length > 1);
  assert.equal((await run('UnitState', 'Get', { unitName })).body.systemdSubState, 'running');
  assert.equal((await run('UnitState', 'List', { unitName, machineID: m1 })).body.states.length, 1);
  assert.equal((await run('Units', 'Delete', { unitName })).status, 204);
  assert.equal((await run('Units', 'Get', { unitName })).status, 404);
});

test('a request body is read as it comes, in pieces', async () => {
  const body = JSON.stringify({ options: hello });
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const request = http.request({ port: rig.port, method: 'PUT', path: '/fleet/v1/units/pieces.service', headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.write(body.slice(0, 10));
    setImmediate(() => request.end(body.slice(10)));
  });
  assert.equal(status, 201);
});
