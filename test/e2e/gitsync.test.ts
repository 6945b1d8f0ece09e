/** A repository is a real cluster's truth: commits run on a machine, through the real server, git and CLI. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { renameSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestCluster, until } from '../rigs/cluster.js';
import { GitHttpServer } from '../rigs/git-http.js';
import { GitRepository } from '../rigs/git-repository.js';
import { TestSshd } from '../rigs/sshd.js';

interface WireGitSync {
  readonly metadata: { readonly name: string; readonly generation: number };
  readonly status?: {
    readonly lastAppliedRevision?: string;
    readonly lastAttemptedRevision?: string;
    readonly inventory?: readonly string[];
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
  };
}

const unit = (note: string) => `[Unit]\nDescription=${note}\n\n[Service]\nExecStart=/bin/sleep infinity\n`;

describe('GitSync', () => {
  let cluster: TestCluster;
  let repository: GitRepository;
  let http: GitHttpServer;
  const undo: (() => void)[] = [];
  before(async () => {
    cluster = await TestCluster.start({ machines: 1 });
    repository = new GitRepository({ after: (run) => void undo.push(run as () => void) });
    repository.write('prod/web.service', unit('v1')).write('prod/db.service', unit('v1')).commit();
    http = await GitHttpServer.start(dirname(repository.directory));
  });
  after(async () => {
    await http?.stop();
    await cluster?.stop();
    for (const run of undo) run();
  });

  const cli = (...args: readonly string[]) => cluster.dev.cli(args);
  const must = (...args: readonly string[]) => cluster.dev.mustCli(args);
  const apply = (name: string, spec: object) =>
    cluster.apply(
      JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'GitSync', metadata: { name }, spec: { interval: '1h', ...spec } }),
    );
  const get = async (name: string) =>
    (await cluster.dev.list<WireGitSync>('gitsyncs')).items.find(({ metadata }) => metadata.name === name);
  const readyOf = (sync: WireGitSync | undefined) => sync?.status?.conditions?.find(({ type }) => type === 'Ready');
  const description = async (name: string) => {
    const seen = await cluster.untilReady(name);
    return (await cluster.show(cluster.machineOf(seen), name, 'Description')).Description;
  };
  /** Commits and asks for a sync; resolves with its exit code and what it said. */
  const push = async (message = 'a change') => {
    repository.commit(message);
    return cli('sync', 'prod', '--wait');
  };

  test('a commit runs on a machine, over file://, and counts as applied once it does', async () => {
    await apply('prod', {
      url: repository.url,
      ref: { branch: 'main' },
      path: './prod',
      prune: true,
      wait: true,
      limits: { maxDeletePercent: 60 },
    });
    await must('wait', '--for=condition=Ready', 'gitsync/prod', '--timeout=60s');
    assert.equal(await description('web.service'), 'v1');
    assert.equal((await get('prod'))?.status?.lastAppliedRevision, `main@sha1:${repository.head}`);
    assert.match(await must('get', 'gitsyncs'), /NAME +READY +REVISION +SUSPENDED +AGE +STATUS\nprod +True +main@sha1:[0-9a-f]{7} +False/);
  });

  test('what would change is shown first, then changed, and what is deleted goes', async () => {
    repository.write('prod/web.service', unit('v2')).remove('prod/db.service').commit();
    const { code, stdout } = await cli('diff', '--git', 'prod');
    assert.equal(code, 1);
    assert.match(stdout, /^- .*Description=v1$[\s\S]*^\+ .*Description=v2$/m);
    assert.match(stdout, /live\/unit\/db\.service/);
    assert.equal((await push()).code, 0);
    assert.equal(await description('web.service'), 'v2');
    await cluster.untilGone('db.service');
    assert.equal((await cli('diff', '--git', 'prod')).code, 0);
    assert.match(await must('events', '--for', 'gitsync/prod'), /RevisionApplied/);
  });

  test('a broken commit is named and changes nothing; a force-push mends it', async () => {
    repository.write('prod/broken.service', '[Service]\nExecStart /bin/true\n').write('prod/web.service', unit('v3'));
    const failed = await push('broken');
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /broken\.service:2/);
    assert.equal(await description('web.service'), 'v2');
    repository.git('reset', '--quiet', '--hard', 'HEAD~1');
    repository.write('prod/web.service', unit('forced'));
    assert.equal((await push('forced')).code, 0);
    assert.equal(await description('web.service'), 'forced');
  });

  test('SEMANTICS 26: verbs refuse what a GitSync keeps and name it; with --force the next sync takes it back', async () => {
    const refused = await cli('stop', 'web.service');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /GitSync "prod"/);
    await must('stop', '--force', 'web.service');
    assert.equal((await cli('sync', 'prod', '--wait')).code, 0);
    await cluster.untilReady('web.service');
    assert.match(await must('events', '--for', 'gitsync/prod'), /DriftCorrected/);
  });

  test('an empty path deletes nothing until a human agrees to that revision', async () => {
    repository.remove('prod').write('README', 'gone');
    const held = await push('empty');
    assert.equal(held.code, 1);
    assert.match(held.stderr, /--confirm-prune main@sha1:/);
    await cluster.untilReady('web.service');
    assert.equal((await cli('sync', 'prod', '--confirm-prune', '0123456', '--wait')).code, 1, 'another revision');
    assert.equal((await cli('sync', 'prod', '--confirm-prune', repository.head, '--wait')).code, 0);
    await cluster.untilGone('web.service');
  });

  test('a link out of the tree is refused; so is an object that another GitSync claims', async () => {
    repository.write('prod/web.service', unit('again')).link('prod/passwd.service', '/etc/passwd');
    const linked = await push('link');
    assert.equal(linked.code, 1);
    assert.match(linked.stderr, /passwd\.service is a symbolic link to "\/etc\/passwd", which leads out/);
    repository.remove('prod/passwd.service');
    assert.equal((await push('no link')).code, 0);

    await apply('second', { url: `${http.url}/${repository.directory.split('/').at(-1)}/.git`, path: 'prod' });
    const claimed = await until('the second is told', async () => {
      const sync = await get('second');
      if (readyOf(sync)?.reason === 'Conflict') return sync;
      throw new Error(JSON.stringify(sync?.status));
    });
    assert.match(readyOf(claimed)?.message ?? '', /unit\/web\.service belongs to GitSync prod/);
    await must('delete', 'gitsync', 'second');
    await cluster.untilReady('web.service');
  });

  test('over http:// a repository that is away fails, keeps what runs, and is taken up again', async () => {
    await apply('prod', { url: `${http.url}/${repository.directory.split('/').at(-1)}/.git`, path: 'prod', prune: true, wait: true });
    await must('wait', '--for=condition=Ready', 'gitsync/prod', '--timeout=60s');
    renameSync(`${repository.directory}/.git`, `${repository.directory}/away`);
    const gone = await cli('sync', 'prod', '--wait');
    assert.equal(gone.code, 1);
    await cluster.untilReady('web.service');
    renameSync(`${repository.directory}/away`, `${repository.directory}/.git`);
    assert.equal((await cli('sync', 'prod', '--wait')).code, 0);
  });

  test('over ssh:// with a key from a Secret, signed commits only, woken by a webhook that proves who it is', async (t) => {
    const sshd = await TestSshd.start();
    t.after(() => sshd.stop());
    const token = 'webhook-token-of-this-test';
    const secret = (name: string, stringData: object) =>
      JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Secret', metadata: { name }, stringData });
    repository.git('config', 'gpg.format', 'ssh');
    repository.git('config', 'user.signingkey', sshd.keys.path('user'));
    repository.write('signed/signed.service', unit('signed v1')).commit('signed', '--gpg-sign');
    const spec = {
      url: `ssh://root@${sshd.host}${repository.directory}`,
      path: 'signed',
      secretRef: { name: 'git-key' },
      verify: { mode: 'signed', keysSecretRef: { name: 'git-signers' } },
      webhook: { secretRef: { name: 'git-webhook' } },
    };
    await apply('signed', spec);
    await until('the secret to be missed', async () => readyOf(await get('signed'))?.reason === 'SecretMissing');
    await cluster.apply(
      secret('git-signers', { allowed_signers: `ann@example.com ${await sshd.keys.publicKey('user')}` }),
      secret('git-webhook', { token }),
      secret('git-key', {
        identity: await readFile(sshd.keys.path('user'), 'utf8'),
        known_hosts: `${sshd.knownAs} ${await sshd.keys.publicKey('host')}`,
      }),
    );
    await must('wait', '--for=condition=Ready', 'gitsync/signed', '--timeout=60s');
    assert.equal(await description('signed.service'), 'signed v1');

    const body = JSON.stringify({ ref: 'refs/heads/main' });
    const hook = (key: string) => hookAnswer(cluster, 'signed', body, `sha256=${createHmac('sha256', key).update(body).digest('hex')}`);
    repository.write('signed/signed.service', unit('signed v2')).commit('signed', '--gpg-sign');
    assert.equal(await hook('another token'), 401);
    assert.equal(await hook(token), 202);
    await until('the change to run', async () => (await description('signed.service')) === 'signed v2');

    repository.write('signed/signed.service', unit('unsigned')).commit('unsigned', '--no-gpg-sign');
    assert.equal(await hook(token), 202);
    const refused = await until('the unsigned commit to be refused', async () => {
      const ready = readyOf(await get('signed'));
      return ready?.reason === 'VerificationFailed' && ready;
    });
    assert.match(refused.message, /is not signed/);
    repository.git('config', 'user.signingkey', sshd.keys.path('host'));
    repository.commit('signed by somebody else', '--gpg-sign');
    assert.equal(await hook(token), 202);
    await until('the foreign signature to be refused', async () => /by none of the keys/.test(readyOf(await get('signed'))?.message ?? ''));
    assert.equal(await description('signed.service'), 'signed v2');
    for (const text of [
      await must('get', 'gitsyncs', '-o', 'yaml'),
      await must('get', 'secrets', '-o', 'yaml'),
      await must('events'),
      await readFile(join(cluster.dev.directory, 'server1.log'), 'utf8'),
    ]) {
      assert.doesNotMatch(text, /PRIVATE KEY|webhook-token-of-this-test/);
    }
  });

  test('suspended it does nothing; a server that starts anew goes on; deleted with prune it takes its units along', async () => {
    await must('suspend', 'prod');
    repository.write('prod/web.service', unit('later')).commit();
    await must('sync', 'prod');
    const [server] = cluster.dev.servers;
    await server!.process.kill();
    server!.process.start();
    await cluster.dev.untilReady(server!);
    assert.equal(await description('web.service'), 'again');
    await must('resume', 'prod');
    await must('sync', 'prod', '--wait');
    assert.equal(await description('web.service'), 'later');
    await must('delete', 'gitsync', 'prod');
    await cluster.untilGone('web.service');
    assert.equal(await get('prod'), undefined);
  });
});

/** Answers as a forge would see them, over the server's https port, which proves nothing about who calls. */
function hookAnswer(cluster: TestCluster, name: string, body: string, signature: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature };
    const call = request(
      `${cluster.dev.servers[0]!.agentUrl}/hooks/git/${name}`,
      { method: 'POST', headers, rejectUnauthorized: false },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}
