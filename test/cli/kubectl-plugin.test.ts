import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CliError } from '../../cli/exit.js';
import { connectionOf, splitWords } from '../../cli/kubectl-plugin.js';
import { sourceProcess, sourceUrl } from '../rigs/source-process.js';

for (const { argv, kubectl = [], server, words } of [
  { argv: ['logs', 'web.service', '-f'], words: ['logs', 'web.service', '-f'] },
  { argv: ['--context', 'prod', 'status', 'web.service'], kubectl: ['--context=prod'], words: ['status', 'web.service'] },
  { argv: ['get', 'units', '--context=a=b', '--user=x'], kubectl: ['--context=a=b', '--user=x'], words: ['get', 'units'] },
  { argv: ['-s', 'http://127.0.0.1:1', 'get', 'units'], server: 'http://127.0.0.1:1', words: ['get', 'units'] },
  { argv: ['get', 'units', '-n', 'default', '--namespace=x'], words: ['get', 'units'] },
  { argv: ['logs', 'web.service', '-n', '5'], words: ['logs', 'web.service', '-n', '5'] },
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
  ['a token', { ...view, users: [{ user: { token: 'secret' } }] }, /by token: expected a client certificate/],
] as const) {
  test(`a kubeconfig with ${what} is refused`, () => assert.throws(() => connectionOf(wrong, undefined), message));
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} leaves no key behind`, async (t) => {
    const [bin, temporary] = [mkdtempSync(join(tmpdir(), 'plugin-bin-')), mkdtempSync(join(tmpdir(), 'plugin-tmp-'))];
    t.after(() => {
      for (const directory of [bin, temporary]) rmSync(directory, { recursive: true, force: true });
    });
    writeFileSync(join(bin, 'kubectl'), `#!/bin/sh\ncat <<'EOF'\n${JSON.stringify(view)}\nEOF\n`);
    chmodSync(join(bin, 'kubectl'), 0o755);
    const plugin = 'cli/kubectl-plugin.ts';
    const script = `
      const { runPlugin } = await import(${JSON.stringify(sourceUrl(plugin))});
      await runPlugin([], (argv) => new Promise(() => { console.log(argv.join(' ')); setInterval(() => {}, 1_000); }));`;
    const child = spawn(process.execPath, [...sourceProcess(plugin).execArgv, '--input-type=module', '-e', script], {
      env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, TMPDIR: temporary },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    const [flags] = await Promise.race([once(child.stdout, 'data'), ended.then(() => assert.fail('it ended too early'))]);
    const mine = () => readdirSync(temporary).filter((name) => name.startsWith('kubectl-flotilla-'));
    assert.match(String(flags), /--key-file=/);
    assert.equal(mine().length, 1);
    child.kill(signal);
    assert.deepEqual([(await ended)[1], mine()], [signal, []]);
  });
}
