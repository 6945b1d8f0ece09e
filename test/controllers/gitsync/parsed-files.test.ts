import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindByPlural } from '../../../api/resources/registry.js';
import { type ParsedFile, ParsedFiles } from '../../../controllers/gitsync/parsed-files.js';
import type { TreeFile } from '../../../runtime/git/tree.js';
import { unit } from '../../api/objects/door-rig.js';

const file = (path: string, blob: string, bytes = 10): TreeFile => ({ path, kind: 'file', blob, bytes });
const holding = (plural: string): ParsedFile => ({
  documents: [{ kind: kindByPlural(plural)!, object: unit('a.service'), file: 'a.yaml' }],
  problems: [],
});

function counting(maxBytes: number) {
  const files = new ParsedFiles(maxBytes);
  const parsed: string[] = [];
  const read = (of: TreeFile, plural = 'units') =>
    files.of(of, () => {
      parsed.push(`${of.path}@${of.blob}`);
      return holding(plural);
    });
  return { parsed, read };
}

test('a file is parsed once for each content and path', () => {
  const { parsed, read } = counting(1_000);
  const first = read(file('a', '1'));
  assert.equal(read(file('a', '1')), first);
  read(file('a', '2'));
  read(file('b', '1'));
  read(file('a', '1'));
  assert.deepEqual(parsed, ['a@1', 'a@2', 'b@1']);
});

test('what was used longest ago goes when there is too much', () => {
  const { parsed, read } = counting(20);
  for (const path of ['a', 'b', 'a', 'c', 'a', 'b']) read(file(path, '1'));
  assert.deepEqual(parsed, ['a@1', 'b@1', 'c@1', 'b@1']);
  read(file('huge', '1', 100));
  read(file('huge', '1', 100));
  assert.deepEqual(parsed.slice(4), ['huge@1', 'huge@1']);
});

test('a Secret is not kept', () => {
  const { parsed, read } = counting(1_000);
  read(file('s', '1'), 'secrets');
  read(file('s', '1'), 'secrets');
  assert.equal(parsed.length, 2);
});
