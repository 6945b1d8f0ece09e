/** An etcd that freezes, a line that goes dead, a member that dies. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openEtcdStore } from '../../../runtime/store/etcd-store.js';
import { OutcomeUnknown, StoreUnavailable } from '../../../runtime/store/store.js';
import { type EtcdRig, startEtcd } from '../../rigs/etcd.js';
import { assertClaims, type Claim, create, record, storeUnderFaults, writeMuch } from '../../rigs/store-under-faults.js';

describe('etcd store in an outage', { concurrency: 2 }, () => {
  test('a frozen etcd: every call ends by its deadline and says what is known; the watch goes on where it was', async (t) => {
    const { etcd, store, direct } = await storeUnderFaults(t, { readTimeoutMs: 700, commitTimeoutMs: 1500, attemptTimeoutMs: 300 });
    const seen = record(store, '/f/');
    const { revision } = await direct.commit(create('/f/first', 'x'));
    await seen.until(revision);
    await store.get('/f/first');
    etcd.members[0]?.freeze();
    const lease = store.lease(5000, { keepAlive: 'auto' });
    await Promise.all([
      assert.rejects(store.get('/f/first'), StoreUnavailable),
      assert.rejects(store.list('/f/'), StoreUnavailable),
      assert.rejects(store.revision(), StoreUnavailable),
      assert.rejects(store.leaseTtlMs('1'), StoreUnavailable),
      assert.rejects(lease, StoreUnavailable),
      assert.rejects(
        store.commit(create('/f/unknown', 'x')),
        (error) => error instanceof OutcomeUnknown || error instanceof StoreUnavailable,
      ),
      store.members().then((members) =>
        assert.deepEqual(
          members.map((member) => member.healthy),
          [false],
        ),
      ),
    ]);
    etcd.members[0]?.thaw();
    const last = await direct.commit(create('/f/last', 'x'));
    await seen.until(last.revision);
    seen.assertEquals(await etcd.history('/f/'));
  });

  test('a lease is lost by our own clock before etcd deletes what hung on it', async (t) => {
    const { proxy, store, direct } = await storeUnderFaults(t);
    const lease = await store.lease(3000, { keepAlive: 'auto' });
    const { revision } = await store.commit({
      compares: [{ key: '/f/held', modRevision: 0 }],
      operations: [{ do: 'put', key: '/f/held', value: '', lease: lease.id }],
    });
    await delay(1500);
    const order: string[] = [];
    const deleted = new Promise<void>((resolve) => {
      direct.watch('/f/', revision, {
        events: () => {
          order.push('deleted by etcd');
          resolve();
        },
        compacted: () => assert.fail('compacted'),
      });
    });
    const lost = lease.lost.then(() => order.push('lost by its holder'));
    proxy.stall();
    await Promise.all([deleted, lost]);
    assert.deepEqual(order, ['lost by its holder', 'deleted by etcd']);
  });

  // One after the other: both take a member away.
  describe('three members', { concurrency: false }, () => {
    let etcd: EtcdRig;
    before(async () => {
      etcd = await startEtcd({ members: 3 });
    });
    after(() => etcd.stop());

    test('two are killed: calls say that nothing was written or that it is not known, and all goes on when they are back', async (t) => {
      const store = openEtcdStore({ endpoints: etcd.endpoints, readTimeoutMs: 1500, commitTimeoutMs: 3000, attemptTimeoutMs: 500 });
      t.after(() => store.close());
      const seen = record(store, '/quorum/');
      const first = await store.commit(create('/quorum/first', 'x'));
      await seen.until(first.revision);
      const [, ...others] = etcd.members;
      await Promise.all(others.map((member) => member.kill()));
      await assert.rejects(store.get('/quorum/first'), StoreUnavailable);
      await assert.rejects(
        store.commit(create('/quorum/lost', 'x')),
        (error) => error instanceof StoreUnavailable || error instanceof OutcomeUnknown,
      );
      const members = await store.members();
      assert.deepEqual(
        members.map(({ name, healthy, isLeader }) => [name, healthy, isLeader]),
        etcd.members.map(({ name }) => [name, false, false]),
      );
      assert.match(members[0]?.message ?? '', /no leader/);
      assert.match(members[1]?.message ?? '', /does not answer/);
      await Promise.all(others.map((member) => member.restart()));
      const last = await store.commit(create('/quorum/last', 'x'));
      await seen.until(last.revision);
      seen.assertEquals(await etcd.history('/quorum/'));
    });

    for (const fault of ['killed', 'frozen'] as const) {
      test(`the leader is ${fault}: writes, leases and the watch go on with the others`, async (t) => {
        const store = openEtcdStore({ endpoints: etcd.endpoints });
        t.after(() => store.close());
        const prefix = `/${fault}/`;
        const seen = record(store, prefix);
        const lease = await store.lease(10_000, { keepAlive: 'auto' });
        const claims: Claim[] = [];
        let writing = true;
        t.after(() => {
          writing = false;
        });
        const writers = Array.from({ length: 4 }, (_, writer) => writeMuch(store, `${prefix}${writer}`, claims, () => writing, 5));
        const findLeader = async () => {
          const leader = (await store.members()).find((member) => member.isLeader);
          return etcd.members.find(({ name }) => name === leader?.name);
        };
        let member = await findLeader();
        while (!member) member = await findLeader();
        if (fault === 'killed') await member.kill();
        else member.freeze();
        const before = claims.length;
        const enough = () => claims.filter((claim) => claim.answer === 'applied').length > before + 200;
        while (!enough()) await delay(20);
        // Health is shown member by member, asked while one does not answer.
        const healthy = (await store.members()).filter(({ healthy }) => healthy).map(({ name }) => name);
        assert.deepEqual(
          healthy,
          etcd.members.map(({ name }) => name).filter((name) => name !== member.name),
        );
        assert.equal(await lease.keepAlive(), true);
        writing = false;
        await Promise.all(writers);
        const last = await store.commit(create(`${prefix}last`, 'x'));
        await seen.until(last.revision);
        if (fault === 'killed') await member.restart();
        else member.thaw();
        const history = await etcd.history(prefix);
        seen.assertEquals(history);
        assertClaims(claims, history);
      });
    }
  });
});
