import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AssignmentSpec } from '../../../api/resources/assignment.js';
import { keysUnder } from '../../../api/resources/keys.js';
import type { CopyFacts } from '../../../controllers/assignments/facts.js';
import { pairWrite, type Rows, unitWrite } from '../../../controllers/assignments/write.js';
import { checkWrite } from '../../../runtime/store/write-rules.js';

const keys = keysUnder('/f/');
const assigned = (machine: string, more: Partial<AssignmentSpec> = {}): AssignmentSpec => ({
  unit: 'web.service',
  machine,
  unitUid: 'u',
  generation: 1,
  textHash: 'h',
  wanted: 'launched',
  failover: 'atLeastOnce',
  assignedAt: '2026-01-01T00:00:00Z',
  ...more,
});
const copy = (machine: string, health: CopyFacts['health']): CopyFacts => ({
  machine,
  row: { key: keys.assignment(machine, 'web.service'), value: assigned(machine), createRevision: 5, modRevision: 6 },
  state: undefined,
  health,
});
const rows = (copies: CopyFacts[], more: Partial<Rows> = {}): Rows => ({
  own: {
    key: keys.object('units', 'web.service'),
    value: { apiVersion: 'v1', kind: 'Unit', metadata: { name: 'web.service' } },
    createRevision: 1,
    modRevision: 3,
  },
  fragmentRevision: 0,
  copies,
  hasState: () => false,
  presence: () => 0,
  ...more,
});

test('a placement: the unit as it was read, no assignment yet, and assignment and conditions together', () => {
  const changes = { puts: [assigned('m')], drops: [], fragment: { machine: 'm' }, deleteUnit: false, events: [] };
  const write = unitWrite(keys, 'web.service', rows([], { hasState: () => true }), changes);
  checkWrite(write);
  assert.deepEqual(write.compares, [
    { key: '/f/units/web.service', modRevision: 3 },
    { key: '/f/assignments/m/web.service', modRevision: 0 },
    { key: '/f/conditions/units/web.service', modRevision: 0 },
  ]);
  assert.deepEqual(
    write.operations.map(({ do: what, key }) => `${what} ${key}`),
    ['put /f/assignments/m/web.service', 'delete /f/states/m/web.service', 'put /f/conditions/units/web.service'],
  );
});

test('SEMANTICS 20: a unit is given up only if its machine has not come back by the time of the write', () => {
  const puts = [assigned('lost', { remove: 'it did not answer' }), assigned('m')];
  const changes = { puts, drops: [], fragment: { machine: 'm' }, deleteUnit: false, events: [] };
  const write = unitWrite(keys, 'web.service', rows([copy('lost', 'lost')]), changes);
  checkWrite(write);
  assert.ok(write.compares.some((compare) => compare.key === '/f/presence/lost' && 'modRevision' in compare && compare.modRevision === 0));
  // Two hosts with one id leave a presence that is not one: then it must still be that one.
  const duplicate = unitWrite(keys, 'web.service', rows([copy('lost', 'lost')], { presence: () => 44 }), changes);
  assert.ok(
    duplicate.compares.some((compare) => compare.key === '/f/presence/lost' && 'modRevision' in compare && compare.modRevision === 44),
  );
  const dropped = pairWrite(keys, 'web.service', 'lost', rows([copy('lost', 'held')]), { drop: copy('lost', 'held') });
  assert.ok(dropped.compares.some(({ key }) => key === '/f/presence/lost'));
});

test('SEMANTICS 8: the last assignment, its state, the conditions and the unit go in one write', () => {
  const copies = [copy('m', 'present')];
  const write = unitWrite(keys, 'web.service', rows(copies), { puts: [], drops: copies, deleteUnit: true, events: [] });
  checkWrite(write);
  assert.deepEqual(
    write.operations.map(({ do: what, key }) => `${what} ${key}`),
    [
      'delete /f/assignments/m/web.service',
      'delete /f/states/m/web.service',
      'delete /f/units/web.service',
      'delete /f/conditions/units/web.service',
    ],
  );
  assert.ok(!write.compares.some(({ key }) => key.includes('presence')));
});

test('a unit does not go while one write cannot hold all that is left of it', () => {
  const copies = Array.from({ length: 25 }, (_, at) => copy(`m${at}`, 'present'));
  const write = unitWrite(keys, 'web.service', rows(copies), { puts: [], drops: copies, deleteUnit: true, events: [] });
  checkWrite(write);
  assert.ok(!write.operations.some(({ key }) => key === '/f/units/web.service'));
});
