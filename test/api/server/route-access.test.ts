/**
 * Everything that this server answers, tried with the certificate of a machine that has joined: made from the list of routes, so a route
 * that nobody thought of here fails the test.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { kinds } from '../../../api/resources/registry.js';
import type { Route } from '../../../api/server/routes.js';
import { assignmentOf, keys, put, unitRow, write } from '../objects/cluster-writer.js';
import {
  type Answer,
  ask,
  type Cluster,
  type Credentials,
  joinMachine,
  keptConnection,
  machineId,
  newCluster,
  type Server,
  until,
} from './agents/rig.js';

/** Routes that a machine may use, or everybody, with the reason. Whatever is not named here must refuse a machine. */
const notForbidden: Readonly<Record<string, string>> = {
  'GET /healthz': 'load balancers ask it',
  'GET /livez': 'load balancers ask it',
  'GET /readyz': 'load balancers ask it',
  'GET /healthz/:check': 'one line of the same',
  'GET /livez/:check': 'one line of the same',
  'GET /readyz/:check': 'one line of the same',
  'GET /version': 'clients ask it before they know who they are',
  'POST /agent/v1/join': 'a machine has no certificate before it has joined',
  'POST /agent/v1/renew': 'for its own certificate only',
};

const mine = machineId('a');
const other = machineId('b');
const secret = 'ExecStart=/bin/true #only-for-the-other-machine';

let cluster: Cluster;
let server: Server;
let certificate: Credentials;

before(async () => {
  cluster = await newCluster();
  server = await cluster.startServer('alpha');
  certificate = await joinMachine(server, mine);
  await joinMachine(server, other);
  await write(cluster.store, [
    ...unitRow('web.service', 'uid', 1, secret),
    put(keys.assignment(other, 'web.service'), assignmentOf('web.service', other, 'uid', 1, secret)),
  ]);
  await until('the cache', () => server.cache.joined('assignments', `web.service.${other.slice(0, 8)}`));
});
after(() => cluster.close());

/** HEAD asks what GET asks. */
const nameOf = ({ method, path }: Route) => `${method === 'HEAD' ? 'GET' : method} ${path}`;

/** Names that exist, of this machine and of others, and ones to guess. */
const names: Readonly<Record<string, readonly string[]>> = {
  units: ['web.service', 'guessed.service'],
  machines: [mine, other, machineId('c')],
  assignments: [`web.service.${other.slice(0, 8)}`, `web.service.${mine.slice(0, 8)}`],
  pods: [`web.service.${other.slice(0, 8)}`, `web.service.${mine.slice(0, 8)}`],
  nodes: [mine, other, 'guessed'],
};

function urlsOf(route: Route): string[] {
  const plural = route.path.split('/').find((part) => part in names);
  const guesses = names[plural ?? ''] ?? ['guess', other];
  const filled = guesses.map((name) =>
    route.path
      .replace(/:machine/, other)
      .replace(/:namespace/, 'default')
      .replace(/:unit/, 'web.service')
      .replace(/:[A-Za-z]+/g, name),
  );
  const plain = [...new Set(filled)];
  // A watch and a selection are the same route with other words behind it.
  return route.method === 'GET'
    ? plain.flatMap((url) => [url, `${url}?watch=true&timeoutSeconds=1`, `${url}?fieldSelector=metadata.name%3D${other}`])
    : plain;
}

/** And the refusal gives nothing away. */
function isRefusal({ status, text }: Answer, method = 'GET'): boolean {
  if (status !== 403 || text.includes('only-for-the-other-machine')) return false;
  if (method === 'HEAD') return true;
  const { reason, error } = JSON.parse(text);
  // The second is fleet's form.
  return reason === 'Forbidden' || error?.code === 403;
}

describe('a machine certificate', () => {
  test('is refused by every route that is not named here, whatever it asks for', async (t) => {
    const connection = keptConnection();
    t.after(() => connection.destroy());
    const tried: string[] = [];
    for (const route of server.routes) {
      if (nameOf(route) in notForbidden || route.audience === 'public') continue;
      for (const url of urlsOf(route)) {
        const body = route.method === 'GET' || route.method === 'HEAD' ? {} : { body: {} };
        const answer = await ask(server, route.method, url, { credentials: certificate, connection, ...body });
        assert.ok(
          isRefusal(answer, route.method),
          `${route.method} ${url} answered a machine ${answer.status}: ${answer.text.slice(0, 200)}`,
        );
      }
      tried.push(nameOf(route));
    }
    // Every kind, by every verb that it is served with.
    for (const { plural, group, version } of kinds) {
      const base = group === '' ? `/api/${version}/${plural}` : `/apis/${group}/${version}/${plural}`;
      assert.ok(tried.includes(`GET ${base}`), `list and watch of ${plural} were tried`);
      assert.ok(tried.includes(`GET ${base}/:name`), `get of ${plural} was tried`);
    }
    assert.ok(tried.length > 30, `${tried.length} routes`);
  });

  test('is let in only where it is named here', () => {
    const open = [...server.routes].filter(({ audience }) => audience === 'public').map(nameOf);
    for (const name of open) assert.ok(name in notForbidden, `${name} is public and nobody said why`);
    const all = new Set([...server.routes].map(nameOf));
    for (const name of Object.keys(notForbidden)) assert.ok(all.has(name), `${name} is named here and is no route`);
  });

  test('cannot pose as somebody else by what it says', async () => {
    for (const headers of [
      { 'impersonate-user': 'admin' },
      { 'x-remote-user': 'admin', 'x-remote-group': 'flotilla:admins' },
      { authorization: 'Bearer admin' },
      { 'x-forwarded-for': '127.0.0.1', host: 'localhost' },
    ]) {
      const answer = await ask(server, 'GET', '/apis/flotilla.dev/v1/units', { credentials: certificate, headers });
      assert.ok(isRefusal(answer), JSON.stringify(headers));
    }
  });

  test('is refused the same way for what exists and for what does not', async () => {
    const [real, guessed] = await Promise.all(
      ['web.service', 'guessed.service'].map((name) =>
        ask(server, 'GET', `/apis/flotilla.dev/v1/units/${name}`, { credentials: certificate }),
      ),
    );
    assert.equal(real!.text.replaceAll('web.service', 'X'), guessed!.text.replaceAll('guessed.service', 'X'));
  });
});

describe('nobody', () => {
  test('is refused by every route that is not public', async (t) => {
    const connection = keptConnection();
    t.after(() => connection.destroy());
    for (const route of server.routes) {
      if (route.audience === 'public') continue;
      const body = route.method === 'GET' || route.method === 'HEAD' ? {} : { body: {} };
      for (const url of urlsOf(route)) {
        const answer = await ask(server, route.method, url, { connection, ...body });
        assert.equal(answer.status, 401, `${route.method} ${url}`);
      }
    }
  });
});
