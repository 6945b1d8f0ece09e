import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Drains } from '../../../controllers/assignments/drains.js';
import { copy, id, unit, type Words, world } from '../scheduler/worlds.js';

function drains(words: Words) {
  const made = world(words);
  const marked = new Set<string>();
  return { world: made, marked, drains: new Drains(made, { markMachine: (machine) => marked.add(machine) }) };
}

const draining = { machines: { m1: { draining: true }, m2: {} } };

test('a machine that is drained is busy with the unit that leaves it until that has settled elsewhere, and is then looked at again', () => {
  const { world: made, drains: some, marked } = drains({ ...draining, units: { 'a.service': {} }, on: { 'a.service': 'leaving m1' } });
  some.noteLeaving('a.service', id('m1'));
  const steps: [string, () => void, string | undefined][] = [
    ['still stopping', () => {}, 'a.service'],
    ['stopped', () => made.removeCopy('a.service', id('m1')), 'a.service'],
    ['assigned anew, not reported', () => made.setCopy('a.service', id('m2'), copy('new m2').copy), 'a.service'],
    ['settled', () => made.setCopy('a.service', id('m2'), copy('m2').copy), undefined],
  ];
  for (const [step, happens, busy] of steps) {
    happens();
    some.settle(() => false);
    assert.equal(some.busyOn(id('m1')), busy, step);
    assert.deepEqual([...marked], busy === undefined ? [id('m1')] : [], step);
  }
});

const ends: [string, boolean, Parameters<typeof unit>[1]][] = [
  ['it finds no place', true, {}],
  ['it is not wanted any more', false, { wanted: 'inactive' }],
  ['it is being deleted', false, { deleting: true }],
];
for (const [name, isPending, words] of ends) {
  test(`the next one leaves when the one before has gone and ${name}`, () => {
    const { drains: some, world: made } = drains({ ...draining, units: { 'a.service': {} }, on: { 'a.service': 'leaving m1' } });
    some.noteLeaving('a.service', id('m1'));
    made.removeCopy('a.service', id('m1'));
    some.settle(() => false);
    assert.equal(some.busyOn(id('m1')), 'a.service');
    made.setUnit(unit('a.service', words));
    some.settle(() => isPending);
    assert.equal(some.busyOn(id('m1')), undefined);
  });
}

test('what leaves a machine that is not drained keeps nobody waiting', () => {
  const { drains: some } = drains({ ...draining, units: { 'a.service': {} }, on: { 'a.service': 'leaving m2' } });
  some.noteLeaving('a.service', id('m2'));
  assert.equal(some.busyOn(id('m2')), undefined);
});

test('a drain says who is still to leave, what keeps it, and who stays', () => {
  const { drains: some, marked } = drains({
    ...draining,
    units: { 'a.service': {}, 'everywhere.service': { global: true }, 'pinned.service': { machineID: id('m1') } },
    on: { 'a.service': 'm1', 'everywhere.service': 'm1', 'pinned.service': 'm1' },
  });
  const message = 'machine m1 is being drained, but there is nowhere else to go: 1 machine: cordoned';
  const verdict = { go: 'stay', machine: id('m1'), start: true, reason: 'Draining', message } as const;
  some.note('a.service', verdict);
  assert.deepEqual([...marked], [id('m1')], 'there is something new to say of the machine');
  assert.deepEqual(some.stateOf(id('m1')), {
    moving: new Map([['a.service', 'there is nowhere else to go: 1 machine: cordoned']]),
    staying: new Map([
      ['everywhere.service', 'global'],
      ['pinned.service', 'pinned by machineID'],
    ]),
  });
  marked.clear();
  some.note('a.service', verdict);
  assert.deepEqual([...marked], [], 'nothing new');
});
