import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import type { Random } from '../../../runtime/clock.js';
import { followLinks, linkLimits } from '../../../runtime/git/links.js';
import { GitError } from '../../../runtime/git/run.js';
import type { TreeFile } from '../../../runtime/git/tree.js';
import { seededRandom, seedOr } from '../../rigs/seeded-random.js';

/** `x → y` is a link; everything else a file that holds its own path. */
function follow(entries: readonly string[], isHidden?: (path: string) => boolean) {
  const targets = new Map<string, string>();
  const files = entries.map((entry): TreeFile => {
    const [path = '', target] = entry.split(' → ');
    if (target !== undefined) targets.set(path, target);
    return { path, kind: target === undefined ? 'file' : 'symlink', blob: path, bytes: 1 };
  });
  const { files: seen, problems } = followLinks(files, targets, isHidden);
  return { seen: seen.map(({ path, blob }) => (path === blob ? path : `${path} = ${blob}`)), problems };
}

const chain = (length: number) => Array.from({ length }, (_, at) => `l${at} → l${at + 1}`);

for (const { name, entries, seen } of [
  { name: 'no link at all', entries: ['b', 'a/c'], seen: ['a/c', 'b'] },
  { name: 'to a file beside it', entries: ['a', 'l → a'], seen: ['a', 'l = a'] },
  { name: 'up and down', entries: ['x/a', 'y/z/l → ../../x/a'], seen: ['x/a', 'y/z/l = x/a'] },
  { name: 'to a directory', entries: ['x/a', 'x/y/b', 'l → x'], seen: ['l/a = x/a', 'l/y/b = x/y/b', 'x/a', 'x/y/b'] },
  { name: 'through a link to a directory', entries: ['x/a', 'l → x', 'm → l/a'], seen: ['l/a = x/a', 'm = x/a', 'x/a'] },
  {
    name: 'the parent of what a link leads to',
    entries: ['x/y/a', 'x/b', 'l → x/y', 'm → l/../b'],
    seen: ['l/a = x/y/a', 'm = x/b', 'x/b', 'x/y/a'],
  },
  { name: 'with steps that go nowhere', entries: ['x/a', 'l → ./x//./a'], seen: ['l = x/a', 'x/a'] },
  { name: 'a slash behind a directory', entries: ['x/a', 'l → x/'], seen: ['l/a = x/a', 'x/a'] },
  { name: 'links in a linked directory', entries: ['x/l → a', 'x/a', 'm → x'], seen: ['m/a = x/a', 'm/l = x/a', 'x/a', 'x/l = x/a'] },
  { name: 'a chain as long as the kernel allows', entries: [...chain(40).slice(39), 'l40'], seen: ['l39 = l40', 'l40'] },
]) {
  test(`a link is followed: ${name}`, () => assert.deepEqual(follow(entries), { seen, problems: [] }));
}

for (const { name, entries, problem } of [
  {
    name: 'out by ..',
    entries: ['x/l → ../../etc/passwd'],
    problem: 'x/l is a symbolic link to "../../etc/passwd", which leads out of spec.path',
  },
  {
    name: 'out and in again',
    entries: ['a', 'l → ../root/a'],
    problem: 'l is a symbolic link to "../root/a", which leads out of spec.path',
  },
  {
    name: 'an absolute path',
    entries: ['l → /etc/passwd'],
    problem: 'l is a symbolic link to "/etc/passwd", which leads out of spec.path',
  },
  {
    name: 'out by way of another',
    entries: ['x/a', '.l → ..', 'm → .l/b'],
    problem: 'm is a symbolic link to ".l/b", which leads out of spec.path',
  },
  { name: 'to nothing', entries: ['l → a'], problem: 'l is a symbolic link to "a", which is not there' },
  { name: 'through nothing and back', entries: ['a', 'l → x/../a'], problem: 'l is a symbolic link to "x/../a", which is not there' },
  { name: 'below a file', entries: ['a', 'l → a/b'], problem: 'l is a symbolic link to "a/b", which is not there' },
  { name: 'a slash behind a file', entries: ['a', 'l → a/'], problem: 'l is a symbolic link to "a/", which is not there' },
  { name: 'to itself', entries: ['l → l'], problem: 'l is a symbolic link to "l", which leads in a circle, or through more than 40 links' },
  { name: 'to where it lies', entries: ['x/l → .', 'x/a'], problem: 'x/l is a symbolic link to ".", which holds the link itself' },
  {
    name: 'to where it lies, by way of another',
    entries: ['x/l → ../y', 'y/m → ../x'],
    problem: 'x/l/m is a symbolic link to "../x", which holds the link itself',
  },
  {
    name: 'to what its directory lies in',
    entries: ['.l → p/q', 'm → p/q', 'p/q/n → ..'],
    problem: 'p/q/n is a symbolic link to "..", which holds the link itself',
  },
  { name: 'without a target', entries: ['l → '], problem: 'l is a symbolic link to "", which is no path' },
]) {
  test(`a link is refused: ${name}`, () => {
    const { problems } = follow(entries, (path) => path.startsWith('.'));
    assert.ok(problems.includes(problem), JSON.stringify(problems));
  });
}

test('a chain that is longer than the kernel allows is refused, the rest of it is not', () => {
  const { seen, problems } = follow([...chain(41), 'l41']);
  assert.equal(seen.length, 41);
  assert.deepEqual(problems, ['l0 is a symbolic link to "l1", which leads in a circle, or through more than 40 links']);
});

test('what is hidden is not seen, however it is reached; a link may lead there', () => {
  const entries = ['.x/a', '.x/.b', 'l → .x', 'm → .x/.b', '.n → /etc/passwd'];
  const isHidden = (path: string) => path.split('/').some((step) => step.startsWith('.'));
  assert.deepEqual(follow(entries, isHidden), { seen: ['l/a = .x/a', 'm = .x/.b'], problems: [] });
});

test('a submodule is no place to lead to', () => {
  const file = (path: string, kind: TreeFile['kind']): TreeFile => ({ path, kind, blob: path, bytes: 1 });
  const { problems } = followLinks([file('m', 'submodule'), file('l', 'symlink')], new Map([['l', 'm/a']]));
  assert.deepEqual(problems, ['l is a symbolic link to "m/a", which is a submodule, and those are not fetched']);
});

test('directories that show one another again and again end at a limit', () => {
  const doubling = Array.from({ length: 20 }, (_, at) => [`d${at}/a → ../d${at + 1}`, `d${at}/b → ../d${at + 1}`]).flat();
  assert.throws(
    () => follow([...doubling, 'd20/f']),
    (error) => error instanceof GitError && error.fault === 'too-large',
  );
  const deep = 'd/'.repeat(99);
  const wandering = Array.from({ length: linkLimits.maxSteps / 100 + 1 }, (_, at) => `l${at} → ${deep}f`);
  assert.throws(
    () => follow([...wandering, `${deep}f`]),
    (error) => error instanceof GitError && error.fault === 'too-large',
  );
});

test('whatever a tree holds, the same is seen as the kernel sees, and nothing from outside of it', () => {
  const random = seededRandom(seedOr(20_261));
  let links = 0;
  let refused = 0;
  for (let round = 0; round < 150; round++) {
    const entries = someTree(random);
    const root = mkdtempSync(join(tmpdir(), 'flotilla-links-'));
    try {
      for (const [path, target] of entries) {
        mkdirSync(join(root, dirname(path)), { recursive: true });
        if (target === undefined) writeFileSync(join(root, path), path);
        else symlinkSync(target, join(root, path));
      }
      const shown = JSON.stringify([...entries]);
      const { files, problems } = followLinks(
        [...entries].map(([path, target]) => ({ path, kind: target === undefined ? 'file' : 'symlink', blob: path, bytes: 1 })),
        new Map([...entries].flatMap(([path, target]) => (target === undefined ? [] : [[path, target]]))),
      );
      for (const { path, blob, realPath } of files) {
        assert.equal(readFileSync(join(root, path), 'utf8'), blob, shown);
        assert.equal(realpathSync.native(join(root, path)), join(realpathSync.native(root), realPath), shown);
        if (path !== realPath) links++;
      }
      for (const problem of problems) {
        const path = problem.slice(0, problem.indexOf(' is a symbolic link'));
        assert.ok(isAstray(root, path), `${problem}: ${shown}`);
        refused++;
      }
      const settled = [...files.map(({ path }) => path), ...problems];
      for (const path of entries.keys()) {
        assert.ok(
          settled.some((one) => one === path || one.startsWith(`${path} `) || one.startsWith(`${path}/`)),
          `${path} is lost: ${shown}`,
        );
      }
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  }
  assert.ok(links > 50 && refused > 50, `${links} were followed, ${refused} refused`);
});

/** Path → target of a link, or undefined for a file; no path is both file and directory. */
function someTree(random: Random): Map<string, string | undefined> {
  const one = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const path = (steps: readonly string[], most: number) =>
    Array.from({ length: 1 + Math.floor(random() * most) }, () => one(steps)).join('/');
  const entries = new Map<string, string | undefined>();
  for (let at = 0; at < 9; at++) {
    const name = path(['a', 'b', 'c'], 3);
    const collides = [...entries.keys()].some((other) => other === name || other.startsWith(`${name}/`) || name.startsWith(`${other}/`));
    if (collides) continue;
    // Half of them lead to something, or would if links on the way were directories.
    const there = [...entries.keys(), ...[...entries.keys()].map((other) => dirname(other))];
    const isMeant = there.length > 0 && random() < 0.5;
    const target = isMeant ? relative(dirname(name), one(there)) : path(['a', 'b', 'c', '..', '..', '.'], 4);
    entries.set(name, target === '' || random() < 0.4 ? undefined : random() < 0.05 ? `/${target}` : target);
  }
  return entries;
}

/** Whether the kernel finds nothing there, something outside, or a directory around the link. */
function isAstray(root: string, path: string): boolean {
  const top = realpathSync.native(root);
  let real: string;
  try {
    real = realpathSync.native(join(root, path));
  } catch {
    return true;
  }
  const here = realpathSync.native(join(root, dirname(path)));
  const steps = path.split('/').map((_, at, all) => realpathSync.native(join(root, all.slice(0, at).join('/'))));
  return (
    (real !== top && !real.startsWith(`${top}/`)) || [here, ...steps].some((around) => around === real || around.startsWith(`${real}/`))
  );
}
