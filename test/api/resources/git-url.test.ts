import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGitUrl, refNameProblem, repositoryPath } from '../../../api/resources/git-url.js';
import { validateGitSync } from '../../../api/resources/gitsync-validation.js';
import type { FlotillaObject } from '../../../api/resources/meta.js';

for (const [url, transport, host] of [
  ['https://git.example/ops/fleet.git', 'https', 'git.example'],
  ['http://127.0.0.1:8080/x.git', 'http', '127.0.0.1'],
  ['ssh://git@git.example:2222/ops/fleet.git', 'ssh', 'git.example'],
  ['ssh://git@[::1]:22/x', 'ssh', '::1'],
  ['git@git.example:ops/fleet.git', 'ssh', 'git.example'],
  ['file:///srv/git/ops.git', 'file', ''],
] as const) {
  test(`${url} is an address`, () => {
    const parsed = parseGitUrl(url);
    assert.ok(!('problem' in parsed), JSON.stringify(parsed));
    assert.deepEqual([parsed.transport, parsed.host], [transport, host]);
  });
}

for (const [url, problem] of [
  ['--upload-pack=touch /tmp/x', /spaces/],
  ['--upload-pack=/tmp/x', /option/],
  ['-x', /option/],
  ['ext::sh -c id', /spaces/],
  ['ext::sh%20-c%20id', /remote helper/],
  ['fd::17', /remote helper/],
  ['git://git.example/x', /no way to a repository/],
  ['ftp://git.example/x', /no way to a repository/],
  ['ssh://-oProxyCommand=id/x', /address|host name/],
  ['ssh://-oProxyCommand=id@git.example/x', /option/],
  ['-oProxyCommand=id:x', /option/],
  ['a@-oProxyCommand=id:x', /host name/],
  ['git@git.example:--upload-pack=id', /option/],
  ['https://user:secret@git.example/x', /Secret/],
  ['https://token@git.example/x', /Secret/],
  ['https://git.example/../x', undefined],
  ['git@git.example:../x', /"\.\."/],
  ['file://etc/x', /root/],
  ['file:///srv/../etc', /"\.\."/],
  ['/srv/git/x', /no address/],
  ['https://git.example/', /no repository/],
  ['https://git.example/x?y', /query/],
  ['', /no address/],
] as const) {
  test(`${url || 'nothing'} is ${problem ? 'refused' : 'taken as the URL parser reads it'}`, () => {
    const parsed = parseGitUrl(url);
    if (problem === undefined) assert.ok(!('problem' in parsed));
    else assert.match('problem' in parsed ? parsed.problem : JSON.stringify(parsed), problem);
  });
}

for (const name of ['main', 'release/1.x', 'v1.2.3', 'feature/ünïcode'])
  test(`${name} is a ref`, () => assert.equal(refNameProblem(name), undefined));
for (const name of [
  '',
  '-x',
  '--upload-pack=x',
  'a b',
  'a..b',
  'a~1',
  'a^',
  'a:b',
  '.a',
  'a/.b',
  'a.lock',
  'a//b',
  '/a',
  'a/',
  '@',
  'a@{1}',
  'a\\b',
  'a*',
  'a.',
]) {
  test(`"${name}" is no ref`, () => assert.notEqual(refNameProblem(name), undefined));
}

for (const [path, steps] of [
  ['', []],
  ['.', []],
  ['./clusters//prod/', ['clusters', 'prod']],
] as const) {
  test(`the path "${path}"`, () => assert.deepEqual(repositoryPath(path), { steps }));
}
for (const path of ['/etc', '../x', 'a/../../x', 'a/..', '.git/hooks', 'a\0b']) {
  test(`the path ${JSON.stringify(path)} is refused`, () => assert.ok('problem' in repositoryPath(path)));
}

const errors = (spec: object, name = 'prod') =>
  validateGitSync({
    apiVersion: 'flotilla.dev/v1',
    kind: 'GitSync',
    metadata: { name },
    spec: { url: 'https://git.example/x', ...spec },
  } as FlotillaObject).map(({ field }) => field);

for (const [spec, fields] of [
  [{}, []],
  [{ ref: { branch: 'main' }, path: './prod', interval: '1m', timeout: '30s' }, []],
  [{ ref: {} }, ['spec.ref']],
  [{ ref: { branch: 'a', tag: 'b' } }, ['spec.ref']],
  [{ ref: { commit: 'abc' } }, ['spec.ref.commit']],
  [{ ref: { semver: 'latest please' } }, ['spec.ref.semver']],
  [{ interval: '1s' }, ['spec.interval']],
  [{ interval: '60' }, ['spec.interval']],
  [{ timeout: '2h' }, ['spec.timeout']],
  [{ dependsOn: [{ name: 'prod' }] }, ['spec.dependsOn[0].name']],
  [{ url: 'ext::x', path: '..' }, ['spec.url', 'spec.path']],
] as const) {
  test(`a GitSync with ${JSON.stringify(spec)} ${fields.length === 0 ? 'is good' : `is wrong in ${fields.join(', ')}`}`, () =>
    assert.deepEqual(errors(spec), fields));
}
test('a GitSync has a name that fits a label, a manager and a URL', () => {
  assert.deepEqual(errors({}, 'Prod/x'), ['metadata.name']);
  assert.deepEqual(errors({}, 'a'.repeat(64)), ['metadata.name']);
});
