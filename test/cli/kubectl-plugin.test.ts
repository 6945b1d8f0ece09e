import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliError } from '../../cli/exit.js';
import { connectionOf, splitWords } from '../../cli/kubectl-plugin.js';

for (const { argv, kubectl = [], server, words } of [
  { argv: ['logs', 'web.service', '-f'], words: ['logs', 'web.service', '-f'] },
  { argv: ['--context', 'prod', 'status', 'web.service'], kubectl: ['--context=prod'], words: ['status', 'web.service'] },
  { argv: ['get', 'units', '--context=a=b', '--user=x'], kubectl: ['--context=a=b', '--user=x'], words: ['get', 'units'] },
  { argv: ['-s', 'http://127.0.0.1:1', 'get', 'units'], server: 'http://127.0.0.1:1', words: ['get', 'units'] },
  { argv: ['get', 'units', '-n', 'default', '--namespace=x'], words: ['get', 'units'] },
  { argv: ['get', 'units', '-o=json', '--selector=a=b'], words: ['get', 'units', '-o=json', '--selector=a=b'] },
  { argv: ['cat', '--', '--context'], words: ['cat', '--', '--context'] },
]) {
  test(`kubectl flotilla ${argv.join(' ')}`, () =>
    assert.deepEqual(splitWords(argv), { kubectl, words, ...(server === undefined ? {} : { server }) }));
}

test('a flag of kubectl without its value is wrong usage', () =>
  assert.throws(
    () => splitWords(['get', 'units', '--context']),
    (error) => error instanceof CliError && error.code === 2,
  ));

const base64 = (text: string) => Buffer.from(text).toString('base64');
const view = {
  clusters: [{ cluster: { server: 'https://a:7443', 'certificate-authority-data': base64('the CA') } }],
  users: [{ user: { 'client-certificate-data': base64('a certificate'), 'client-key-data': base64('its key') } }],
};

test('the connection is that of the kubeconfig, PEM texts decoded', () =>
  assert.deepEqual(connectionOf(view, undefined), { endpoint: 'https://a:7443', ca: 'the CA', cert: 'a certificate', key: 'its key' }));

test('--server replaces the address and nothing else', () =>
  assert.deepEqual(connectionOf(view, 'https://b:7443'), { ...connectionOf(view, undefined), endpoint: 'https://b:7443' }));

for (const [what, wrong, message] of [
  ['no server', { clusters: null, users: null }, /names no server/],
  [
    'no check of the server',
    { clusters: [{ cluster: { server: 'https://a', 'insecure-skip-tls-verify': true } }] },
    /expected the cluster's CA/,
  ],
] as const) {
  test(`a kubeconfig with ${what} is refused`, () => assert.throws(() => connectionOf(wrong, undefined), message));
}
