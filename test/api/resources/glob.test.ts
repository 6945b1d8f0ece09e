import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { globMatch, globMatcher } from '../../../api/resources/glob.js';

/** The cases of Go's own documentation of path.Match, and what unit names bring with them. */
for (const { pattern, name, is } of [
  { pattern: 'abc', name: 'abc', is: true },
  { pattern: '*', name: 'abc', is: true },
  { pattern: '*', name: '', is: true },
  { pattern: '', name: '', is: true },
  { pattern: '', name: 'a', is: false },
  { pattern: '*c', name: 'abc', is: true },
  { pattern: 'a*', name: 'a', is: true },
  { pattern: 'a*', name: 'ab/c', is: false },
  { pattern: 'a*/b', name: 'abc/b', is: true },
  { pattern: 'a*b*c*d*e*', name: 'axbxcxdxe', is: true },
  { pattern: 'a*b?c*x', name: 'abxbbxdbxebxczzx', is: true },
  { pattern: 'a*b?c*x', name: 'abxbbxdbxebxczzy', is: false },
  { pattern: 'ab[c]', name: 'abc', is: true },
  { pattern: 'ab[b-d]', name: 'abc', is: true },
  { pattern: 'ab[e-g]', name: 'abc', is: false },
  { pattern: 'ab[^c]', name: 'abc', is: false },
  { pattern: 'ab[^e-g]', name: 'abc', is: true },
  { pattern: 'a\\*b', name: 'a*b', is: true },
  { pattern: 'a\\*b', name: 'ab', is: false },
  { pattern: 'a?b', name: 'aéb', is: true },
  { pattern: 'a[^a]b', name: 'aéb', is: true },
  { pattern: 'a?b', name: 'a/b', is: false },
  { pattern: 'a*b', name: 'a/b', is: false },
  { pattern: '[a-ζ]*', name: 'α', is: true },
  { pattern: '[\\]a]', name: ']', is: true },
  { pattern: '[\\-]', name: '-', is: true },
  { pattern: '[x\\-]', name: 'x', is: true },
  { pattern: '*x', name: 'xxx', is: true },
  { pattern: '[!a]', name: '!', is: true },
  { pattern: 'redis@*.service', name: 'redis@1.service', is: true },
  { pattern: 'redis@*.service', name: 'redis.service', is: false },
  { pattern: 'dev-disk\\\\x2dlabel.mount', name: 'dev-disk\\x2dlabel.mount', is: true },
]) {
  test(`glob: ${JSON.stringify(pattern)} ${is ? 'matches' : 'does not match'} ${JSON.stringify(name)}`, () =>
    assert.equal(globMatch(pattern, name), is));
}

for (const pattern of ['[]a]', '[-]', '[x-]', '[-x]', '[', '[^', '[^bc', 'a[', '[a-b-c]', 'a\\', '[]', '[a', '[\\']) {
  test(`glob: ${pattern} is malformed and matches nothing`, () => {
    assert.equal(globMatcher(pattern), undefined);
    assert.equal(globMatch(pattern, 'a'), false);
  });
}

test('glob: agrees with a regular expression that says the same', () => {
  const part = fc.constantFrom('a', 'b', '*', '?', '[ab]', '[^a]', '[a-b]', '\\*', '.');
  // No slashes: no unit name has one, and around them Go's own answer is not that of a regular expression.
  const asRegExp: Record<string, string> = { '*': '.*', '?': '.', '.': '\\.' };
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.string({ unit: fc.constantFrom('a', 'b', '*', '.'), maxLength: 10 }),
      (parts, name) => {
        const expression = new RegExp(`^${parts.map((text) => asRegExp[text] ?? text).join('')}$`);
        assert.equal(globMatch(parts.join(''), name), expression.test(name));
      },
    ),
    { numRuns: 3000 },
  );
});

test('glob: many stars cost no exponential time', () => {
  // Trying every star again would never end.
  assert.equal(globMatch(`${'*a'.repeat(120)}b`, 'a'.repeat(255)), false);
});
