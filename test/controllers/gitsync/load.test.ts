import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BadRevision } from '../../../controllers/gitsync/documents.js';
import { loadDocuments, resolveBelow } from '../../../controllers/gitsync/load.js';
import type { Tree } from '../../../runtime/git/repositories.js';
import { unitFile } from '../../rigs/git-repository.js';

type Files = Readonly<Record<string, string | { readonly link: string } | Buffer>>;

function treeOf(files: Files): Tree {
  const contentOf = (path: string) => {
    const file = files[path]!;
    return Buffer.isBuffer(file) ? file : Buffer.from(typeof file === 'string' ? file : file.link);
  };
  return {
    files: Object.keys(files).map((path) => ({
      path,
      kind: typeof files[path] === 'object' && 'link' in files[path] ? 'symlink' : 'file',
      blob: path,
      bytes: contentOf(path).length,
    })),
    read: async (wanted) => wanted.map(({ blob }) => contentOf(blob)),
  };
}

const u = (name: string, more = '') =>
  `apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata:\n  name: ${name}\n${more}spec:\n  sections: {Service: {ExecStart: /bin/true}}\n`;

const good: readonly { name: string; files: Files; objects: readonly string[] }[] = [
  { name: 'an empty tree', files: {}, objects: [] },
  {
    name: 'unit files as they lie there',
    files: { 'web.service': unitFile(), 'x/tick.timer': '[Timer]\nOnCalendar=daily\n' },
    objects: ['web.service', 'tick.timer'],
  },
  {
    name: 'manifests of several documents',
    files: { 'a.yaml': `${u('a.service')}---\n${u('b.service')}` },
    objects: ['a.service', 'b.service'],
  },
  {
    name: 'whatever is no manifest is left alone',
    files: { 'README.md': '# hi', 'run.sh': '#!/bin/sh', 'a.yaml': u('a.service') },
    objects: ['a.service'],
  },
  {
    name: 'hidden files are none',
    files: { '.github/workflows/ci.yaml': 'on: push', '.hidden.yaml': 'x', 'a.yaml': u('a.service') },
    objects: ['a.service'],
  },
  {
    name: '.syncignore leaves out, and takes in again',
    files: {
      '.syncignore': 'tests/\n*.tmpl.yaml\n/docs\n!keep.tmpl.yaml\n',
      'tests/x.yaml': '{',
      'a.tmpl.yaml': '{',
      'docs/x.yaml': '{',
      'keep.tmpl.yaml': u('a.service'),
    },
    objects: ['a.service'],
  },
  {
    name: 'a file that a link leads to, under the name of the link',
    files: { '.shared/web': unitFile(), 'web.service': { link: '.shared/web' } },
    objects: ['web.service'],
  },
  {
    name: 'a file that is seen in its own place, through a link and in a linked directory describes its objects once',
    files: { 'a.yaml': u('a.service'), 'b.yaml': { link: 'x/c.yaml' }, 'x/c.yaml': { link: '../a.yaml' }, y: { link: 'x' } },
    objects: ['a.service'],
  },
  {
    name: 'a base that two overlays link to',
    files: {
      '.syncignore': '/base\n',
      'base/kustomization.yaml': 'resources: [a.yaml]\n',
      'base/a.yaml': u('a.service'),
      'eu/base': { link: '../base' },
      'eu/kustomization.yaml': 'resources: [base]\nnamePrefix: eu-\n',
      'us/base': { link: '../base/' },
      'us/kustomization.yaml': 'resources: [base/a.yaml]\nnamePrefix: us-\n',
    },
    objects: ['eu-a.service', 'us-a.service'],
  },
  { name: 'a link that is ignored', files: { '.syncignore': 'link.yaml\n', 'link.yaml': { link: '/etc/passwd' } }, objects: [] },
  {
    name: 'a kustomization lists what counts',
    files: { 'kustomization.yaml': 'resources: [a.yaml, sub]\n', 'a.yaml': u('a.service'), 'b.yaml': '{', 'sub/c.yaml': u('c.service') },
    objects: ['a.service', 'c.service'],
  },
  {
    name: 'a kustomization below counts for its own directory',
    files: {
      'a.yaml': u('a.service'),
      'sub/flotilla.yaml': 'namePrefix: eu-\nresources: [b.yaml]\n',
      'sub/b.yaml': u('b.service'),
      'sub/left-out.yaml': '{',
    },
    objects: ['a.service', 'eu-b.service'],
  },
  {
    name: 'flotilla.yaml may be a manifest of that name',
    files: { 'flotilla.yaml': u('a.service'), 'b.yaml': u('b.service') },
    objects: ['b.service', 'a.service'],
  },
  {
    name: 'prefixes of nested kustomizations add up',
    files: {
      'kustomization.yaml': 'namePrefix: x-\nresources: [base]\n',
      'base/kustomization.yaml': 'namePrefix: y-\nresources: [a.yaml]\n',
      'base/a.yaml': u('a@.service'),
    },
    objects: ['x-y-a@.service'],
  },
];

for (const { name, files, objects } of good) {
  test(`load: ${name}`, async () => {
    assert.deepEqual(
      (await loadDocuments(treeOf(files))).map(({ object }) => object.metadata.name),
      objects,
    );
  });
}

const bad: readonly { name: string; files: Files; problem: RegExp }[] = [
  {
    name: 'a link that leaves',
    files: { 'x/a.yaml': { link: '../../etc/passwd' } },
    problem: /x\/a\.yaml is a symbolic link to "\.\.\/\.\.\/etc\/passwd", which leads out of spec\.path.*\.syncignore/,
  },
  {
    name: 'a link that leaves and a file that is wrong, both at once',
    files: { 'a.yaml': { link: '/etc/passwd' }, 'b.yaml': '{' },
    problem: /a\.yaml is a symbolic link to "\/etc\/passwd".*b\.yaml:1/,
  },
  {
    name: 'one unit under two names by a link, changed by a kustomization in one place',
    files: {
      'a.yaml': u('a.service'),
      'x/a.yaml': { link: '../a.yaml' },
      'x/flotilla.yaml': 'resources: [a.yaml]\ncommonLabels: {at: x}\n',
    },
    problem: /x\/a\.yaml: unit\/a\.service is already described in a\.yaml/,
  },
  {
    name: 'a link to the directory that it lies in',
    files: { 'x/up': { link: '..' }, 'x/a.yaml': u('a.service') },
    problem: /x\/up is a symbolic link to "\.\.", which holds the link itself.*\.syncignore/,
  },
  {
    name: 'a pointer of Git LFS',
    files: { 'a.yaml': 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n' },
    problem: /a\.yaml: is a pointer of Git LFS/,
  },
  { name: 'bytes that are no text', files: { 'a.yaml': Buffer.from([0xff, 0xfe, 0x00]) }, problem: /a\.yaml: is not UTF-8/ },
  {
    name: 'one object twice',
    files: { 'a.yaml': u('a.service'), 'b/b.yaml': u('a.service') },
    problem: /b\/b\.yaml: unit\/a\.service is already described in a\.yaml/,
  },
  {
    name: 'a unit without a text',
    files: { 'a.yaml': 'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: a.service}\n' },
    problem: /a\.yaml: unit\/a\.service: spec\.content: the unit file is missing/,
  },
  {
    name: 'resources that lead out',
    files: { 'kustomization.yaml': 'resources: [../base]\n' },
    problem: /resources\[0\]: \.\.\/base leads out of spec\.path/,
  },
  {
    name: 'resources that lead out by a detour',
    files: { 'kustomization.yaml': 'resources: [a/../../b]\n' },
    problem: /leads out of spec\.path/,
  },
  {
    name: 'resources that are not there',
    files: { 'kustomization.yaml': 'resources: [web.yml]\n', 'web.yaml': u('a.service') },
    problem: /no manifest or directory web\.yml; did you mean web\.yaml\?/,
  },
  {
    name: 'kustomizations in a circle',
    files: { 'kustomization.yaml': 'resources: [a]\n', 'a/kustomization.yaml': 'resources: [../]\n' },
    problem: /lead back to itself/,
  },
  {
    name: 'a field that is not ours',
    files: { 'kustomization.yaml': 'resource: [a.yaml]\n' },
    problem: /unknown field "resource"; did you mean "resources"\?/,
  },
  {
    name: 'two kustomizations in one place',
    files: { 'kustomization.yaml': 'resources: []\n', 'flotilla.yaml': 'resources: []\n' },
    problem: /expected one of them/,
  },
  {
    name: 'a patch for nobody',
    files: { 'kustomization.yaml': 'resources: []\npatches: [{target: {name: x.service}, patch: "{}"}]\n' },
    problem: /patches\[0\]: matches no object/,
  },
  {
    name: 'a patch that makes a bad unit',
    files: {
      'kustomization.yaml': "resources: [a.yaml]\npatches: [{target: {name: a.service}, patch: '{spec: {desiredState: flying}}'}]\n",
      'a.yaml': u('a.service'),
    },
    problem: /a\.yaml: unit\/a\.service, as kustomization\.yaml changes it: spec\.desiredState/,
  },
  {
    name: 'a prefix that makes a bad name',
    files: { 'kustomization.yaml': "resources: [a.yaml]\nnamePrefix: 'a b'\n", 'a.yaml': u('a.service') },
    problem: /as kustomization\.yaml changes it: metadata\.name/,
  },
];

for (const { name, files, problem } of bad) {
  test(`load refuses ${name}`, async () => {
    await assert.rejects(loadDocuments(treeOf(files)), (error) =>
      error instanceof BadRevision && problem.test(error.message) ? true : (assert.fail(String(error)) as never),
    );
  });
}

test('load: labels, merge patches and JSON patches', async () => {
  const files = {
    'kustomization.yaml': `
resources: [a.yaml, b.yaml]
commonLabels: {team: ops}
labels: [{pairs: {env: prod}}]
patches:
- path: fewer.yaml
- target: {kind: Unit, labelSelector: tier=web}
  patch: |
    - op: replace
      path: /spec/sections/Service/ExecStart
      value: /bin/false
- target: {name: 'b*'}
  patch: '{spec: {desiredState: loaded}}'
`,
    'a.yaml': u('a.service', '  labels: {tier: web}\n'),
    'b.yaml': u('b.service'),
    'fewer.yaml': 'kind: Unit\nmetadata: {name: a.service, annotations: {note: patched}}\n',
  };
  const [a, b] = await loadDocuments(treeOf(files));
  assert.deepEqual(a?.object.metadata, {
    name: 'a.service',
    labels: { tier: 'web', team: 'ops', env: 'prod' },
    annotations: { note: 'patched' },
  });
  assert.deepEqual(a?.object.spec, { sections: { Service: { ExecStart: '/bin/false' } } });
  assert.deepEqual(b?.object.spec, { sections: { Service: { ExecStart: '/bin/true' } }, desiredState: 'loaded' });
});

for (const [prefix, path, result] of [
  ['', 'a/b', 'a/b'],
  ['x/', './../a', 'a'],
  ['x/y/', '../../a', 'a'],
  ['x/', '../../a', undefined],
  ['', '/etc/passwd', undefined],
  ['x/', '..', ''],
] as const) {
  test(`resolve: ${path} in ${prefix || '.'}`, () => assert.equal(resolveBelow(prefix, path), result));
}
