import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseUnitFile } from '../../../../api/resources/unit-file/parse.js';
import { restartText } from '../../../../api/resources/unit-file/print.js';
import { escapeLiteral, RenderError, renderSections } from '../../../../api/resources/unit-file/render.js';
import { installOf, sectionProblems } from '../../../../api/resources/unit-file/sections.js';
import { expandSpecifiers } from '../../../../api/resources/unit-file/specifiers.js';
import type { UnitType } from '../../../../api/resources/unit-name.js';

const before = '[Unit]\nDescription=x\n\n[Service]\nExecStart=/bin/a -b\n\n[X-Fleet]\nGlobal=true\n';
for (const { name, text, restarts } of [
  { name: 'a comment', text: `# new\n${before}`, restarts: false },
  { name: 'layout', text: '[Unit]\nDescription = x\n[Service]\nExecStart=\\\n/bin/a -b\n[X-Fleet]\nGlobal=true', restarts: false },
  { name: 'placement', text: before.replace('Global=true', 'Conflicts=a*'), restarts: false },
  { name: 'a section of its own', text: `${before}[X-Notes]\nOwner=me\n`, restarts: false },
  { name: 'a section that is written in two parts', text: `[Unit]\n[Service]\n[Unit]\n${before.slice(7)}`, restarts: false },
  { name: 'the command', text: before.replace('-b', '-c'), restarts: true },
  { name: 'the order of commands', text: before.replace('[X-Fleet]', '[Service]\nExecStartPre=/b\n[X-Fleet]'), restarts: true },
  { name: 'an install option', text: `${before}[Install]\nWantedBy=a.target\n`, restarts: true },
]) {
  test(`SEMANTICS 12: a change of ${name} ${restarts ? 'restarts' : 'restarts nothing'}`, () => {
    assert.equal(restartText(text) !== restartText(before), restarts);
  });
}

test('SEMANTICS 12: the order of commands counts', () => {
  const of = (...commands: string[]) => restartText(`[Service]\n${commands.map((command) => `ExecStartPre=${command}\n`).join('')}`);
  assert.notEqual(of('/a', '/b'), of('/b', '/a'));
});

test('SEMANTICS 12: a text that cannot be parsed stands for itself', () => assert.equal(restartText('garbage'), 'garbage'));

test('sections: rendered in the order given, lists repeated, empty values reset', () => {
  const text = renderSections({ Unit: { Description: 'x' }, Service: { ExecStart: ['', '/bin/a %i $HOME', '/bin/b'], User: 'me' } });
  assert.equal(text, '[Unit]\nDescription=x\n\n[Service]\nExecStart=\nExecStart=/bin/a %i $HOME\nExecStart=/bin/b\nUser=me\n');
});

for (const { name, sections, field, message } of [
  {
    name: 'a second option in a value',
    sections: { Service: { User: 'a\nExecStart=/evil' } },
    field: 'spec.sections.Service.User',
    message: /one line/,
  },
  {
    name: 'a section in a value',
    sections: { Service: { User: 'a\r[Service]' } },
    field: 'spec.sections.Service.User',
    message: /one line/,
  },
  {
    name: 'a backslash at the end',
    sections: { Service: { User: ['a', 'b\\'] } },
    field: 'spec.sections.Service.User[1]',
    message: /backslash/,
  },
  { name: 'a control character', sections: { Service: { User: 'a\u001b[2J' } }, field: 'spec.sections.Service.User', message: /control/ },
  { name: 'outer spaces', sections: { Service: { User: ' a' } }, field: 'spec.sections.Service.User', message: /white space/ },
  { name: 'half a character', sections: { Service: { User: '\udc00' } }, field: 'spec.sections.Service.User', message: /Unicode/ },
  { name: 'a section name with a bracket', sections: { 'A]\n[B': { x: '1' } }, field: 'spec.sections["A]\\n[B"]', message: /section name/ },
  { name: 'an option name with a sign', sections: { A: { 'x=1\ny': '1' } }, field: 'spec.sections.A["x=1\\ny"]', message: /option name/ },
  { name: 'an option that is a comment', sections: { A: { '#x': '1' } }, field: 'spec.sections.A["#x"]', message: /option name/ },
]) {
  test(`sections: ${name} is refused`, () => {
    assert.throws(
      () => renderSections(sections),
      (error) => {
        assert.ok(error instanceof RenderError);
        assert.equal(error.problems[0]?.field, field);
        assert.match(error.problems[0]?.message ?? '', message);
        return true;
      },
    );
  });
}

test('sections: what is rendered reads back as it was given, or is refused', () => {
  const word = fc.string({ unit: fc.constantFrom('A', 'b', '-', '[', ']', '=', '#', ' '), minLength: 1, maxLength: 5 });
  const value = fc.string({
    unit: fc.constantFrom('a', ' ', '\\', '\n', '\r', '#', ';', '[', ']', '=', '"', '%', '$', '\t', 'é'),
    maxLength: 8,
  });
  fc.assert(
    fc.property(fc.dictionary(word, fc.dictionary(word, fc.oneof(value, fc.array(value, { maxLength: 3 })))), (sections) => {
      let text: string;
      try {
        text = renderSections(sections);
      } catch (error) {
        assert.ok(error instanceof RenderError);
        return;
      }
      const meant = Object.entries(sections).flatMap(([section, entries]) =>
        Object.entries(entries).flatMap(([name, given]) => [given].flat().map((item) => ({ section, name, value: item }))),
      );
      assert.deepEqual(
        parseUnitFile(text).options.map(({ section, name, value: read }) => ({ section, name, value: read })),
        meant,
      );
    }),
    { numRuns: 3000 },
  );
});

test('sections: foreign text can be made literal', () => assert.equal(escapeLiteral('50% of $HOME'), '50%% of $$HOME'));

for (const { name, type, header, problem } of [
  { name: 'its own', type: 'service', header: 'Service', problem: undefined },
  { name: 'Install in a target', type: 'target', header: 'Install', problem: undefined },
  { name: "somebody's own", type: 'service', header: 'X-Notes', problem: undefined },
  { name: 'a typo', type: 'service', header: 'Sevice', problem: 'unknown section [Sevice]; did you mean [Service]?' },
  { name: 'another case', type: 'service', header: 'service', problem: 'unknown section [service]; did you mean [Service]?' },
  { name: 'a typo of X-Fleet', type: 'service', header: 'X-Flet', problem: 'unknown section [X-Flet]; did you mean [X-Fleet]?' },
  { name: 'another case of X-Fleet', type: 'service', header: 'x-fleet', problem: 'unknown section [x-fleet]; did you mean [X-Fleet]?' },
  { name: 'of another type', type: 'service', header: 'Timer', problem: 'section [Timer] belongs in a .timer, not in a .service' },
  {
    name: 'unheard of',
    type: 'target',
    header: 'Qqqqqq',
    problem: 'unknown section [Qqqqqq]; a .target has [Unit], [Install], [X-Fleet], [X-Flotilla]',
  },
] as const) {
  test(`sections: a section ${name} in a .${type}`, () => {
    const problems = sectionProblems(parseUnitFile(`[Unit]\n[${header}]\n`), type satisfies UnitType);
    assert.deepEqual(problems, problem === undefined ? [] : [{ line: 2, message: problem }]);
  });
}

test('sections: the Install section is read as systemctl enable would', () => {
  const text =
    '[Install]\nWantedBy=a.target b.target\nWantedBy=a.target\nRequiredBy=x.target\nRequiredBy=\nAlias=c.service\nAlso=d.socket\nDefaultInstance=1\n';
  assert.deepEqual(installOf(parseUnitFile(text)), {
    wantedBy: ['a.target', 'b.target'],
    requiredBy: [],
    alias: ['c.service'],
    also: ['d.socket'],
    defaultInstance: '1',
  });
  assert.equal(installOf(parseUnitFile('[Install]\n[Unit]\nWantedBy=x\n')), undefined);
});

for (const { value, name, expanded } of [
  { value: '%p@*.service', name: 'redis@1.service', expanded: 'redis@*.service' },
  { value: '%n %N %p %i', name: 'a@b.timer', expanded: 'a@b.timer a@b a b' },
  { value: '%n %N %p %i.', name: 'a.timer', expanded: 'a.timer a a .' },
  { value: '%%i %H', name: 'a@b.timer', expanded: '%b %H' },
  { value: 'db@%i.service', name: 'web@.service', expanded: 'db@%i.service' },
]) {
  test(`specifiers: ${value} of ${name}`, () => assert.equal(expandSpecifiers(value, name), expanded));
}
