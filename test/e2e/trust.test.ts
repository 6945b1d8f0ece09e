/** Who gets in, what they may do, and what is said to those who may not: real machines, real TLS, the program as it is shipped. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { kinds } from '../../api/resources/registry.js';
import { parseYaml } from '../../api/resources/yaml.js';
import type { Route } from '../../api/server/routes.js';
import { ask as askSocket } from '../../cli/roles/dev/ask.js';
import type { SystemdMachine } from '../../cli/roles/dev/machine.js';
import { freePort } from '../../cli/roles/dev/ports.js';
import { run } from '../../cli/roles/dev/run.js';
import { ask, type Credentials, FakeAgent, keptConnection, newCluster } from '../api/server/agents/rig.js';
import { conditionOf, program, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';

/** What an agent keeps of its cluster. */
const Membership = z.looseObject({ key: z.string(), certificate: z.string(), ca: z.string(), machineUid: z.string() });
const stateDir = '/var/lib/flotilla-agent';
const secretText = 'only-for-the-other-machine';

describe('trust between server, machines and admins', () => {
  let cluster: TestCluster;
  let m1: SystemdMachine;
  let m2: SystemdMachine;
  let directory: string;
  before(async () => {
    cluster = await TestCluster.start({ machines: 2 });
    [m1, m2] = cluster.dev.machines as [SystemdMachine, SystemdMachine];
    directory = await mkdtemp(join(tmpdir(), 'flotilla-trust-'));
    await cluster.apply(
      unitManifest('mine.service', stampingUnit(), { placement: { machineID: m1.options.machineId } }),
      unitManifest('theirs.service', stampingUnit({ note: secretText }), { placement: { machineID: m2.options.machineId } }),
      // Kept off m1, so that it begins on m2.
      unitManifest('moves.service', stampingUnit(), {
        placement: { machineMetadata: ['zone=z2', 'zone=z1'], conflicts: ['mine.service'] },
      }),
    );
    for (const name of ['mine.service', 'theirs.service', 'moves.service']) await cluster.untilReady(name);
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  const url = () => cluster.dev.servers[0]!.agentUrl;
  async function credentialsOf(machine: SystemdMachine): Promise<Credentials> {
    const { key, certificate, ca } = Membership.parse(JSON.parse(await machine.must(['cat', `${stateDir}/pki/membership.json`])));
    return { key, ca, cert: certificate };
  }
  const caOfCluster = async () => (await credentialsOf(m1)).ca;
  const tokenOf = async (machine: SystemdMachine): Promise<string> => {
    const [, token] = /^FLOTILLA_TOKEN=(.*)$/m.exec(await machine.must(['cat', '/etc/flotilla/agent.env'])) ?? [];
    assert.ok(token);
    return token;
  };
  /** Where the journal of a machine ends now. */
  const cursorOf = async (machine: SystemdMachine): Promise<string> => {
    const [, cursor] = /^-- cursor: (.*)$/m.exec(await machine.must(['journalctl', '-n0', '--show-cursor'])) ?? [];
    assert.ok(cursor);
    return cursor;
  };
  const agentSaid = (machine: SystemdMachine, cursor: string) =>
    machine.must(['journalctl', '-u', 'flotilla-agent', '-o', 'cat', `--after-cursor=${cursor}`]);
  const server = (flags: readonly string[], pki: string) =>
    run(process.execPath, [program, 'server', `--etcd=${cluster.dev.etcdUrls.join(',')}`, `--pki-dir=${pki}`, ...flags], {
      timeoutMs: 60_000,
      env: { ...process.env, NO_COLOR: '1' },
    });

  describe('a machine certificate, tried against every route of the server', () => {
    /** What a machine may ask for, and everybody may; whatever else there is must be 403. */
    const open: Readonly<Record<string, string>> = {
      'GET /healthz': 'load balancers ask it',
      'GET /livez': 'load balancers ask it',
      'GET /readyz': 'load balancers ask it',
      'GET /version': 'clients ask it before they know who they are',
      'POST /agent/v1/join': 'a machine has no certificate before it has joined',
      'POST /agent/v1/renew': 'for its own certificate only',
    };
    let routes: Route[];
    before(async () => {
      // The list of everything that a server answers, put together as cli/roles/server.ts does it.
      const model = await newCluster();
      routes = [...(await model.startServer('model')).routes];
      await model.close();
    });

    const nameOf = ({ method, path }: Route) => `${method === 'HEAD' ? 'GET' : method} ${path}`;
    const isPublic = (route: Route) => route.audience === 'public';
    const names = (): Readonly<Record<string, readonly string[]>> => {
      const [mine, theirs] = [m1.options.machineId, m2.options.machineId];
      return {
        units: ['theirs.service', 'guessed.service'],
        machines: [mine, theirs, 'c'.repeat(32)],
        assignments: [`theirs.service.${theirs.slice(0, 8)}`, `mine.service.${mine.slice(0, 8)}`, 'guessed'],
        pods: [`theirs.service.${theirs.slice(0, 8)}`, `mine.service.${mine.slice(0, 8)}`, 'guessed'],
        nodes: [mine, theirs, 'guessed'],
      };
    };
    function targets(route: Route): string[] {
      const plural = route.path.split('/').find((part) => part in names());
      const guesses = names()[plural ?? ''] ?? ['guess', m2.options.machineId];
      const filled = guesses.map((name) =>
        route.path
          .replace(/:machine/, m2.options.machineId)
          .replace(/:namespace/, 'default')
          .replace(/:unit/, 'theirs.service')
          .replace(/:[A-Za-z]+/g, name),
      );
      const plain = [...new Set(filled)];
      // A watch, a page and a selection are the same route with other words behind it.
      return route.method === 'GET'
        ? plain.flatMap((path) => [
            path,
            `${path}?watch=true&timeoutSeconds=1`,
            `${path}?fieldSelector=spec.machine%3D${m2.options.machineId}`,
          ])
        : plain;
    }
    const bodyFor = (route: Route) =>
      route.method === 'GET' || route.method === 'HEAD' ? {} : { body: { spec: { desiredState: 'inactive' } } };

    test('the list that is tried holds everything that the running server documents', async () => {
      const tried = new Set(routes.map(({ path }) => path.replace(/:([A-Za-z]+)/g, '{}')));
      const index = JSON.parse((await askSocket(cluster.dev.servers[0]!.socket, '/openapi/v3')).body) as {
        paths: Record<string, { serverRelativeURL: string }>;
      };
      let documented = 0;
      for (const { serverRelativeURL } of Object.values(index.paths)) {
        const { paths } = JSON.parse((await askSocket(cluster.dev.servers[0]!.socket, serverRelativeURL)).body) as {
          paths: Record<string, unknown>;
        };
        for (const path of Object.keys(paths)) {
          documented += 1;
          assert.ok(tried.has(path.replace(/\{[A-Za-z]+\}/g, '{}')), `${path} is documented and not tried`);
        }
      }
      assert.ok(documented >= 2 * kinds.length, `${documented} documented paths`);
    });

    test('is 403 everywhere but on its own stream, by get, list, watch, create, patch, delete and guess', async (t) => {
      const credentials = await credentialsOf(m1);
      const tried = new Set<string>();
      const connection = keptConnection();
      t.after(() => connection.destroy());
      for (const route of routes) {
        if (isPublic(route) || nameOf(route) in open) continue;
        for (const target of targets(route)) {
          const answer = await ask({ url: url(), ca: credentials.ca }, route.method, target, {
            credentials,
            connection,
            ...bodyFor(route),
          });
          assert.equal(answer.status, 403, `${route.method} ${target}: ${answer.text.slice(0, 300)}`);
          assert.equal(answer.text.includes(secretText), false);
          if (route.method === 'HEAD') continue;
          // The second is fleet's form.
          const { reason, error } = JSON.parse(answer.text);
          assert.ok(reason === 'Forbidden' || error?.code === 403, answer.text);
        }
        tried.add(nameOf(route));
      }
      for (const { plural, group, version } of kinds) {
        const base = group === '' ? `/api/${version}/${plural}` : `/apis/${group}/${version}/${plural}`;
        for (const name of [`GET ${base}`, `GET ${base}/:name`]) assert.ok(tried.has(name), `${name} was tried`);
      }
      for (const verb of ['POST', 'PUT', 'PATCH', 'DELETE'])
        assert.ok(
          [...tried].some((name) => name.startsWith(`${verb} `)),
          verb,
        );
      for (const name of Object.keys(open))
        assert.ok(
          routes.some((route) => nameOf(route) === name),
          `${name} is named here and is no route`,
        );
      assert.equal((await cluster.unit('theirs.service'))?.status?.active, 'active', 'and nothing happened');
    });

    test('and without a certificate: 401, but for what is public', async (t) => {
      const ca = await caOfCluster();
      const connection = keptConnection();
      t.after(() => connection.destroy());
      for (const route of routes) {
        for (const target of targets(route)) {
          if (isPublic(route)) continue;
          const { status, text } = await ask({ url: url(), ca }, route.method, target, { connection, ...bodyFor(route) });
          assert.equal(status, 401, `${route.method} ${target}: ${text.slice(0, 300)}`);
        }
        if (isPublic(route)) assert.ok(nameOf(route).replace('/:check', '') in open, `${nameOf(route)} is public and nobody said why`);
      }
      for (const path of ['/healthz', '/livez', '/readyz', '/version'])
        assert.equal((await ask({ url: url(), ca }, 'GET', path)).status, 200, path);
    });

    test("a certificate of another cluster's CA is nobody's", async () => {
      const other = await newCluster();
      try {
        const { certificate, key } = await (await other.startServer('elsewhere')).pki.issueAdmin('admin');
        const credentials = { ca: await caOfCluster(), cert: certificate, key };
        const { status } = await ask({ url: url(), ca: credentials.ca }, 'GET', '/apis/flotilla.dev/v1/units', { credentials });
        assert.equal(status, 401);
      } finally {
        await other.close();
      }
    });
  });

  describe('a machine that is removed', () => {
    let former: Credentials;

    test('its stream closes at once, its unit runs elsewhere, its assignments go', async () => {
      former = await credentialsOf(m2);
      assert.equal((await cluster.unit('moves.service'))?.status?.machine, m2.options.machineId);
      await cluster.apply(unitManifest('moves.service', stampingUnit(), { placement: { machineMetadata: ['zone=z2', 'zone=z1'] } }));
      await cluster.untilReady('moves.service');
      const cursor = await cursorOf(m2);
      await cluster.dev.mustCli(['delete', 'machine', m2.options.machineId]);
      // In these words it says why: the end of its presence would have others.
      await until('the agent to be told', async () => /Machine object was removed/.test(await agentSaid(m2, cursor)));
      await cluster.untilUnit(
        'moves.service',
        'on m1',
        ({ status }) => status?.machine === m1.options.machineId && status.active === 'active',
      );
      await until('its assignments to go', async () => {
        const { items } = await cluster.dev.list<{ spec: { machine: string } }>('assignments');
        return items.every(({ spec }) => spec.machine === m1.options.machineId);
      });
      const pinned = await cluster.untilUnit(
        'theirs.service',
        'without a machine',
        (unit) => conditionOf(unit, 'Scheduled')?.status === 'False',
      );
      assert.match(conditionOf(pinned, 'Scheduled')?.message ?? '', new RegExp(`no machine ${m2.options.machineId}`));
    });

    test('its certificate is worthless', async () => {
      const server = { url: url(), ca: former.ca };
      for (const [method, path, body] of [
        ['GET', '/apis/flotilla.dev/v1/units', undefined],
        ['POST', '/agent/v1/renew', { csr: 'x' }],
      ] as const) {
        const { status } = await ask(server, method, path, { credentials: former, ...(body ? { body } : {}) });
        assert.ok(status === 403 || status === 400, `${method} ${path}: ${status}`);
      }
      const stream = await FakeAgent.connect(server, former);
      stream.send({
        type: 'hello',
        info: { hostname: 'm2', address: '127.0.0.1', bootID: 'b', agentVersion: '0', cpus: 1, memoryBytes: 1 },
        labels: {},
      });
      assert.match((await stream.untilClosed()).reason, /removed/);
      assert.deepEqual(stream.all('snapshot'), [], 'it was told nothing');
      assert.equal((await cluster.dev.list('machines')).items.length, 1, 'and it made no Machine');
    });
  });

  describe('joining', () => {
    /** Starts the agent of m2 anew with this token; returns what it says in its journal. */
    async function joinWith(token: string, says: RegExp): Promise<void> {
      await m2.must(['systemctl', 'stop', 'flotilla-agent']);
      await m2.must(['systemctl', 'reset-failed', 'flotilla-agent']);
      const environment = await m2.must(['cat', '/etc/flotilla/agent.env']);
      await m2.writeFile('/etc/flotilla/agent.env', environment.replace(/^FLOTILLA_TOKEN=.*$/m, `FLOTILLA_TOKEN=${token}`));
      const cursor = await cursorOf(m2);
      await m2.must(['systemctl', 'start', '--no-block', 'flotilla-agent']);
      let journal = '';
      await until(`the journal to say ${says}`, async () => {
        journal = await agentSaid(m2, cursor);
        return says.test(journal);
      }).catch((error: Error) => assert.fail(`${error.message}\n${journal}`));
    }
    const etcd = (path: string, body: unknown) =>
      fetch(`${cluster.dev.etcdUrls[0]}${path}`, { method: 'POST', body: JSON.stringify(body) }).then(
        (reply) => reply.json() as Promise<{ kvs?: { key: string; value: string; lease: string }[] }>,
      );
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const tokens = async () =>
      (await etcd('/v3/kv/range', { key: base64('/flotilla/tokens/'), range_end: base64('/flotilla/tokens0') })).kvs ?? [];

    before(() => m2.must(['rm', '-rf', stateDir]));

    test('without a token: the agent says how to get one', () =>
      joinWith('', /has not joined a cluster: give it a token from `flotilla token create`/));

    test('a garbled token is not even sent', async () => {
      const garbled = (await tokenOf(m1)).replace('flotilla-', 'flotila-');
      await joinWith(garbled, /not a join token; `flotilla token create` prints one/);
    });

    test('a token that another machine has used', async () => {
      await joinWith(await tokenOf(m1), /unknown, used or expired; make a new one with: flotilla token create/);
    });

    test('an expired token, whether etcd still has it or not', async () => {
      const before = new Set((await tokens()).map(({ key }) => key));
      const [lapsed, revoked] = [
        (await cluster.dev.mustCli(['token', 'create'])).trim(),
        (await cluster.dev.mustCli(['token', 'create'])).trim(),
      ];
      const made = (await tokens()).filter(({ key }) => !before.has(key));
      assert.equal(made.length, 2);
      const keyOf = (token: string) =>
        base64(`/flotilla/tokens/${createHash('sha256').update(token.slice('flotilla-'.length).split('.')[0]!).digest('hex')}`);
      const [first, second] = [lapsed, revoked].map((token) => made.find(({ key }) => key === keyOf(token))) as [
        (typeof made)[0],
        (typeof made)[0],
      ];
      // etcd may be late with a lease, after its own leader changed: the time that stands in the record counts.
      const stored = Buffer.from(first.value, 'base64').toString();
      const lapsedRecord = stored.replace(/"expiresAt":"[^"]*"/, `"expiresAt":"${new Date(Date.now() - 1_000).toISOString()}"`);
      assert.notEqual(lapsedRecord, stored);
      await etcd('/v3/kv/put', { key: first.key, value: base64(lapsedRecord), lease: first.lease });
      await etcd('/v3/lease/revoke', { ID: second.lease });
      for (const token of [lapsed, revoked]) await joinWith(token, /unknown, used or expired/);
    });

    test("another cluster's token: the agent sees by the CA that this is not its server, and keeps the secret to itself", async () => {
      const other = await TestCluster.start({ machines: 0 });
      try {
        await joinWith(
          (await other.dev.mustCli(['token', 'create'])).trim(),
          /is not of the cluster that the token is from: its CA is another one/,
        );
      } finally {
        await other.stop();
      }
    });

    test('none of these made a Machine; a good token does, and the machine lets go of what is no longer its own', async () => {
      assert.equal((await cluster.dev.list('machines')).items.length, 1);
      assert.equal((await cluster.show(m2, 'moves.service', 'ActiveState')).ActiveState, 'active', 'left alone while nobody could say');
      const pid = (await cluster.show(m2, 'theirs.service', 'MainPID')).MainPID;
      await joinWith((await cluster.dev.mustCli(['token', 'create'])).trim(), /joined the cluster/);
      await cluster.dev.untilMachinesReady(2);
      await cluster.untilReady('theirs.service');
      assert.equal((await cluster.show(m2, 'theirs.service', 'MainPID')).MainPID, pid, 'what belongs here again was adopted');
      await until('the old copy to go', async () => (await cluster.show(m2, 'moves.service', 'LoadState')).LoadState === 'not-found');
      assert.equal((await cluster.unit('moves.service'))?.status?.machine, m1.options.machineId);
    });
  });

  describe('a server that must not start', () => {
    const pki = () => join(cluster.dev.directory, 'pki');

    test('plain http beyond loopback refuses to start', async () => {
      const { code, stdout, stderr } = await server([`--listen=http://0.0.0.0:${await freePort()}`, '--insecure-loopback'], pki());
      assert.deepEqual([code, stdout], [2, ''], stderr);
      assert.match(stderr, /^flotilla: .*would let everybody who reaches this address act as admin.*https:\/\//m);
    });

    test('plain http on loopback too, unless it is asked for by name', async () => {
      const { code, stderr } = await server([`--listen=http://127.0.0.1:${await freePort()}`], pki());
      assert.equal(code, 2, stderr);
      assert.match(stderr, /lets every user of this computer act as admin: say --insecure-loopback/);
    });

    test("a second server without the CA's key refuses to start and says how to bring it", async () => {
      const empty = join(directory, 'pki');
      const { code, stderr } = await server([`--listen=unix://${join(directory, 'two.sock')}`], empty);
      assert.equal(code, 2, stderr);
      assert.match(
        stderr,
        new RegExp(`private key is not here: copy ca\\.key from the pki directory of a server that runs to ${empty}/ca\\.key`),
      );
      assert.equal((await readdir(empty)).length, 0, 'and leaves no key of its own in the way');
    });

    test('an address that is taken: it says so and ends', async () => {
      const empty = join(directory, 'pki');
      await writeFile(join(empty, 'ca.key'), await readFile(join(pki(), 'ca.key')), { mode: 0o600 });
      const { code, stderr } = await server([`--listen=${url()}`], empty);
      assert.notEqual(code, 0);
      assert.notEqual(code, 124, 'it did not hang');
      assert.match(stderr, /EADDRINUSE|in use/);
    });

    test('a pki directory that others can look into refuses too', async () => {
      const loose = await mkdtemp(join(directory, 'loose-'));
      await chmod(loose, 0o755);
      const { code, stderr } = await server([`--listen=unix://${join(directory, 'three.sock')}`], loose);
      assert.notEqual(code, 0);
      assert.match(stderr, /chmod 700/);
    });
  });

  test('the unix socket is for its owner and group only', async () => {
    assert.equal((await stat(cluster.dev.servers[0]!.socket)).mode & 0o7777, 0o660);
  });

  describe('flotilla kubeconfig', () => {
    const Kubeconfig = z.looseObject({
      clusters: z.tuple([z.looseObject({ cluster: z.looseObject({ server: z.string(), 'certificate-authority-data': z.string() }) })]),
      users: z.tuple([z.looseObject({ user: z.looseObject({ 'client-certificate-data': z.string(), 'client-key-data': z.string() }) })]),
    });
    const decoded = (text: string) => Buffer.from(text, 'base64').toString();
    let text: string;
    let credentials: Credentials;
    let server: { url: string; ca: string };
    before(async () => {
      text = await cluster.dev.mustCli(['kubeconfig']);
      const { clusters, users } = Kubeconfig.parse(parseYaml(text));
      server = { url: clusters[0].cluster.server, ca: decoded(clusters[0].cluster['certificate-authority-data']) };
      credentials = {
        ca: server.ca,
        cert: decoded(users[0].user['client-certificate-data']),
        key: decoded(users[0].user['client-key-data']),
      };
    });

    test('holds all that a TLS client needs, to read and to write', async () => {
      assert.equal(server.url, url());
      const list = await ask(server, 'GET', '/apis/flotilla.dev/v1/units', { credentials });
      assert.equal(list.status, 200, list.text);
      const body = JSON.parse(unitManifest('by-tls.service', '[Service]\nExecStart=/bin/true\n', { desiredState: 'inactive' }));
      assert.equal((await ask(server, 'POST', '/apis/flotilla.dev/v1/units', { credentials, body })).status, 201);
      assert.equal((await ask(server, 'DELETE', '/apis/flotilla.dev/v1/units/by-tls.service', { credentials })).status, 200);
    });

    test('is not enough to make the next one, which would make it last for ever', async () => {
      const { status, text } = await ask(server, 'POST', '/apis/flotilla.dev/v1/kubeconfigs', { credentials, body: {} });
      assert.equal(status, 403);
      assert.match(text, /unix socket/);
    });

    test('kubectl takes it', async () => {
      const file = join(directory, 'kubeconfig');
      await writeFile(file, text, { mode: 0o600 });
      const { code, stdout, stderr } = await run('kubectl', [`--kubeconfig=${file}`, 'get', 'machines', '-o', 'name']);
      assert.equal(code, 0, stderr);
      assert.deepEqual(stdout.trim().split('\n').sort(), [m1, m2].map(({ options }) => `machine.flotilla.dev/${options.machineId}`).sort());
    });
  });

  test('invariant 12: no token and no key in any command line, log or event', async () => {
    const tokens = [await tokenOf(m1), await tokenOf(m2), (await cluster.dev.mustCli(['token', 'create'])).trim()];
    const caKey = await readFile(join(cluster.dev.directory, 'pki/ca.key'), 'utf8');
    const pems = [caKey, (await credentialsOf(m1)).key, (await credentialsOf(m2)).key];
    const secrets = [
      ...tokens.map((token) => token.slice('flotilla-'.length).split('.')[0]!),
      // The second line of a PEM: the first ones of all EC keys begin alike.
      ...pems.map((pem) => pem.trim().split('\n')[2]!),
      'PRIVATE KEY',
    ];
    for (const secret of secrets) assert.ok(secret.length > 10);

    const texts = new Map<string, string>();
    for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
      texts.set(`/proc/${pid}/cmdline`, await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
    }
    for (const part of [...cluster.dev.servers.map(({ process }) => process), ...cluster.dev.etcds])
      texts.set(part.options.logFile, await part.log());
    for (const machine of [m1, m2])
      texts.set(`journal of ${machine.options.hostname}`, await machine.must(['journalctl', '-o', 'export', '-u', 'flotilla-agent']));
    texts.set('events', (await askSocket(cluster.dev.servers[0]!.socket, '/api/v1/events')).body);
    texts.set('metrics', (await askSocket(cluster.dev.servers[0]!.socket, '/metrics')).body);
    for (const [where, text] of texts) {
      for (const secret of secrets) assert.equal(text.includes(secret), false, `${where} holds ${secret.slice(0, 6)}...`);
    }
    assert.ok(
      [...texts.values()].some((text) => text.includes('--pki-dir')),
      'the command line of the server was among them',
    );
  });
});
