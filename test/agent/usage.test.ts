import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunUsage } from '../../agent/unit-cgroups.js';
import { UsageMeter, type UsagePorts, usedIn } from '../../agent/usage.js';
import { ManualClock } from '../rigs/manual-clock.js';

/** Looks come one after the other; the last one stays. */
function meter(looks: readonly Partial<{ machine: RunUsage; units: Record<string, RunUsage> }>[]) {
  const clock = new ManualClock();
  let taken = 0;
  const look = () => looks[Math.min(taken, looks.length - 1)]!;
  const ports: UsagePorts = {
    machine: async () => look().machine ?? {},
    async units() {
      const units = new Map(Object.entries(look().units ?? {}));
      taken++;
      return units;
    },
    clock,
    signal: new AbortController().signal,
  };
  return { clock, usage: new UsageMeter(ports), taken: () => taken };
}

const run = (cpuSeconds: number | undefined, memoryBytes?: number, invocationID = 'a'): RunUsage => ({
  invocationID,
  ...(cpuSeconds === undefined ? {} : { cpuSeconds }),
  ...(memoryBytes === undefined ? {} : { memoryBytes }),
});

for (const { name, before, now, rates } of [
  { name: 'half a core', before: run(1), now: run(1.5), rates: { cpuNanoCores: 500_000_000 } },
  { name: 'memory as it is now', before: run(1, 10), now: run(1, 20), rates: { cpuNanoCores: 0, memoryBytes: 20 } },
  {
    name: 'SEMANTICS 15: memory alone, where processors are not accounted for',
    before: run(undefined, 10),
    now: run(undefined, 20),
    rates: { memoryBytes: 20 },
  },
  { name: 'SEMANTICS 15: nothing is accounted for', before: run(undefined), now: run(undefined), rates: undefined },
  { name: 'another run, whose counters began anew', before: run(1, 10, 'a'), now: run(1.5, 20, 'b'), rates: { memoryBytes: 20 } },
  { name: 'it was not running at the first look', before: undefined, now: run(5, 20), rates: { memoryBytes: 20 } },
  { name: 'it has ended by the second', before: run(5, 20), now: undefined, rates: undefined },
]) {
  test(`usage: ${name}`, async () => {
    const units = (usage: RunUsage | undefined) => ({ units: usage ? { 'web.service': usage } : {} });
    const { clock, usage } = meter([units(before), units(now)]);
    const measured = usage.measure();
    await clock.advance(1_000);
    assert.deepEqual((await measured).units['web.service'], rates);
  });
}

test('usage: the second look is the first of the next time, and whoever asks meanwhile shares the answer', async () => {
  const { clock, usage, taken } = meter([{ machine: { cpuSeconds: 0 } }, { machine: { cpuSeconds: 1 } }, { machine: { cpuSeconds: 3 } }]);
  const both = [usage.measure(), usage.measure()];
  await clock.advance(1_000);
  const [one, other] = await Promise.all(both);
  assert.equal(one, other);
  assert.deepEqual([one!.windowMs, one!.machine.cpuNanoCores], [1_000, 1_000_000_000]);
  assert.equal(taken(), 2, 'nothing is looked at unless somebody asks');
  await clock.advance(4_000);
  const later = await usage.measure();
  assert.deepEqual([later.windowMs, later.machine.cpuNanoCores, taken()], [4_000, 500_000_000, 3]);
  await clock.advance(120_000);
  const muchLater = usage.measure();
  await clock.advance(1_000);
  assert.deepEqual([(await muchLater).windowMs, taken()], [1_000, 5], 'what was long ago says nothing of now');
});

test('usage: memory that is not free to be given away, as the kernel counts it', () => {
  assert.equal(usedIn('MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:    400 kB\n'), 600 * 1024);
  assert.equal(usedIn('MemTotal:       1000 kB\n'), undefined);
});
