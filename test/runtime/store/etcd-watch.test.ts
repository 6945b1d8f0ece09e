/** Watches that must not lose, repeat or fall silent, fault by fault. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create, record, storeUnderFaults } from '../../rigs/store-under-faults.js';

describe('etcd watch under faults', { concurrency: 2 }, () => {
  test('a backlog of 12 MB and cuts in the midst of it', async (t) => {
    const { etcd, proxy, store, direct } = await storeUnderFaults(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    proxy.refuse();
    // Sizes at which etcd's fragments of 2 MiB end in the midst of a transaction.
    const value = 'v'.repeat(70_000);
    await Promise.all(Array.from({ length: 170 }, (_, i) => direct.commit(create(`/f/${i}`, value))));
    // Cut while the backlog is on its way, again and again, each time a little later.
    for (let bytes = 1; bytes < 3_000_000; bytes *= 20) {
      proxy.resume();
      const from = proxy.bytesDown;
      proxy.cutAfter(bytes);
      while (proxy.bytesDown < from + bytes) await delay(5);
    }
    proxy.resume();
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    seen.assertEquals(await etcd.history('/f/'));
  });

  test('cut again as soon as it is back, before the backlog has arrived', async (t) => {
    const { etcd, proxy, store, direct } = await storeUnderFaults(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    for (let round = 0; round < 4; round++) {
      proxy.refuse();
      await Promise.all(Array.from({ length: 1500 }, (_, i) => direct.commit(create(`/f/${round}/${i}`, 'some value'))));
      const from = proxy.bytesDown;
      proxy.resume();
      // The answer to the creation is a few hundred bytes, the backlog 300 KB.
      proxy.cutAfter(2000);
      while (proxy.bytesDown < from + 2000) await delay(1);
      proxy.resume();
    }
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    seen.assertEquals(await etcd.history('/f/'));
  });

  test('history compacted while the watch was cut: told once, and the watch is over', async (t) => {
    const { etcd, proxy, store, direct } = await storeUnderFaults(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    proxy.refuse();
    for (let i = 0; i < 3; i++) await direct.commit(create(`/f/${i}`, 'x'));
    const last = await direct.commit(create('/f/last', 'x'));
    await etcd.compact(last.revision);
    proxy.resume();
    await seen.untilCompacted();
    await direct.commit(create('/f/after', 'x'));
    await delay(100);
    assert.deepEqual([seen.compactions, seen.events.length], [1, 1]);
    // The way back: list, and watch from there.
    const listed = await store.list('/f/');
    assert.equal(listed.entries.length, 6);
  });

  test('compaction up to the last event seen does not disturb a watch that was cut', async (t) => {
    const { etcd, proxy, store, direct } = await storeUnderFaults(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    proxy.refuse();
    await etcd.compact(first.revision);
    const last = await direct.commit(create('/f/last', 'x'));
    proxy.resume();
    await seen.until(last.revision);
    assert.equal(seen.compactions, 0);
  });

  test('etcd put back to an older backup: the watch ends instead of waiting in a future that is gone', async (t) => {
    const { etcd, store, direct } = await storeUnderFaults(t);
    const [member] = etcd.members;
    assert.ok(member);
    await direct.commit(create('/f/kept', 'x'));
    await member.kill();
    await member.saveData();
    await member.restart();
    const seen = record(store, '/f/');
    for (let i = 0; i < 5; i++) await seen.until((await direct.commit(create(`/f/${i}`, 'x'))).revision);
    await member.kill();
    await member.restoreData();
    await member.restart();
    await seen.untilCompacted();
    assert.deepEqual(
      (await store.list('/f/')).entries.map((entry) => entry.key),
      ['/f/kept'],
    );
    const again = await store.commit(create('/f/again', 'x'));
    assert.ok(again.ok);
  });

  test('a watch through which nothing is heard is given up for another, though the connection stays open', async (t) => {
    const { etcd, proxy, store, direct } = await storeUnderFaults(t);
    const seen = record(store, '/f/');
    const first = await direct.commit(create('/f/first', 'x'));
    await seen.until(first.revision);
    // The connections of this moment are dead without a sign, new ones work.
    proxy.swallowAnswers();
    await store.get('/f/first').catch(() => undefined);
    proxy.stopSwallowing();
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    assert.ok(seen.interruptions > 0);
    seen.assertEquals(await etcd.history('/f/'));
  });
});
