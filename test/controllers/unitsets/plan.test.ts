/** What a set does about its units, and what is said of it: tables, and properties of any set. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { UnitSet } from '../../../api/resources/unitset.js';
import { memberName } from '../../../api/resources/unitset-names.js';
import { type Member, planSet, type SetFacts, type Taken } from '../../../controllers/unitsets/plan.js';
import { statusOf } from '../../../controllers/unitsets/status.js';

const setOf = (replicas: number, metadata: object = {}): UnitSet => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'UnitSet',
  metadata: { name: 'web', uid: 'set', generation: 3, ...metadata },
  spec: { replicas, template: { spec: { content: '[Service]\nExecStart=/bin/true\n' } } },
});

/** `1 old` has an earlier template, `1 touched` was written by somebody since, `1 going` is being deleted, `1 starting` is not ready yet. */
function member(words: string): Member {
  const [index = '', ...traits] = words.split(' ');
  const name = memberName('web', Number(index));
  const isReady = !traits.includes('starting') && !traits.includes('going');
  return {
    name,
    index: Number(index),
    uid: `uid-${index}`,
    modRevision: 1,
    deleting: traits.includes('going'),
    templateHash: traits.includes('old') ? 'before' : 'now',
    isVerified: !traits.includes('touched'),
    isReady,
    isUpToDate: isReady && !traits.includes('old'),
    ...(isReady ? {} : { trouble: `Unit ${index} is starting.` }),
  };
}

const factsOf = (replicas: number, there: readonly string[], taken: Record<string, Taken> = {}, metadata: object = {}): SetFacts => ({
  set: setOf(replicas, metadata),
  templateHash: 'now',
  members: there.map(member),
  taken: new Map(Object.entries(taken)),
});

const numberOf = ({ index }: Member) => index;
const foreign: Taken = { why: 'exists and is not a unit of this set; it is left as it is', isPassing: false };

for (const { name, facts, creates = [], updates = [], deletes = [] } of [
  { name: 'nothing is there yet', facts: factsOf(3, []), creates: [1, 2, 3] },
  { name: 'all is well', facts: factsOf(2, ['1', '2']) },
  { name: 'one is missing in between', facts: factsOf(3, ['1', '3']), creates: [2] },
  { name: 'scaled down: the highest numbers go, highest first', facts: factsOf(2, ['1', '2', '3', '10', '9']), deletes: [10, 9, 3] },
  { name: 'scaled to zero', facts: factsOf(0, ['1', '2']), deletes: [2, 1] },
  { name: 'what goes already is not told again', facts: factsOf(1, ['1', '2 going']) },
  { name: 'what was deleted is made anew only once it is gone', facts: factsOf(2, ['1 going', '2']) },
  { name: 'the template has changed', facts: factsOf(3, ['1 old', '2', '3 old']), updates: [1, 3] },
  { name: 'somebody has written a unit', facts: factsOf(2, ['1', '2 touched']), updates: [2] },
  { name: 'what goes is not changed any more', facts: factsOf(1, ['1 old going', '2 old']), deletes: [2] },
  { name: 'a name that is taken is left alone', facts: factsOf(2, ['2'], { 'web@1.service': foreign }) },
  {
    name: 'a set that is being deleted does nothing',
    facts: factsOf(3, ['1 old', '7'], {}, { deletionTimestamp: '2026-01-01T00:00:00Z' }),
  },
] as { name: string; facts: SetFacts; creates?: number[]; updates?: number[]; deletes?: number[] }[]) {
  test(`unitset plan: ${name}`, () => {
    const plan = planSet(facts);
    assert.deepEqual(
      [plan.creates, plan.updates.map(numberOf), plan.deletes.map(numberOf)],
      [creates.map((index) => memberName('web', index)), updates, deletes],
    );
  });
}

const anyFacts = fc
  .record({
    replicas: fc.integer({ min: 0, max: 8 }),
    there: fc.uniqueArray(
      fc.record({ index: fc.integer({ min: 1, max: 12 }), traits: fc.subarray(['old', 'touched', 'going', 'starting']) }),
      { selector: ({ index }) => index },
    ),
    taken: fc.uniqueArray(fc.integer({ min: 1, max: 8 })),
    isDeleting: fc.boolean(),
  })
  .map(({ replicas, there, taken, isDeleting }) => {
    const own = new Set(there.map(({ index }) => index));
    const others = taken.filter((index) => !own.has(index)).map((index) => [memberName('web', index), foreign] as const);
    return factsOf(
      replicas,
      there.map(({ index, traits }) => [index, ...traits].join(' ')),
      Object.fromEntries(others),
      isDeleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {},
    );
  });

test('unitset plan, property: it never touches what is taken, never deletes below replicas, and is done once it was carried out', () => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const { creates, updates, deletes } = planSet(facts);
      const replicas = facts.set.spec!.replicas!;
      const names = facts.members.map(({ name }) => name);
      for (const name of creates) assert.ok(!names.includes(name) && !facts.taken.has(name), name);
      for (const { index, deleting } of deletes) assert.ok(index > replicas && !deleting);
      for (const { index, deleting } of updates) assert.ok(index <= replicas && !deleting);
      const kept = facts.members
        .filter((one) => !deletes.includes(one))
        .map((one) => (updates.includes(one) ? { ...one, templateHash: 'now', isVerified: true } : one));
      const made = creates.map((name) => member(name.slice('web@'.length, -'.service'.length)));
      assert.deepEqual(planSet({ ...facts, members: [...kept, ...made] }), { creates: [], updates: [], deletes: [] });
    }),
    { numRuns: 500 },
  );
});

const said = (facts: SetFacts, refused: Record<string, string> = {}) => {
  const status = statusOf({
    ...facts,
    refused: new Map(Object.entries(refused)),
    selector: 's',
    before: undefined,
    now: '2026-01-01T00:00:00Z',
  });
  const [available, progressing] = status.conditions.map((one) => `${one.status} ${one.reason}: ${one.message}`);
  assert.ok(status.conditions.every(({ observedGeneration }) => observedGeneration === 3));
  return { counts: [status.replicas, status.readyReplicas, status.updatedReplicas], available, progressing };
};

for (const { name, facts, refused, counts, available, progressing } of [
  {
    name: 'nothing is there yet',
    facts: factsOf(2, []),
    counts: [0, 0, 0],
    available: 'False NotAllReady: 0 of 2 units are ready; web@1.service is yet to be made; web@2.service is yet to be made.',
    progressing: 'True Scaling: 0 of 2 units exist.',
  },
  {
    name: 'one of three is not ready, and why',
    facts: factsOf(3, ['1', '2 starting', '3']),
    counts: [3, 2, 2],
    available: 'False NotAllReady: 2 of 3 units are ready; web@2.service: Unit 2 is starting.',
    progressing: 'True Updating: 2 of 3 units have carried out the newest template.',
  },
  {
    name: 'many are not ready: the first three tell why',
    facts: factsOf(5, ['1 starting', '2 starting', '3 starting', '4 starting', '5 starting']),
    counts: [5, 0, 0],
    available:
      'False NotAllReady: 0 of 5 units are ready; web@1.service: Unit 1 is starting; web@2.service: Unit 2 is starting; web@3.service: Unit 3 is starting; and 2 more.',
    progressing: 'True Updating: 0 of 5 units have carried out the newest template.',
  },
  {
    name: 'scaling down',
    facts: factsOf(1, ['1', '2 going']),
    counts: [1, 1, 1],
    available: 'True AllReady: 1 of 1 unit is ready.',
    progressing: 'True Scaling: 1 unit too many, being removed.',
  },
  {
    name: 'all is well',
    facts: factsOf(2, ['1', '2']),
    counts: [2, 2, 2],
    available: 'True AllReady: 2 of 2 units are ready.',
    progressing: 'True Complete: All 2 units exist and have carried out the newest template.',
  },
  {
    name: 'none are wanted',
    facts: factsOf(0, []),
    counts: [0, 0, 0],
    available: 'True NoneWanted: No units are wanted.',
    progressing: 'True Complete: There are no units, as wanted.',
  },
  {
    name: 'a name is taken',
    facts: factsOf(2, ['2'], { 'web@1.service': foreign }),
    counts: [1, 1, 1],
    available: 'False NotAllReady: 1 of 2 units is ready; web@1.service exists and is not a unit of this set; it is left as it is.',
    progressing:
      'False NameTaken: 1 unit cannot be as the set says; web@1.service exists and is not a unit of this set; it is left as it is.',
  },
  {
    name: 'a unit is refused by the rules for units',
    facts: factsOf(1, []),
    refused: { 'web@1.service': 'is refused: too large' },
    counts: [0, 0, 0],
    available: 'False NotAllReady: 0 of 1 unit are ready; web@1.service is refused: too large.',
    progressing: 'False Refused: 1 unit cannot be as the set says; web@1.service is refused: too large.',
  },
  {
    name: 'it is being deleted',
    facts: factsOf(2, ['1', '2 going'], {}, { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['foregroundDeletion'] }),
    counts: [1, 1, 1],
    available: 'False Deleting: The set is being deleted; 2 units left, and waits for finalizer "foregroundDeletion".',
    progressing: 'False Deleting: The set is being deleted; 2 units left, and waits for finalizer "foregroundDeletion".',
  },
]) {
  test(`unitset status: ${name}`, () => assert.deepEqual(said(facts, refused), { counts, available, progressing }));
}
