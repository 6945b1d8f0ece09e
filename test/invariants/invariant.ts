/**
 * An invariant of the design, and the proof that its check can see it broken: the same check runs a second time with a fault planted in
 * a fake, and must then complain of that very thing. A check that stays green there is worth nothing.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

/**
 * @param number of the invariant in the design
 * @param sentence what holds
 * @param red what the check says, in its AssertionError, when the fault is planted
 * @param check asserts that the sentence holds; with `plant` it does the same in a world with the fault
 */
export function invariant(number: number, sentence: string, red: string, check: (plant: boolean, t: TestContext) => Promise<void>): void {
  test(`invariant ${number}: ${sentence}`, (t) => check(false, t));
  test(`invariant ${number} is red with its planted fault: ${red}`, async (t) => {
    const complaint = await check(true, t).then(
      () => assert.fail(`the check did not notice the planted fault, expected: ${red}`),
      (error: unknown) => error,
    );
    if (!(complaint instanceof assert.AssertionError)) throw complaint;
    assert.ok(complaint.message.includes(red), `the check complains of something else than "${red}": ${complaint.message}`);
  });
}
