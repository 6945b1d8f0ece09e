import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextLook } from '../../../controllers/gitsync/schedule.js';
import type { FailureReason, Verdict } from '../../../controllers/gitsync/status.js';

const failing = (reason: FailureReason): Verdict => ({ is: 'failing', reason, message: '' });
const ready: Verdict = { is: 'ready', reason: 'Applied', message: '' };
const stalled: Verdict = { is: 'stalled', reason: 'PruneHeld', message: '' };
const minute = 60_000;

for (const { name, verdict, failures = 0, intervalMs = minute, waitMs, next = 0 } of [
  { name: 'all is well: the interval, drawn out by half of the jitter', verdict: ready, waitMs: 63_000 },
  { name: 'well again: the failures are forgotten', verdict: ready, failures: 7, waitMs: 63_000 },
  { name: 'a human is needed: asking more often does not help', verdict: stalled, failures: 3, waitMs: 63_000 },
  { name: 'unhealthy: the repository cannot help', verdict: failing('Unhealthy'), failures: 3, waitMs: 63_000 },
  { name: 'the first failure', verdict: failing('FetchFailed'), waitMs: 1_500, next: 1 },
  { name: 'the fourth failure', verdict: failing('FetchFailed'), failures: 3, waitMs: 12_000, next: 4 },
  { name: 'many failures: never later than the interval', verdict: failing('FetchFailed'), failures: 30, waitMs: 63_000, next: 31 },
  {
    name: 'many failures, a long interval',
    verdict: failing('ApplyFailed'),
    failures: 30,
    intervalMs: 60 * minute,
    waitMs: 225_000,
    next: 31,
  },
  { name: 'caution ends without an event', verdict: failing('Caution'), failures: 9, waitMs: 5_000, next: 10 },
  { name: 'what it depends on', verdict: failing('DependencyNotReady'), failures: 9, waitMs: 5_000, next: 10 },
]) {
  test(`next look: ${name}`, () =>
    assert.deepEqual(
      nextLook(verdict, failures, intervalMs, () => 0.5),
      { waitMs, failures: next },
    ));
}
