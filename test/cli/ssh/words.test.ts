import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrangeSshWords, withHostKeyValue } from '../../../cli/ssh/words.js';

const withValue = new Set(['--endpoint', '--machine', '--unit', '--ssh-port']);
const without = new Set(['-A', '--forward-agent']);
const takesValue = (word: string) => (withValue.has(word) ? true : without.has(word) ? false : undefined);

for (const { typed, arranged = typed, dropped = '' } of [
  { typed: 'list-units -l' },
  { typed: '--endpoint ssh list-units' },
  { typed: '' },
  { typed: 'ssh' },
  { typed: 'ssh hello' },
  { typed: 'ssh hello ls -l', arranged: 'ssh hello -- ls -l' },
  { typed: 'ssh hello -A ls -A', arranged: 'ssh hello -A -- ls -A' },
  { typed: 'ssh -A hello cat --endpoint x', arranged: 'ssh -A hello -- cat --endpoint x' },
  { typed: '--endpoint x ssh hello ls -h', arranged: '--endpoint x ssh hello -- ls -h' },
  { typed: 'ssh --machine abc ls -l', arranged: 'ssh --machine abc -- ls -l' },
  { typed: 'ssh --machine=abc uptime -p', arranged: 'ssh --machine=abc -- uptime -p' },
  { typed: 'ssh --unit hello --ssh-port 22 ls', arranged: 'ssh --unit hello --ssh-port 22 -- ls' },
  { typed: 'ssh hello -- ls -l' },
  { typed: 'ssh --unit hello -- ls -l' },
  { typed: 'ssh -- hello ls -l' },
  { typed: 'ssh hello garbage -- ls -l', arranged: 'ssh hello -- ls -l', dropped: 'garbage' },
  { typed: 'ssh hello --typo ls', arranged: 'ssh hello --typo -- ls' },
]) {
  test(`arrangeSshWords: ${typed}`, () => {
    const words = (text: string) => text.split(' ').filter(Boolean);
    const result = arrangeSshWords(words(typed), takesValue);
    assert.deepEqual([result.argv.join(' '), result.dropped.join(' ')], [arranged, dropped]);
  });
}

test('a command is kept word by word, empty ones too', () => {
  assert.deepEqual(arrangeSshWords(['ssh', 'hello', 'printf', '', 'a b'], takesValue).argv, ['ssh', 'hello', '--', 'printf', '', 'a b']);
});

for (const { typed, arranged } of [
  { typed: ['--strict-host-key-checking', 'list-units'], arranged: ['--strict-host-key-checking=true', 'list-units'] },
  { typed: ['list-units', '--strict-host-key-checking'], arranged: ['list-units', '--strict-host-key-checking=true'] },
  { typed: ['--strict-host-key-checking', 'no', 'list-units'], arranged: ['--strict-host-key-checking', 'no', 'list-units'] },
  { typed: ['--strict-host-key-checking=false'], arranged: ['--strict-host-key-checking=false'] },
]) {
  test(`withHostKeyValue: ${typed.join(' ')}`, () => assert.deepEqual(withHostKeyValue(typed, ['true', 'false', 'no']), arranged));
}
