import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { CannotOpen, parseKeyFile, SecretBox } from '../../../api/objects/secret-box.js';

const [first, second] = [randomBytes(32), randomBytes(32)];
const place = { secret: 'db', key: 'password' };
const value = Buffer.from('hunter2');

test('what is sealed opens, in its own place and in no other', () => {
  const box = new SecretBox([first]);
  const sealed = box.seal(place, value);
  assert.doesNotMatch(JSON.stringify(sealed), /hunter2|aHVudGVyMg/);
  assert.deepEqual(box.open(place, sealed), value);
  for (const other of [
    { ...place, secret: 'other' },
    { ...place, key: 'user' },
  ]) {
    assert.throws(() => box.open(other, sealed), CannotOpen);
  }
});

test('a changed byte is noticed', () => {
  const box = new SecretBox([first]);
  const { mask, sealed } = box.seal(place, value);
  const [id, iv, tag, ciphertext] = sealed.split('.') as [string, string, string, string];
  const flipped = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1);
  for (const changed of [
    [id, flipped(iv), tag, ciphertext],
    [id, iv, flipped(tag), ciphertext],
    [id, iv, tag, flipped(ciphertext)],
    [id, iv, tag.slice(0, 8), ciphertext],
    [id, iv],
    [id],
  ]) {
    assert.throws(() => box.open(place, { mask, sealed: changed.join('.') }), CannotOpen, changed.join('.'));
  }
});

test('two seals of one value differ, and their masks do not; another value or another place has another mask', () => {
  const box = new SecretBox([first]);
  const [a, b] = [box.seal(place, value), box.seal(place, value)];
  assert.notEqual(a.sealed, b.sealed);
  assert.equal(a.mask, b.mask);
  const masks = [a.mask, box.mask(place, Buffer.from('hunter3')), box.mask({ ...place, secret: 'other' }, value)];
  assert.equal(new Set(masks).size, 3);
});

test('a new key in front seals, and the old one behind it still opens; without it the error names the key', () => {
  const sealed = new SecretBox([first]).seal(place, value);
  const rotated = new SecretBox([second, first]);
  assert.deepEqual(rotated.open(place, sealed), value);
  assert.deepEqual(new SecretBox([second]).open(place, rotated.seal(place, value)), value);
  assert.throws(
    () => new SecretBox([second]).open(place, sealed),
    /sealed under the key [0-9a-f]{8}, which is not in this server's key file/,
  );
});

for (const [what, text, message] of [
  ['nothing', '', /it holds no key/],
  ['only comments', '# old\n\n', /it holds no key/],
  ['a short one', `${randomBytes(16).toString('base64')}\n`, /line 1 is not a key: expected 32 bytes in base64/],
  ['words behind a good one', `${first.toString('base64')}\nhunter2\n`, /^Error: line 2 is not a key/],
] as const) {
  test(`a key file with ${what} is refused, and the sentence quotes nothing of it`, () => {
    assert.throws(
      () => parseKeyFile(text),
      (error: Error) => message.test(String(error)) && !String(error).includes('hunter2'),
    );
  });
}

test('a key file may say in comments which key is which', () => {
  assert.deepEqual(parseKeyFile(`# 2026\n${second.toString('base64')}\n\n# 2025\n${first.toString('base64')}\n`), [second, first]);
});
