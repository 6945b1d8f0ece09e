import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { StatusError } from '../../../../api/resources/errors.js';
import { exitClose, maxOutputsPerMachine, outputClose } from '../../../../api/resources/protocol.js';
import { exitCodeHeader } from '../../../../api/resources/unit-output.js';
import { outputForwarder } from '../../../../api/server/agents/forward-output.js';
import { Peers } from '../../../../api/server/agents/peers.js';
import { systemClock } from '../../../../runtime/clock.js';
import { assignmentOf, keys, put, unitRow, write } from '../../objects/cluster-writer.js';
import { type Cluster, type Credentials, FakeAgent, joinMachine, newCluster, type Server, until } from './rig.js';

let cluster: Cluster;
let alpha: Server;
let beta: Server;
before(async () => {
  cluster = await newCluster();
  alpha = await cluster.startServer('alpha');
  beta = await cluster.startServer('beta');
});
after(() => cluster.close());

let count = 0;
const newMachine = () => (count++).toString(16).padStart(32, '0');

/** A machine with `web.service` on it, and its agent on a server. */
async function machineOn(server: Server, features?: readonly string[]) {
  const id = newMachine();
  const unit = `web${count}.service`;
  await write(cluster.store, [...unitRow(unit, 'uid', 1, 'x'), put(keys.assignment(id, unit), assignmentOf(unit, id, 'uid', 1, 'x'))]);
  const credentials = await joinMachine(server, id);
  const agent = await FakeAgent.open(server, credentials, 'boot-1', {}, features);
  await until('all caches', () => [alpha, beta].every(({ cache }) => cache.assignment(id, unit) && cache.presence(id)));
  return { id, unit, credentials, agent };
}

async function journal(server: Server, credentials: Credentials, request: string): Promise<WebSocket> {
  const socket = new WebSocket(`${server.url.replace('https', 'wss')}/agent/v1/logs/${request}`, { ...credentials });
  socket.on('error', () => {});
  await once(socket, 'open');
  return socket;
}

/** Reads a unit's log over HTTP as an admin. */
const readLog = (server: Server, unit: string, query = '') => read(server, `${unit}/log${query}`);
const readStatus = (server: Server, unit: string) => read(server, `${unit}/systemd-status`);

async function read(server: Server, path: string): Promise<IncomingMessage> {
  const admin = await server.pki.issueAdmin('ann');
  const request = https.get(`${server.url}/apis/flotilla.dev/v1/units/${path}`, {
    ca: server.ca,
    cert: admin.certificate,
    key: admin.key,
    agent: false,
  });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

async function text(response: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of response) all += chunk;
  return all;
}

const openedStatus = (agent: FakeAgent) => agent.next('open-status');
const opened = (agent: FakeAgent, number = 0) => until('open-logs', () => agent.all('open-logs')[number]);

describe('SEMANTICS 18: journals', () => {
  test("a unit's journal comes from its machine on a connection of its own", async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(alpha, unit, '?tailLines=3&sinceSeconds=60');
    const asked = await opened(agent);
    assert.deepEqual([asked.unit, asked.lines, asked.follow], [unit, 3, false]);
    const [, seconds] = /^@(\d+)$/.exec(asked.since!) ?? [];
    assert.ok(Math.abs(Number(seconds) - (Date.now() / 1_000 - 60)) < 10, asked.since);
    assert.match(asked.request, /^[0-9a-f]{32}$/, 'nobody can guess it');
    const socket = await journal(alpha, credentials, asked.request);
    socket.send('one\n');
    socket.send(Buffer.from('two\n'));
    socket.close(outputClose.ended);
    const response = await answer;
    assert.equal(response.statusCode, 200);
    assert.equal(await text(response), 'one\ntwo\n');
    agent.close();
  });

  test('through another server, when that one holds the stream', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    await until('beta to know alpha', () => beta.registry.all().some(({ name, urls }) => name === 'alpha' && urls.length > 0));
    const answer = readLog(beta, unit, '?follow=true');
    const asked = await opened(agent);
    assert.equal(asked.follow, true);
    const socket = await journal(alpha, credentials, asked.request);
    socket.send('from afar\n');
    const response = await answer;
    const [first] = (await once(response, 'data')) as [Buffer];
    assert.equal(first.toString(), 'from afar\n');
    response.destroy();
    await agent.next('close-logs', ({ request }) => request === asked.request);
    await until('the end of the journal', () => socket.readyState === WebSocket.CLOSED);
    agent.close();
  });

  test('another server is asked again after a certificate for it could not be made', async () => {
    let asked = 0;
    const pki = {
      caCertificate: alpha.ca,
      issueAdmin: () => Promise.reject(new Error(`no certificate ${++asked}`)),
    };
    const servers = [{ name: 'beta', version: '0', startedAt: '', urls: ['https://127.0.0.1:1'] }];
    const forward = outputForwarder(new Peers({ registry: { all: () => servers }, pki, serverName: 'alpha', clock: systemClock }));
    const { signal } = new AbortController();
    for (const message of [/no certificate 1/, /no certificate 2/]) {
      await assert.rejects(forward('beta', { show: 'status', unit: 'x.service', machine: 'm', signal }), message);
    }
  });

  test('a refusal of the agent, asked through another server, keeps its words', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(beta, unit);
    const socket = await journal(alpha, credentials, (await opened(agent)).request);
    socket.close(outputClose.tooMany, 'enough already');
    const response = await answer;
    assert.equal(response.statusCode, 429);
    assert.match(await text(response), /enough already/);
    agent.close();
  });

  for (const [code, status] of [
    [outputClose.notAssigned, 404],
    [outputClose.tooMany, 429],
    [outputClose.failed, 500],
  ] as const) {
    test(`an agent that refuses with ${code}: ${status} and its sentence`, async () => {
      const { unit, agent, credentials } = await machineOn(alpha);
      const answer = readLog(alpha, unit);
      const socket = await journal(alpha, credentials, (await opened(agent)).request);
      socket.close(code, 'the reason');
      const response = await answer;
      assert.equal(response.statusCode, status);
      assert.match(await text(response), /the reason/);
      agent.close();
    });
  }

  test('an agent that breaks the protocol ends its own journal, and not the server', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(alpha, unit);
    const { request } = await opened(agent);
    const connection = https.request(`${alpha.url}/agent/v1/logs/${request}`, {
      ...credentials,
      agent: false,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      },
    });
    connection.end();
    const [, socket] = (await once(connection, 'upgrade')) as [IncomingMessage, Socket];
    socket.on('error', () => {});
    // The server's goodbye; by then it has seen what came.
    socket.once('data', () => socket.destroy());
    // All reserved bits at once: no frame.
    socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    const response = await answer;
    assert.equal(response.statusCode, 503);
    assert.match(await text(response), /broke off its journal/);
    agent.close();
  });

  test('a journal that breaks off in the middle is not taken for a whole one', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(alpha, unit, '?follow=true');
    const socket = await journal(alpha, credentials, (await opened(agent)).request);
    socket.send('begun\n');
    const response = await answer;
    const error = once(response, 'error').then(
      ([thrown]) => thrown as Error,
      (thrown: Error) => thrown,
    );
    await once(response, 'data');
    socket.terminate();
    assert.equal(((await error) as NodeJS.ErrnoException).code, 'ECONNRESET');
    agent.close();
  });

  test('a reader that goes takes the journal with it', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(alpha, unit, '?follow=true');
    const asked = await opened(agent);
    const socket = await journal(alpha, credentials, asked.request);
    socket.send('x\n');
    const response = await answer;
    await once(response, 'data');
    response.destroy();
    await agent.next('close-logs', ({ request }) => request === asked.request);
    await until('the end of the journal', () => socket.readyState === WebSocket.CLOSED);
    agent.close();
  });

  test('an agent that does not come, a machine that is not connected, a unit that is not there: refused in a sentence', async () => {
    const { id, unit, agent } = await machineOn(alpha);
    const impatient = await cluster.startServer('impatient', { limits: { outputConnectTimeoutMs: 50 } });
    const own = await machineOn(impatient);
    const silent = await readLog(impatient, own.unit);
    assert.equal(silent.statusCode, 503);
    assert.match(await text(silent), /did not send its journal in time/);
    own.agent.close();
    await impatient.close();

    const foreign = alpha.gateway.outputs.open({
      show: 'journal',
      unit: 'other.service',
      machine: id,
      lines: 1,
      follow: false,
      signal: new AbortController().signal,
    });
    await assert.rejects(foreign, (error: unknown) => error instanceof StatusError && error.code === 404);
    agent.close();
    await until('the end of the stream', () => alpha.gateway.streams === 0);
    const gone = await readLog(alpha, unit);
    assert.equal(gone.statusCode, 503);
    assert.match(await text(gone), /is not connected/);
  });

  test(`at most ${maxOutputsPerMachine} at a time, whoever asks`, async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const readers: IncomingMessage[] = [];
    for (let number = 0; number < maxOutputsPerMachine; number++) {
      const answer = readLog(number % 2 ? alpha : beta, unit, '?follow=true');
      const socket = await journal(alpha, credentials, (await opened(agent, number)).request);
      socket.send('x\n');
      readers.push(await answer);
    }
    assert.equal((await readLog(alpha, unit)).statusCode, 429);
    assert.equal((await readLog(beta, unit)).statusCode, 429);
    readers[0]!.destroy();
    await agent.next('close-logs');
    const answer = readLog(alpha, unit);
    const socket = await journal(alpha, credentials, (await opened(agent, maxOutputsPerMachine)).request);
    socket.close(outputClose.ended);
    assert.equal((await answer).statusCode, 200);
    for (const reader of readers) reader.destroy();
    agent.close();
  });

  test('another machine cannot answer for this one, and removing the machine ends its journals', async () => {
    const { id, unit, agent, credentials } = await machineOn(alpha);
    const other = await machineOn(alpha);
    const answer = readLog(alpha, unit, '?follow=true');
    const { request } = await opened(agent);
    const thief = new WebSocket(`${alpha.url.replace('https', 'wss')}/agent/v1/logs/${request}`, { ...other.credentials });
    thief.on('error', () => {});
    const [, refused] = (await once(thief, 'unexpected-response')) as [unknown, IncomingMessage];
    refused.resume();
    assert.equal(refused.statusCode, 404);
    const socket = await journal(alpha, credentials, request);
    socket.send('x\n');
    const response = await answer;
    response.on('error', () => {});
    await alpha.door.remove('machines', id, {}, { manager: 'ann' });
    await until('the end of the journal', () => socket.readyState === WebSocket.CLOSED);
    other.agent.close();
  });

  test('a slow reader holds the journal back on its machine, and delays no heartbeat', async (t) => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(alpha, unit, '?follow=true');
    const socket = await journal(alpha, credentials, (await opened(agent)).request);
    const chunk = Buffer.alloc(64 * 1024, 'x');
    socket.send(chunk);
    const response = await answer;
    response.pause();
    let sent = 1;
    // As the agent does: no more while this much waits.
    const push = () => {
      while (socket.bufferedAmount < 256 * 1024 && sent < 4_000) {
        socket.send(chunk);
        sent++;
      }
    };
    const pusher = setInterval(push, 1);
    t.after(() => clearInterval(pusher));
    let last = -1;
    await until('the journal to stand still', async () => {
      const before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      const still = before === sent && before === last;
      last = before;
      return still;
    });
    assert.ok(sent * chunk.length < 64 * 1024 * 1024, `${sent * chunk.length} bytes were taken for a reader that reads nothing`);
    for (let i = 0; i < 5; i++) await agent.beat();
    let received = 0;
    response.on('data', (data: Buffer) => {
      received += data.length;
    });
    const target = sent * chunk.length;
    response.resume();
    await until('the rest', () => received >= target);
    response.destroy();
    agent.close();
  });
});

describe('systemctl status', () => {
  for (const { server, through } of [
    { server: () => alpha, through: 'the server that holds the stream' },
    { server: () => beta, through: 'another server' },
  ]) {
    for (const code of [0, 3, 255]) {
      test(`through ${through}: its text and its exit code, here ${code}`, async () => {
        const { unit, agent, credentials } = await machineOn(alpha);
        await until('beta to know alpha', () => beta.registry.all().some(({ name, urls }) => name === 'alpha' && urls.length > 0));
        const answer = readStatus(server(), unit);
        const asked = await openedStatus(agent);
        assert.equal(asked.unit, unit);
        const socket = await journal(alpha, credentials, asked.request);
        socket.send('● web.service\n');
        socket.send('  Active: some\n');
        socket.close(exitClose + code);
        const response = await answer;
        assert.deepEqual([response.statusCode, response.headers[exitCodeHeader]], [200, String(code)]);
        assert.equal(await text(response), '● web.service\n  Active: some\n');
        agent.close();
      });
    }
  }

  test('one that says nothing has an exit code all the same', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readStatus(alpha, unit);
    (await journal(alpha, credentials, (await openedStatus(agent)).request)).close(exitClose + 4);
    const response = await answer;
    assert.deepEqual([response.statusCode, response.headers[exitCodeHeader], await text(response)], [200, '4', '']);
    agent.close();
  });

  test('one that breaks off in the middle is an error, not half a status', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readStatus(alpha, unit);
    const socket = await journal(alpha, credentials, (await openedStatus(agent)).request);
    socket.send('half of it');
    socket.terminate();
    const response = await answer;
    assert.equal(response.statusCode, 503);
    assert.match(await text(response), /broke off its status/);
    agent.close();
  });

  test('a systemctl that does not end is given up, and ended', async () => {
    const impatient = await cluster.startServer('hasty', { limits: { statusTimeoutMs: 50 } });
    const { unit, agent, credentials } = await machineOn(impatient);
    const answer = readStatus(impatient, unit);
    const asked = await openedStatus(agent);
    const socket = await journal(impatient, credentials, asked.request);
    socket.send('it hangs after this');
    const response = await answer;
    assert.equal(response.statusCode, 503);
    assert.match(await text(response), /did not answer in time/);
    await agent.next('close-logs', ({ request }) => request === asked.request);
    agent.close();
    await impatient.close();
  });

  test('SEMANTICS 18: journals and statuses of a machine share one limit', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const readers: IncomingMessage[] = [];
    for (let number = 0; number < maxOutputsPerMachine; number++) {
      const answer = readLog(alpha, unit, '?follow=true');
      (await journal(alpha, credentials, (await opened(agent, number)).request)).send('x\n');
      readers.push(await answer);
    }
    const refused = await readStatus(alpha, unit);
    assert.equal(refused.statusCode, 429);
    assert.match(await text(refused), /8 journals and statuses/);
    for (const reader of readers) reader.destroy();
    agent.close();
  });

  test('an agent of the first version is never asked what it does not know, and still shows its journal', async () => {
    const { unit, agent, credentials } = await machineOn(alpha, []);
    for (const refused of [await readStatus(alpha, unit), await readLog(alpha, unit, '?output=json')]) {
      assert.equal(refused.statusCode, 503);
      assert.match(await text(refused), /is older than this server and does not know (systemd-status|journal-output): update it/);
    }
    const answer = readLog(alpha, unit, '?output=short-iso');
    const asked = await opened(agent);
    assert.ok(!('output' in asked), 'a word that it would not understand');
    (await journal(alpha, credentials, asked.request)).close(outputClose.ended);
    assert.equal((await answer).statusCode, 200);
    assert.deepEqual(agent.all('open-status'), []);
    agent.close();
  });
});

test('the format of a journal reaches the machine, also through another server', async () => {
  const { unit, agent, credentials } = await machineOn(alpha);
  for (const [number, server] of [alpha, beta].entries()) {
    const answer = readLog(server, unit, '?output=json');
    const asked = await opened(agent, number);
    assert.equal(asked.output, 'json');
    (await journal(alpha, credentials, asked.request)).close(outputClose.ended);
    assert.equal((await answer).statusCode, 200);
  }
  assert.equal((await readLog(alpha, unit, '?output=export')).statusCode, 400);
  agent.close();
});
