import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runBefore } from '../../agent/previous-run.js';

for (const { name, ids, now, expected } of [
  { name: 'the run before the one that runs', ids: ['b', 'b', 'a'], now: { invocationID: 'b', isRestarting: false }, expected: 'a' },
  {
    name: 'the one that ended, while its restart is waited for',
    ids: ['b', 'b', 'a'],
    now: { invocationID: 'b', isRestarting: true },
    expected: 'b',
  },
  { name: 'systemd has not written of the newest yet', ids: ['b', 'a'], now: { invocationID: 'c', isRestarting: false }, expected: 'b' },
  { name: 'systemd has forgotten its last run', ids: ['b', 'a'], now: { isRestarting: false }, expected: 'a' },
  { name: 'there was only one', ids: ['a', 'a'], now: { invocationID: 'a', isRestarting: false }, expected: undefined },
  { name: 'there was none', ids: [], now: { isRestarting: false }, expected: undefined },
]) {
  test(`logs --previous: ${name}`, () => assert.equal(runBefore(ids, now), expected));
}
