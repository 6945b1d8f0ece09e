import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durationMs } from '../../cli/duration.js';
import { CliError } from '../../cli/exit.js';

for (const [text, expected] of [
  ['30', 30_000],
  ['30s', 30_000],
  ['1.5m', 90_000],
  ['1h30m', 5_400_000],
  ['250ms', 250],
  ['0', 0],
] as const) {
  test(`${text} is ${expected} ms`, () => assert.equal(durationMs('--timeout', text), expected));
}

for (const text of ['', 'soon', '5 s', '5x', 's', '-5s', '5s!']) {
  test(`${JSON.stringify(text)} is refused, naming the flag`, () =>
    assert.throws(
      () => durationMs('--timeout', text),
      (error) => error instanceof CliError && error.code === 2 && error.message.startsWith('--timeout'),
    ));
}
