import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StatusError } from '../../../api/resources/errors.js';
import { eventKind } from '../../../api/resources/event-kind.js';
import {
  fieldMatcher,
  labelSelectorText,
  matches,
  matchesSelector,
  parseFieldSelector,
  parseLabelSelector,
} from '../../../api/resources/selectors.js';
import { unitKind } from '../../../api/resources/unit-kind.js';

const labels = { app: 'web', tier: 'front', empty: '', 'app.kubernetes.io/name': 'x' };

for (const { selector, is } of [
  { selector: '', is: true },
  { selector: 'app', is: true },
  { selector: '!app', is: false },
  { selector: '! nothing', is: true },
  { selector: 'app=web', is: true },
  { selector: 'app==web', is: true },
  { selector: 'app = web , tier=front', is: true },
  { selector: 'app=web,tier=back', is: false },
  { selector: 'app!=web', is: false },
  { selector: 'app!=db', is: true },
  { selector: 'nothing!=x', is: true },
  { selector: 'nothing=', is: false },
  { selector: 'empty=', is: true },
  { selector: 'empty=,app', is: true },
  { selector: 'app in (web,db)', is: true },
  { selector: 'app in ( db , web )', is: true },
  { selector: 'app in (db)', is: false },
  { selector: 'app notin (web)', is: false },
  { selector: 'app notin (db),tier', is: true },
  { selector: 'nothing notin (x)', is: true },
  { selector: 'empty in (,x)', is: true },
  { selector: 'app.kubernetes.io/name=x', is: true },
  { selector: 'in=x', is: false },
  { selector: 'toString', is: false },
  { selector: '!hasOwnProperty', is: true },
]) {
  test(`label selector: "${selector}" ${is ? 'matches' : 'does not match'}`, () =>
    assert.equal(matches(parseLabelSelector(selector), labels), is));
}

for (const { selector, problem } of [
  { selector: 'a b', problem: /expected one of =, ==, !=, in, notin after "a", found "b"/ },
  { selector: ',a', problem: /expected a label key, found ","/ },
  { selector: 'a,', problem: undefined },
  { selector: 'a=b c', problem: /expected "," between requirements, found "c"/ },
  { selector: '=b', problem: /expected a label key/ },
  { selector: 'a in b', problem: /expected "\(", found "b"/ },
  { selector: 'a in (b', problem: /expected "," or "\)", found the end/ },
  { selector: '!', problem: /expected a label key, found the end/ },
  { selector: '__proto__=x', problem: /cannot be a key/ },
  { selector: 'a'.repeat(20_000), problem: /at most 16384 characters/ },
]) {
  if (problem === undefined) continue;
  test(`label selector: "${selector.slice(0, 20)}" is a bad request`, () => {
    assert.throws(
      () => parseLabelSelector(selector),
      (error) => error instanceof StatusError && error.code === 400 && problem.test(error.message),
    );
  });
}

test('label selector: its text form means the same', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', '1', '-', '.', '/'), minLength: 1, maxLength: 4 });
  const values = fc.uniqueArray(word, { minLength: 1, maxLength: 3 });
  const requirement = fc.oneof(
    fc.record({ key: word, operator: fc.constantFrom('In' as const, 'NotIn' as const), values }),
    fc.record({ key: word, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
  );
  fc.assert(
    fc.property(fc.array(requirement, { maxLength: 4 }), fc.dictionary(word, word), (requirements, some) => {
      assert.equal(matches(parseLabelSelector(labelSelectorText(requirements)), some), matches(requirements, some));
    }),
  );
});

test('label selector: whatever the text, it is read or refused as a bad request', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '=', '!', ',', '(', ')', ' ', 'in', 'notin', '\\', '\n') }), (text) => {
      try {
        parseLabelSelector(text);
      } catch (error) {
        assert.ok(error instanceof StatusError && error.code === 400);
      }
    }),
    { numRuns: 2000 },
  );
});

test('label selector: the structured form', () => {
  assert.equal(matchesSelector({}, labels), true);
  assert.equal(
    matchesSelector({ matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['back'] }] }, labels),
    true,
  );
  assert.equal(matchesSelector({ matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] }, labels), false);
});

const web = {
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name: 'dev-disk\\x2dlabel.mount' },
  spec: { desiredState: 'launched' },
  status: { active: 'failed' },
};
for (const { selector, is } of [
  { selector: '', is: true },
  { selector: 'metadata.name=dev-disk\\\\x2dlabel.mount', is: true },
  { selector: 'metadata.name=dev-disk\\x2dlabel.mount', is: true },
  { selector: 'metadata.name=other.service', is: false },
  { selector: 'metadata.name!=other.service', is: true },
  { selector: 'metadata.namespace=', is: true },
  { selector: 'status.active=failed,spec.desiredState==launched', is: true },
  { selector: 'status.active=active', is: false },
  { selector: 'status.machine=', is: true },
]) {
  test(`field selector: "${selector}" ${is ? 'matches' : 'does not match'}`, () =>
    assert.equal(fieldMatcher(unitKind, parseFieldSelector(selector))(web), is));
}

test('field selector: the special characters in a value come back from their escapes', () => {
  assert.deepEqual(parseFieldSelector('a=x\\,y\\=z\\\\,b!=c'), [
    { field: 'a', equal: true, value: 'x,y=z\\' },
    { field: 'b', equal: false, value: 'c' },
  ]);
});

for (const { selector, problem } of [
  { selector: 'spec.content=x', problem: 'field label not supported: spec.content' },
  { selector: 'toString=x', problem: 'field label not supported: toString' },
  { selector: '__proto__=x', problem: 'field label not supported: __proto__' },
  { selector: 'metadata.name', problem: /expected field=value/ },
  { selector: 'metadata.name=a=b', problem: /must be escaped/ },
]) {
  test(`field selector: "${selector}" is a bad request`, () => {
    assert.throws(
      () => fieldMatcher(unitKind, parseFieldSelector(selector)),
      (error) =>
        error instanceof StatusError &&
        error.code === 400 &&
        (typeof problem === 'string' ? error.message === problem : problem.test(error.message)),
    );
  });
}

test('field selector: events are found by what they are about, as kubectl asks', () => {
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'e' },
    involvedObject: { kind: 'Unit', name: 'web.service', uid: 'u' },
    reason: 'Placed',
    message: 'm',
    type: 'Normal',
  };
  const terms = parseFieldSelector(
    'involvedObject.name=web.service,involvedObject.namespace=,involvedObject.kind=Unit,involvedObject.uid=u,type!=Warning',
  );
  assert.equal(fieldMatcher(eventKind, terms)(event), true);
});
