/** What each forge sends, in the shapes that their manuals show: headers, the body, and what it means for whoever follows a ref. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { concerns, isSigned, readDelivery } from '../../../../api/server/git/deliveries.js';

const token = Buffer.from('s3cret\n');
const hmac = (text: string, key = 's3cret', hash = 'sha256') => createHmac(hash, key).update(text).digest('hex');

const commit = '6dcb09b5b57875f334f61aebed695e2e4193db5e';
const none = '0'.repeat(40);
const github = (ref: string) => ({
  ref,
  before: commit,
  after: commit,
  created: false,
  deleted: false,
  forced: true,
  repository: { id: 1, full_name: 'ops/fleet', default_branch: 'main', clone_url: 'https://github.com/ops/fleet.git' },
  pusher: { name: 'ann', email: 'ann@example.com' },
  head_commit: { id: commit, message: 'more' },
});
const gitlab = (kind: string, ref: string) => ({
  object_kind: kind,
  event_name: kind,
  before: commit,
  after: commit,
  ref,
  checkout_sha: commit,
  project: { id: 15, default_branch: 'main', git_http_url: 'https://gitlab.example/ops/fleet.git' },
  commits: [],
});
const gitea = (ref: string) => ({
  ref,
  before: commit,
  after: commit,
  total_commits: 1,
  repository: { id: 140, full_name: 'ops/fleet', default_branch: 'main' },
  pusher: { login: 'ann' },
});
const dataCenter = (id: string) => ({
  eventKey: 'repo:refs_changed',
  date: '2026-09-13T22:39:58+1100',
  actor: { name: 'ann' },
  repository: { slug: 'fleet', project: { key: 'OPS' } },
  changes: [{ ref: { id, displayId: id.split('/').at(-1), type: 'BRANCH' }, refId: id, fromHash: commit, toHash: commit, type: 'UPDATE' }],
});
const cloud = (type: string, name: string, isGone = false) => ({
  push: {
    changes: [
      {
        forced: false,
        old: isGone ? { type, name, target: { hash: commit } } : null,
        new: isGone ? null : { type, name, target: { hash: commit } },
      },
    ],
  },
  repository: { full_name: 'ops/fleet', mainbranch: { name: 'main' } },
});

interface Shape {
  readonly name: string;
  readonly headers: Record<string, string>;
  readonly body: object | string;
  /** Its proof, as the forge makes it. */
  readonly proof: (text: string) => Record<string, string>;
  readonly refs: readonly string[] | undefined;
  readonly isPush?: false;
}

const byGithub = (text: string) => ({
  'x-hub-signature': `sha1=${hmac(text, 's3cret', 'sha1')}`,
  'x-hub-signature-256': `sha256=${hmac(text)}`,
});
const byGitlab = () => ({ 'x-gitlab-token': 's3cret' });
const byGitea = (text: string) => ({ ...byGithub(text), 'x-gogs-signature': hmac(text), 'x-gitea-signature': hmac(text) });
const byBitbucket = (text: string) => ({ 'x-hub-signature': `sha256=${hmac(text)}` });
const giteaEvents = { 'x-gogs-event': 'push', 'x-github-event': 'push', 'x-gitea-event': 'push', 'x-gitea-delivery': 'f6266f16' };

const shapes: readonly Shape[] = [
  {
    name: 'GitHub, a branch',
    headers: { 'x-github-event': 'push', 'x-github-delivery': '72d3162e' },
    body: github('refs/heads/main'),
    proof: byGithub,
    refs: ['refs/heads/main'],
  },
  {
    name: 'GitHub, a tag',
    headers: { 'x-github-event': 'push' },
    body: { ...github('refs/tags/v1.2.0'), before: none },
    proof: byGithub,
    refs: ['refs/tags/v1.2.0'],
  },
  {
    name: 'GitHub, a tag that was made',
    headers: { 'x-github-event': 'create' },
    body: { ref: 'v1.2.0', ref_type: 'tag', master_branch: 'main' },
    proof: byGithub,
    refs: ['refs/tags/v1.2.0'],
  },
  {
    name: 'GitHub, as a form',
    headers: { 'x-github-event': 'push', 'content-type': 'application/x-www-form-urlencoded' },
    body: `payload=${encodeURIComponent(JSON.stringify(github('refs/heads/main')))}`,
    proof: byGithub,
    refs: ['refs/heads/main'],
  },
  {
    name: 'GitHub, its first call',
    headers: { 'x-github-event': 'ping' },
    body: { zen: 'Design for failure.', hook_id: 1 },
    proof: byGithub,
    refs: undefined,
    isPush: false,
  },
  {
    name: 'GitHub, somebody comments',
    headers: { 'x-github-event': 'issue_comment' },
    body: { action: 'created' },
    proof: byGithub,
    refs: undefined,
    isPush: false,
  },
  {
    name: 'GitLab, a branch',
    headers: { 'x-gitlab-event': 'Push Hook', 'x-gitlab-event-uuid': '13792a34' },
    body: gitlab('push', 'refs/heads/main'),
    proof: byGitlab,
    refs: ['refs/heads/main'],
  },
  {
    name: 'GitLab, a tag',
    headers: { 'x-gitlab-event': 'Tag Push Hook' },
    body: gitlab('tag_push', 'refs/tags/v1.2.0'),
    proof: byGitlab,
    refs: ['refs/tags/v1.2.0'],
  },
  {
    name: 'GitLab, a merge request',
    headers: { 'x-gitlab-event': 'Merge Request Hook' },
    body: { object_kind: 'merge_request' },
    proof: byGitlab,
    refs: undefined,
    isPush: false,
  },
  {
    name: 'GitLab, a hook of the whole system',
    headers: { 'x-gitlab-event': 'System Hook' },
    body: {
      event_name: 'repository_update',
      changes: [{ before: commit, after: commit, ref: 'refs/heads/main' }],
      refs: ['refs/heads/main'],
    },
    proof: byGitlab,
    refs: ['refs/heads/main'],
  },
  {
    name: 'GitLab, a user of the whole system',
    headers: { 'x-gitlab-event': 'System Hook' },
    body: { event_name: 'user_create' },
    proof: byGitlab,
    refs: undefined,
    isPush: false,
  },
  { name: 'Gitea', headers: giteaEvents, body: gitea('refs/heads/main'), proof: byGitea, refs: ['refs/heads/main'] },
  {
    name: 'Forgejo',
    headers: { ...giteaEvents, 'x-forgejo-event': 'push' },
    body: gitea('refs/heads/main'),
    proof: (text) => ({ ...byGitea(text), 'x-forgejo-signature': hmac(text) }),
    refs: ['refs/heads/main'],
  },
  {
    name: 'Gogs',
    headers: { 'x-gogs-event': 'push' },
    body: gitea('refs/heads/main'),
    proof: (text) => ({ 'x-gogs-signature': hmac(text) }),
    refs: ['refs/heads/main'],
  },
  {
    name: 'Bitbucket Data Center',
    headers: { 'x-event-key': 'repo:refs_changed', 'x-request-id': 'e9bf97bc' },
    body: dataCenter('refs/heads/main'),
    proof: byBitbucket,
    refs: ['refs/heads/main'],
  },
  {
    name: 'Bitbucket Data Center, a trial',
    headers: { 'x-event-key': 'diagnostics:ping' },
    body: { test: true },
    proof: byBitbucket,
    refs: undefined,
    isPush: false,
  },
  {
    name: 'Bitbucket Cloud',
    headers: { 'x-event-key': 'repo:push', 'x-request-uuid': '0b0f' },
    body: cloud('branch', 'main'),
    proof: byBitbucket,
    refs: ['refs/heads/main'],
  },
  {
    name: 'Bitbucket Cloud, a tag that is gone',
    headers: { 'x-event-key': 'repo:push' },
    body: cloud('tag', 'v1.2.0', true),
    proof: byBitbucket,
    refs: ['refs/tags/v1.2.0'],
  },
  { name: 'a script of one’s own', headers: {}, body: 'deployed', proof: byBitbucket, refs: undefined },
  {
    name: 'a body that makes no sense',
    headers: { 'x-github-event': 'push' },
    body: { ref: 7, push: [], changes: {} },
    proof: byGithub,
    refs: undefined,
  },
];

for (const { name, headers, body, proof, refs, isPush = true } of shapes) {
  test(`a delivery: ${name}`, () => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const bytes = Buffer.from(text);
    assert.equal(isSigned({ ...headers, ...proof(text) }, bytes, token), true);
    assert.equal(isSigned({ ...headers, ...proof(text) }, bytes, Buffer.from('another')), false);
    assert.equal(isSigned(headers, bytes, token), false);
    const read = readDelivery(headers, bytes);
    assert.deepEqual([read.refs, read.isPush], [refs, isPush]);
  });
}

const body = '{"ref":"refs/heads/main"}';
for (const { name, headers } of [
  { name: 'a signature over another body', headers: { 'x-hub-signature-256': `sha256=${hmac('{}')}` } },
  { name: 'a signature without its prefix', headers: { 'x-hub-signature-256': hmac(body) } },
  { name: 'the old SHA-1 header alone', headers: { 'x-hub-signature': `sha1=${hmac(body, 's3cret', 'sha1')}` } },
  { name: 'a wrong signature beside a right token', headers: { 'x-hub-signature-256': 'sha256=0', 'x-gitlab-token': 's3cret' } },
  { name: 'a GitLab token that only begins right', headers: { 'x-gitlab-token': 's3cre' } },
  { name: 'an empty token', headers: { 'x-gitlab-token': '' } },
]) {
  test(`a delivery is refused: ${name}`, () => assert.equal(isSigned(headers, Buffer.from(body), token), false));
}

const push = (refs: readonly string[] | undefined, defaultBranch?: string) => ({ event: 'push', isPush: true, refs, defaultBranch });
for (const { name, delivery, ref, does } of [
  { name: 'the branch', delivery: push(['refs/heads/main']), ref: { branch: 'main' }, does: true },
  { name: 'another branch', delivery: push(['refs/heads/next']), ref: { branch: 'main' }, does: false },
  { name: 'a branch that only ends so', delivery: push(['refs/heads/x/main']), ref: { branch: 'main' }, does: false },
  { name: 'one of several', delivery: push(['refs/heads/next', 'refs/heads/main']), ref: { branch: 'main' }, does: true },
  { name: 'a tag of the branch’s name', delivery: push(['refs/tags/main']), ref: { branch: 'main' }, does: false },
  { name: 'the tag', delivery: push(['refs/tags/v1']), ref: { tag: 'v1' }, does: true },
  { name: 'any tag, for a range', delivery: push(['refs/tags/v1.2.0']), ref: { semver: '^1' }, does: true },
  { name: 'a branch, for a range', delivery: push(['refs/heads/main']), ref: { semver: '^1' }, does: false },
  { name: 'anything, for a commit', delivery: push(['refs/heads/x']), ref: { commit }, does: true },
  { name: 'the default branch', delivery: push(['refs/heads/main'], 'main'), ref: undefined, does: true },
  { name: 'not the default branch', delivery: push(['refs/heads/next'], 'main'), ref: undefined, does: false },
  { name: 'a branch, when nobody says which is the default', delivery: push(['refs/heads/next']), ref: undefined, does: true },
  { name: 'nothing in particular', delivery: push(undefined), ref: { branch: 'main' }, does: true },
  { name: 'no push', delivery: { ...push(['refs/heads/main']), isPush: false }, ref: { branch: 'main' }, does: false },
]) {
  test(`a push concerns who follows ${JSON.stringify(ref ?? {})}: ${name}: ${does}`, () => assert.equal(concerns(delivery, ref), does));
}
