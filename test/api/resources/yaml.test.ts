import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { forbiddenKeys } from '../../../api/resources/meta-validation.js';
import { parseYaml, parseYamlDocuments, printYaml, YamlError } from '../../../api/resources/yaml.js';

for (const { text, value } of [
  { text: 'a: yes\nb: on\nc: 2020-01-01\nd: 0644\ne: ~', value: { a: 'yes', b: 'on', c: '2020-01-01', d: 644, e: null } },
  { text: 'a: |\n  x\n   y\n', value: { a: 'x\n y\n' } },
  { text: '{"a": [1, true, null, "x"]}', value: { a: [1, true, null, 'x'] } },
  { text: '# c\n---\n# d\na: 1\n', value: { a: 1 } },
  { text: '--- {a: 1}\n...\n', value: { a: 1 } },
  { text: '1: x', value: { 1: 'x' } },
]) {
  test(`yaml: ${JSON.stringify(text)}`, () => assert.deepEqual(parseYaml(text), value));
}

for (const { text, error } of [
  { text: '', error: /the text is empty/ },
  { text: 'a: 1\n---\nb: 2\n', error: /line 3, column 1: expected one document, found several/ },
  { text: 'a: [', error: /line 1, column \d+: unexpected end of the stream/ },
  { text: '---\n---\na: [', error: /line 3/ },
]) {
  test(`yaml: ${JSON.stringify(text)} is refused`, () => {
    assert.throws(
      () => parseYaml(text),
      (thrown) => thrown instanceof YamlError && error.test(thrown.message),
    );
  });
}

test('yaml: a separator inside a block text ends the document, as the standard has it', () => {
  assert.deepEqual(
    parseYamlDocuments('a: |\n  x\n---\nb: 1\n').map((result) => ('error' in result ? 'error' : result.document.value)),
    [{ a: 'x\n' }, { b: 1 }],
  );
});

test('yaml: a field is found where it was written', () => {
  const [result] = parseYamlDocuments('# c\na:\n  b:\n    - x\n    - c: |\n        one\n        two\n  "d e": &q {f: 1}\n  g: *q\n');
  assert.ok(result !== undefined && 'document' in result);
  const { document } = result;
  for (const { path, at } of [
    { path: [], at: '2:1' },
    { path: ['a', 'b'], at: '3:3' },
    { path: ['a', 'b', 0], at: '4:7' },
    { path: ['a', 'b', 1, 'c'], at: '5:7' },
    { path: ['a', 'd e', 'f'], at: '8:14' },
    { path: ['a', 'g', 'f'], at: '9:3' },
    { path: ['a', 'nothing', 'here'], at: '2:1' },
  ]) {
    const { line, column } = document.positionOf(path);
    assert.equal(`${line}:${column}`, at, path.join('.'));
  }
  assert.equal(document.blockLineOf(['a', 'b', 1, 'c']), 6);
  assert.equal(document.blockLineOf(['a', 'b', 0]), undefined);
});

test('yaml: what is printed reads back the same', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('a', ' ', '\n', ':', '#', '-', '\t', '"', "'", '|', '%', '~', '1', 'é', '\\') }),
  );
  // js-yaml prints a key that begins with "--- " without quotes; no key that passes our validation has a space.
  const key = text.filter((word) => word !== '<<' && !forbiddenKeys.has(word) && !/^(?:---|\.\.\.)\s/.test(word));
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(key, tie('value'), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).value;
  fc.assert(
    fc.property(fc.dictionary(key, tree, { minKeys: 1, noNullPrototype: true }), (value) =>
      assert.deepEqual(parseYaml(printYaml(value)), value),
    ),
    { numRuns: 1000 },
  );
});

test('yaml: a unit text is printed as a block that people can read', () => {
  assert.equal(
    printYaml({ spec: { content: '[Service]\nExecStart=/bin/true\n' } }),
    'spec:\n  content: |\n    [Service]\n    ExecStart=/bin/true\n',
  );
});
