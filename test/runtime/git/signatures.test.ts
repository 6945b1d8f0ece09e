/** Whose signature counts, with keys of both sorts and the real programs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { SecretData } from '../../../runtime/git/credentials.js';
import type { WantedRef } from '../../../runtime/git/refs.js';
import { GitRepository } from '../../rigs/git-repository.js';
import { access, directory, fails, open } from './rig.js';

interface Signing {
  /** Lets git sign by this key from now on. */
  as(name: 'ann' | 'eve'): void;
  /** Ann's public key, as a Secret holds it. */
  readonly ofAnn: SecretData;
  readonly annIs: string;
}

function ssh(t: TestContext, repository: GitRepository): Signing {
  const keys = directory(t);
  for (const name of ['ann', 'eve']) spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(keys, name)]);
  repository.git('config', 'gpg.format', 'ssh');
  return {
    as: (name) => void repository.git('config', 'user.signingkey', join(keys, name)),
    ofAnn: new Map([['allowed_signers', Buffer.from(`ann@example.com ${readFileSync(join(keys, 'ann.pub'), 'utf8')}`)]]),
    annIs: 'ann@example.com',
  };
}

function gpg(t: TestContext, repository: GitRepository): Signing {
  // A socket's path is short, and gpg's agent makes one there.
  const home = mkdtempSync('/tmp/fl-gpg-');
  const env = { PATH: process.env.PATH ?? '', HOME: home, GNUPGHOME: home };
  t.after(() => {
    spawnSync('gpgconf', ['--kill', 'all'], { env });
    rmSync(home, { recursive: true, force: true });
  });
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('gpg', ['--batch', '--quiet', ...args], { env });
    assert.equal(status, 0, String(stderr));
    return stdout;
  };
  for (const name of ['ann', 'eve']) run('--passphrase', '', '--quick-generate-key', `${name}@example.com`, 'ed25519', 'sign', 'never');
  writeFileSync(join(repository.directory, '.git/gpg'), `#!/bin/sh\nGNUPGHOME=${home} exec gpg "$@"\n`, { mode: 0o755 });
  repository.git('config', 'gpg.program', join(repository.directory, '.git/gpg'));
  return {
    as: (name) => void repository.git('config', 'user.signingkey', `${name}@example.com`),
    ofAnn: new Map([['ops.asc', run('--armor', '--export', 'ann@example.com')]]),
    annIs: 'ann@example.com',
  };
}

for (const [kind, signing] of [
  ['SSH', ssh],
  ['GPG', gpg],
] as const) {
  test(`a signature counts only when it is by one of the keys: ${kind}`, async (t) => {
    const { repositories } = open(t);
    const repository = new GitRepository(t);
    const { as, ofAnn, annIs } = signing(t, repository);
    const of = access(repository.url);
    const signer = async (wanted: WantedRef) => {
      const revision = await repositories.resolve(of, wanted);
      await repositories.fetch(of, revision.commit, revision.tag);
      return repositories.signer(of, revision, ofAnn);
    };
    const signed = (name: 'ann' | 'eve') => {
      as(name);
      return repository.commit(`by ${name}`, '--gpg-sign');
    };
    const tag = (name: string, ...more: readonly string[]) => repository.git('tag', '--message=a release', ...more, name);

    // Commits.
    const [byAnn, byEve] = [signed('ann'), signed('eve')];
    const unsigned = repository.commit('unsigned', '--no-gpg-sign');
    assert.equal(await signer({ commit: byAnn }), annIs);
    await fails(signer({ commit: byEve }), 'refused', /^commit [0-9a-f]{12} is signed, but by none of the keys/);
    await fails(signer({ branch: 'main' }), 'refused', /^commit [0-9a-f]{12} is not signed/);

    // A tag that is signed speaks for its commit, whoever made that.
    as('ann');
    tag('v1.0.0', '--sign');
    assert.equal(await signer({ tag: 'v1.0.0' }), annIs);
    assert.equal(await signer({ semver: '^1' }), annIs);
    as('eve');
    repository.git('tag', '--message=a release', '--sign', 'v1.1.0', byAnn);
    await fails(signer({ tag: 'v1.1.0' }), 'refused', /^tag v1\.1\.0 is signed, but by none of the keys/);
    await fails(signer({ semver: '^1' }), 'refused', /^tag v1\.1\.0 is signed/);

    // One that is not leaves it to the commit.
    tag('v2.0.0', '--no-sign');
    await fails(signer({ tag: 'v2.0.0' }), 'refused', /neither tag v2\.0\.0 nor commit [0-9a-f]{12} is signed/);
    repository.git('tag', '--message=a release', '--no-sign', 'v2.1.0', byAnn);
    assert.equal(await signer({ tag: 'v2.1.0' }), annIs);
    repository.git('tag', '--no-sign', 'v2.2.0', byAnn);
    assert.equal(await signer({ tag: 'v2.2.0' }), annIs);

    // An old release is no new one, and what the server says of a tag is not what was signed.
    repository.git('update-ref', 'refs/tags/v3.0.0', repository.git('rev-parse', 'v1.0.0'));
    await fails(signer({ tag: 'v3.0.0' }), 'refused', /^what is called tag v3\.0\.0 was signed as tag "v1\.0\.0"/);
    const old = await repositories.resolve(of, { tag: 'v1.0.0' });
    assert.equal(old.commit, unsigned);
    await repositories.fetch(of, byEve, old.tag);
    await fails(repositories.signer(of, { ...old, commit: byEve }, ofAnn), 'refused', /^tag v1\.0\.0 was signed for another commit/);
    await fails(repositories.signer(of, old, new Map()), 'refused', /neither "allowed_signers" nor a GPG key/);
  });
}
