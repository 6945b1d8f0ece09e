import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isUnitFileName, manifestErrorText, maxManifestBytes, parseManifests } from '../../../api/resources/manifests.js';
import type { UnitSpec } from '../../../api/resources/unit.js';

const read = (file: string, text: string) => {
  const { documents, errors } = parseManifests(file, text);
  return { names: documents.map(({ object }) => object.metadata.name), errors: errors.map(manifestErrorText) };
};
const unit = (name: string, more = ''): string => `apiVersion: flotilla.dev/v1
kind: Unit
metadata:
  name: ${name}
spec:
  content: |
    [Service]
    ExecStart=/bin/true
${more}`;

test('manifests: many documents in one file, empty ones left out, each with its line', () => {
  const { documents, errors } = parseManifests(
    'a.yaml',
    `# head\n---\n${unit('a.service')}---\n# nothing\n---\n\n${unit('b.service')}...\n`,
  );
  assert.deepEqual(errors, []);
  assert.deepEqual(
    documents.map(({ object, kind, source }) => [object.metadata.name, kind.plural, source]),
    [
      ['a.service', 'units', { file: 'a.yaml', document: 1, line: 3 }],
      ['b.service', 'units', { file: 'a.yaml', document: 2, line: 15 }],
    ],
  );
});

test('manifests: JSON, with tabs too, and a byte order mark', () => {
  const json = JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name: 'x@1.service' } }, null, '\t');
  assert.deepEqual(read('a.json', json), { names: ['x@1.service'], errors: [] });
  assert.deepEqual(read('a.json', `\ufeff${json}`), { names: ['x@1.service'], errors: [] });
});

test('manifests: the objects of a List are documents', () => {
  const machine = { apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata: { name: 'f'.repeat(32), labels: { az: 'a' } } };
  for (const [apiVersion, kind] of [
    ['v1', 'List'],
    ['flotilla.dev/v1', 'MachineList'],
  ]) {
    const { documents, errors } = parseManifests('a.json', JSON.stringify({ apiVersion, kind, items: [machine] }));
    assert.deepEqual(errors, []);
    assert.deepEqual(
      documents.map(({ object, source }) => [object, source.item]),
      [[machine, 0]],
    ); // prettier-ignore
  }
});

test('manifests: a plain unit file is the Unit of its name, verbatim', () => {
  const text = '# mine\n[Timer]\nOnCalendar=daily\n';
  const { documents } = parseManifests('units/daily.timer', text);
  assert.deepEqual(documents[0]?.object, {
    apiVersion: 'flotilla.dev/v1',
    kind: 'Unit',
    metadata: { name: 'daily.timer' },
    spec: { content: text },
  });
  assert.deepEqual(['a.service', 'x/a@1.mount', 'a.yaml', 'a.json', 'service', 'a.service.bak', '-'].map(isUnitFileName), [
    true,
    true,
    false,
    false,
    false,
    false,
    false,
  ]);
});

test('manifests: errors of a plain unit file name its own lines', () => {
  assert.deepEqual(read('d/redis@1.service', '[Service]\nExecStart docker\n[X-Fleet\n').errors, [
    'd/redis@1.service:2: "ExecStart" has no "="; expected Name=value',
    'd/redis@1.service:3: the section header has no closing "]"',
  ]);
  assert.deepEqual(read('my web.service', '[Service]\nExecStart=/x\n').errors, [
    "my web.service: metadata.name: invalid character ' ' in unit name",
  ]);
});

test('manifests: errors of a unit file in a block name the lines of the manifest', () => {
  assert.deepEqual(read('a.yaml', unit('a.service', '    Garbage here\n')).errors, [
    'a.yaml:9: document 1: (unit/a.service): spec.content: line 3: "Garbage" has no "="; expected Name=value'.replace('1: (', '1 ('),
  ]);
});

for (const { name, text, error } of [
  {
    name: 'a misspelt field',
    text: unit('a.service', '  placment: {}\n'),
    error: 'a.yaml:9:3: document 1 (unit/a.service): spec.placment: unknown field; did you mean "placement"?',
  },
  {
    name: 'a field deep inside',
    text: unit('a.service', '  placement:\n    conflict: []\n'),
    error: 'a.yaml:10:5: document 1 (unit/a.service): spec.placement.conflict: unknown field; did you mean "conflicts"?',
  },
  {
    name: 'a number for a label',
    text: unit('a.service').replace('  name:', '  labels: {v: 1}\n  name:'),
    error: 'a.yaml:4:12: document 1 (unit/a.service): metadata.labels.v: expected a string, got a number; put it in quotes',
  },
  {
    name: 'a word that is not one of three',
    text: unit('a.service', '  desiredState: lanched\n'),
    error:
      'a.yaml:9:3: document 1 (unit/a.service): spec.desiredState: expected one of "inactive", "loaded", "launched"; did you mean "launched"?',
  },
  {
    name: 'a launched template',
    text: unit('a@.service', '  desiredState: launched\n'),
    error: 'a.yaml:9:3: document 1 (unit/a@.service): spec.desiredState: cannot activate template "a@.service"',
  },
  {
    name: 'no name',
    text: 'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {}\n',
    error: 'a.yaml:3:1: document 1: metadata.name: is required; expected a string',
  },
  {
    name: 'a misspelt kind',
    text: 'apiVersion: flotilla.dev/v1\nkind: Unitt\n',
    error: 'a.yaml:2:1: document 1: kind: unknown kind "Unitt"; did you mean "Unit"?',
  },
  {
    name: "somebody else's kind",
    text: 'apiVersion: apps/v1\nkind: Deployment\n',
    error: 'a.yaml:2:1: document 1: kind: unknown kind "Deployment" of "apps/v1"; expected one of Unit, UnitSet, Machine, GitSync, Secret',
  },
  {
    name: 'no kind',
    text: 'apiVersion: flotilla.dev/v1\n',
    error: 'a.yaml:1:1: document 1: kind: is required; expected one of Unit, UnitSet, Machine, GitSync, Secret',
  },
  {
    name: 'no apiVersion',
    text: 'kind: Unit\n',
    error: 'a.yaml:1:1: document 1: apiVersion: is required; expected "flotilla.dev/v1" for kind Unit',
  },
  {
    name: 'another apiVersion',
    text: 'kind: Unit\napiVersion: flotilla.dev/v2\n',
    error: 'a.yaml:2:1: document 1: apiVersion: expected "flotilla.dev/v1" for kind Unit',
  },
  {
    name: 'what only the system writes',
    text: 'kind: Assignment\napiVersion: flotilla.dev/v1\n',
    error: 'a.yaml:1:1: document 1: kind: Assignment objects are written by the system and cannot be applied',
  },
  { name: 'a list for an object', text: '- a\n', error: 'a.yaml:1:1: document 1: expected an object with apiVersion, kind and metadata' },
  { name: 'a word for an object', text: 'hello\n', error: 'a.yaml:1:1: document 1: expected an object with apiVersion, kind and metadata' },
  { name: 'broken YAML', text: 'a: b\n c: d\n', error: 'a.yaml:2:3: document 1: bad indentation of a mapping entry' },
  { name: 'a tab for an indent', text: 'a:\n\t- b\n', error: 'a.yaml:2:1: document 1: tab characters must not be used in indentation' },
  { name: 'a key twice', text: 'a: 1\nb: 2\na: 3\n', error: 'a.yaml:3:1: document 1: duplicated mapping key' },
  {
    name: '__proto__',
    text: 'kind: Unit\nmetadata:\n  __proto__: {polluted: yes}\n',
    error: 'a.yaml:3:3: document 1: metadata.__proto__: this key is not allowed anywhere',
  },
  {
    name: 'constructor',
    text: 'constructor: {prototype: {polluted: 1}}\n',
    error: 'a.yaml:1:1: document 1: constructor: this key is not allowed anywhere',
  },
  {
    name: 'a merge key',
    text: 'a: &a {x: 1}\nb:\n  <<: *a\n',
    error: 'a.yaml:3:3: document 1: merge keys (<<) are not supported; write the fields out',
  },
  {
    name: 'a binary tag',
    text: 'a: !!binary aGk=\n',
    error: 'a.yaml:1:4: document 1: a tag (!name) that is not supported; put text that begins with "!" in quotes',
  },
  {
    name: 'an unknown alias',
    text: 'a: *b\n',
    error: 'a.yaml:1:5: document 1: an alias (*name) that no anchor defines; put text that begins with "*" in quotes',
  },
  { name: 'an alias of itself', text: 'a: &a {b: *a}\n', error: 'a.yaml:1:8: document 1: a.b.b.b: is nested deeper than 32 levels' },
  {
    name: 'a number that would lose digits',
    text: 'a: 12345678901234567890\n',
    error: 'a.yaml:1:1: document 1: a: the number is too large to be kept exactly; put it in quotes',
  },
  { name: 'nesting without end', text: `${'- '.repeat(500)}a\n`, error: /^a.yaml:1:\d+: document 1: nesting exceeded maxDepth/ },
  {
    name: 'the same object twice',
    text: `${unit('a.service')}---\n${unit('a.service')}`,
    error: 'a.yaml:13:3: document 2 (unit/a.service): metadata.name: unit/a.service is already described at line 1',
  },
  {
    name: 'too many documents',
    text: '---\na: 1\n'.repeat(501),
    error: 'a.yaml: the file has 501 documents, at most 500 are read; split it into several files',
  },
  {
    name: 'a file of 5 MB',
    text: 'x'.repeat(5_000_000),
    error: `a.yaml: the file has 5000000 bytes, at most ${maxManifestBytes} (1 MiB) are read; split it into several files`,
  },
]) {
  test(`manifests: ${name} gets one error`, () => {
    const { errors } = read('a.yaml', text);
    assert.equal(errors.length, 1, errors.join('\n'));
    if (typeof error === 'string') assert.equal(errors[0], error);
    else assert.match(errors[0]!, error);
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });
}

test('invariant 7: a bad document hurts only itself', () => {
  const bad = ['a: b\n c: d\n', 'kind: Unitt\n', unit('x y.service'), 'a: *nope\n', '{', '"', '- - -', '%'];
  const text = bad.map((document, index) => `${unit(`good-${index}.service`)}---\n${document}\n---\n`).join('');
  const { names, errors } = read('a.yaml', text);
  assert.deepEqual(
    names,
    bad.map((_, index) => `good-${index}.service`),
  ); // prettier-ignore
  assert.equal(new Set(errors.map((error) => /document \d+/.exec(error)?.[0])).size, bad.length - 1, errors.join('\n'));
});

test('invariant 7: a bad item hurts only itself in a List', () => {
  const item = (name: string, spec: object) =>
    `- {apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: ${name}}, spec: ${JSON.stringify(spec)}}\n`;
  const { names, errors } = read('a.yaml', `kind: List\nitems:\n${item('x@1.service', { x: 1 })}${item('x@2.service', {})}- 3\n`);
  assert.deepEqual(names, ['x@2.service']);
  assert.deepEqual(errors, [
    'a.yaml:3:84: document 1 (unit/x@1.service): items[0].spec.x: unknown field',
    'a.yaml:5:3: document 1: items[2]: expected an object with apiVersion, kind and metadata',
  ]);
});

test('manifests: alias bombs are stopped before anybody expands them, many small ones too', () => {
  const levels = 'abcdefghi'.split('');
  const bomb = levels
    .map(
      (name, index) =>
        `${name}: &${name} [${Array(9)
          .fill(index === 0 ? '1' : `*${levels[index - 1]}`)
          .join(',')}]\n`,
    )
    .join('');
  // Expanded, this one would be 400 million nodes: no machine would come to the next line.
  assert.match(read('a.yaml', bomb).errors.join(), /has more than 20000 nodes/);
  // Each of these stays below the limit of one document.
  const small = bomb.split('\n').slice(0, 4).join('\n');
  const { errors } = read('a.yaml', `---\n${small}\n`.repeat(400));
  assert.equal(errors.length, 400);
  assert.match(errors[0] ?? '', /kind: is required/);
  assert.ok(errors.filter((error) => /have more than 200000 nodes in all/.test(error)).length > 300);
});

test('manifests: an error never quotes the source, which may hold a secret', () => {
  const secret = 'hunter2';
  for (const text of [
    `password: ${secret}\n bad: x`,
    `a: "${secret}`,
    `a: *${secret}`,
    `a: !${secret} x`,
    `a: "\\q${secret}"`,
    `a: @${secret}`,
    `a: %${secret}\n  b`,
    `a: ${secret}: x`,
    `a: |\n  x\n ${secret}`,
    `a: [${secret}`,
    `!<tag:${secret}> x`,
    `%${secret} x\na`,
    unit('a.service', `    Environment PASSWORD ${secret}\n`),
    unit('a.service', `    Environment=a\n    ${secret}!\n`),
  ]) {
    const { errors } = read('a.yaml', text);
    assert.ok(errors.length > 0, text);
    assert.ok(!errors.join('\n').includes(secret), errors.join('\n'));
  }
});

test("manifests: a document may be one owner's part of an object that exists", () => {
  const { names, errors } = read('a.yaml', 'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: web.service, labels: {a: b}}\n');
  assert.deepEqual([names, errors], [['web.service'], []]);
});

test('manifests: aliases become copies, so nothing changes two fields at once', () => {
  const { documents } = parseManifests(
    'a.yaml',
    unit('a.service', '  placement:\n    conflicts: &list [a*, b*]\n    replaces: *list\n').replace('  content: |', '  content: |'),
  );
  assert.deepEqual(documents, []);
  const own = parseManifests(
    'a.yaml',
    'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata:\n  name: a@1.service\n  labels: &l {a: b}\n  annotations: *l\n',
  ).documents[0]?.object;
  assert.deepEqual(own?.metadata.labels, own?.metadata.annotations);
  assert.notEqual(own?.metadata.labels, own?.metadata.annotations);
});

test('manifests: the text of a unit survives YAML as it was written', () => {
  const content = '[Service]\nExecStart=/bin/sh -c \'echo "a: b # c" \\\n  && x\'\n# end\n';
  const { documents } = parseManifests(
    'a.json',
    JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name: 'a.service' }, spec: { content } }),
  );
  assert.equal((documents[0]!.object.spec as UnitSpec).content, content);
});

test('manifests: whatever the text, there is an answer', () => {
  const piece = fc.constantFrom(
    '---\n',
    '...\n',
    'a: ',
    '- ',
    '&x ',
    '*x',
    '!!set ',
    '{',
    '}',
    '[',
    ']',
    '"',
    "'",
    '|\n',
    '>\n',
    '\n',
    ' ',
    '\t',
    '#',
    '%',
    '<<: ',
    '? ',
    ': ',
    'kind: Unit\n',
    '\0',
    '\ud800',
    '__proto__: ',
    '1',
    ',',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(piece, { maxLength: 40 }).map((parts) => parts.join('')),
        fc.string({ unit: 'binary' }),
      ),
      (text) => {
        const { documents, errors } = parseManifests('a.yaml', text);
        assert.deepEqual(documents, []);
        for (const error of errors) assert.ok(error.message.length < 2000);
        assert.equal(Reflect.get({}, 'a'), undefined);
      },
    ),
    { numRuns: 3000 },
  );
});
