import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayBegin, slotLimits } from '../../../controllers/gitsync/slots.js';

for (const { name, isSlow, slowUnderWay, may } of [
  { name: 'a quick one among quick ones', isSlow: false, slowUnderWay: 0, may: true },
  { name: 'a quick one beside all the slow ones that may be', isSlow: false, slowUnderWay: slotLimits.slow, may: true },
  { name: 'the first slow one', isSlow: true, slowUnderWay: 0, may: true },
  { name: 'the last slow one that may be', isSlow: true, slowUnderWay: slotLimits.slow - 1, may: true },
  { name: 'one slow one too many', isSlow: true, slowUnderWay: slotLimits.slow, may: false },
]) {
  test(`slots: ${name} ${may ? 'begins' : 'waits'}`, () => assert.equal(mayBegin(isSlow, slowUnderWay), may));
}

test('slots: slow repositories never have all of them', () => assert.ok(slotLimits.slow < slotLimits.syncs));
