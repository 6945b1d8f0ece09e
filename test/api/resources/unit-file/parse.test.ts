import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lastValueOf, maxUnitFileLength, parseUnitFile, UnitFileError, valuesOf } from '../../../../api/resources/unit-file/parse.js';
import { printUnitFile } from '../../../../api/resources/unit-file/print.js';

const optionsOf = (text: string) =>
  parseUnitFile(text).options.map(({ section, name, value, line }) => `${line} ${section}.${name}=${value}`);

for (const { name, text, options } of [
  {
    name: 'sections and options in order',
    text: '[Unit]\nA=1\n\n[Service]\nB=2\nA=3\n',
    options: ['2 Unit.A=1', '5 Service.B=2', '6 Service.A=3'],
  },
  { name: 'a repeated section goes on', text: '[A]\nx=1\n[B]\ny=2\n[A]\nx=3', options: ['2 A.x=1', '4 B.y=2', '6 A.x=3'] },
  { name: 'spaces around names and values go, inner ones stay', text: '[A]\n  x  =  a  b\t\n', options: ['2 A.x=a  b'] },
  { name: 'an equals sign in a value', text: '[A]\nx=a=b=', options: ['2 A.x=a=b='] },
  { name: 'an empty assignment', text: '[A]\nx=\n', options: ['2 A.x='] },
  { name: 'comments with # and ;', text: '# one\n[A]\n ; two\nx=1 # not a comment\n', options: ['4 A.x=1 # not a comment'] },
  { name: 'a continuation becomes one space', text: '[A]\nx=a\\\nb\n', options: ['2 A.x=a b'] },
  { name: 'a continued line keeps its indent', text: '[A]\nx=a \\\n  b\n', options: ['2 A.x=a    b'] },
  { name: 'comments inside a continuation vanish', text: '[A]\nx=a \\\n# why\n; because \\\n b\n', options: ['2 A.x=a   b'] },
  { name: 'an empty line ends a continuation', text: '[A]\nx=a \\\n\ny=b\n', options: ['2 A.x=a', '4 A.y=b'] },
  { name: 'a continuation at the end of the file', text: '[A]\nx=a \\', options: ['2 A.x=a'] },
  { name: 'two backslashes are one escaped backslash', text: '[A]\nx=a\\\\\ny=b\n', options: ['2 A.x=a\\\\', '3 A.y=b'] },
  { name: 'three backslashes continue', text: '[A]\nx=a\\\\\\\ny=b\n', options: ['2 A.x=a\\\\ y=b'] },
  { name: 'a backslash before a space does not continue', text: '[A]\nx=a\\ \ny=b\n', options: ['2 A.x=a\\', '3 A.y=b'] },
  { name: 'a comment does not continue', text: '[A]\n# x \\\ny=b\n', options: ['3 A.y=b'] },
  { name: 'lines that end in CRLF', text: '[A]\r\nx=a \\\r\n b\r\ny=c\r\n', options: ['2 A.x=a   b', '4 A.y=c'] },
  { name: 'lines that end in CR alone', text: '[A]\rx=a\ry=b', options: ['2 A.x=a', '3 A.y=b'] },
  { name: 'a byte order mark', text: '\ufeff[A]\nx=1', options: ['2 A.x=1'] },
  { name: 'a header with spaces around it', text: '  [A]  \nx=1', options: ['2 A.x=1'] },
  { name: 'other writing systems', text: '[A]\nx=你好 – ✓\n', options: ['2 A.x=你好 – ✓'] },
  { name: 'no-break spaces are not white space', text: '[A]\nx=\u00a0a\u00a0\n', options: ['2 A.x=\u00a0a\u00a0'] },
  { name: 'nothing at all', text: '', options: [] },
  { name: 'an empty section', text: '[Install]\n', options: [] },
]) {
  test(`unit file: ${name}`, () => assert.deepEqual(optionsOf(text), options));
}

for (const { name, text, problems } of [
  {
    name: 'a command without "="',
    text: '[Service]\nExecStart docker run x\n',
    problems: ['2 "ExecStart" has no "="; expected Name=value'],
  },
  {
    name: 'a command without its first "="',
    text: '[Service]\nExecStart docker run -e A=b\n',
    problems: ['2 "ExecStart" is not followed by "="; expected Name=value'],
  },
  {
    name: 'an option before any section',
    text: 'Type=simple\n[Service]\n',
    problems: ['1 "Type" stands before any section; expected a header such as [Service] first'],
  },
  { name: 'a header without its end', text: '[Service\nA=1\n', problems: ['1 the section header has no closing "]"'] },
  {
    name: 'text after a header',
    text: '[Service] x\nA=1\n',
    problems: ['1 unexpected text after [Service]; expected the header alone on its line'],
  },
  { name: 'an empty header', text: '[]\n', problems: ['1 the section header is empty; expected a name such as [Service]'] },
  { name: 'a header with quotes', text: '["Service"]\n', problems: ['1 the section header has characters that no section name has'] },
  { name: 'a value without a name', text: '[A]\n=x\n', problems: ['2 nothing stands before "="; expected Name=value'] },
  { name: 'a NUL byte', text: '[A]\nx=a\0b\n', problems: ['2 a unit file cannot contain a NUL byte'] },
  { name: 'half a character', text: '[A]\nx=\ud800\n', problems: ['2 not valid Unicode'] },
  {
    name: 'a line that might be a secret is not quoted',
    text: '[A]\nhunter2!\n',
    problems: ['2 the line has no "="; expected Name=value'],
  },
  {
    name: 'several lines',
    text: '[A]\nb\nx=1\nc d\n',
    problems: ['2 "b" has no "="; expected Name=value', '4 "c" has no "="; expected Name=value'],
  },
]) {
  test(`unit file: ${name} is refused and the line named`, () => {
    assert.throws(
      () => parseUnitFile(text),
      (error) => {
        assert.ok(error instanceof UnitFileError);
        assert.deepEqual(
          error.problems.map(({ line, message }) => `${line} ${message}`),
          problems,
        );
        assert.match(error.message, /^line \d+: /);
        return true;
      },
    );
  });
}

test('unit file: an empty assignment resets a list, and the last of several assignments counts', () => {
  const file = parseUnitFile('[Service]\nExecStart=/a\nExecStart=\nExecStart=/b\nExecStart=/c\n[Service]\nUser=x\nUser=\n');
  assert.deepEqual(valuesOf(file, 'Service', 'ExecStart'), ['/b', '/c']);
  assert.equal(lastValueOf(file, 'Service', 'User'), '');
  assert.equal(lastValueOf(file, 'Service', 'Group'), undefined);
});

test('unit file: one that is too long, or all garbage, is refused in a bounded message', () => {
  for (const text of [`[A]\nx=${'a'.repeat(maxUnitFileLength)}`, 'x\n'.repeat(30_000)]) {
    assert.throws(
      () => parseUnitFile(text),
      (error) => error instanceof UnitFileError && error.problems.length <= 20 && error.message.length < 4000,
    );
  }
});

/** Texts made of what a parser trips over. */
const trickyText = fc
  .array(
    fc.constantFrom(
      '[',
      ']',
      '[Unit]',
      '[X-Fleet]',
      '=',
      'a',
      'Key',
      'Key=',
      ' ',
      '\t',
      '\\',
      '\\\\',
      '\n',
      '\n',
      '\r\n',
      '\r',
      '#',
      ';',
      '"',
      '%n',
      '\ufeff',
      'é',
      '\ud800',
      '\0',
    ),
    {
      maxLength: 60,
    },
  )
  .map((parts) => parts.join(''));

test('unit file: whatever the text, the parser answers or throws UnitFileError; what it prints reads back the same', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        trickyText,
        fc.string({ unit: 'binary' }),
        trickyText.map((text) => `[Unit]\n${text}`),
      ),
      (text) => {
        let options: readonly { section: string; name: string; value: string }[];
        try {
          options = parseUnitFile(text).options.map(({ section, name, value }) => ({ section, name, value }));
        } catch (error) {
          assert.ok(error instanceof UnitFileError);
          assert.ok(error.problems.length > 0 && error.problems.every(({ line }) => line >= 1));
          return;
        }
        const printed = printUnitFile(options);
        const again = parseUnitFile(printed).options.map(({ section, name, value }) => ({ section, name, value }));
        assert.deepEqual(again, options);
        assert.equal(printUnitFile(again), printed);
      },
    ),
    { numRuns: 5000 },
  );
});

// Linear, this is a second of work; quadratic, it is hours. The time limit tells the two apart on any machine.
test('unit file: time grows with the length of the text, not faster', { timeout: 120_000 }, () => {
  const length = maxUnitFileLength - 16;
  for (const text of [
    `[A]\nx=${'\\\n'.repeat(length / 2)}`,
    `[A]\nx=${' '.repeat(length)}b`,
    `[A]\n${' '.repeat(length)}x`,
    `[${'['.repeat(length)}`,
    `[A]\nx=a\\\n${'#\n'.repeat(length / 2)}`,
    `[A]\n${'\\'.repeat(length)}\nx=1`,
    `[A]\nx=${'\\'.repeat(length)} \n`,
    '\r'.repeat(length),
  ]) {
    for (let round = 0; round < 20; round++) {
      try {
        parseUnitFile(text);
      } catch (error) {
        assert.ok(error instanceof UnitFileError);
      }
    }
  }
});
