/** The election on a real etcd: a leader whose line goes dead in mid-write. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../runtime/clock.js';
import { type Leadership, runForLeader } from '../../runtime/leader.js';
import type { Logger } from '../../runtime/log.js';
import { openEtcdStore } from '../../runtime/store/etcd-store.js';
import type { Store } from '../../runtime/store/store.js';
import { startEtcd } from '../rigs/etcd.js';
import { startProxy } from '../rigs/tcp-proxy.js';

const key = '/flotilla/leader/controllers';
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

test('invariant 3: a leader cut off in mid-write steps down before its successor leads, and none of its writes is accepted afterwards', async (t) => {
  const etcd = await startEtcd();
  const proxy = await startProxy(etcd.members[0]?.port ?? 0);
  const cutOff = openEtcdStore({ endpoints: [proxy.url], attemptTimeoutMs: 500, commitTimeoutMs: 3000 });
  const direct = openEtcdStore({ endpoints: etcd.endpoints });
  const stopping = new AbortController();
  const diary: string[] = [];
  const accepted: { writer: string; revision: number }[] = [];

  /** A leader that writes without a pause and does not look at its signal, as one that is stopped in the middle would. */
  const candidate = (name: string, store: Store) => {
    let finished = false;
    const lead = async ({ fence, signal }: Leadership) => {
      diary.push(`${name} leads`);
      signal.addEventListener('abort', () => diary.push(`${name} was told`));
      for (let i = 0; !stopping.signal.aborted && !finished; i++) {
        const write = {
          compares: [{ key: `/f/${name}${i}`, modRevision: 0 }],
          operations: [{ do: 'put' as const, key: `/f/${name}${i}`, value: name }],
        };
        await store.commit(write, { fence }).then(
          ({ revision }) => accepted.push({ writer: name, revision }),
          () => undefined,
        );
        await delay(1);
      }
    };
    const ended = runForLeader({
      store,
      key,
      identity: { name },
      ttlMs: 3000,
      clock: systemClock,
      log: silent,
      lead,
      signal: stopping.signal,
    });
    return {
      ended,
      finish: () => {
        finished = true;
      },
    };
  };

  const a = candidate('a', cutOff);
  t.after(async () => {
    stopping.abort();
    proxy.resume();
    await Promise.all([a.ended, b?.ended]);
    await Promise.all([cutOff.close(), direct.close()]);
    await proxy.close();
    await etcd.stop();
  });
  let b: ReturnType<typeof candidate> | undefined;
  while (accepted.length < 20) await delay(5);
  b = candidate('b', direct);
  await delay(200);
  proxy.stall('up');
  while (!diary.includes('b leads')) await delay(5);
  const written = accepted.filter(({ writer }) => writer === 'b').length;
  // Everything that the old leader had under way arrives now, and it goes on writing.
  proxy.resume();
  while (accepted.filter(({ writer }) => writer === 'b').length < written + 100) await delay(5);
  a.finish();

  assert.deepEqual(diary.slice(0, 3), ['a leads', 'a was told', 'b leads']);
  const history = await etcd.history('/f/');
  const firstOfB = history.findIndex(({ key }) => key.startsWith('/f/b'));
  assert.ok(firstOfB > 0);
  assert.deepEqual(
    history.slice(firstOfB).filter(({ key }) => key.startsWith('/f/a')),
    [],
    'nothing of the old leader after the first write of the new one',
  );
  const electedB = (await direct.get(key)).entry?.createRevision ?? 0;
  assert.ok(accepted.every(({ writer, revision }) => writer === 'b' || revision < electedB));
});
