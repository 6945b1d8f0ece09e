import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AssignmentSpec, UnitState } from '../../../api/resources/assignment.js';
import { type CopyFacts, isGone, isOutOfReach, isReady, isSettled } from '../../../controllers/assignments/facts.js';

const assignment: AssignmentSpec = {
  unit: 'web.service',
  machine: 'm',
  unitUid: 'u1',
  generation: 2,
  textHash: 'new',
  wanted: 'launched',
  failover: 'atLeastOnce',
  assignedAt: '2026-01-01T00:00:00Z',
};
const seen: UnitState = {
  unitUid: 'u1',
  generation: 2,
  textHash: 'new',
  runningHash: 'new',
  load: 'loaded',
  active: 'active',
  sub: 'running',
  since: '2026-01-01T00:00:00Z',
};
const gone: Partial<UnitState> = { gone: true, active: 'inactive', sub: 'dead', load: 'not-found', textHash: '' };

interface Words {
  readonly assignment?: Partial<AssignmentSpec>;
  readonly state?: Partial<UnitState>;
  readonly stateAt?: number;
  readonly health?: CopyFacts['health'];
}

/** Assigned at revision 10, changed at 12, the state written at 14. */
const copy = ({ assignment: more, state, stateAt = 14, health = 'present' }: Words): CopyFacts => ({
  machine: 'm',
  row: { key: 'a', value: { ...assignment, ...more }, createRevision: 10, modRevision: 12 },
  state: state && { key: 's', value: { ...seen, ...state }, createRevision: 9, modRevision: stateAt },
  health,
});

for (const { name, facts, is } of [
  { name: 'the agent said so', facts: { state: gone }, is: true },
  { name: 'not reported', facts: {}, is: false },
  { name: 'still running', facts: { state: {} }, is: false },
  { name: 'said of an earlier life of the assignment', facts: { state: gone, stateAt: 8 }, is: false },
  { name: 'said of an earlier unit of this name', facts: { state: { ...gone, unitUid: 'u0' } }, is: false },
]) {
  test(`SEMANTICS 8: gone? ${name}`, () => assert.equal(isGone(copy(facts)), is));
}

for (const { name, facts, forced = false, is } of [
  { name: 'the machine answers: it is waited for, forced or not', facts: {}, forced: true, is: false },
  { name: 'the machine is lost', facts: { health: 'lost' as const }, is: true },
  {
    name: 'the machine is lost, and the unit stays',
    facts: { health: 'lost' as const, assignment: { failover: 'stay' as const } },
    is: false,
  },
  { name: 'the machine is held by caution', facts: { health: 'held' as const }, is: false },
  { name: 'held, and forced', facts: { health: 'held' as const }, forced: true, is: true },
  { name: 'the Machine object was deleted', facts: { health: 'removed' as const, assignment: { failover: 'stay' as const } }, is: true },
]) {
  test(`SEMANTICS 8: out of reach? ${name}`, () => assert.equal(isOutOfReach(copy(facts), forced), is));
}

for (const { name, facts, ready, settled } of [
  { name: 'active with the newest text', facts: { state: {} }, ready: true, settled: true },
  { name: 'not reported', facts: {}, ready: false, settled: false },
  { name: 'of the generation before', facts: { state: { generation: 1 } }, ready: false, settled: false },
  { name: 'the file is the old one', facts: { state: { textHash: 'old' } }, ready: false, settled: true },
  { name: 'only comments changed: it was not restarted', facts: { state: { runningHash: 'old' } }, ready: true, settled: true },
  {
    name: "its template's newest text was not carried out yet",
    facts: { assignment: { template: { name: 'x@.service', uid: 't', generation: 3 } }, state: { template: { uid: 't', generation: 2 } } },
    ready: false,
    settled: false,
  },
  {
    name: 'the agent says why it cannot',
    facts: { state: { generation: 1, problem: { reason: 'LoadFailed', message: 'no' } } },
    ready: false,
    settled: true,
  },
  { name: 'starting', facts: { state: { active: 'activating', sub: 'start' } }, ready: false, settled: false },
  { name: 'failed', facts: { state: { active: 'failed', sub: 'failed' } }, ready: false, settled: true },
  {
    name: 'a oneshot that succeeded',
    facts: { state: { active: 'inactive', sub: 'dead', type: 'oneshot', result: 'success', exitStatus: 0 } },
    ready: true,
    settled: true,
  },
  {
    name: 'a daemon that ended',
    facts: { state: { active: 'inactive', sub: 'dead', type: 'simple', result: 'success' } },
    ready: false,
    settled: true,
  },
  {
    name: 'loaded, as wanted',
    facts: { assignment: { wanted: 'loaded' as const }, state: { active: 'inactive', sub: 'dead' } },
    ready: true,
    settled: true,
  },
  {
    name: 'a restart that was not reported on yet',
    facts: { assignment: { restart: 'now' }, state: {}, stateAt: 11 },
    ready: false,
    settled: true,
  },
  { name: 'a restart that was', facts: { assignment: { restart: 'now' }, state: {} }, ready: true, settled: true },
  { name: 'on its way out', facts: { assignment: { remove: 'moves' }, state: {} }, ready: false, settled: true },
]) {
  test(`SEMANTICS 12: seen active first: ${name}`, () => {
    assert.equal(isReady(copy(facts)), ready);
    assert.equal(isSettled(copy(facts)), settled);
  });
}
