import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fleetHash, fleetHashOfOptions, fleetOptions, fleetSerialize } from '../../../../api/resources/unit-file/fleet-hash.js';
import { UnitFileError } from '../../../../api/resources/unit-file/parse.js';

/** Seen from a running fleet 1.0; the short ones are what fleetctl showed. */
for (const { name, text, hash } of [
  { name: 'one line without its end', text: '[Service]\nExecStart=/bin/true', hash: '86943ac9f3754cb90f8dd38bf6da7b0cad074592' },
  {
    name: 'lines that end in CRLF',
    text: '[Service]\r\nExecStart=/bin/true\r\nUser=x\r\n',
    hash: '099ad21c80864e233ea16574467f7abe2075b49d',
  },
  {
    name: "fleet's own hello.service",
    text: '[Service]\nExecStart=/bin/bash -c "while true; do echo Hello, World!; sleep 1; done"\n',
    hash: '3750b3e9f3962a56c7582929426e9abb012754cf',
  },
  {
    name: "fleet's own hello@.service",
    text: '[Service]\nExecStart=/bin/bash -c "while true; do echo Hello, World %i!; sleep 1; done"\n',
    hash: '79699e32624ad46c366ef37de89006ae9da617cd',
  },
  {
    name: 'two sections',
    text: '[Unit]\nDescription=Hello\n\n[Service]\nExecStart=/bin/sleep infinity\n',
    hash: '3585129a937fa3d1ba1d97bf61790801d7efb4fd',
  },
  { name: 'a template', text: '[Unit]\nDescription=Hello %i\n[Service]\nExecStart=/bin/sleep infinity\n', hash: 'b9c8d6b' },
  { name: 'a global unit', text: '# everywhere\n[Service]\nExecStart = /bin/sleep infinity\n\n[X-Fleet]\nGlobal=true', hash: 'd7594b2' },
]) {
  test(`fleet hash: ${name}`, () => assert.ok(fleetHash(text).startsWith(hash), fleetHash(text)));
}

for (const { name, text, normalised } of [
  { name: 'comments and empty sections are lost', text: '# c\n[Empty]\n[A]\n; c\nx=1\n', normalised: '[A]\nx=1\n' },
  { name: 'repeated sections are merged', text: '[A]\nx=1\n[B]\ny=2\n[A]\nz=3\n', normalised: '[A]\nx=1\nz=3\n\n[B]\ny=2\n' },
  { name: 'a continuation stays as written', text: '[A]\nx=a \\\n  b\ny=c\n', normalised: '[A]\nx=a \\\n  b\ny=c\n' },
  { name: 'a dangling backslash keeps its newline', text: '[A]\nx=a \\\n\ny=c\n', normalised: '[A]\nx=a \\\n\ny=c\n' },
  { name: 'a backslash before CRLF does not continue', text: '[A]\r\nx=a \\\r\ny=b\r\n', normalised: '[A]\nx=a \\\ny=b\n' },
  { name: 'an empty value is kept', text: '[A]\nx=\nx=1\n', normalised: '[A]\nx=\nx=1\n' },
  {
    name: 'a comment line that ends in a backslash takes the next line with it',
    text: '[A]\n# c \\\nx=1\ny=2\n',
    normalised: '[A]\ny=2\n',
  },
  { name: 'text before the first section is passed over', text: 'hello\n[A]\nx=1\n', normalised: '[A]\nx=1\n' },
]) {
  test(`fleet hash: ${name}`, () => assert.equal(fleetSerialize(fleetOptions(text)), normalised));
}

for (const { text, problem } of [
  { text: '[A]\nx\n', problem: 'unexpected newline encountered while parsing option name' },
  { text: '[A\n', problem: 'unable to find end of section' },
  { text: '[A] b\n', problem: 'found garbage after section name A' },
  { text: `[A]\nx=${'a'.repeat(2050)}\n`, problem: 'line too long (max 2048 bytes)' },
]) {
  test(`fleet hash: fleet refuses ${JSON.stringify(text.slice(0, 12))}`, () => {
    assert.throws(
      () => fleetOptions(text),
      (error) => error instanceof UnitFileError && error.problems[0]?.message === problem,
    );
  });
}

test('fleet hash: a text that only systemd can read is hashed by what systemd reads', () => {
  const long = 'a'.repeat(3000);
  assert.equal(fleetHash(`[A]\nx=${long}\n`), fleetHashOfOptions([{ section: 'A', name: 'x', value: long }]));
});

test('fleet hash: every text has one, and layout does not change it', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('[', ']', '=', 'a', '\\', '\n', '\r', '#', ' ') }), (text) => {
      assert.match(fleetHash(text), /^[0-9a-f]{40}$/);
    }),
    { numRuns: 2000 },
  );
  assert.equal(fleetHash('[A]\nx=1\n\n\n# c\n[B]\n y = 2\n'), fleetHash('[A]\nx=1\n[B]\ny=2'));
  assert.notEqual(fleetHash('[A]\nx=1\n'), fleetHash('[A]\nx=2\n'));
});
