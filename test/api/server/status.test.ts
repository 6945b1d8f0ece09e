import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StatusError } from '../../../api/resources/errors.js';
import { statusOf, warningHeaders } from '../../../api/server/status.js';
import { OutcomeUnknown, StoreUnavailable } from '../../../runtime/store/store.js';

for (const { name, error, code, reason, unforeseen } of [
  {
    name: 'an error that is meant for the client',
    error: new StatusError('Conflict', 'x'),
    code: 409,
    reason: 'Conflict',
    unforeseen: false,
  },
  { name: 'etcd is away', error: new StoreUnavailable('x'), code: 503, reason: 'ServiceUnavailable', unforeseen: false },
  { name: 'an outcome that nobody knows', error: new OutcomeUnknown('x'), code: 504, reason: 'Timeout', unforeseen: false },
  { name: 'a fault of ours', error: new TypeError('x'), code: 500, reason: 'InternalError', unforeseen: true },
  { name: 'something thrown that is no error', error: 'x', code: 500, reason: 'InternalError', unforeseen: true },
]) {
  test(`statusOf: ${name} is ${code} ${reason}`, () => {
    const seen = statusOf(error, 1);
    assert.deepEqual([seen.status.code, seen.status.reason, seen.unforeseen], [code, reason, unforeseen]);
  });
}

test('an outcome that nobody knows says that the write may have happened', () =>
  assert.match(statusOf(new OutcomeUnknown('x'), 1).status.message, /may or may not have happened/));

test('warnings: any text makes a header that is one line, quoted, and short enough', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 2_000 }), { maxLength: 40 }), (warnings) => {
      const headers = warningHeaders(warnings);
      for (const header of headers) assert.match(header, /^299 - "(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"$/);
      assert.ok(headers.join('').length < 12_000);
    }),
  );
});
