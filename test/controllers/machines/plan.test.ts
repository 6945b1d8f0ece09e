import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MachineFacts, planMachine } from '../../../controllers/machines/plan.js';

const facts: MachineFacts = {
  id: 'b5f4210f4ceeef3fde8f7c236ee09942',
  uid: 'u',
  generation: 1,
  presence: undefined,
  caution: undefined,
  drain: undefined,
  units: 0,
  fragment: undefined,
  now: '2026-01-01T00:00:00Z',
};
const held = { reason: 'UnitsHeld', why: 'the leader is new' };

for (const { name, given, told } of [
  { name: 'nothing is held', given: {}, told: false },
  { name: 'a machine that just joined a new cluster has nothing that could be held', given: { caution: held }, told: false },
  { name: 'units are held', given: { caution: held, units: 1 }, told: true },
  { name: 'too many are lost: that is remembered, units or not', given: { caution: { ...held, reason: 'TooManyLost' } }, told: true },
]) {
  test(`SEMANTICS 22: caution is told where it holds something: ${name}`, () => {
    const { fragment, events } = planMachine({ ...facts, ...given });
    assert.equal(fragment.conditions?.some(({ type }) => type === 'Caution') ?? false, told);
    assert.equal(
      events.some(({ reason }) => reason === 'CautionStarted'),
      told,
    );
  });
}
