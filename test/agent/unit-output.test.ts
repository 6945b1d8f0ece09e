import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { WebSocket } from 'ws';
import type { TlsIdentity } from '../../agent/stream.js';
import { journalArguments, statusArguments, UnitOutputs } from '../../agent/unit-output.js';
import { exitClose, maxOutputsPerMachine, outputClose } from '../../api/resources/protocol.js';
import { silentLogger } from '../../runtime/log.js';
import { AgentServer, TestCa } from '../rigs/agent-server.js';

let server: AgentServer;
let identity: TlsIdentity;
let directory: string;
before(async () => {
  const ca = await TestCa.create();
  server = await AgentServer.start({ ca });
  identity = await ca.identity('client');
  directory = mkdtempSync(join(tmpdir(), 'flotilla-logs-'));
});
after(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** A program in journalctl's place; `$pidfile` is where it can leave its pid. */
function journal(script: string): { command: string; pid: () => number } {
  const path = join(directory, `journal-${Math.random().toString(36).slice(2)}`);
  writeFileSync(path, `#!/bin/sh\necho $$ > ${path}.pid\n${script}\n`);
  chmodSync(path, 0o755);
  return { command: path, pid: () => Number(readFileSync(`${path}.pid`, 'utf8')) };
}

const logsWith = (command: string) =>
  new UnitOutputs({
    identity: () => identity,
    isAssigned: (unit) => unit !== 'other.service',
    runOf: () => ({ invocationID: 'b'.repeat(32), isRestarting: false }),
    isUserManager: false,
    log: silentLogger,
    command,
  });
const open = (logs: UnitOutputs, request: string, unit = 'web.service') =>
  logs.open({ type: 'open-logs', request, unit, lines: 10, follow: true }, server.url);

async function textOf(socket: WebSocket): Promise<{ text: string; code: number; reason: string }> {
  const chunks: Buffer[] = [];
  socket.on('message', (data) => chunks.push(data as Buffer));
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
  return { text: Buffer.concat(chunks).toString(), code, reason: reason.toString() };
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function untilDead(pid: number): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (isAlive(pid)) {
    assert.ok(Date.now() < deadline, 'the journal process still runs');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('a journal comes down a connection of its own, to its last line, and says that it ended', async () => {
  const logs = logsWith(journal('echo one; echo two').command);
  open(logs, 'r/1');
  const { path, socket } = await server.logs();
  assert.equal(path, '/agent/v1/logs/r%2F1');
  assert.deepEqual(await textOf(socket), { text: 'one\ntwo\n', code: outputClose.ended, reason: '' });
  assert.equal(logs.size, 0);
});

test('SEMANTICS 18: the journal process dies with its reader', async () => {
  const { command, pid } = journal('echo started; exec sleep 1000');
  const logs = logsWith(command);
  open(logs, 'r1');
  const { socket } = await server.logs();
  await once(socket, 'message');
  const process = pid();
  socket.terminate();
  await untilDead(process);
  assert.equal(logs.size, 0);
});

test('SEMANTICS 18: and when the server says that nobody reads any more', async () => {
  const { command, pid } = journal('echo started; exec sleep 1000');
  const logs = logsWith(command);
  open(logs, 'r1');
  const { socket } = await server.logs();
  await once(socket, 'message');
  const closed = once(socket, 'close');
  logs.close('r1');
  await closed;
  await untilDead(pid());
});

test('SEMANTICS 18: a reader that is behind makes the journal wait instead of filling memory', async () => {
  const { command, pid } = journal('exec head -c 100000000 /dev/zero');
  const logs = logsWith(command);
  open(logs, 'r1');
  const { socket } = await server.logs();
  socket.pause();
  const before = process.memoryUsage().arrayBuffers + process.memoryUsage().external;
  await new Promise((resolve) => setTimeout(resolve, 700));
  const grown = process.memoryUsage().arrayBuffers + process.memoryUsage().external - before;
  assert.ok(isAlive(pid()), 'it waits');
  assert.ok(grown < 30_000_000, `${grown} bytes are held`);
  socket.resume();
  let length = 0;
  socket.on('message', (data) => {
    length += (data as Buffer).length;
  });
  await once(socket, 'close');
  assert.equal(length, 100_000_000);
});

test('SEMANTICS 18: only units that are assigned here are shown', async () => {
  const logs = logsWith(journal('echo secret').command);
  open(logs, 'r1', 'other.service');
  const { socket } = await server.logs();
  const { text, code, reason } = await textOf(socket);
  assert.deepEqual([text, code], ['', outputClose.notAssigned]);
  assert.match(reason, /other\.service is not assigned/);
});

test('SEMANTICS 18: at most eight at a time', async () => {
  const logs = logsWith(journal('exec sleep 1000').command);
  const sockets: WebSocket[] = [];
  for (let request = 0; request < maxOutputsPerMachine; request++) {
    open(logs, `r${request}`);
    sockets.push((await server.logs()).socket);
  }
  open(logs, 'one-too-many');
  const { code } = await textOf((await server.logs()).socket);
  assert.equal(code, outputClose.tooMany);
  const closed = sockets.map((socket) => once(socket, 'close'));
  logs.closeAll();
  await Promise.all(closed);
  assert.equal(logs.size, 0);
});

test('a journal that cannot be shown says why', async () => {
  for (const { command, reason } of [
    { command: journal('echo no journal files >&2; exit 1').command, reason: /no journal files/ },
    { command: '/nowhere/journalctl', reason: /ENOENT/ },
  ]) {
    open(logsWith(command), 'r1');
    const answer = await textOf((await server.logs()).socket);
    assert.equal(answer.code, outputClose.failed);
    assert.match(answer.reason, reason);
  }
});

test('SEMANTICS 18: no word of a request can become an option of journalctl', () => {
  const args = journalArguments({ unit: '--file=/etc/shadow', lines: 5, follow: false, since: '--vacuum-size=1' }, false);
  assert.deepEqual(args.slice(-2), ['--since=--vacuum-size=1', '--unit=--file=/etc/shadow']);
  assert.ok(journalArguments({ unit: 'a.service', lines: 5, follow: true }, true).includes('--user-unit=a.service'));
});

const openStatus = (outputs: UnitOutputs, request: string, unit = 'web.service') =>
  outputs.open({ type: 'open-status', request, unit }, server.url);

for (const code of [0, 3, 255]) {
  test(`a status comes the same way, whatever systemctl writes it to, and closes with its exit code: ${code}`, async () => {
    const outputs = logsWith(journal(`echo web; echo changed on disk >&2; exit ${code}`).command);
    openStatus(outputs, 's1');
    const answer = await textOf((await server.logs()).socket);
    assert.deepEqual([answer.text.split('\n').sort().join(), answer.code], [',changed on disk,web', exitClose + code]);
    assert.equal(outputs.size, 0);
  });
}

test('a systemctl that was killed is no exit code', async () => {
  openStatus(logsWith(journal('kill -9 $$').command), 's1');
  const { code, reason } = await textOf((await server.logs()).socket);
  assert.deepEqual([code, reason], [outputClose.failed, 'systemctl ended with SIGKILL']);
});

test('SEMANTICS 18: a status dies with its reader, counts like a journal, and is shown of units that are assigned here only', async () => {
  const { command, pid } = journal('echo started; exec sleep 1000');
  const outputs = logsWith(command);
  openStatus(outputs, 's1');
  const { socket } = await server.logs();
  await once(socket, 'message');
  assert.equal(outputs.size, 1);
  socket.terminate();
  await untilDead(pid());
  assert.equal(outputs.size, 0);
  openStatus(outputs, 's2', 'other.service');
  assert.equal((await textOf((await server.logs()).socket)).code, outputClose.notAssigned);
});

test('SEMANTICS 18: no word of a request can become an option of systemctl', () => {
  assert.deepEqual(statusArguments('--host=elsewhere', false), ['status', '-l', '--no-pager', '--', '--host=elsewhere']);
  assert.deepEqual(statusArguments('a.service', true).slice(0, 2), ['--user', 'status']);
});

test('the format of a journal is the one that was asked for', () => {
  const asked = { unit: 'a.service', lines: 5, follow: false } as const;
  assert.equal(journalArguments(asked, false)[0], '--output=short-iso');
  assert.equal(journalArguments({ ...asked, output: 'cat' }, false)[0], '--output=cat');
});

test('the run before: found by what systemd wrote of it, and shown alone', async () => {
  const [now, before] = ['b'.repeat(32), 'a'.repeat(32)];
  const lines = [now, now, before].map((id) => `{"INVOCATION_ID":"${id}"}`).join('\\n');
  const { command } = journal(`case "$*" in *--reverse*UNIT=web.service) printf '${lines}\\n';; *) echo "$*";; esac`);
  logsWith(command).open({ type: 'open-logs', request: 'p1', unit: 'web.service', lines: 10, follow: false, previous: true }, server.url);
  const { text, code } = await textOf((await server.logs()).socket);
  assert.equal(code, outputClose.ended);
  assert.match(text, new RegExp(`--lines=10 _SYSTEMD_INVOCATION_ID=${before} \\+ _PID=1 INVOCATION_ID=${before}\n$`));
});

test('the run before: none is a refusal that says so', async () => {
  logsWith(journal(':').command).open(
    { type: 'open-logs', request: 'p2', unit: 'web.service', lines: 10, follow: false, previous: true },
    server.url,
  );
  const { code, reason } = await textOf((await server.logs()).socket);
  assert.deepEqual([code, reason], [outputClose.noRun, 'the journal has no earlier run of web.service']);
});
