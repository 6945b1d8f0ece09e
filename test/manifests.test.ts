/** The examples under manifests/ are what people copy: each has to be right. test/e2e/start.test.ts applies them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { manifestErrorText, parseManifests } from '../api/resources/manifests.js';
import { kindOf } from '../api/resources/registry.js';

const top = join(dirname(fileURLToPath(import.meta.url)), '../manifests');
/** Files of Prometheus, Grafana and the host's systemd, with tests of their own. */
const others = ['monitoring', 'systemd'];

const files = readdirSync(top, { withFileTypes: true, recursive: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .filter((file) => !others.includes(relative(top, file).split('/')[0]!) && !file.endsWith('.md'));

test('there are examples', () => assert.ok(files.length >= 3));

for (const file of files) {
  test(`manifests/${relative(top, file)} is read without an error or a warning, and says what it is for`, () => {
    const text = readFileSync(file, 'utf8');
    const { documents, errors } = parseManifests(file, text);
    assert.deepEqual(errors.map(manifestErrorText), []);
    assert.ok(documents.length > 0);
    for (const { object } of documents) {
      const kind = kindOf(object)!;
      const whole = kind.withDefaults(object);
      assert.deepEqual([kind.validate(whole), kind.warnings?.(whole) ?? []], [[], []], object.metadata.name);
    }
    assert.match(text, /^#/, 'a comment at the top');
  });
}
