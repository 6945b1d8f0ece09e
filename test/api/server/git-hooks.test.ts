import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { reconcileRequestedAnnotation } from '../../../api/resources/annotations.js';
import { gitHookRoute, isSigned, maxHookBytes } from '../../../api/server/git-hooks.js';
import { systemClock } from '../../../runtime/clock.js';
import { silentLogger } from '../../../runtime/log.js';
import { as, openServer } from '../objects/door-rig.js';
import { anonymous, startRig } from './rig.js';

const token = Buffer.from('s3cret\n');
const body = Buffer.from('{"ref":"refs/heads/main"}');
const hmac = (text: Buffer, key = 's3cret') => createHmac('sha256', key).update(text).digest('hex');

for (const { name, headers, is } of [
  { name: 'GitHub', headers: { 'x-hub-signature-256': `sha256=${hmac(body)}` }, is: true },
  { name: 'Gitea', headers: { 'x-gitea-signature': hmac(body) }, is: true },
  { name: 'Forgejo', headers: { 'x-forgejo-signature': hmac(body) }, is: true },
  { name: 'GitLab', headers: { 'x-gitlab-token': 's3cret' }, is: true },
  { name: 'nothing', headers: {}, is: false },
  { name: 'GitHub with another key', headers: { 'x-hub-signature-256': `sha256=${hmac(body, 'other')}` }, is: false },
  { name: 'GitHub over another body', headers: { 'x-hub-signature-256': `sha256=${hmac(Buffer.from('{}'))}` }, is: false },
  { name: 'GitHub without its prefix', headers: { 'x-hub-signature-256': hmac(body) }, is: false },
  { name: 'the old SHA-1 header alone', headers: { 'x-hub-signature': `sha1=${hmac(body)}` }, is: false },
  { name: 'a wrong signature beside a right token', headers: { 'x-hub-signature-256': 'sha256=0', 'x-gitlab-token': 's3cret' }, is: false },
  { name: 'a GitLab token that only begins right', headers: { 'x-gitlab-token': 's3cre' }, is: false },
]) {
  test(`a webhook signed as ${name} is ${is ? 'taken' : 'refused'}`, () => assert.equal(isSigned(headers, body, token), is));
}

async function hooks(t: TestContext) {
  const server = await openServer(t);
  const rig = await startRig({
    extraPlugins: [
      (routes) =>
        routes.add(
          gitHookRoute({
            ...server,
            clock: systemClock,
            log: silentLogger,
            readSecret: async (secret) => (secret === 'hook' ? new Map([['token', token]]) : undefined),
          }),
        ),
    ],
  });
  rig.who.identity = anonymous;
  t.after(() => rig.close());
  const apply = (name: string, spec: object) =>
    server.door.apply(
      'gitsyncs',
      name,
      { apiVersion: 'flotilla.dev/v1', kind: 'GitSync', metadata: { name }, spec: { url: 'https://git.example/x', ...spec } },
      as('ann'),
    );
  await apply('prod', { webhook: { secretRef: { name: 'hook' } } });
  await apply('closed', {});
  await apply('lost', { webhook: { secretRef: { name: 'gone' } } });
  const call = (name: string, headers: Record<string, string>, sent: Buffer = body) =>
    rig.call('POST', `/hooks/git/${name}`, { headers, body: sent, type: 'application/json' });
  const requested = (name: string) => server.cache.joined('gitsyncs', name)?.metadata.annotations?.[reconcileRequestedAnnotation];
  return { call, requested };
}

test('a signed webhook asks for a sync, whoever sends it', async (t) => {
  const { call, requested } = await hooks(t);
  assert.equal((await call('prod', { 'x-hub-signature-256': `sha256=${hmac(body)}` })).status, 202);
  assert.match(requested('prod') ?? '', /^\d{4}-/);
});

test('all others get one answer, which does not say what is wrong, and nothing happens', async (t) => {
  const { call, requested } = await hooks(t);
  const signed = { 'x-hub-signature-256': `sha256=${hmac(body)}` };
  const answers = [
    await call('prod', { 'x-hub-signature-256': `sha256=${hmac(body, 'x')}` }),
    await call('prod', {}),
    await call('closed', signed),
    await call('lost', signed),
    await call('unknown', signed),
  ];
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [401]);
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
  assert.deepEqual([requested('prod'), requested('closed'), requested('lost')], [undefined, undefined, undefined]);
  const large = Buffer.alloc(maxHookBytes + 1, 0x20);
  assert.equal((await call('prod', { 'x-hub-signature-256': `sha256=${hmac(large)}` }, large)).status, 413);
});
