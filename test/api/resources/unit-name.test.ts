import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  isInstanceName,
  isTemplateName,
  parseUnitName,
  templateNameOf,
  unitNameProblem,
  unitTypes,
} from '../../../api/resources/unit-name.js';

for (const { name, parts } of [
  { name: 'web.service', parts: { type: 'service', stem: 'web', prefix: 'web' } },
  { name: 'redis@1.service', parts: { type: 'service', stem: 'redis@1', prefix: 'redis', instance: '1' } },
  { name: 'redis@.service', parts: { type: 'service', stem: 'redis@', prefix: 'redis', instance: '' } },
  { name: 'a@b@c.timer', parts: { type: 'timer', stem: 'a@b@c', prefix: 'a', instance: 'b@c' } },
  { name: 'web.v2.socket', parts: { type: 'socket', stem: 'web.v2', prefix: 'web.v2' } },
  { name: 'dev-disk\\x2dlabel.mount', parts: { type: 'mount', stem: 'dev-disk\\x2dlabel', prefix: 'dev-disk\\x2dlabel' } },
  { name: 'a:b_C-9.path', parts: { type: 'path', stem: 'a:b_C-9', prefix: 'a:b_C-9' } },
]) {
  test(`unit name: ${name} is taken apart`, () => assert.deepEqual(parseUnitName(name), { name, ...parts }));
}

for (const type of unitTypes) test(`unit name: a .${type} is accepted`, () => assert.equal(unitNameProblem(`x.${type}`), undefined));

for (const { name, problem } of [
  { name: '', problem: 'unit name cannot be empty' },
  { name: `${'a'.repeat(292)}.service`, problem: 'unit name exceeds maximum length (255)' },
  { name: 'web', problem: /^unit name must contain "\."/ },
  { name: 'web.', problem: 'unit name cannot end in "."' },
  { name: 'web.servce', problem: 'invalid unit type: "servce"; did you mean "web.service"?' },
  { name: 'web.scope', problem: /^invalid unit type: "scope"/ },
  { name: 'web.snapshot', problem: /^invalid unit type: "snapshot"; expected one of service, socket/ },
  { name: 'my web.service', problem: "invalid character ' ' in unit name" },
  { name: '../x.service', problem: "invalid character '/' in unit name" },
  { name: '..\u2044x.service', problem: "invalid character '⁄' in unit name" },
  { name: 'a\nb.service', problem: "invalid character '\\x0a' in unit name" },
  { name: 'é.service', problem: "invalid character 'é' in unit name" },
  { name: '@x.service', problem: 'unit name cannot start in "@"' },
  { name: '.hidden.service', problem: 'unit name cannot start in "."' },
  { name: '..service', problem: 'unit name cannot start in "."' },
  { name: '--now.service', problem: 'unit name cannot start in "-"' },
  { name: 'x@1.mount', problem: 'invalid unit type for template: "mount"' },
  { name: 'a--b.slice', problem: /^invalid slice name/ },
]) {
  test(`unit name: ${JSON.stringify(name.slice(0, 20))} is refused`, () => {
    const found = unitNameProblem(name) ?? 'accepted';
    if (typeof problem === 'string') assert.equal(found, problem);
    else assert.match(found, problem);
    assert.equal(parseUnitName(name), undefined);
  });
}

test('unit name: the longest name is 255 bytes', () => {
  assert.equal(unitNameProblem(`${'a'.repeat(247)}.service`), undefined);
  assert.match(unitNameProblem(`${'a'.repeat(248)}.service`) ?? '', /255/);
});

test('unit name: an instance knows its template, nothing else has one', () => {
  assert.equal(templateNameOf('redis@1.service'), 'redis@.service');
  assert.equal(templateNameOf('a@b@c.v1.timer'), 'a@.timer');
  assert.equal(templateNameOf('redis@.service'), undefined);
  assert.equal(templateNameOf('redis.service'), undefined);
  assert.deepEqual(['a@.service', 'a@1.service', 'a.service'].map(isTemplateName), [true, false, false]);
  assert.deepEqual(['a@.service', 'a@1.service', 'a.service'].map(isInstanceName), [false, true, false]);
});

test('unit name: what is accepted is one safe file name, whatever was given', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('.', '/', '-', '@', 'a', '\\', ' ', '\n', '%') })), (stem) => {
      const name = `${stem}.service`;
      if (unitNameProblem(name) !== undefined) return;
      assert.match(name, /^[0-9A-Za-z:_\\][0-9A-Za-z:\-_.\\@]*\.service$/);
      assert.ok(Buffer.byteLength(name) <= 255);
    }),
    { numRuns: 2000 },
  );
});
