/**
 * The parser beside the real one: systemd itself, in test mode, loads the same files and prints what it understood. What we accept it must
 * accept without a word, with the same values; so a file that passed our door means on the machine what we took it to mean.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { lastValueOf, parseUnitFile, type UnitFile, UnitFileError, valuesOf } from '../../../../api/resources/unit-file/parse.js';
import { renderSections } from '../../../../api/resources/unit-file/render.js';

/** Test mode refuses root; `nobody` will do, and when we are somebody already, so will we. */
const nobody = 65_534;
const asSomebody = process.getuid?.() === 0 ? ['setpriv', `--reuid=${nobody}`, '--clear-groups', '--'] : [];

let root = '';
before(() => {
  root = mkdtempSync(join(tmpdir(), 'flotilla-oracle-'));
  chmodSync(root, 0o755);
});
after(() => rmSync(root, { recursive: true, force: true }));

interface Understood {
  readonly description: string;
  readonly documentation: readonly string[];
}

let runs = 0;
/** What systemd understood of each text, by unit name, and all that it complained about. */
function askSystemd(texts: ReadonlyMap<string, string>): { units: Map<string, Understood>; complaints: string[] } {
  const units = join(root, `units-${++runs}`);
  const runtime = join(root, `runtime-${runs}`);
  mkdirSync(units);
  mkdirSync(runtime);
  if (asSomebody.length > 0) chownSync(runtime, nobody, nobody);
  for (const [name, text] of texts) writeFileSync(join(units, name), text);
  writeFileSync(join(units, 'all.target'), `[Unit]\n${[...texts.keys()].map((name) => `Wants=${name}\n`).join('')}`);
  const [command, ...args] = [...asSomebody, '/lib/systemd/systemd', '--test', '--user', '--unit=all.target', '--log-target=console'];
  const { status, stdout, stderr, error } = spawnSync(command!, args, {
    env: { PATH: process.env.PATH ?? '', SYSTEMD_UNIT_PATH: units, XDG_RUNTIME_DIR: runtime, HOME: root },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  assert.equal(status, 0, stderr);

  const understood = new Map<string, Understood>();
  for (const block of stdout.split(/^\t*-> Unit /m).slice(1)) {
    const name = block.slice(0, block.indexOf(':\n'));
    if (!texts.has(name)) continue;
    const field = (label: string): string[] => Array.from(block.matchAll(new RegExp(`^\\t+${label}: (.*)$`, 'gm')), ([, value]) => value!);
    understood.set(name, { description: field('Description')[0] ?? '', documentation: field('Documentation') });
  }
  const complaints = `${stdout}\n${stderr}`.split('\n').filter((line) => line.startsWith(`${units}/`));
  return { units: understood, complaints: complaints.map((line) => line.slice(units.length + 1)) };
}

const ours = (name: string, file: UnitFile): Understood => ({
  // systemd shows the name of a unit that has no description.
  description: lastValueOf(file, 'Unit', 'Description') || name,
  documentation: valuesOf(file, 'Unit', 'Documentation').flatMap((value) => value.split(/\s+/)),
});

const tricky = new Map<string, string>([
  ['continuation.service', '[Unit]\nDescription=one \\\n  two\\\nthree\n[Service]\nExecStart=/bin/true\n'],
  [
    'comment-inside.service',
    '[Unit]\nDescription=one \\\n# not me \\\n; nor me\n  two\nDocumentation=man:a\n[Service]\nExecStart=/bin/true\n',
  ],
  ['blank-inside.service', '[Unit]\nDescription=one \\\n\nDocumentation=man:a\n[Service]\nExecStart=/bin/true\n'],
  ['backslashes.service', '[Unit]\nDescription=one\\\\\nDocumentation=man:a\\\\\\\n man:b\n[Service]\nExecStart=/bin/true\n'],
  ['backslash-space.service', '[Unit]\nDescription=one\\ \nDocumentation=man:a\n[Service]\nExecStart=/bin/true\n'],
  [
    'reset.service',
    '[Unit]\nDocumentation=man:a man:b\nDocumentation=\nDocumentation=man:c\nDescription=x\nDescription=\n[Service]\nExecStart=/bin/true\n',
  ],
  ['repeated.service', '[Unit]\nDescription=first\n[Service]\nExecStart=/bin/true\n[Unit]\nDescription=second\nDocumentation=man:a\n'],
  ['crlf.service', '[Unit]\r\nDescription=one \\\r\n two\r\nDocumentation=man:a\r\n[Service]\r\nExecStart=/bin/true\r\n'],
  ['cr.service', '[Unit]\rDescription=one\rDocumentation=man:a\r[Service]\rExecStart=/bin/true\r'],
  ['bom.service', '\ufeff[Unit]\nDescription=one\n[Service]\nExecStart=/bin/true\n'],
  ['spaces.service', ' [Unit] \n\t Description \t=  one  two \t\n[Service]\nExecStart=/bin/true\n'],
  ['end-of-file.service', '[Service]\nExecStart=/bin/true\n[Unit]\nDocumentation=man:a\nDescription=one \\'],
  ['own-sections.service', '[X-Fleet]\nGlobal=true\n[Unit]\nDescription=one\n[X-Other]\nX=1\n[Service]\nExecStart=/bin/true\n'],
  ['nbsp.service', '[Unit]\nDescription=\u00a0one\u00a0\n[Service]\nExecStart=/bin/true\n'],
  ['header-continued.service', '\\\n[Unit]\nDescription=one\n[Service]\nExecStart=/bin/true\n'],
]);

test('unit file: systemd understands the tricky files as we do, without a complaint', () => {
  const { units, complaints } = askSystemd(tricky);
  assert.deepEqual(complaints, []);
  for (const [name, text] of tricky) assert.deepEqual(ours(name, parseUnitFile(text)), units.get(name), name);
});

test('unit file: systemd understands random files that we accept as we do', () => {
  const piece = fc.constantFrom(
    'Description=',
    'Description = x',
    'Documentation=',
    'Documentation=man:q',
    ' man:r',
    'a',
    ' b',
    '\t',
    ' ',
    '\\',
    '\\\\',
    '\\\n',
    ' \\\n',
    '\n',
    '\n',
    '\n',
    '\r\n',
    '\r',
    '\n#c',
    '\n;d \\',
    '\n[Unit]\n',
    '\n[X-A]\n',
    '\n[Service]\n',
    'X-Note=1',
    '=',
  ); // prettier-ignore
  const body = fc.array(piece, { minLength: 3, maxLength: 30 }).map((parts) => `[Unit]\n${parts.join('')}`);
  const accepted = new Map<string, string>();
  let refused = 0;
  // One run of systemd reads hundreds of files, so the sample is taken first and asked about in one go.
  for (const text of fc.sample(body, { numRuns: 4000 })) {
    try {
      const { options } = parseUnitFile(text);
      // Only words that the option takes: systemd would complain of "a" as a web address, which says nothing of parsing.
      const words = options.flatMap(({ name, value }) => (name === 'Documentation' && value !== '' ? value.split(/\s+/) : []));
      if (accepted.size < 400 && words.every((word) => /^man:[qr]$/.test(word))) {
        accepted.set(`fuzz-${accepted.size}.service`, `${text}\n\n[Service]\nExecStart=/bin/true\n`);
      }
    } catch (error) {
      assert.ok(error instanceof UnitFileError);
      refused++;
    }
  }
  assert.ok(accepted.size >= 200 && refused > 0, `${accepted.size} accepted, ${refused} refused`);
  const { units, complaints } = askSystemd(accepted);
  // Options in a section where systemd does not know them are not the parser's business.
  assert.deepEqual(
    complaints.filter((line) => !/Unknown key/.test(line)),
    [],
  );
  for (const [name, text] of accepted) assert.deepEqual(ours(name, parseUnitFile(text)), units.get(name), JSON.stringify(text));
});

test('unit file: structured sections reach systemd as they were meant', () => {
  const description = 'quotes "a" \'b\', a \\ inside, # no comment, [no section], = and ; too';
  const text = renderSections({
    Unit: { Description: description, Documentation: ['man:a', '', 'man:b', 'man:c'] },
    Service: { ExecStart: '/bin/true' },
  });
  const { units, complaints } = askSystemd(new Map([['rendered.service', text]]));
  assert.deepEqual(complaints, []);
  assert.deepEqual(units.get('rendered.service'), { description, documentation: ['man:b', 'man:c'] });
});

test('unit file: systemd-analyze verify complains of the lines that we refuse, and of none that we accept', () => {
  const verify = (name: string, text: string): string => {
    const directory = mkdtempSync(join(root, 'verify-'));
    const path = join(directory, name);
    writeFileSync(path, text);
    const { status, stderr, error } = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', path], {
      encoding: 'utf8',
    });
    if (error !== undefined) throw error;
    assert.notEqual(status, null);
    return stderr
      .split('\n')
      .filter((line) => line.startsWith(path))
      .join('\n'); // prettier-ignore
  };
  for (const [name, text] of tricky) assert.equal(verify(name, text), '', name);
  for (const { text, complaint } of [
    { text: '[Service]\nExecStart /bin/true\n', complaint: /:2: Missing '='/ },
    { text: 'Type=simple\n[Service]\nExecStart=/bin/true\n', complaint: /:1: Assignment outside of section/ },
    { text: '[Service\nExecStart=/bin/true\n', complaint: /:1: Invalid section header/ },
    { text: '[Service]\n=x\nExecStart=/bin/true\n', complaint: /:2: Missing key name/ },
    { text: '[Service] x\nExecStart=/bin/true\n', complaint: /:1: Invalid section header/ },
  ]) {
    assert.throws(() => parseUnitFile(text), UnitFileError);
    assert.match(verify('bad.service', text), complaint);
  }
});

test('unit file: the oracle is there', () => {
  assert.match(execFileSync('systemd-analyze', ['--version'], { encoding: 'utf8' }), /^systemd 2\d\d/);
});
