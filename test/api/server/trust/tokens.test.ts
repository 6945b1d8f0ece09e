import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { StatusError } from '../../../../api/resources/errors.js';
import { formatJoinToken, parseJoinToken } from '../../../../api/resources/join-token.js';
import { keysUnder } from '../../../../api/resources/keys.js';
import { mayLabel, openTokens, tokenLifeMs } from '../../../../api/server/trust/tokens.js';
import { MemoryStore } from '../../../../runtime/store/memory-store.js';
import { ManualClock } from '../../../rigs/manual-clock.js';

const keys = keysUnder();
const caSha256 = createHash('sha256').update('the CA').digest('base64url');
const me = { machine: 'a'.repeat(32), keySha256: 'k1' };
const other = { machine: 'b'.repeat(32), keySha256: 'k2' };

function rig() {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  return { clock, store, tokens: openTokens({ store, keys, clock, caSha256 }) };
}

const forbidden = (words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StatusError && error.code === 403, String(error));
  assert.match(error.message, words);
  return true;
};

test('a token pins the CA and its secret is not in etcd, only the sha256 of it', async () => {
  const { store, tokens } = rig();
  const { token } = await tokens.create({});
  const { secret, caSha256: pin } = parseJoinToken(token)!;
  assert.equal(Buffer.from(secret, 'base64url').length, 32);
  assert.equal(pin, caSha256);
  const { entries } = await store.list(keys.root);
  assert.deepEqual(
    entries.map(({ key }) => key),
    [keys.token(createHash('sha256').update(secret).digest('hex'))],
  );
  assert.ok(!JSON.stringify(entries).includes(secret));
});

test('SEMANTICS 24: a token that was consumed is deleted and lets nobody in again', async () => {
  const { store, tokens } = rig();
  const { token } = await tokens.create({});
  await (await tokens.claim(token, me)).consume();
  assert.deepEqual((await store.list(keys.root)).entries, []);
  await assert.rejects(tokens.claim(token, me), forbidden(/unknown, used or expired/));
});

test('of two machines that use one token at the same time, one gets in', async () => {
  const { store, clock, tokens } = rig();
  const { token } = await tokens.create({});
  const second = openTokens({ store: store.peer(), keys, clock, caSha256 });
  const results = await Promise.allSettled([tokens.claim(token, me), second.claim(token, other)]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

test('a crash before the token is deleted: the same machine with the same key may come again, nobody else', async () => {
  const { tokens } = rig();
  const { token } = await tokens.create({});
  await tokens.claim(token, me);
  await assert.rejects(tokens.claim(token, other), forbidden(/unknown, used or expired/));
  await assert.rejects(tokens.claim(token, { ...me, keySha256: 'k2' }), forbidden(/unknown, used or expired/));
  await (await tokens.claim(token, me)).consume();
});

test('a token expires after one hour, by its lease', async () => {
  const { store, clock, tokens } = rig();
  const { token } = await tokens.create({});
  await clock.advance(tokenLifeMs + 1);
  assert.deepEqual((await store.list(keys.root)).entries, []);
  await assert.rejects(tokens.claim(token, me), forbidden(/unknown, used or expired/));
});

test('a token expires after one hour even when etcd prolongs its lease', async () => {
  const { store, clock, tokens } = rig();
  const { token } = await tokens.create({});
  const lease = (await store.list(keys.root)).entries[0]!.lease!;
  const prolonged = await store.lease(tokenLifeMs, { keepAlive: 'auto', id: lease });
  await clock.advance(tokenLifeMs + 1);
  assert.equal((await store.list(keys.root)).entries.length, 1, 'still there');
  await assert.rejects(tokens.claim(token, me), forbidden(/unknown, used or expired/));
  await prolonged.revoke();
});

test('a claim does not make a token live longer', async () => {
  const { store, clock, tokens } = rig();
  const { token } = await tokens.create({});
  await tokens.claim(token, me);
  await clock.advance(tokenLifeMs + 1);
  assert.deepEqual((await store.list(keys.root)).entries, []);
});

test('a token for one machine lets no other in', async () => {
  const { tokens } = rig();
  const { token } = await tokens.create({ machine: me.machine });
  await assert.rejects(tokens.claim(token, other), forbidden(/for another machine/));
  await (await tokens.claim(token, me)).consume();
});

test("another cluster's token is recognised before the store is asked", async () => {
  const { store, tokens } = rig();
  const foreign = openTokens({ ...rig(), keys, caSha256: createHash('sha256').update('another CA').digest('base64url') });
  const { token } = await foreign.create({});
  store.faults.unavailable = true;
  await assert.rejects(tokens.claim(token, me), forbidden(/made by another cluster/));
});

for (const text of ['', 'flotilla-', 'flotilla-a.b', `${formatJoinToken({ secret: 'A'.repeat(43), caSha256 })}x`, 'kubeadm-abc.def']) {
  test(`no join token: ${JSON.stringify(text)}`, async () => {
    await assert.rejects(rig().tokens.claim(text, me), forbidden(/no join token/));
  });
}

test('one secret has one spelling', () => {
  // The last of 43 characters carries four bits: 'A' and 'B' would decode to the same bytes.
  assert.ok(parseJoinToken(formatJoinToken({ secret: 'A'.repeat(43), caSha256 })));
  assert.equal(parseJoinToken(formatJoinToken({ secret: `${'A'.repeat(42)}B`, caSha256 })), undefined);
});

for (const { allowed, key, may } of [
  { allowed: ['*'], key: 'region', may: true },
  { allowed: ['*'], key: 'flotilla.dev/anything', may: false },
  { allowed: ['*'], key: 'restricted.flotilla.dev/zone', may: false },
  { allowed: ['flotilla.dev/x'], key: 'flotilla.dev/x', may: false },
  { allowed: ['*'], key: 'notflotilla.dev/x', may: true },
  { allowed: ['region'], key: 'region', may: true },
  { allowed: ['region'], key: 'regions', may: false },
  { allowed: ['example.com/*'], key: 'example.com/disk', may: true },
  { allowed: ['example.com/*'], key: 'example.community/disk', may: false },
  { allowed: [], key: 'region', may: false },
]) {
  test(`SEMANTICS 23: a token that lists [${allowed}] ${may ? 'allows' : 'refuses'} the label ${key}`, () => {
    assert.equal(mayLabel(allowed, key), may);
  });
}
