import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GitError } from '../../../runtime/git/run.js';
import { parseListing } from '../../../runtime/git/tree.js';

const listing = (...paths: readonly string[]) =>
  Buffer.from(paths.map((path) => `100644 blob ${'a'.repeat(40)}      12\t${path}\0`).join(''));

test('a listing gives each file its path, whatever is in it', () => {
  const paths = ['a.yaml', 'b/c d.yaml', 'tab\there', '...', '.hidden', 'b..c'];
  assert.deepEqual(
    parseListing(listing(...paths)).map(({ path, kind, bytes }) => ({ path, kind, bytes })),
    paths.map((path) => ({ path, kind: 'file', bytes: 12 })),
  );
});

for (const path of ['/etc/passwd', '../up.yaml', 'a/../b.yaml', 'a//b.yaml', './a.yaml', 'a/.']) {
  test(`a path that no file can have refuses the tree and is named: ${path}`, () => {
    assert.throws(
      () => parseListing(listing('good.yaml', path)),
      (error) => error instanceof GitError && error.fault === 'refused' && error.message.includes(JSON.stringify(path)),
    );
  });
}

for (const path of [`${'d/'.repeat(100)}a.yaml`, `${'d'.repeat(2_048)}/${'d'.repeat(2_048)}.yaml`]) {
  test(`a path of ${path.split('/').length} steps and ${path.length} bytes is refused as too long`, () => {
    assert.throws(
      () => parseListing(listing(path)),
      (error) => error instanceof GitError && error.fault === 'refused' && error.message.length < 400,
    );
  });
}
