/** The wrapper against real repositories, hostile ones among them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GitError } from '../../../runtime/git/run.js';
import { GitRepository, unitFile } from '../../rigs/git-repository.js';
import { access, directory, fails, open } from './rig.js';

test('what a ref names, whichever way it is named', async (t) => {
  const { repositories } = open(t);
  const repository = new GitRepository(t);
  const first = repository.write('a', '1').commit();
  repository.git('tag', 'v1.0.0');
  repository.git('tag', '--annotate', '--message=two', 'v1.2.0');
  const second = repository.write('a', '2').commit();
  const tag = repository.git('rev-parse', 'v1.2.0');
  repository.git('branch', 'release/1.x', first);
  repository.git('tag', 'v2.0.0-rc.1');
  const of = access(repository.url);
  assert.deepEqual(await repositories.resolve(of, {}), { commit: second, name: 'main' });
  assert.deepEqual(await repositories.resolve(of, { branch: 'release/1.x' }), { commit: first, name: 'release/1.x' });
  assert.deepEqual(
    await repositories.resolve(of, { tag: 'v1.2.0' }),
    { commit: first, name: 'v1.2.0', tag },
    'the commit, and the tag object beside it',
  );
  assert.deepEqual(await repositories.resolve(of, { semver: '>=1.0 <3' }), { commit: first, name: 'v1.2.0', tag });
  assert.deepEqual(await repositories.resolve(of, { semver: '>=2.0.0-rc <3' }), { commit: second, name: 'v2.0.0-rc.1' });
  assert.deepEqual(await repositories.resolve(of, { commit: first }), { commit: first, name: '' });
  await fails(repositories.resolve(of, { branch: 'mai' }), 'not-found', /no branch "mai"/);
  await fails(repositories.resolve(of, { semver: '^9' }), 'not-found', /none of the repository's 3 tags/);
});

test('a commit is fetched alone, listed and read below its path, and nothing is ever written out', async (t) => {
  const { at, repositories } = open(t);
  const repository = new GitRepository(t);
  repository.write('old', 'x'.repeat(100)).commit();
  const commit = repository.write('prod/web.service', unitFile()).write('prod/deep/a b.yaml', 'ü: 1\n').write('other/x', '').commit();
  const of = access(repository.url);
  await repositories.fetch(of, commit);
  const tree = await repositories.tree(of, commit, ['prod']);
  assert.deepEqual(
    tree?.files.map(({ path, kind }) => [path, kind]),
    [
      ['deep/a b.yaml', 'file'],
      ['web.service', 'file'],
    ],
  );
  const contents = await tree.read(tree.files);
  assert.deepEqual(contents.map(String), ['ü: 1\n', unitFile()]);
  assert.equal(await repositories.tree(of, commit, ['missing']), undefined);
  const [mirror = ''] = readdirSync(join(at, 'mirrors'));
  assert.equal(existsSync(join(at, 'mirrors', mirror, 'shallow')), true, 'history is left where it is');
  assert.deepEqual(readdirSync(join(at, 'home')), ['gitconfig']);
});

test('one mirror serves all who read an address; another credential has its own', async (t) => {
  const { at, repositories } = open(t);
  const repository = new GitRepository(t);
  const commits = [repository.write('a', '1').commit(), repository.write('a', '2').commit()];
  await Promise.all(commits.map((commit) => repositories.fetch(access(repository.url), commit)));
  assert.equal(readdirSync(join(at, 'mirrors')).length, 1);
  await repositories.fetch(access(repository.url, { credentialsName: 'other' }), commits[0]!);
  assert.equal(readdirSync(join(at, 'mirrors')).length, 2);
});

test('a mirror that nobody used for long goes when another one is made, and comes back for whoever wants it', async (t) => {
  const { at, repositories } = open(t);
  const [old, used, fresh] = [0, 1, 2].map(() => new GitRepository(t)) as [GitRepository, GitRepository, GitRepository];
  const commits = new Map([old, used, fresh].map((repository) => [repository, repository.write('a', '1').commit()]));
  const fetch = (repository: GitRepository) => repositories.fetch(access(repository.url), commits.get(repository)!);
  const mirrors = () => readdirSync(join(at, 'mirrors'));
  await fetch(old);
  await fetch(used);
  for (const mirror of mirrors()) utimesSync(join(at, 'mirrors', mirror), 1, 1);
  await fetch(used);
  await fetch(fresh);
  assert.equal(mirrors().length, 2);
  await fetch(old);
  assert.equal(mirrors().length, 3);
});

test("an X.509 signature is nobody's: whom this host trusts is not whom the Secret names", async (t) => {
  const { repositories } = open(t);
  const repository = new GitRepository(t);
  repository.write('a', '1').commit();
  const programs = directory(t);
  const verdict = '\\n[GNUPG:] NEWSIG\\n[GNUPG:] GOODSIG 0123456789ABCDEF eve\\n[GNUPG:] TRUST_FULLY 0 shell\\n';
  writeFileSync(join(programs, 'gpgsm'), `#!/bin/sh\ncat >/dev/null\nprintf '${verdict}'\n`, { mode: 0o755 });
  const { PATH } = process.env;
  process.env.PATH = `${programs}:${PATH}`;
  t.after(() => {
    process.env.PATH = PATH;
  });
  const plain = spawnSync('git', ['cat-file', 'commit', 'HEAD'], { cwd: repository.directory }).stdout.toString();
  const signature = 'gpgsig -----BEGIN SIGNED MESSAGE-----\n AAAA\n -----END SIGNED MESSAGE-----\n\n';
  const made = spawnSync('git', ['hash-object', '-t', 'commit', '-w', '--stdin'], {
    cwd: repository.directory,
    input: plain.replace('\n\n', `\n${signature}`),
  });
  const commit = made.stdout.toString().trim();
  repository.git('update-ref', 'refs/heads/main', commit);
  const of = access(repository.url);
  await repositories.fetch(of, commit);
  await fails(
    repositories.signer(of, { commit, name: 'main' }, new Map([['allowed_signers', Buffer.from('ann ssh-ed25519 AAAA\n')]])),
    'refused',
    /by none of/,
  );
});

test('symlinks, submodules, hooks and settings of a repository do nothing', async (t) => {
  const { repositories } = open(t);
  const repository = new GitRepository(t);
  const proof = join(directory(t), 'proof');
  for (const hook of ['post-checkout', 'pre-auto-gc', 'reference-transaction', 'post-merge']) {
    repository.write(`.git/hooks/${hook}`, `#!/bin/sh\ntouch ${proof}\n`);
    spawnSync('chmod', ['+x', join(repository.directory, `.git/hooks/${hook}`)]);
  }
  repository
    .link('passwd', '/etc/passwd')
    .link('up', '../..')
    .write('.gitmodules', '[submodule "m"]\n\tpath = m\n\turl = ext::sh -c touch% /tmp/x\n');
  repository.git('add', '--all');
  repository.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},m`);
  repository.git('commit', '--quiet', '--message=hostile');
  repository.write('.git/hooks/reference-transaction', `#!/bin/sh\ntouch ${proof}\n`);
  rmSync(proof, { force: true });
  const commit = repository.head;
  const of = access(repository.url);
  await repositories.fetch(of, commit);
  const tree = await repositories.tree(of, commit, []);
  assert.deepEqual(
    tree?.files.map(({ path, kind }) => [path, kind]),
    [
      ['.gitmodules', 'file'],
      ['m', 'submodule'],
      ['passwd', 'symlink'],
      ['up', 'symlink'],
    ],
  );
  await fails(repositories.tree(of, commit, ['up']), 'refused', /symbolic link/);
  await fails(repositories.tree(of, commit, ['m']), 'refused', /submodule/);
  assert.equal(existsSync(proof), false);
});

test('what is too large ends: one fetch, one file, all files, a listing', async (t) => {
  const repository = new GitRepository(t);
  const noise = Buffer.from(Array.from({ length: 400_000 }, (_, at) => (at * 2_654_435_761) >>> 16).map((value) => value % 251));
  const commit = repository.write('noise.bin', noise).write('a.yaml', 'a: 1\n').commit();
  const of = access(repository.url);
  const small = open(t, { maxFetchBytes: 65_536 });
  await fails(small.repositories.fetch(of, commit), 'too-large', /more than 65536 bytes/);

  const { repositories } = open(t, { maxFileBytes: 1_000, maxFiles: 1 });
  await repositories.fetch(of, commit);
  const tree = await repositories.tree(of, commit, []);
  assert.ok(tree);
  await fails(tree.read(tree.files.filter(({ path }) => path === 'noise.bin')), 'too-large', /noise\.bin has 400000 bytes, at most 1000/);
  const [file] = tree.files;
  await fails(tree.read([file!, file!]), 'too-large', /2 files to read, at most 1/);

  const lister = open(t, { maxListingBytes: 65_536, maxFetchBytes: 2 ** 26 });
  for (let at = 0; at < 1_500; at++) repository.write(`many/${'x'.repeat(60)}${at}`, '');
  const many = repository.commit();
  await lister.repositories.fetch(of, many);
  await fails(lister.repositories.tree(of, many, []), 'too-large', /more to say than/);
});

test('a mirror that has grown too large is dropped and fetched anew', async (t) => {
  const { at, repositories } = open(t, { maxMirrorBytes: 1 });
  const repository = new GitRepository(t);
  const of = access(repository.url);
  const first = repository.write('a', '1').commit();
  await repositories.fetch(of, first);
  const second = repository.write('a', '2').commit();
  await repositories.fetch(of, second);
  const [mirror = ''] = readdirSync(join(at, 'mirrors'));
  assert.deepEqual(readdirSync(join(at, 'mirrors', mirror, 'refs/flotilla')), [second]);
});

test('a git that hangs is ended with all that it started', async (t) => {
  const { repositories } = open(t);
  const server = (await import('node:net')).createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  await fails(repositories.resolve(access(`http://127.0.0.1:${port}/x.git`, { timeoutMs: 500 }), {}), 'timeout', /longer than 0\.5 s/);
  // Asking what there is has a limit of its own, however long the rest may take.
  const hasty = open(t, { listingTimeoutMs: 300 }).repositories;
  await fails(hasty.resolve(access(`http://127.0.0.1:${port}/x.git`), {}), 'timeout', /longer than 0\.3 s/);
  const stop = new AbortController();
  const asked = repositories.resolve(access(`http://127.0.0.1:${port}/x.git`, { signal: stop.signal }), {});
  setTimeout(() => stop.abort(new Error('stop')), 200);
  await assert.rejects(asked, /stop/);
});

test('file:// reads below its roots only, whatever links say, and tells nobody what else there is', async (t) => {
  const root = directory(t);
  const inside = new GitRepository(t, root);
  const outside = new GitRepository(t);
  inside.write('a', '1').commit();
  outside.write('a', '1').commit();
  symlinkSync(outside.directory, join(root, 'link'));
  const { repositories } = open(t, {}, [root]);
  assert.equal((await repositories.resolve(access(inside.url), {})).name, 'main');
  const refusal = /is not a directory below those that this server reads repositories from/;
  await fails(repositories.resolve(access(outside.url), {}), 'refused', refusal);
  await fails(repositories.resolve(access(`file://${root}/link`), {}), 'refused', refusal);
  await fails(repositories.resolve(access('file:///nowhere/at/all'), {}), 'refused', refusal);
  await fails(open(t, {}, []).repositories.resolve(access(inside.url), {}), 'refused', /started without --git-file-root/);
});

test('no secret is left behind, and git itself never sees one as an argument', async (t) => {
  const { repositories } = open(t);
  const shm = () => readdirSync('/dev/shm').filter((name) => name.startsWith('flotilla-git-'));
  const before = new Set(shm());
  const program = directory(t);
  const seen = join(program, 'seen');
  mkdirSync(program, { recursive: true });
  writeFileSync(
    join(program, 'ssh'),
    `#!/bin/sh\necho "$@" > ${seen}\nfor word in "$@"; do case $word in IdentityFile=*) stat -c %a "\${word#IdentityFile=}" >> ${seen};; esac; done\nexit 255\n`,
    { mode: 0o755 },
  );
  const path = process.env.PATH;
  process.env.PATH = `${program}:${path}`;
  t.after(() => {
    process.env.PATH = path;
  });
  const credentials = { ssh: { privateKey: Buffer.from('TOP SECRET\n'), knownHosts: Buffer.from('host key\n') } };
  await assert.rejects(repositories.resolve(access('ssh://git@127.0.0.1/x.git', { credentials }), {}), GitError);
  const said = readFileSync(seen, 'utf8');
  assert.doesNotMatch(said, /TOP SECRET/);
  assert.match(said, /StrictHostKeyChecking=yes/);
  assert.match(said, /^600$/m);
  assert.deepEqual(
    shm().filter((name) => !before.has(name)),
    [],
  );
  assert.equal(statSync(seen).isFile(), true);
});

test('a mirror whose disk lost something is said to be unreadable, and made anew by the next fetch', async (t) => {
  const { at, repositories } = open(t);
  const repository = new GitRepository(t);
  const commit = repository.write('prod/web.service', unitFile()).commit();
  const of = access(repository.url);
  for (const path of [[], ['prod']]) {
    await repositories.fetch(of, commit);
    const [mirror] = readdirSync(join(at, 'mirrors'));
    rmSync(join(at, 'mirrors', mirror!, 'objects/pack'), { recursive: true });
    await assert.rejects(repositories.tree(of, commit, path), GitError);
    await repositories.fetch(of, commit);
    assert.equal((await repositories.tree(of, commit, path))?.files.length, 1);
  }
});
