import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CautionFacts, judge, type Missing } from '../../../controllers/machines/caution.js';

const now = 1_000_000;
const lost = (machine: string, secondsAgo = 1, more: Partial<Missing> = {}): Missing => ({
  machine,
  endedAtMs: now - secondsAgo * 1_000,
  latched: false,
  confirmed: false,
  checked: true,
  ...more,
});
const longAgo = (machine: string, more: Partial<Missing> = {}): Missing => ({ ...lost(machine), endedAtMs: undefined, ...more });

interface Case {
  readonly name: string;
  readonly facts: Partial<CautionFacts>;
  readonly held: string[];
  readonly reason?: string;
  readonly latched?: string[];
}

const cases: Case[] = [
  { name: 'all are there', facts: { present: 3 }, held: [] },
  { name: 'one of three is lost: it may be given up', facts: { present: 2, missing: [lost('a')] }, held: [] },
  { name: 'one of one', facts: { present: 0, missing: [lost('a')] }, held: [] },
  {
    name: 'two of three',
    facts: { present: 1, missing: [lost('a'), lost('b')] },
    held: ['a', 'b'],
    reason: 'TooManyLost',
    latched: ['a', 'b'],
  },
  { name: 'two of six are a third, and no more', facts: { present: 4, missing: [lost('a'), lost('b')] }, held: [] },
  {
    name: 'three of eight',
    facts: { present: 5, missing: [lost('a'), lost('b'), lost('c')] },
    held: ['a', 'b', 'c'],
    reason: 'TooManyLost',
    latched: ['a', 'b', 'c'],
  },
  { name: 'not looked at the leases of the others yet', facts: { present: 2, missing: [lost('a', 0, { checked: false })] }, held: ['a'] },
  {
    name: 'one lost and one about to, of three',
    facts: { present: 2, atRisk: 1, missing: [lost('a')] },
    held: ['a'],
    reason: 'TooManyLost',
    latched: ['a'],
  },
  { name: 'the second loss comes a minute later', facts: { present: 1, missing: [lost('a', 61), lost('b')] }, held: [] },
  {
    name: 'what caution holds counts however long it lasts',
    facts: { present: 1, missing: [lost('a', 600, { latched: true }), lost('b', 600, { latched: true })] },
    held: ['a', 'b'],
    reason: 'TooManyLost',
    latched: ['a', 'b'],
  },
  {
    name: 'while it lasts nothing is moved, also not off a machine that was lost long before',
    facts: { present: 1, missing: [lost('a'), lost('b'), longAgo('old')] },
    held: ['a', 'b', 'old'],
    reason: 'TooManyLost',
    latched: ['a', 'b'],
  },
  {
    name: 'one is back: the other has a moment to come back too',
    facts: { present: 2, missing: [lost('b', 30, { latched: true })], tooManyAtMs: now - 2_000 },
    held: ['b'],
    reason: 'Returning',
    latched: ['b'],
  },
  {
    name: 'and is given up after that',
    facts: { present: 2, missing: [lost('b', 30, { latched: true })], tooManyAtMs: now - 10_000 },
    held: [],
  },
  {
    name: 'a human says that one is really gone: it is not held, and counts no more',
    facts: { present: 1, missing: [lost('a', 30, { latched: true, confirmed: true }), lost('b', 30, { latched: true })], tooManyAtMs: now },
    held: ['b'],
    reason: 'Returning',
    latched: ['b'],
  },
  {
    name: 'a new leader moves nothing',
    facts: { electedAtMs: now - 19_000, present: 2, missing: [lost('a')] },
    held: ['a'],
    reason: 'NewLeader',
  },
  {
    name: 'nor gives up what was lost before it came',
    facts: { electedAtMs: now - 19_000, present: 2, missing: [longAgo('a')] },
    held: ['a'],
    reason: 'NewLeader',
  },
  { name: 'after two lease times it does', facts: { electedAtMs: now - 20_000, present: 2, missing: [lost('a')] }, held: [] },
  { name: 'a new leader that misses nobody has nothing to be cautious about', facts: { electedAtMs: now, present: 3 }, held: [] },
  {
    name: 'a new leader keeps what the last one held',
    facts: { electedAtMs: now - 1_000, present: 1, missing: [longAgo('a', { latched: true }), longAgo('b', { latched: true })] },
    held: ['a', 'b'],
    reason: 'TooManyLost',
    latched: ['a', 'b'],
  },
];

for (const { name, facts, held, reason, latched = [] } of cases) {
  test(`SEMANTICS 22: ${name}`, () => {
    const caution = judge({ nowMs: now, electedAtMs: now - 3_600_000, present: 0, atRisk: 0, missing: [], ...facts });
    assert.deepEqual([...caution.held], held);
    assert.equal(caution.active?.reason, reason);
    assert.deepEqual([...caution.latched], latched);
  });
}

test('it says when to look again, and not before something can have changed', () => {
  const again = (facts: Partial<CautionFacts>) =>
    judge({ nowMs: now, electedAtMs: now - 3_600_000, present: 5, atRisk: 0, missing: [], ...facts }).againInMs;
  assert.equal(again({}), undefined);
  assert.equal(again({ missing: [lost('a', 10)] }), 50_000);
  assert.equal(again({ electedAtMs: now - 15_000, missing: [lost('a', 10)] }), 5_000);
  assert.equal(again({ present: 1, atRisk: 1, missing: [lost('a', 10), lost('b', 10)] }), 2_000);
  assert.equal(again({ missing: [longAgo('a')] }), undefined);
});
