import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliError } from '../../../cli/exit.js';
import {
  forwardTarget,
  hostKeyWords,
  parseTunnel,
  type SshCommand,
  type SshOptions,
  sshArguments,
  sshOptionsOf,
  tunnelArguments,
} from '../../../cli/ssh/arguments.js';

const plain: SshOptions = { timeoutSeconds: 10 };
const isUsage = (pattern: RegExp) => (error: unknown) => error instanceof CliError && error.code === 2 && pattern.test(error.message);

for (const { name, options = plain, command, args } of [
  { name: 'a shell: what is not asked for is left to ssh_config', command: {}, args: ['-o', 'ConnectTimeout=10', '--', '10.0.0.1'] },
  {
    name: 'a command is one argument, read by the shell over there',
    command: { command: ['cat', '/etc/environment', '|', 'wc'] },
    args: ['-o', 'ConnectTimeout=10', '--', '10.0.0.1', 'cat /etc/environment | wc'],
  },
  {
    name: 'a command that looks like an option stands behind the host',
    command: { command: ['-oProxyCommand=evil'] },
    args: ['-o', 'ConnectTimeout=10', '--', '10.0.0.1', '-oProxyCommand=evil'],
  },
  {
    name: 'port, user and agent',
    options: { ...plain, username: 'core' },
    command: { target: { host: 'fe80::1%eth0', port: 2222 }, forwardAgent: true },
    args: ['-o', 'ConnectTimeout=10', '-p', '2222', '-l', 'core', '-A', '--', 'fe80::1%eth0'],
  },
  {
    name: 'host keys and time; ssh counts whole seconds',
    options: { timeoutSeconds: 2.5, hostKeys: 'yes', knownHostsFile: '/home/a b/50%/known' } as const,
    command: {},
    args: [
      ...['-o', 'ConnectTimeout=3', '-o', 'StrictHostKeyChecking=yes', '-o', 'UserKnownHostsFile="/home/a b/50%%/known"'],
      ...['--', '10.0.0.1'],
    ],
  },
  {
    name: 'through a host: the same rules for its key, quoted for the shell, escaped for ssh',
    options: { ...plain, username: 'core', knownHostsFile: "/it's 50%" },
    command: { through: { host: 'jump', port: 2200, username: 'me' } },
    args: [
      ...['-o', 'ConnectTimeout=10', '-o', 'UserKnownHostsFile="/it\'s 50%%"', '-l', 'core', '-o'],
      `ProxyCommand=ssh -o ConnectTimeout=10 -o 'UserKnownHostsFile="/it'\\''s 50%%%%"' -p 2200 -l me -W '[%h]:%p' -- jump`,
      ...['--', '10.0.0.1'],
    ],
  },
] satisfies { name: string; options?: SshOptions; command: Partial<SshCommand>; args: string[] }[]) {
  test(`sshArguments: ${name}`, () =>
    assert.deepEqual(sshArguments(options, { target: { host: '10.0.0.1' }, command: [], ...command }), args));
}

for (const host of ['-oProxyCommand=evil', '', 'a b', 'a;b', "a'b", 'a\nb', '$(x)', '-']) {
  test(`a machine that tells the address ${JSON.stringify(host)} is not connected to`, () =>
    assert.throws(() => sshArguments(plain, { target: { host }, command: [] }), isUsage(/no host name or address/)));
}
for (const username of ['-oProxyCommand=evil', '', 'a b', "a'b", 'a\nb']) {
  test(`a user ${JSON.stringify(username)} is refused`, () =>
    assert.throws(() => sshArguments({ ...plain, username }, { target: { host: 'a' }, command: [] }), isUsage(/no user name/)));
}
for (const knownHostsFile of ['', 'a"b', 'a\nProxyCommand evil', 'a\\']) {
  test(`a file of known hosts ${JSON.stringify(knownHostsFile)} is refused`, () =>
    assert.throws(() => sshArguments({ ...plain, knownHostsFile }, { target: { host: 'a' }, command: [] }), isUsage(/--known-hosts-file/)));
}

for (const [text, host] of [
  ['10.0.0.1', { host: '10.0.0.1' }],
  ['10.0.0.1:2222', { host: '10.0.0.1', port: 2222 }],
  ['bastion', { host: 'bastion' }],
  ['core@bastion:22', { host: 'bastion', port: 22, username: 'core' }],
  ['[::1]:2222', { host: '::1', port: 2222 }],
  ['[fe80::1%eth0]', { host: 'fe80::1%eth0' }],
  ['::1', { host: '::1' }],
] as const) {
  test(`parseTunnel: ${text}`, () => assert.deepEqual(parseTunnel(text), host));
}
for (const text of ['', '-oProxyCommand=evil', 'host:', 'host:0', 'host:70000', 'host:ssh', '@host', '-l@host', 'a b', '[]:22', 'core@']) {
  test(`parseTunnel: ${JSON.stringify(text)} is refused`, () => assert.throws(() => parseTunnel(text), isUsage(/^--tunnel: /)));
}

for (const [endpoint, target] of [
  ['unix:///run/flotilla/flotilla.sock', '/run/flotilla/flotilla.sock'],
  ['/run/x.sock', '/run/x.sock'],
  ['https://server', 'server:443'],
  ['https://[::1]:7443', '[::1]:7443'],
  ['http://127.0.0.1:7080', '127.0.0.1:7080'],
] as const) {
  test(`forwardTarget: ${endpoint}`, () => assert.equal(forwardTarget(endpoint), target));
}
for (const endpoint of ['unix://relative', 'unix:///a:b', 'unix:///a b', 'unix:///$HOME/s', 'unix:///a%h', 'ftp://x', 'nonsense']) {
  test(`forwardTarget: ${endpoint} is refused`, () => assert.throws(() => forwardTarget(endpoint), isUsage(/endpoint/)));
}

test('tunnelArguments: a socket of this computer to the socket over there, or no connection at all', () => {
  const args = tunnelArguments({ ...plain, hostKeys: 'no' }, { host: 'h', port: 2222 }, '/tmp/x/s', 'unix:///run/s');
  assert.ok(args.includes('-N') && args.includes('ExitOnForwardFailure=yes'));
  assert.ok(args.includes('StrictHostKeyChecking=no'));
  assert.deepEqual(args.slice(-6), ['-p', '2222', '-L', '/tmp/x/s:/run/s', '--', 'h']);
});

test('sshOptionsOf: the words of fleet mean what they meant', () => {
  assert.deepEqual(sshOptionsOf({}), { timeoutSeconds: 10 });
  assert.deepEqual(sshOptionsOf({ sshUsername: 'core', sshTimeout: 3, strictHostKeyChecking: 'true', knownHostsFile: '/k' }), {
    timeoutSeconds: 3,
    username: 'core',
    hostKeys: 'ask',
    knownHostsFile: '/k',
  });
  assert.deepEqual([hostKeyWords.false, hostKeyWords['accept-new']], ['no', 'accept-new']);
});
