import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration } from '../../../api/resources/duration.js';
import { cpuMillis, memoryBytes } from '../../../api/resources/quantity.js';

for (const [text, millis] of [
  ['2', 2000],
  ['500m', 500],
  ['0.5', 500],
  ['.5', 500],
  ['1.', 1000],
  ['1.5', 1500],
  ['0.1', 100],
  ['100u', 1],
  ['1n', 1],
  ['0', 0],
  ['1k', 1_000_000],
  ['1e2', 100_000],
  ['+1', 1000],
] as const) {
  test(`quantity: ${text} cores are ${millis} thousandths`, () => assert.equal(cpuMillis(text), millis));
}

for (const [text, bytes] of [
  ['1024', 1024],
  ['256Mi', 268_435_456],
  ['1Gi', 1_073_741_824],
  ['1G', 1_000_000_000],
  ['1.5Gi', 1_610_612_736],
  ['0.1Ki', 103],
  ['128e6', 128_000_000],
  ['1E3', 1000],
  ['1E-1', 1],
  ['1Pi', 1_125_899_906_842_624],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
] as const) {
  test(`quantity: ${text} of memory are ${bytes} bytes`, () => assert.equal(memoryBytes(text), bytes));
}

for (const text of [
  '',
  '-1',
  '1KB',
  '1ki',
  '1 Gi',
  'one',
  '1e',
  'e3',
  '.',
  '1..2',
  '0x10',
  '9007199254740992',
  '8Ei',
  '1e99',
  '9'.repeat(40),
  '1m1',
  'NaN',
  'Infinity',
  '١',
]) {
  test(`quantity: ${JSON.stringify(text)} is none`, () => assert.equal(memoryBytes(text), undefined));
}

for (const [text, ms] of [
  ['30s', 30_000],
  ['1m30s', 90_000],
  ['500ms', 500],
  ['1.5h', 5_400_000],
  ['0', 0],
  ['0s', 0],
] as const) {
  test(`duration: ${text} is ${ms} ms`, () => assert.equal(parseDuration(text), ms));
}

for (const text of ['', '30', 's', '-1s', '1d', '1s ', '1 s', '1s30', `${'9'.repeat(30)}s`]) {
  test(`duration: ${JSON.stringify(text)} is none`, () => assert.equal(parseDuration(text), undefined));
}
