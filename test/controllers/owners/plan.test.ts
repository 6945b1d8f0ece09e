/** What becomes of dependents: tables of owners that go, and of owners that are not there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areTooMany, type DependentFacts, planDependent, planOwner, type Standing } from '../../../controllers/owners/plan.js';

/** `a blocking going shared parent` */
function dependent(words: string): DependentFacts {
  const [name = '', ...traits] = words.split(' ');
  return {
    plural: 'units',
    name,
    uid: `uid-${name}`,
    deleting: traits.includes('going'),
    blocks: traits.includes('blocking'),
    hasOtherOwner: traits.includes('shared'),
    hasDependents: traits.includes('parent'),
  };
}

for (const { name, finalizers = [], dependents = [], steps } of [
  { name: 'background: everybody is told', dependents: ['a', 'b blocking'], steps: ['delete a', 'delete b'] },
  {
    name: 'background: once everybody was told the owner goes, without waiting for them',
    dependents: ['a going', 'b going'],
    steps: ['remove'],
  },
  { name: 'background: nobody depends on it', steps: ['remove'] },
  { name: 'background: who has another owner stays', dependents: ['a shared', 'b'], steps: ['release a', 'delete b'] },
  { name: "background: somebody's own finalizer is waited for", finalizers: ['example.org/x'], dependents: ['a going'], steps: [] },
  {
    name: 'foreground: everybody is told, parents to go after their own dependents',
    finalizers: ['foregroundDeletion'],
    dependents: ['a', 'b parent'],
    steps: ['delete a', 'delete b foreground'],
  },
  {
    name: 'foreground: who blocks is waited for',
    finalizers: ['foregroundDeletion'],
    dependents: ['a going blocking', 'b going'],
    steps: [],
  },
  {
    name: 'foreground: who does not block is not',
    finalizers: ['foregroundDeletion'],
    dependents: ['b going'],
    steps: ['unfinalize foregroundDeletion'],
  },
  { name: 'foreground: all are gone', finalizers: ['foregroundDeletion'], steps: ['unfinalize foregroundDeletion'] },
  {
    name: 'orphan: everybody is let go of',
    finalizers: ['orphan'],
    dependents: ['a blocking', 'b shared', 'c going'],
    steps: ['release a', 'release b', 'release c'],
  },
  { name: 'orphan: nobody names it any more', finalizers: ['orphan'], steps: ['unfinalize orphan'] },
  {
    name: 'orphan wins where both are asked for: what was kept can be deleted later',
    finalizers: ['foregroundDeletion', 'orphan'],
    dependents: ['a'],
    steps: ['release a'],
  },
] as { name: string; finalizers?: string[]; dependents?: string[]; steps: string[] }[]) {
  test(`owners: ${name}`, () => {
    const planned = planOwner({ uid: 'owner', finalizers, dependents: dependents.map(dependent) }).map((step) => {
      if (step.do === 'remove') return 'remove';
      if (step.do === 'unfinalize') return `unfinalize ${step.finalizer}`;
      return `${step.do} ${step.dependent.name}${step.do === 'delete' && step.foreground ? ' foreground' : ''}`;
    });
    assert.deepEqual(planned, steps);
  });
}

for (const { owners, verdict } of [
  { owners: ['there'], verdict: 'keep' },
  { owners: ['going'], verdict: 'keep' },
  { owners: ['unknown'], verdict: 'keep' },
  { owners: ['absent'], verdict: 'delete' },
  { owners: ['absent', 'absent'], verdict: 'delete' },
  { owners: ['there', 'absent'], verdict: ['1'] },
  { owners: ['absent', 'unknown'], verdict: ['0'] },
  { owners: ['going', 'absent', 'absent'], verdict: ['1', '2'] },
] as { owners: Standing[]; verdict: string | string[] }[]) {
  test(`owners: of an object whose owners are ${owners.join(' and ')}: ${typeof verdict === 'string' ? verdict : 'the absent ones are let go of'}`, () =>
    assert.deepEqual(planDependent(owners.map((standing, at) => ({ uid: String(at), standing }))), verdict));
}

for (const { absent, all, tooMany } of [
  { absent: 1, all: 1, tooMany: false },
  { absent: 2, all: 2, tooMany: true },
  { absent: 2, all: 6, tooMany: false },
  { absent: 3, all: 6, tooMany: true },
]) {
  test(`invariant 13: ${absent} of ${all} owners missing ${tooMany ? 'are a loss' : 'is a deletion'}`, () =>
    assert.equal(areTooMany(absent, all), tooMany));
}
