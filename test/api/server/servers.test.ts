import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keysUnder } from '../../../api/resources/keys.js';
import { openServerRegistry } from '../../../api/server/servers.js';
import { silentLogger } from '../../../runtime/log.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { ManualClock } from '../../rigs/manual-clock.js';

const keys = keysUnder();

function rig() {
  const clock = new ManualClock();
  const etcd = new MemoryStore({ clock });
  const open = (name: string) => {
    const store = etcd.peer();
    const self = { name, urls: [`https://${name}:7443`], version: '1' };
    const registry = openServerRegistry({ store, keys, self, clock, random: () => 0.5, log: silentLogger });
    return { store, registry };
  };
  return { clock, etcd, open };
}

const names = (registry: { all(): { name: string }[] }) => registry.all().map(({ name }) => name);

test('servers learn of each other, each says its own URL first, and one that ends is gone at once', async () => {
  const { clock, open } = rig();
  const [a, b] = [open('a'), open('b')];
  assert.deepEqual(names(a.registry), ['a'], 'a server knows itself before it knows etcd');
  await clock.advance(10);
  assert.deepEqual(
    [names(a.registry), names(b.registry)],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
  );
  assert.deepEqual(b.registry.urls(), ['https://b:7443', 'https://a:7443']);
  await b.registry.close();
  await clock.advance(10);
  assert.deepEqual(names(a.registry), ['a']);
  await a.registry.close();
});

test('a server that is closed while it still gets onto the list ends, and is off the list', async () => {
  const { clock, etcd, open } = rig();
  const { registry } = open('a');
  let isClosed = false;
  const closing = registry.close().then(() => {
    isClosed = true;
  });
  await clock.advance(10);
  assert.equal(isClosed, true);
  await closing;
  assert.deepEqual((await etcd.list(keys.servers)).entries, []);
});

test('a server that was killed falls off the list when its lease ends', async () => {
  const { clock, open } = rig();
  const [a, b] = [open('a'), open('b')];
  await clock.advance(10);
  await b.store.close();
  await clock.advance(11_000);
  assert.deepEqual(names(a.registry), ['a']);
  await a.registry.close();
});

test('a server that etcd was away from comes back onto the list by itself', async () => {
  const { clock, open } = rig();
  const [a, b] = [open('a'), open('b')];
  await clock.advance(10);
  b.store.faults.unavailable = true;
  await clock.advance(30_000);
  assert.deepEqual(names(a.registry), ['a']);
  b.store.faults.unavailable = false;
  await clock.advance(15_000);
  assert.deepEqual(names(a.registry), ['a', 'b']);
  await a.registry.close();
  await b.registry.close();
});

test('what a newer server writes there, and garbage, hurts nobody', async () => {
  const { clock, etcd, open } = rig();
  const newer = JSON.stringify({ name: 'n', urls: ['https://n:1'], version: '9', startedAt: '', zone: 'x' });
  for (const [name, value] of [
    ['n', newer],
    ['g', '{'],
  ] as const) {
    const key = keys.server(name);
    await etcd.commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value }] });
  }
  const { registry } = open('a');
  await clock.advance(10);
  assert.deepEqual(names(registry), ['a', 'n']);
  await registry.announce(['https://elsewhere:1']);
  assert.match((await etcd.get(keys.server('a'))).entry?.value ?? '', /elsewhere/);
  await registry.close();
});
