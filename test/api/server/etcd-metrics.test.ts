import assert from 'node:assert/strict';
import { test } from 'node:test';
import { observeMembers } from '../../../api/server/etcd-metrics.js';
import { createLogger, silentLogger } from '../../../runtime/log.js';
import { createMetrics } from '../../../runtime/metrics.js';
import type { Member } from '../../../runtime/store/store.js';
import { ManualClock, settle } from '../../rigs/manual-clock.js';
import { samplesOf } from '../../rigs/promtool.js';

const member = (name: string, more: Partial<Member> = {}): Member => ({
  id: name,
  name,
  endpoints: [],
  healthy: true,
  isLeader: false,
  message: 'ok',
  dbSizeBytes: 4096,
  ...more,
});

/** `answers` are given in order; one that is a promise is waited for. */
function rig(answers: (Member[] | Promise<Member[]>)[], log = silentLogger) {
  const clock = new ManualClock();
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  let asked = 0;
  const look = observeMembers(metrics, { members: async () => answers[asked++] ?? assert.fail('asked too often') }, clock, log);
  const seen = async () =>
    samplesOf(await metrics.render())
      .filter(({ name }) => name.startsWith('flotilla_etcd_'))
      .map(({ name, labels, value }) => `${name.slice('flotilla_etcd_member_'.length)} ${labels.member} ${value}`);
  return { clock, look, seen, asked: () => asked };
}

test('a scrape shows the members as they are now; a size that is not known is no sample', async () => {
  const { look, seen } = rig([[member('e1'), { ...member('e2', { healthy: false }), dbSizeBytes: Number.NaN }]]);
  await look();
  assert.deepEqual(await seen(), ['healthy e1 1', 'healthy e2 0', 'db_size_bytes e1 4096']);
});

test('a member that does not answer makes no scrape late: the last look counts, for a minute', async () => {
  const { clock, look, seen, asked } = rig([[member('e1')], new Promise(() => {})]);
  await look();
  const late = look();
  await clock.advance(1_000);
  await late;
  assert.deepEqual(await seen(), ['healthy e1 1', 'db_size_bytes e1 4096']);
  const again = look();
  await clock.advance(60_000);
  await again;
  assert.deepEqual(await seen(), []);
  assert.equal(asked(), 2, 'nobody is asked a second time while the first look lasts');
});

test('a look that came late counts from then on', async () => {
  let answer: (members: Member[]) => void = () => {};
  const { clock, look, seen } = rig([new Promise((resolve) => (answer = resolve))]);
  const late = look();
  await clock.advance(1_000);
  await late;
  assert.deepEqual(await seen(), []);
  answer([member('e1', { healthy: false })]);
  await settle();
  assert.deepEqual(await seen(), ['healthy e1 0', 'db_size_bytes e1 4096']);
});

test('a look that fails is logged, and fails no scrape', async () => {
  const lines: string[] = [];
  const log = createLogger({ component: 'test', level: 'warn', write: (line: string) => lines.push(line) });
  const { look, seen } = rig([Promise.reject(new Error('the store is closed'))], log);
  await look();
  assert.deepEqual(await seen(), []);
  assert.match(lines.join(''), /the store is closed/);
});
