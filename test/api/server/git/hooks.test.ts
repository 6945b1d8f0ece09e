import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { reconcileRequestedAnnotation } from '../../../../api/resources/annotations.js';
import { gitHookRoute, maxHookBytes } from '../../../../api/server/git/hooks.js';
import { systemClock } from '../../../../runtime/clock.js';
import { type LogFields, type Logger, silentLogger } from '../../../../runtime/log.js';
import { createMetrics } from '../../../../runtime/metrics.js';
import { as, openServer } from '../../objects/door-rig.js';
import { anonymous, startRig } from '../rig.js';

const token = Buffer.from('s3cret\n');
const body = Buffer.from('{"ref":"refs/heads/main"}');
const signed = (text: Buffer = body) => ({ 'x-hub-signature-256': `sha256=${hmac(text)}` });
const hmac = (text: Buffer, key = 's3cret') => createHmac('sha256', key).update(text).digest('hex');

interface Line {
  readonly message: string;
  readonly fields: LogFields | undefined;
}

async function hooks(t: TestContext) {
  const server = await openServer(t);
  const lines: Line[] = [];
  const metrics = createMetrics({ component: 'server', version: '0', process: false });
  const log: Logger = { ...silentLogger, warn: (message, fields) => void lines.push({ message, fields }) };
  const rig = await startRig({
    extraPlugins: [
      (routes) =>
        routes.add(
          gitHookRoute({
            ...server,
            clock: systemClock,
            log,
            metrics,
            readSecret: async (secret) => {
              if (secret === 'sealed') throw new Error('sealed with another key');
              return secret === 'hook' ? new Map([['token', token]]) : undefined;
            },
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
  const webhook = { secretRef: { name: 'hook' } };
  await apply('prod', { webhook });
  await apply('release', { webhook, ref: { semver: '>=1' } });
  await apply('closed', {});
  await apply('lost', { webhook: { secretRef: { name: 'gone' } } });
  await apply('sealed', { webhook: { secretRef: { name: 'sealed' } } });
  const call = (name: string, headers: Record<string, string>, sent: Buffer = body) =>
    rig.call('POST', `/hooks/git/${name}`, { headers, body: sent, type: 'application/json' });
  const requested = (name: string) => server.cache.joined('gitsyncs', name)?.metadata.annotations?.[reconcileRequestedAnnotation];
  const counted = async (result: string) =>
    Number(new RegExp(`^flotilla_git_webhooks_total\\{result="${result}"\\} (\\d+)$`, 'm').exec(await metrics.render())?.[1] ?? 0);
  return { call, requested, counted, lines, revision: () => server.cache.object('gitsyncs', 'prod')?.modRevision };
}

test('a signed webhook asks for a sync, whoever sends it', async (t) => {
  const { call, requested, counted } = await hooks(t);
  assert.equal((await call('prod', signed())).status, 202);
  assert.match(requested('prod') ?? '', /^\d{4}-/);
  assert.equal(await counted('accepted'), 1);
});

test('all others get one answer, which does not say what is wrong, and nothing happens', async (t) => {
  const { call, requested, counted } = await hooks(t);
  const answers = [
    await call('prod', { 'x-hub-signature-256': `sha256=${hmac(body, 'x')}` }),
    await call('prod', {}),
    await call('closed', signed()),
    await call('lost', signed()),
    await call('sealed', signed()),
    await call('unknown', signed()),
  ];
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [401]);
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
  assert.deepEqual([requested('prod'), requested('closed'), requested('lost')], [undefined, undefined, undefined]);
  assert.deepEqual([await counted('unsigned'), await counted('unknown'), await counted('accepted')], [2, 4, 0]);
  const large = Buffer.alloc(maxHookBytes + 1, 0x20);
  for (const name of ['prod', 'unknown']) assert.equal((await call(name, signed(large), large)).status, 413);
  assert.equal(await counted('too_large'), 2);
});

test('what is refused is a line of the log, and strangers cannot make many', async (t) => {
  const { call, lines } = await hooks(t);
  for (let at = 0; at < 5; at++) await call('prod', {});
  for (let at = 0; at < 5; at++) await call(`stranger-${at}`, {});
  await call('sealed', signed());
  assert.deepEqual(
    lines.map(({ message, fields }) => [message, fields?.gitsync, fields?.why]),
    [
      ['a webhook was refused', 'prod', 'the signature is missing or wrong'],
      ['a webhook was refused', 'stranger-0', 'there is no such GitSync'],
      ['a webhook was refused', 'sealed', 'its Secret sealed cannot be read: sealed with another key'],
    ],
  );
  assert.doesNotMatch(JSON.stringify(lines), /s3cret/);
});

test('what does not concern the followed ref is answered well and wakes nobody', async (t) => {
  const { call, requested, counted } = await hooks(t);
  const ping = Buffer.from('{"zen":"Keep it logically awesome."}');
  const pinged = await call('prod', { ...signed(ping), 'x-github-event': 'ping' }, ping);
  assert.equal(pinged.status, 200);
  assert.match(pinged.text, /the event .+ping.+ changes nothing/);
  const branch = await call('release', signed());
  assert.equal(branch.status, 200);
  assert.match(branch.text, /a push to refs\/heads\/main changes nothing/);
  assert.deepEqual([requested('prod'), requested('release'), await counted('ignored')], [undefined, undefined, 2]);
  const tag = Buffer.from('{"ref":"refs/tags/v1.2.3"}');
  assert.equal((await call('release', signed(tag), tag)).status, 202);
  assert.match(requested('release') ?? '', /^\d{4}-/);
});

test('one delivery a hundred times over is harmless: all are answered, few are written, none that came last is lost', async (t) => {
  const { call, requested, revision } = await hooks(t);
  const before = revision()!;
  const answers = await Promise.all(Array.from({ length: 100 }, () => call('prod', signed())));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [202]);
  // Each write is one revision of the store in memory.
  assert.ok(revision()! - before < 50, `${revision()! - before} writes`);
  const asked = requested('prod')!;
  await call('prod', signed());
  assert.ok(requested('prod')! > asked);
});
