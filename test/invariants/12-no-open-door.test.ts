/** Invariant 12. Who gets in over which listener, asked at every route that there is; and a secret that is looked for where none may be. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { openClusterCache } from '../../api/objects/cache.js';
import { openObjectDoor } from '../../api/objects/door.js';
import { openEventRecorder } from '../../api/objects/events.js';
import { keysUnder } from '../../api/resources/keys.js';
import { kinds } from '../../api/resources/registry.js';
import { authorize } from '../../api/server/authorize.js';
import { ConnectionIdentities } from '../../api/server/connection-identity.js';
import { openListeners, parseListen } from '../../api/server/listeners.js';
import { openPki } from '../../api/server/trust/ca.js';
import { StartRefused } from '../../api/server/trust/cluster-meta.js';
import { systemClock } from '../../runtime/clock.js';
import { createLogger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { startRig, unitBody, units } from '../api/server/rig.js';
import { ManualClock } from '../rigs/manual-clock.js';
import { invariant } from './invariant.js';

invariant(12, 'nobody gets in over the network without TLS and a certificate', 'a stranger', async (plant, t) => {
  const dir = await mkdtemp(join(tmpdir(), 'flotilla-door-'));
  t.after(() => rm(dir, { recursive: true }));
  const pki = await openPki({ dir, store: new MemoryStore(), keys: keysUnder(), names: [], clock: systemClock });
  t.after(() => pki.close());
  const identities = new ConnectionIdentities(systemClock);
  // The fault: a listener that takes every connection for one over the unix socket.
  if (plant) {
    const mark = identities.mark.bind(identities);
    identities.mark = (socket) => mark(socket, 'unix-socket');
  }
  const rig = await startRig({ identityOf: identities.of, authorize });
  t.after(() => rig.close());
  const handler = rig.app.fastify.routing as http.RequestListener;

  const beyond = Object.values(networkInterfaces()).flatMap((all = []) =>
    all.filter(({ internal, family }) => !internal && family === 'IPv4'),
  );
  for (const host of ['0.0.0.0', '[::]', 'flotilla.example', ...beyond.map(({ address }) => address)]) {
    for (const insecureLoopback of [false, true]) {
      const opened = openListeners([parseListen(`http://${host}:0`)], { handler, identities, pki, insecureLoopback });
      await assert.rejects(opened, StartRefused, `plain http on ${host} lets a stranger in`);
    }
  }
  const plain = openListeners([parseListen('http://127.0.0.1:0')], { handler, identities, pki });
  await assert.rejects(plain, StartRefused, 'plain http on loopback is only for those who ask for it by name');
  await assert.rejects(openListeners([parseListen('https://0.0.0.0:0')], { handler, identities }), StartRefused);

  const listeners = await openListeners([parseListen('https://0.0.0.0:0')], { handler, identities, pki });
  t.after(() => listeners.close(0));
  const port = Number(new URL(listeners.endpoints[0]!).port);
  const unencrypted = http.get({ port, host: '127.0.0.1', path: '/healthz', agent: false });
  await assert.rejects(once(unencrypted, 'response'), 'it answers without TLS');

  const agent = new https.Agent({ keepAlive: true, ca: pki.caCertificate });
  t.after(() => agent.destroy());
  let asked = 0;
  for (const { method, path, audience } of rig.app.routes) {
    const request = https.request({ port, host: '127.0.0.1', method, path: path.replace(/:\w+/g, 'x.service'), agent });
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
    await once(response, 'end');
    if (audience === 'public') assert.ok(/^\/(healthz|livez|readyz|version)/.test(path), `${path} is public`);
    else assert.equal(response.statusCode, 401, `${method} ${path} answers a stranger with ${response.statusCode}`);
    asked += 1;
  }
  assert.ok(asked > 20, `${asked} routes were asked`);
});

invariant(12, 'no secret in logs, events, metrics or answers about what is wrong', 'the secret is in', async (plant, t) => {
  const canary = 'canary-5f1c9e';
  const lines: string[] = [];
  const log = createLogger({ component: 'server', level: 'debug', journal: false, write: (line) => void lines.push(line) });
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  // The lease of events lasts longer than the test.
  const store = new MemoryStore({ clock: new ManualClock() });
  const keys = keysUnder();
  const { cache, hub, stop } = openClusterCache({ store, keys, clock: systemClock, log, metrics });
  t.after(stop);
  await cache.untilSynced();
  const port = {
    get: store.get.bind(store),
    revision: store.revision.bind(store),
    // The fault: a store that quotes, in its error, what it was to write.
    commit: async (...[write, options]: Parameters<MemoryStore['commit']>) => {
      if (plant) throw new Error(`etcd refused ${JSON.stringify(write)}`);
      return store.commit(write, options);
    },
  };
  const door = openObjectDoor({ kinds, cache, store: port, keys, log });
  const rig = await startRig({ cache, hub, door, store, log, metrics });
  t.after(() => rig.close());
  const secret = (line: string) => unitBody('web.service', { spec: { content: `[Service]\n${line}\n` } });

  const answers: string[] = [];
  const call = async (...args: Parameters<typeof rig.call>) => void answers.push((await rig.call(...args)).text);
  const stored = await rig.call('POST', units, { body: secret(`ExecStart=/bin/login\nEnvironment=PASSWORD=${canary}`) });
  if (!plant) assert.equal(stored.status, 201);
  await call('POST', units, { body: secret(`ExecStart\nEnvironment=PASSWORD=${canary}\n[[`) });
  await call('POST', units, { body: `{"spec": {"password": "${canary}", ` });
  await call('POST', units, { body: `spec: {password: "${canary}"\n  - [`, type: 'application/yaml' });
  await call('PUT', `${units}/web.service`, { body: { ...unitBody('web.service'), spec: { pasword: canary } } });
  await call('GET', units.replace('units', 'nonsense'), { headers: { authorization: `Bearer ${canary}`, cookie: canary } });
  // A row that cannot be read is named, not quoted.
  const key = keys.object('units', 'broken.service');
  await store.commit({
    compares: [{ key, modRevision: 0 }],
    operations: [{ do: 'put', key, value: `{"spec": {"content": 7, "${canary}": "${canary}"}}` }],
  });
  await cache.untilRevision(await store.revision());
  await call('GET', `${units}/broken.service`);
  const events = openEventRecorder({ store, cache, keys, clock: systemClock, component: 'test', log });
  events.record({ kind: 'Unit', name: 'web.service' }, 'Warning', 'Test', 'It said nothing.');
  await events.stop();
  log.error('as careless as can be', {
    token: canary,
    request: { headers: { authorization: canary }, body: canary },
    url: `https://user:${canary}@host/`,
    key: `-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----`,
  });

  const written = (await store.list('/flotilla/events/')).entries.map(({ value }) => value);
  const places = { log: lines.join(''), metrics: await metrics.render(), events: written.join(''), answers: answers.join('') };
  assert.ok(lines.length > 0 && written.length > 0 && places.metrics.includes('flotilla_'));
  for (const [place, text] of Object.entries(places)) {
    const at = text.indexOf(canary);
    assert.ok(at < 0, `the secret is in the ${place}: ${text.slice(Math.max(0, at - 200), at + 40)}`);
  }
});
