import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ForeignFile } from '../../agent/files.js';
import { DiskStateFiles, DiskUnitFiles, type Failpoint } from '../../agent/files-disk.js';
import { installLinks, type OwnFile, parseOwnFile, sha256 } from '../../agent/unit-text.js';
import { silentLogger } from '../../runtime/log.js';

const own = (text: string): OwnFile => ({ uid: 'u1', textHash: sha256(text), text });
const v1 = own('[Service]\nExecStart=/bin/one\n');
const v2 = own('[Service]\nExecStart=/bin/two\n');

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'flotilla-files-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'system');
}

/** A failpoint that kills the agent at one step. */
class Killed extends Error {}
const killAt =
  (step: Parameters<Failpoint>[0]): Failpoint =>
  (at) => {
    if (at === step) throw new Killed(step);
  };

const leftovers = (directory: string) => ['new', 'old'].flatMap((kind) => readdirSync(join(`${directory}.flotilla`, kind)));

function put(files: DiskUnitFiles, file: OwnFile): void {
  files.stage('web.service', file);
  files.commit('web.service');
}

for (const step of ['staged', 'synced', 'kept', 'committed'] as const) {
  test(`invariant 14, SEMANTICS 13: killed when a new file is ${step}: the file is old or new, never half`, (t) => {
    const directory = temporary(t);
    put(new DiskUnitFiles({ directory }), v1);
    assert.throws(() => put(new DiskUnitFiles({ directory, failpoint: killAt(step) }), v2), Killed);

    const files = new DiskUnitFiles({ directory });
    const found = files.read('web.service');
    assert.deepEqual(found, step === 'committed' ? v2 : v1);
    assert.deepEqual(readdirSync(directory), ['web.service'], 'systemd sees no leftovers');
    if (step === 'committed') assert.deepEqual(files.previous('web.service'), v1, 'the way back is still there');

    put(files, v2);
    assert.deepEqual(files.read('web.service'), v2);
    files.settle('web.service');
    assert.deepEqual(leftovers(directory), []);
  });
}

for (const step of ['unlinked', 'removed'] as const) {
  test(`invariant 14: killed when a removed file is ${step}: the next agent finishes`, (t) => {
    const directory = temporary(t);
    const links = [{ path: 'multi-user.target.wants/web.service' }];
    const before = new DiskUnitFiles({ directory });
    before.link('web.service', links);
    put(before, v1);
    assert.throws(() => new DiskUnitFiles({ directory, failpoint: killAt(step) }).remove('web.service'), Killed);

    const files = new DiskUnitFiles({ directory });
    assert.deepEqual(files.read('web.service'), step === 'unlinked' ? v1 : undefined);
    files.remove('web.service');
    assert.deepEqual(readdirSync(directory), []);
    assert.deepEqual(leftovers(directory), []);
  });
}

test('SEMANTICS 13: killed in the middle of going back: old or new, and going back again works', (t) => {
  const directory = temporary(t);
  const before = new DiskUnitFiles({ directory });
  put(before, v1);
  put(before, v2);
  assert.throws(() => new DiskUnitFiles({ directory, failpoint: killAt('rolled-back') }).rollBack('web.service'), Killed);
  const files = new DiskUnitFiles({ directory });
  assert.deepEqual(files.read('web.service'), v1);
  assert.equal(files.previous('web.service'), undefined);
});

for (const step of ['state-written', 'state-renamed'] as const) {
  test(`the state file is old or new when the agent is killed at ${step}`, async (t) => {
    const directory = temporary(t);
    await new DiskStateFiles({ directory, log: silentLogger }).write('assignments', { is: 'old' });
    await assert.rejects(
      new DiskStateFiles({ directory, log: silentLogger, failpoint: killAt(step) }).write('assignments', { is: 'new' }),
      Killed,
    );
    const found = await new DiskStateFiles({ directory, log: silentLogger }).read('assignments');
    assert.deepEqual(found, { is: step === 'state-written' ? 'old' : 'new' });
  });
}

test('invariant 14: killed while it writes a note: the note is old or new', (t) => {
  const directory = temporary(t);
  new DiskUnitFiles({ directory }).note('web.service', { is: 'old' });
  assert.throws(() => new DiskUnitFiles({ directory, failpoint: killAt('noted') }).note('web.service', { is: 'new' }), Killed);
  const files = new DiskUnitFiles({ directory });
  assert.deepEqual([...files.notes()], [['web.service', { is: 'old' }]]);
  files.note('web.service', undefined);
  assert.equal(files.notes().size, 0);
});

test('a note that is broken is left out, and said', (t) => {
  const directory = temporary(t);
  const errors: string[] = [];
  const files = new DiskUnitFiles({ directory, log: { ...silentLogger, error: (message) => void errors.push(message) } });
  writeFileSync(join(`${directory}.flotilla`, 'notes', 'web.service'), '{"half": ');
  files.note('ok.service', 1);
  assert.deepEqual([...files.notes()], [['ok.service', 1]]);
  assert.equal(errors.length, 1);
});

test('the longest name that a unit may have fits everywhere', (t) => {
  const files = new DiskUnitFiles({ directory: temporary(t) });
  const name = `${'x'.repeat(247)}.service`;
  for (const file of [v1, v2]) {
    files.stage(name, file);
    files.commit(name);
  }
  files.note(name, {});
  files.rollBack(name);
  assert.deepEqual(files.read(name), v1);
  files.remove(name);
});

test('a state file that cannot be parsed is left out, and said', async (t) => {
  const directory = temporary(t);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'assignments.json'), '{"half": ');
  const errors: string[] = [];
  const log = { ...silentLogger, error: (message: string) => void errors.push(message) };
  const files = new DiskStateFiles({ directory, log });
  assert.equal(await files.read('assignments'), undefined);
  assert.equal(await files.read('never-written'), undefined);
  assert.equal(errors.length, 1);
});

test('what the agent remembers is for root alone', async (t) => {
  const directory = temporary(t);
  await new DiskStateFiles({ directory, log: silentLogger }).write('membership', { key: 'secret' });
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.equal(statSync(join(directory, 'membership.json')).mode & 0o777, 0o600);
});

test('the user’s text is on disk verbatim, below one comment line', (t) => {
  const directory = temporary(t);
  put(new DiskUnitFiles({ directory }), v1);
  const content = readFileSync(join(directory, 'web.service'), 'utf8');
  assert.equal(content, `# managed by flotilla: uid=u1 hash=${v1.textHash}\n${v1.text}`);
  assert.equal(statSync(join(directory, 'web.service')).mode & 0o777, 0o644);
});

for (const { what, lay } of [
  { what: 'a file without the marker', lay: (path: string) => writeFileSync(path, v1.text) },
  { what: 'a mask', lay: (path: string) => symlinkSync('/dev/null', path) },
  { what: 'a link to a file of ours', lay: (path: string) => symlinkSync('other.service', path) },
  { what: 'a directory', lay: (path: string) => mkdirSync(path) },
]) {
  test(`invariant 6: ${what} is never touched`, (t) => {
    const directory = temporary(t);
    const files = new DiskUnitFiles({ directory });
    lay(join(directory, 'web.service'));
    const before = lstatSync(join(directory, 'web.service')).ino;
    assert.equal(files.read('web.service'), 'foreign');
    assert.deepEqual(files.names(), []);
    files.stage('web.service', v1);
    assert.throws(() => files.commit('web.service'), ForeignFile);
    assert.throws(() => files.remove('web.service'), ForeignFile);
    assert.equal(lstatSync(join(directory, 'web.service')).ino, before);
  });
}

for (const name of ['../x.service', 'a/b.service', '.x.service', '-x.service', `${'x'.repeat(300)}.service`, 'x.service\0']) {
  test(`a name that is no unit name never becomes a path: ${JSON.stringify(name.slice(0, 20))}`, (t) => {
    const files = new DiskUnitFiles({ directory: temporary(t) });
    assert.throws(() => files.stage(name, v1), /unit/);
    assert.throws(() => files.read(name), /unit/);
    assert.throws(() => files.remove(name), /unit/);
  });
}

test('a file that was edited by hand is still ours, and differs', () => {
  const edited = parseOwnFile(`# managed by flotilla: uid=u1 hash=${v1.textHash}\n${v1.text}Nice=5\n`);
  assert.equal(edited?.uid, 'u1');
  assert.notEqual(edited?.textHash, v1.textHash);
});

test('enable links are made, changed and removed with their unit, and a foreign one stays', (t) => {
  const directory = temporary(t);
  const files = new DiskUnitFiles({ directory });
  put(files, v1);
  mkdirSync(join(directory, 'a.target.wants'));
  symlinkSync('/usr/lib/systemd/system/other.service', join(directory, 'a.target.wants/web.service'));
  assert.deepEqual(files.link('web.service', [{ path: 'a.target.wants/web.service' }, { path: 'b.target.wants/web.service' }]), [
    'a.target.wants/web.service',
  ]);
  assert.deepEqual(
    files.link('web.service', [{ path: 'c.target.requires/web.service' }, { path: 'www.service', alias: 'www.service' }]),
    [],
  );
  assert.equal(existsSync(join(directory, 'b.target.wants')), false);
  assert.equal(readFileSync(join(directory, 'c.target.requires/web.service'), 'utf8').includes(v1.text), true);
  assert.deepEqual(files.names(), ['web.service'], 'an alias is no unit of its own');
  files.remove('web.service');
  assert.deepEqual(readdirSync(directory), ['a.target.wants']);
});

for (const { name, install, links } of [
  { name: 'web.service', install: 'WantedBy=multi-user.target', links: ['multi-user.target.wants/web.service'] },
  {
    name: 'web.service',
    install: 'WantedBy=a.target b.target\nRequiredBy=c.target',
    links: ['a.target.wants/web.service', 'b.target.wants/web.service', 'c.target.requires/web.service'],
  },
  { name: 'web@1.service', install: 'WantedBy=%p-%i.target', links: ['web-1.target.wants/web@1.service'] },
  { name: 'web.service', install: 'Alias=www.service www.socket', links: ['www.service'] },
  { name: 'web.service', install: 'WantedBy=../../etc.target', links: [] },
  { name: 'web.service', install: 'WantedBy=web.service', links: [] },
  { name: 'web.service', install: 'WantedBy=a.target\nWantedBy=\nWantedBy=b.target', links: ['b.target.wants/web.service'] },
]) {
  test(`[Install] ${JSON.stringify(install)} of ${name}`, () => {
    assert.deepEqual(
      installLinks(name, `[Service]\nExecStart=/bin/true\n[Install]\n${install}\n`).map(({ path }) => path),
      links,
    );
  });
}

test('every change gives the directory another time stamp, or systemd would not look again', (t) => {
  const directory = temporary(t);
  const files = new DiskUnitFiles({ directory });
  const stamps = new Set<bigint>();
  for (let change = 0; change < 20; change++) {
    put(files, change % 2 ? v1 : v2);
    stamps.add(statSync(directory, { bigint: true }).mtimeNs);
  }
  assert.equal(stamps.size, 20);
});
