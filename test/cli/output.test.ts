import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { forTerminal } from '../../cli/output.js';

const original = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY');
afterEach(() => {
  if (original) Object.defineProperty(process.stdout, 'isTTY', original);
  else Reflect.deleteProperty(process.stdout, 'isTTY');
});
const withStdout = (isTTY: boolean) => Object.defineProperty(process.stdout, 'isTTY', { value: isTTY, configurable: true });

for (const { name, text, shown } of [
  { name: 'a colour', text: '\u001b[31mred', shown: '\\x1b[31mred' },
  { name: 'a new title of the window', text: '\u001b]0;pwned\u0007', shown: '\\x1b]0;pwned\\x07' },
  { name: 'the same as one 8-bit character', text: '\u009b2J', shown: '\\x9b2J' },
  { name: 'going back over what stands there', text: 'good\rbad\b', shown: 'good\\x0dbad\\x08' },
  { name: 'letters, tabs and lines', text: 'Grüße 你好\tone\ntwo', shown: 'Grüße 你好\tone\ntwo' },
]) {
  test(`SEMANTICS 18: somebody else’s text on a terminal and in a pipe: ${name}`, () => {
    withStdout(true);
    assert.equal(forTerminal(text), shown);
    withStdout(false);
    assert.equal(forTerminal(text), text);
  });
}
