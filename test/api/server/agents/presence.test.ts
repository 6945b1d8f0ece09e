import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Presence } from '../../../../api/resources/machine.js';
import { judge } from '../../../../api/server/agents/presence.js';
import { infoOf } from './rig.js';

const holdMs = 60_000;
const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1_000);
const presence = (bootID: string, more: Partial<Presence> = {}): Presence => ({
  info: infoOf(bootID),
  machineUid: 'uid',
  session: 's',
  server: 'alpha',
  leaseId: '1',
  since: at(0).toISOString(),
  ...more,
});
const hold = (a: string, b: string, lastSeen: string) => presence(lastSeen, { duplicate: { bootIDs: [a, b], lastSeen } });

for (const { what, previous, bootID, atSecond = 1, verdict } of [
  { what: 'nobody was there', previous: undefined, bootID: 'a', verdict: { verdict: 'take' } },
  { what: 'the same boot comes again', previous: presence('a'), bootID: 'a', verdict: { verdict: 'take' } },
  { what: 'the host has rebooted', previous: presence('a'), bootID: 'b', verdict: { verdict: 'take', replacedBoot: 'a' } },
  {
    what: 'it comes again after the reboot',
    previous: presence('b', { replacedBoot: 'a' }),
    bootID: 'b',
    verdict: { verdict: 'take', replacedBoot: 'a' },
  },
  {
    what: 'it reboots once more',
    previous: presence('b', { replacedBoot: 'a' }),
    bootID: 'c',
    verdict: { verdict: 'take', replacedBoot: 'b' },
  },
  {
    what: 'the boot that was replaced comes back: there are two hosts',
    previous: presence('b', { replacedBoot: 'a' }),
    bootID: 'a',
    verdict: { verdict: 'duplicate', bootIDs: ['b', 'a'], renew: true },
  },
  {
    what: 'the other one comes back while both are kept out',
    previous: hold('b', 'a', 'a'),
    bootID: 'b',
    atSecond: 50,
    verdict: { verdict: 'duplicate', bootIDs: ['a', 'b'], renew: true },
  },
  {
    what: 'one of them asks again at once',
    previous: hold('b', 'a', 'a'),
    bootID: 'a',
    verdict: { verdict: 'duplicate', bootIDs: ['b', 'a'], renew: false },
  },
  {
    what: 'one of them asks again and the other has kept away',
    previous: hold('b', 'a', 'a'),
    bootID: 'a',
    atSecond: 31,
    verdict: { verdict: 'take' },
  },
  {
    what: 'a third host of the same id comes',
    previous: hold('b', 'a', 'a'),
    bootID: 'c',
    atSecond: 40,
    verdict: { verdict: 'duplicate', bootIDs: ['a', 'c'], renew: true },
  },
]) {
  test(`SEMANTICS 19: ${what}: ${verdict.verdict}`, () => {
    assert.deepEqual(judge(previous, bootID, at(atSecond), holdMs), verdict);
  });
}
