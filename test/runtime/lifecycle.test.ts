import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifecycle, lifecycleLimits, type Start, StartFailed, type StopSignal, stopSignal } from '../../runtime/lifecycle.js';
import { type Logger, silentLogger } from '../../runtime/log.js';
import { ManualClock, settle } from '../rigs/manual-clock.js';

function rig() {
  const clock = new ManualClock();
  const said: string[] = [];
  const log: Logger = { ...silentLogger, error: (message, fields) => void said.push(`${fields?.part ?? ''}: ${message}`) };
  const happened: string[] = [];
  const lifecycle = new Lifecycle({ log, clock });
  const part =
    (name: string): Start =>
    async () => {
      happened.push(`+${name}`);
      return async () => {
        happened.push(`-${name}`);
      };
    };
  return { clock, said, happened, lifecycle, part };
}

test('lifecycle: parts start in order, each when the one before is ready, and stop in reverse', async () => {
  const { lifecycle, happened, part } = rig();
  lifecycle
    .add('store', async (signal) => {
      await settle();
      return part('store')(signal);
    })
    .add('cache', part('cache'))
    .add('api', part('api'));
  await lifecycle.start();
  assert.deepEqual(happened, ['+store', '+cache', '+api']);
  assert.equal(await lifecycle.stop('told to'), true);
  assert.deepEqual(happened.slice(3), ['-api', '-cache', '-store']);
});

test('lifecycle: a failed start stops what had started and names the part', async () => {
  const { lifecycle, happened, part } = rig();
  lifecycle
    .add('store', part('store'))
    .add('api', async () => {
      throw new Error('address already in use');
    })
    .add('controllers', part('controllers'));
  await assert.rejects(lifecycle.start(), (error) => {
    assert.ok(error instanceof StartFailed);
    assert.equal(error.part, 'api');
    assert.equal(error.message, 'api did not start: address already in use');
    return true;
  });
  assert.deepEqual(happened, ['+store', '-store']);
  assert.equal(await lifecycle.stop('after the failure'), true);
  assert.deepEqual(happened, ['+store', '-store'], 'nothing is stopped twice');
});

test('lifecycle: a part that does not stop in time or fails to stop does not keep the others from stopping', async () => {
  const { clock, lifecycle, happened, said, part } = rig();
  const told: string[] = [];
  lifecycle
    .add('store', part('store'))
    .add(
      'hangs',
      () => (signal) => {
        signal.addEventListener('abort', () => told.push('hangs'));
        return new Promise(() => {});
      },
      { stopMs: 2_000 },
    )
    .add('fails', () => () => {
      throw new Error('broken pipe');
    });
  await lifecycle.start();
  const stopped = lifecycle.stop('told to');
  await clock.advance(1_999);
  assert.deepEqual(happened, ['+store']);
  await clock.advance(1);
  assert.equal(await stopped, false);
  assert.deepEqual(happened, ['+store', '-store']);
  assert.deepEqual(told, ['hangs']);
  assert.deepEqual(said, ['fails: part failed to stop', 'hangs: part did not stop in time']);
  assert.equal(clock.waiting, 0);
});

test('lifecycle: stopping while a part is starting tells it, and starts nothing more', async () => {
  const { lifecycle, happened, part } = rig();
  lifecycle
    .add('store', part('store'))
    .add('cache', (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))))
    .add('api', part('api'));
  const started = lifecycle.start();
  await settle();
  assert.equal(await lifecycle.stop('told to'), true);
  await started;
  assert.deepEqual(happened, ['+store', '-store']);
});

test('lifecycle: a part that neither starts nor gives up holds the stop for its limit only, and is stopped when it starts after all', async () => {
  const { clock, lifecycle, happened, said, part } = rig();
  let start = () => {};
  lifecycle.add('store', part('store')).add('deaf', async (signal) => {
    await new Promise<void>((resolve) => {
      start = resolve;
    });
    return part('deaf')(signal);
  });
  const started = lifecycle.start();
  await settle();
  const stopped = lifecycle.stop('told to');
  await clock.advance(lifecycleLimits.stopMs);
  assert.equal(await stopped, false);
  assert.deepEqual(happened, ['+store', '-store']);
  assert.equal(said.length, 1);
  start();
  await started;
  assert.deepEqual(happened, ['+store', '-store', '+deaf', '-deaf']);
});

test('lifecycle: stopping twice is stopping once', async () => {
  const { lifecycle, happened, part } = rig();
  lifecycle.add('store', part('store'));
  await lifecycle.start();
  await Promise.all([lifecycle.stop('one'), lifecycle.stop('two')]);
  assert.deepEqual(happened, ['+store', '-store']);
});

test('lifecycle: nothing is added after the start', async () => {
  const { lifecycle, part } = rig();
  await lifecycle.start();
  assert.throws(() => lifecycle.add('late', part('late')), /late was added after the start/);
});

test('signals: the first one asks for a stop, the second one ends the process at once, and forgetting gives them back', async () => {
  const listeners = new Map<StopSignal, Set<(signal: StopSignal) => void>>();
  const exits: number[] = [];
  const source = {
    on: (signal: StopSignal, listener: (signal: StopSignal) => void) =>
      listeners.set(signal, (listeners.get(signal) ?? new Set()).add(listener)),
    off: (signal: StopSignal, listener: (signal: StopSignal) => void) => listeners.get(signal)?.delete(listener),
    exit: (code: number) => exits.push(code),
  };
  const send = (signal: StopSignal) => {
    for (const listener of listeners.get(signal) ?? []) listener(signal);
  };
  const { received, forget } = stopSignal(['SIGINT', 'SIGTERM'], source);
  send('SIGTERM');
  assert.equal(await received, 'SIGTERM');
  assert.deepEqual(exits, []);
  send('SIGINT');
  assert.deepEqual(exits, [130]);
  forget();
  assert.deepEqual(
    [...listeners.values()].map(({ size }) => size),
    [0, 0],
  );
});
