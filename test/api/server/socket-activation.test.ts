/** What systemd hands over: read by its protocol, taken for what the kernel says that it is, and refused where it lets in too many. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, readlink, rm } from 'node:fs/promises';
import type http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ConnectionIdentities } from '../../../api/server/connection-identity.js';
import { openListeners, refusal } from '../../../api/server/listeners.js';
import { inheritedSockets, type SocketTables, systemTables } from '../../../api/server/socket-activation.js';
import { StartRefused } from '../../../api/server/trust/cluster-meta.js';
import { systemClock } from '../../../runtime/clock.js';

const dir = await mkdtemp(join(tmpdir(), 'flotilla-sockets-'));
after(() => rm(dir, { recursive: true }));

/** As the kernel writes them, a line for each socket. */
const unixTable = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000001: 00000002 00000000 00010000 0001 01 11 /run/flotilla/flotilla.sock
0000000000000002: 00000002 00000000 00010000 0001 01 12 @abstract
0000000000000003: 00000003 00000000 00000000 0001 03 13
0000000000000004: 00000002 00000000 00010000 0001 01 14 /run/with space.sock
`;
const tcpLine = (address: string, inode: number) =>
  `   0: ${address} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0`;
const tables: SocketTables = {
  link(fd) {
    if (fd === 9) throw new Error('ENOENT');
    return fd === 8 ? '/dev/null' : `socket:[${fd + 8}]`;
  },
  table: (name) =>
    ({
      unix: unixTable,
      tcp: ['  sl  local_address', tcpLine('0100007F:1BA8', 21), tcpLine('00000000:1D13', 22)].join('\n'),
      tcp6: [
        '  sl  local_address',
        tcpLine('00000000000000000000000001000000:1D13', 31),
        tcpLine('00000000000000000000000000000000:1D13', 32),
        tcpLine('0000000000000000FFFF00000100007F:1D13', 33),
        tcpLine('B80D0120000000000000000001000000:1D13', 34),
      ].join('\n'),
    })[name],
  mode: (path) => (path.includes(' ') ? 0o666 : 0o660),
};
/** The tables with `inode` behind descriptor 3. */
const with3 = (inode: number): SocketTables => ({ ...tables, link: () => `socket:[${inode}]` });
const env = (more: Record<string, string> = {}): NodeJS.ProcessEnv => ({ LISTEN_PID: '42', LISTEN_FDS: '1', ...more });

describe('what was handed over', () => {
  for (const { name, inode, fdName, spec } of [
    { name: 'a unix socket', inode: 11, fdName: 'flotilla.socket', spec: { kind: 'unix', path: '/run/flotilla/flotilla.sock', fd: 3 } },
    { name: 'TCP is TLS', inode: 21, fdName: 'flotilla.socket', spec: { kind: 'https', host: '127.0.0.1', port: 7080, fd: 3 } },
    { name: 'TCP that is named http', inode: 21, fdName: 'http', spec: { kind: 'http', host: '127.0.0.1', port: 7080, fd: 3 } },
    { name: 'every IPv4 address', inode: 22, fdName: 'https', spec: { kind: 'https', host: '0.0.0.0', port: 7443, fd: 3 } },
    { name: 'IPv6 loopback', inode: 31, fdName: 'http', spec: { kind: 'http', host: '::1', port: 7443, fd: 3 } },
    { name: 'every address', inode: 32, fdName: '', spec: { kind: 'https', host: '::', port: 7443, fd: 3 } },
    { name: 'IPv4 in IPv6', inode: 33, fdName: 'http', spec: { kind: 'http', host: '127.0.0.1', port: 7443, fd: 3 } },
    { name: 'an IPv6 address', inode: 34, fdName: '', spec: { kind: 'https', host: '2001:db8::1', port: 7443, fd: 3 } },
  ]) {
    test(name, () => assert.deepEqual(inheritedSockets(env({ LISTEN_FDNAMES: fdName }), 42, with3(inode)), [spec]));
  }

  test('several, each with its name', () => {
    const numbered: SocketTables = { ...tables, link: (fd) => `socket:[${[11, 21, 22][fd - 3]}]` };
    const specs = inheritedSockets(env({ LISTEN_FDS: '3', LISTEN_FDNAMES: 'flotilla.socket:http:https' }), 42, numbered);
    assert.deepEqual(
      specs.map(({ kind, fd }) => `${kind} ${fd}`),
      ['unix 3', 'http 4', 'https 5'],
    );
  });

  for (const { name, given } of [
    { name: 'no variables', given: {} },
    { name: 'those of another process', given: env({ LISTEN_PID: '41' }) },
    { name: 'none at all', given: env({ LISTEN_FDS: '0' }) },
  ]) {
    test(`nothing: ${name}`, () => assert.deepEqual(inheritedSockets({ ...given }, 42, tables), []));
  }

  test('no child is told that it is for it', () => {
    const given = env({ LISTEN_FDNAMES: 'x', PATH: '/bin' });
    inheritedSockets(given, 42, with3(11));
    assert.deepEqual(given, { PATH: '/bin' });
  });

  for (const { name, given, table, message } of [
    { name: 'a number that is none', given: { LISTEN_FDS: 'many' }, table: tables, message: /expected a number up to 64/ },
    { name: 'too many', given: { LISTEN_FDS: '65' }, table: tables, message: /expected a number up to 64/ },
    { name: 'a file', given: {}, table: { ...tables, link: () => '/dev/null' }, message: /descriptor 3 .* is no socket/ },
    { name: 'fewer than promised', given: {}, table: { ...tables, link: () => tables.link(9) }, message: /descriptor 3.* is not there/ },
    { name: 'an abstract socket', given: {}, table: with3(12), message: /no permissions: every user/ },
    { name: 'one end of a pair', given: {}, table: with3(13), message: /no permissions: every user/ },
    { name: 'one that everybody may write to', given: {}, table: with3(14), message: /has mode 0666.*SocketMode=0660/ },
    { name: 'one of another sort', given: {}, table: with3(99), message: /neither a unix nor a TCP socket/ },
  ]) {
    test(`refused: ${name}`, () =>
      assert.throws(
        () => inheritedSockets(env(given), 42, table),
        (error) => error instanceof StartRefused && message.test(error.message),
      ));
  }

  test('plain http beyond loopback is refused as if it were ours', () => {
    const specs = inheritedSockets(env({ LISTEN_FDNAMES: 'http' }), 42, with3(22));
    assert.match(refusal(specs, { insecureLoopback: true, tls: true }) ?? '', /http:\/\/0\.0\.0\.0:7443 would let everybody/);
    const loopback = inheritedSockets(env({ LISTEN_FDNAMES: 'http' }), 42, with3(21));
    assert.match(refusal(loopback, { tls: true }) ?? '', /--insecure-loopback/);
    assert.equal(refusal(loopback, { insecureLoopback: true, tls: true }), undefined);
  });
});

describe('sockets that somebody else has opened', () => {
  const identities = new ConnectionIdentities(systemClock);
  const whoami: http.RequestListener = (request, response) => response.end(identities.of(request).kind);
  /** The descriptor of a socket of this very process, as Node holds it. */
  const fdOf = (server: net.Server): number => (server as unknown as { _handle: { fd: number } })._handle.fd;
  const inodeOf = async (server: net.Server) => readlink(`/proc/self/fd/${fdOf(server)}`);
  const tablesFor = (link: string): SocketTables => ({ ...systemTables, link: () => link });
  const listening = async (server: net.Server, on: net.ListenOptions) => {
    server.listen(on);
    await once(server, 'listening');
  };

  test('the kernel’s tables say what they are', async () => {
    const path = join(dir, 'seen.sock');
    for (const { on, expected } of [
      { on: { path }, expected: () => ({ kind: 'unix', path, fd: 3 }) },
      { on: { host: '127.0.0.1', port: 0 }, expected: (port: number) => ({ kind: 'https', host: '127.0.0.1', port, fd: 3 }) },
      { on: { host: '0.0.0.0', port: 0 }, expected: (port: number) => ({ kind: 'https', host: '0.0.0.0', port, fd: 3 }) },
    ]) {
      const server = net.createServer();
      await listening(server, on);
      if ('path' in on) await chmod(path, 0o660);
      const { port } = (typeof server.address() === 'string' ? { port: 0 } : server.address()) as AddressInfo;
      assert.deepEqual(inheritedSockets(env(), 42, tablesFor(await inodeOf(server))), [expected(port)]);
      server.close();
    }
  });

  test('one that cannot be listened on is refused', async () => {
    await assert.rejects(
      openListeners([{ kind: 'unix', path: '/run/x.sock', fd: 999 }], { handler: whoami, identities }),
      (error) => error instanceof StartRefused && /cannot listen on unix:\/\/\/run\/x\.sock/.test(error.message),
    );
  });
});
