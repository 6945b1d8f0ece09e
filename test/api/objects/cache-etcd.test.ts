/** The cache over a real etcd, behind a proxy that misbehaves: what it knows in the end is what a fresh list says. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openClusterCache } from '../../../api/objects/cache.js';
import type { Joined } from '../../../api/objects/ports.js';
import { listVersion } from '../../../api/objects/resource-version.js';
import { systemClock } from '../../../runtime/clock.js';
import { silentLogger } from '../../../runtime/log.js';
import { createMetrics } from '../../../runtime/metrics.js';
import { openEtcdStore } from '../../../runtime/store/etcd-store.js';
import type { Store } from '../../../runtime/store/store.js';
import { type EtcdRig, startEtcd } from '../../rigs/etcd.js';
import { seededRandom, seedOr } from '../../rigs/seeded-random.js';
import { startProxy, type TcpProxy, wreakHavoc } from '../../rigs/tcp-proxy.js';
import { activeState, assignmentOf, keys, machineA, put, scheduledOn, unitRow, write } from './cluster-writer.js';

const text = '[Service]\nExecStart=/bin/sleep 60\n';
const patienceMs = 60_000;

let etcd: EtcdRig;
let proxy: TcpProxy;
let writer: Store;
let reader: Store;

before(async () => {
  etcd = await startEtcd();
  proxy = await startProxy(etcd.members[0]?.port ?? 0);
  writer = openEtcdStore({ endpoints: etcd.endpoints });
  reader = openEtcdStore({ endpoints: [proxy.url] });
});

after(async () => {
  await Promise.all([reader?.close(), writer?.close()]);
  await proxy?.close();
  await etcd?.stop();
});

const open = (store: Store) => {
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  return { metrics, ...openClusterCache({ store, keys, clock: systemClock, log: silentLogger, metrics }) };
};

test('cache on etcd: a revision of somebody else’s keys arrives, because the store is asked for progress', async () => {
  const { cache, stop } = open(reader);
  await cache.untilSynced();
  await cache.untilRevision(await write(writer, [put('/another/cluster', 'x')]), patienceMs);
  stop();
});

test('cache on etcd: through cuts, stalls and compactions it and everyone who watches end with what a fresh list says', async (t) => {
  const seed = seedOr(20261121);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const { cache, hub, metrics, stop } = open(reader);
  await cache.untilSynced();

  const seen = new Map<string, Joined>();
  const versions = new Map<string, number>();
  const wentBack: string[] = [];
  const watch = () => {
    seen.clear();
    for (const object of cache.joinedAll('units')) seen.set(object.metadata.uid, object);
    hub.watch('units', Number(listVersion(cache.revision)), {
      onEvents: (events) => {
        for (const { type, object } of events) {
          const version = Number(object.metadata.resourceVersion);
          if (version <= (versions.get(object.metadata.uid) ?? 0)) wentBack.push(object.metadata.name);
          versions.set(object.metadata.uid, version);
          if (type === 'DELETED') seen.delete(object.metadata.uid);
          else seen.set(object.metadata.uid, object);
        }
      },
      onExpired: watch,
    });
  };
  watch();

  const havoc = wreakHavoc(proxy, random, [20, 150]);
  let last = 0;
  for (let n = 0; n < 400; n++) {
    const unit = `u${Math.floor(random() * 40)}.service`;
    const uid = `uid-${unit}`;
    last = await write(writer, [
      ...unitRow(unit, uid, n, `${text}# ${n}`),
      put(keys.condition('units', unit), scheduledOn(machineA, n)),
      put(keys.assignment(machineA, unit), assignmentOf(unit, machineA, uid, n, text)),
      put(keys.state(machineA, unit), activeState(uid, n, text)),
    ]);
    if (n % 150 === 149) await etcd.compact(last);
  }
  havoc.stop();
  proxy.resume();
  proxy.cut();
  await cache.untilRevision(last, patienceMs);

  const fresh = open(writer);
  await fresh.cache.untilSynced();
  for (const plural of ['units', 'assignments']) assert.deepEqual(cache.joinedAll(plural), fresh.cache.joinedAll(plural));
  const byUid = (objects: Iterable<Joined>) => [...objects].sort((a, b) => (a.metadata.uid < b.metadata.uid ? -1 : 1));
  assert.deepEqual(byUid(seen.values()), byUid(fresh.cache.joinedAll('units')));
  assert.deepEqual(wentBack, [], 'a resourceVersion went back');
  assert.ok(havoc.history.length > 0, 'the proxy must have misbehaved');
  assert.match(await metrics.render(), /flotilla_informer_lost_changes_total\{name="cluster"\} 0/);
  fresh.stop();
  stop();
});
