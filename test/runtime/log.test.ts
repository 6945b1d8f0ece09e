import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, type LogOptions, silentLogger } from '../../runtime/log.js';
import { ManualClock } from '../rigs/manual-clock.js';

function logged(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    component: 'server',
    journal: false,
    clock: new ManualClock(),
    write: (line) => lines.push(line),
    ...options,
  });
  return { log, lines, entry: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> };
}

test('log: one JSON line with time, level, component, message and the fields of the whole line of children', () => {
  const { log, lines } = logged();
  log.child({ controller: 'scheduler' }).info('placed', { unit: 'web.service' });
  assert.deepEqual(lines, [
    '{"level":"info","time":"2026-01-01T00:00:00.000Z","component":"server","controller":"scheduler","unit":"web.service","message":"placed"}\n',
  ]);
});

test('log: debug lines appear only when asked for', () => {
  const quiet = logged();
  quiet.log.debug('detail');
  assert.equal(quiet.lines.length, 0);
  const loud = logged({ level: 'debug' });
  loud.log.debug('detail');
  assert.equal(loud.entry().level, 'debug');
});

for (const { name, fields, shown } of [
  { name: 'a password', fields: { password: 'hunter2' }, shown: { password: '[redacted]' } },
  { name: 'a join token, deep inside', fields: { request: { joinToken: 'hunter2' } }, shown: { request: { joinToken: '[redacted]' } } },
  { name: "a unit's text", fields: { content: '[Service]\nEnvironment=P=hunter2' }, shown: { content: '[redacted]' } },
  { name: 'a header', fields: { headers: [{ Authorization: 'hunter2' }] }, shown: { headers: [{ Authorization: '[redacted]' }] } },
  { name: 'a password in a URL', fields: { url: 'https://me:hunter2@git.example/x' }, shown: { url: 'https://[redacted]@git.example/x' } },
  {
    name: 'a private key in a sentence',
    fields: { why: 'bad key -----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----!' },
    shown: { why: 'bad key [redacted]!' },
  },
  { name: 'a map', fields: { all: new Map([['secret', 'hunter2']]) }, shown: { all: { secret: '[redacted]' } } },
]) {
  test(`log: no secret is written: ${name}`, () => {
    const { log, lines, entry } = logged();
    log.warn('refused', fields);
    assert.doesNotMatch(lines.join(''), /hunter2/);
    const { level: _l, time: _t, component: _c, message: _m, ...rest } = entry();
    assert.deepEqual(rest, shown);
    const childLog = logged();
    childLog.log.child(fields).info('refused');
    assert.doesNotMatch(childLog.lines.join(''), /hunter2/);
  });
}

test('log: an error is shown with its type, code and cause, and without the secret that its message quotes', () => {
  const { log, lines, entry } = logged();
  const cause = Object.assign(new Error('cannot clone https://bot:hunter2@git.example/x'), { code: 'EAUTH' });
  log.error('sync failed', { error: new Error('sync failed', { cause }) });
  assert.doesNotMatch(lines.join(''), /hunter2/);
  const error = entry().error as { type: string; cause: { code: string } };
  assert.equal(error.type, 'Error');
  assert.equal(error.cause.code, 'EAUTH');
});

test('log: what is endless is cut, and says how much is missing', () => {
  const { log, entry } = logged();
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  log.info('big', { long: 'x'.repeat(5_000), many: Array.from({ length: 60 }, (_, n) => n), circular });
  assert.match(String(entry().long), /\[904 more\]$/);
  assert.equal((entry().many as unknown[]).at(-1), '[10 more]');
  assert.match(JSON.stringify(entry().circular), /\[deep\]/);
});

test('log: in the journal each line carries its priority', () => {
  const { log, lines } = logged({ journal: true, level: 'debug' });
  log.debug('a');
  log.info('b');
  log.warn('c');
  log.error('d');
  assert.deepEqual(
    lines.map((line) => line.slice(0, 4)),
    ['<7>{', '<6>{', '<4>{', '<3>{'],
  );
});

test('log: a line for people', () => {
  const { log, lines } = logged({ format: 'human' });
  log.warn('unit failed', { unit: 'web.service', why: 'exit code 3', error: new Error('no such file') });
  assert.deepEqual(lines, ['00:00:00.000 WARN  server: unit failed unit=web.service why="exit code 3" error="no such file"\n']);
});

test('log: the silent one says nothing and its children neither', () => {
  assert.equal(silentLogger.child({ a: 1 }), silentLogger);
});
