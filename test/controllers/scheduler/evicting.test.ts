/** Units that somebody asked to leave their machine, one by one, as `kubectl drain` does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Eviction } from '../../../api/resources/eviction.js';
import { plan } from '../../../controllers/scheduler/plan.js';
import { copy, id, type MachineWords, type UnitWords, unit, type Words, world } from './worlds.js';

const since = '2026-01-01T00:00:00Z';
const asked = (more: Partial<Eviction> = {}): { eviction: Eviction } => ({
  eviction: { machine: id('m1'), machineGeneration: 2, assignedAt: since, ...more },
});
const cordoned: MachineWords = { cordoned: true, generation: 2 };

/** Verdict and message of unit `a`, which is on m1 since `since`; others are where `on` says. */
function verdictOf({ units, on = {}, ...words }: Omit<Words, 'units'> & { units: Record<string, UnitWords & { eviction?: Eviction }> }) {
  const made = world({ ...words, units, on });
  for (const [name, { eviction, ...more }] of Object.entries(units)) made.setUnit({ ...unit(name, more), eviction });
  for (const [name, places] of Object.entries({ a: 'm1', ...on })) {
    for (const place of [places].flat()) made.setCopy(name, copy(place).machine, { ...copy(place).copy, assignedAt: since });
  }
  const { verdicts } = plan(made, [...made.unitNames()]);
  return Object.fromEntries([...verdicts].map(([name, { go, message }]) => [name, { go, message }]));
}

for (const { name, machines, a, go, says } of [
  {
    name: 'it leaves a cordoned machine for another',
    machines: { m1: cordoned, m2: {} },
    a: asked(),
    go: 'leave',
    says: /it was asked to leave machine m1000000/,
  },
  {
    name: 'while somebody else is on the way off it, too',
    machines: { m1: { ...cordoned, draining: true, drainBusy: 'b' }, m2: {} },
    a: asked(),
    go: 'leave',
    says: /asked/,
  },
  { name: 'nobody asked', machines: { m1: cordoned, m2: {} }, a: {}, go: 'stay', says: /^on machine/ },
  { name: 'the machine takes units again', machines: { m1: { generation: 2 }, m2: {} }, a: asked(), go: 'stay', says: /^on machine/ },
  {
    name: 'it was asked under an earlier cordon',
    machines: { m1: { ...cordoned, generation: 4 }, m2: {} },
    a: asked(),
    go: 'stay',
    says: /^on machine/,
  },
  {
    name: 'it left, and came back later',
    machines: { m1: cordoned, m2: {} },
    a: asked({ assignedAt: '2025-12-31T00:00:00Z' }),
    go: 'stay',
    says: /^on machine/,
  },
  {
    name: 'it was asked to leave another machine',
    machines: { m1: cordoned, m2: {} },
    a: asked({ machine: id('m2') }),
    go: 'stay',
    says: /^on machine/,
  },
  {
    name: 'there is nowhere else to go',
    machines: { m1: cordoned, m2: { cordoned: true } },
    a: asked(),
    go: 'stay',
    says: /asked to leave machine m1000000, but there is nowhere else to go: 2 machines: cordoned/,
  },
  {
    name: 'it is pinned',
    machines: { m1: cordoned, m2: {} },
    a: { ...asked(), machineID: id('m1') },
    go: 'stay',
    says: /but it is pinned/,
  },
  {
    name: 'its machine is lost: failover decides',
    machines: { m1: { ...cordoned, health: 'lost' as const }, m2: {} },
    a: asked(),
    go: 'place',
    says: /^on machine m2/,
  },
]) {
  test(`evicting: ${name}: ${go}`, () => {
    const { a: verdict } = verdictOf({
      machines: machines as Record<string, MachineWords>,
      units: { a: a as UnitWords & { eviction?: Eviction } },
    });
    assert.equal(verdict!.go, go, verdict!.message);
    assert.match(verdict!.message, says);
  });
}

test('evicting: SEMANTICS 22: nothing moves while caution lasts', () => {
  const { a } = verdictOf({ machines: { m1: cordoned, m2: {} }, units: { a: asked() }, caution: '2 of 3 machines vanished together' });
  assert.deepEqual([a!.go, /nothing is moved: 2 of 3/.test(a!.message)], ['stay', true]);
});

test('evicting: SEMANTICS 21: a group leaves as one, followers first, whoever of it was asked', () => {
  const verdicts = verdictOf({ machines: { m1: cordoned, m2: {} }, units: { a: asked(), b: { machineOf: ['a'] } }, on: { b: 'm1' } });
  assert.equal(verdicts.b!.go, 'leave');
  assert.match(verdicts.b!.message, /a, which runs together with it, was asked to leave/);
  assert.deepEqual([verdicts.a!.go, /waiting for its follower b to stop first/.test(verdicts.a!.message)], ['stay', true]);
});
