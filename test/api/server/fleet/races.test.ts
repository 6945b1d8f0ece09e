/** What is decided on a cache that is behind, what others do in between, and who waits for whom. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { openClusterCache } from '../../../../api/objects/cache.js';
import { openObjectDoor } from '../../../../api/objects/door.js';
import type { ObjectDoor } from '../../../../api/objects/ports.js';
import { kinds } from '../../../../api/resources/registry.js';
import { systemClock } from '../../../../runtime/clock.js';
import { silentLogger } from '../../../../runtime/log.js';
import { units as kubernetesUnits } from '../rig.js';
import { type FleetRig, hello, startFleetRig } from './rig.js';

const m1 = 'a'.repeat(32);
const unit = 'a.service';
const others = [...hello, { section: 'Service', name: 'User', value: 'core' }];

const opened: (() => Promise<void> | void)[] = [];
let rig: FleetRig;
beforeEach(async () => {
  rig = await startFleetRig();
  opened.push(() => rig.close());
  await rig.machine(m1, { address: '10.0.0.1' });
});
afterEach(async () => {
  for (let close = opened.pop(); close; close = opened.pop()) await close();
});

/** Another server of the same cluster, with a cache of its own. */
async function secondServer() {
  const store = rig.store.peer();
  const stop = new AbortController();
  const { cache, hub } = openClusterCache({ store, keys: rig.keys, clock: systemClock, log: silentLogger, signal: stop.signal });
  await cache.untilSynced();
  const door = openObjectDoor({ kinds, cache, store, keys: rig.keys });
  const second = await startFleetRig({ store, cache, hub, door });
  opened.push(async () => {
    await second.close();
    stop.abort();
    await store.close();
  });
  return { ...second, cache, peer: store };
}

test('a server that is behind refuses nothing because of what it has not seen', async () => {
  const second = await secondServer();
  second.peer.faults.watchesCut = true;
  await rig.fleet('PUT', `units/${unit}`, { options: hello });
  const steered = second.fleet('PUT', `units/${unit}`, { desiredState: 'launched' });
  const removed = second.fleet('DELETE', 'units/never.service');
  second.peer.faults.watchesCut = false;
  assert.equal((await steered).status, 204);
  assert.equal((await removed).status, 404);
  assert.equal((await second.fleet('GET', `units/${unit}`)).json.desiredState, 'launched', 'and its own write is there to be read');
});

test('a server that is behind deletes what was made again meanwhile', async () => {
  const second = await secondServer();
  await rig.fleet('PUT', `units/${unit}`, { options: hello, desiredState: 'launched' });
  await rig.schedule(unit, m1);
  await rig.fleet('DELETE', `units/${unit}`);
  await second.cache.untilRevision(rig.cache.revision);
  second.peer.faults.watchesCut = true;
  await rig.finishDeletion(unit, m1);
  await rig.fleet('PUT', `units/${unit}`, { options: hello });
  const removed = second.fleet('DELETE', `units/${unit}`);
  second.peer.faults.watchesCut = false;
  assert.equal((await removed).status, 204);
  assert.equal((await rig.fleet('GET', `units/${unit}`)).status, 404);
});

/** A server whose first write of the kind named finds that `rival` was faster. */
async function outrun(method: 'create' | 'patch', rival: () => Promise<unknown>): Promise<FleetRig> {
  let isFirst = true;
  const door = new Proxy(rig.door, {
    get(target, property: keyof ObjectDoor) {
      const write = target[property].bind(target) as (...given: unknown[]) => Promise<unknown>;
      return async (...given: unknown[]) => {
        if (property === method && isFirst) {
          isFirst = false;
          await rival();
        }
        return write(...given);
      };
    },
  });
  const server = await startFleetRig({ store: rig.store, cache: rig.cache, door });
  opened.push(() => server.close());
  return server;
}

test('options that changed since they were found to be the same are not taken for the same', async () => {
  await rig.fleet('PUT', `units/${unit}`, { options: hello });
  const server = await outrun('patch', () => rig.fleet('PUT', `units/${unit}`, { options: others, desiredState: 'launched' }));
  assert.equal(
    (await server.fleet('PUT', `units/${unit}`, { options: hello, desiredState: 'loaded' })).status,
    201,
    'overwritten, not steered',
  );
  const { json } = await rig.fleet('GET', `units/${unit}`);
  assert.deepEqual([json.options, json.desiredState], [hello, 'loaded']);
});

test('a unit that somebody else made meanwhile is changed, and one that somebody removed is made', async () => {
  const late = await outrun('create', () => rig.fleet('PUT', `units/${unit}`, { options: others }));
  assert.equal((await late.fleet('PUT', `units/${unit}`, { options: hello, desiredState: 'launched' })).status, 201);
  assert.deepEqual((await rig.fleet('GET', `units/${unit}`)).json.options, hello);

  const robbed = await outrun('patch', () => rig.fleet('DELETE', `units/${unit}`));
  assert.equal((await robbed.fleet('PUT', `units/${unit}`, { options: hello, desiredState: 'loaded' })).status, 201);
  assert.equal((await rig.fleet('GET', `units/${unit}`)).json.desiredState, 'loaded');
});

/** A unit that is being destroyed and whose machine does not let go of it, at a server with these limits. */
async function lingering(limits: { fleetPredecessorTimeoutMs?: number; maxFleetWaits?: number }) {
  const server = await startFleetRig({ store: rig.store, cache: rig.cache, door: rig.door, limits });
  opened.push(() => server.close());
  await rig.fleet('PUT', `units/${unit}`, { options: hello, desiredState: 'launched' });
  await rig.schedule(unit, m1);
  await rig.fleet('DELETE', `units/${unit}`);
  return server;
}

test('whoever makes a unit again whose old one does not go is told after a while, with the machine that it waits for', async () => {
  const server = await lingering({ fleetPredecessorTimeoutMs: 50 });
  const { status, json } = await server.fleet('PUT', `units/${unit}`, { options: hello });
  assert.equal(status, 409);
  assert.match(json.error.message, new RegExp(`a\\.service of before is still being destroyed, on ${m1}`));
  assert.equal((await rig.get(`${kubernetesUnits}/${unit}`)).json.metadata.deletionTimestamp !== undefined, true);
});

test('only so many may wait', async () => {
  const server = await lingering({ maxFleetWaits: 1 });
  const waiting = server.fleet('PUT', `units/${unit}`, { options: hello });
  // The second is refused as soon as the first waits.
  let refused = await server.fleet('PUT', `units/${unit}`, { desiredState: 'launched' });
  assert.equal(refused.status, 409, 'who brings no options does not wait');
  refused = await server.fleet('PUT', `units/${unit}`, { options: hello });
  assert.equal(refused.status, 429);
  await rig.finishDeletion(unit, m1);
  assert.equal((await waiting).status, 201);
});

test('a server that stops lets nobody wait', async () => {
  const server = await lingering({});
  const waiting = server.fleet('PUT', `units/${unit}`, { options: hello });
  await server.fleet('GET', 'units');
  await server.app.fastify.close();
  assert.equal((await waiting).status, 503);
});

test('nothing is made for a client that has gone', async () => {
  const server = await lingering({});
  const leaving = server.send('PUT', `/fleet/v1/units/${unit}`, { body: { options: hello } }).catch(() => 'gone');
  await server.fleet('GET', 'units');
  server.app.fastify.server.closeAllConnections();
  assert.equal(await leaving, 'gone');
  await rig.finishDeletion(unit, m1);
  await rig.fleet('GET', 'units');
  assert.equal((await rig.fleet('GET', `units/${unit}`)).status, 404);
});
