import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { StatusError } from '../../../../api/resources/errors.js';
import { logsClose, maxLogsPerMachine } from '../../../../api/resources/protocol.js';
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
async function machineOn(server: Server) {
  const id = newMachine();
  const unit = `web${count}.service`;
  await write(cluster.store, [...unitRow(unit, 'uid', 1, 'x'), put(keys.assignment(id, unit), assignmentOf(unit, id, 'uid', 1, 'x'))]);
  const credentials = await joinMachine(server, id);
  const agent = await FakeAgent.open(server, credentials);
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
async function readLog(server: Server, unit: string, query = ''): Promise<IncomingMessage> {
  const admin = await server.pki.issueAdmin('ann');
  const request = https.get(`${server.url}/apis/flotilla.dev/v1/units/${unit}/log${query}`, {
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

const opened = (agent: FakeAgent, number = 0) => until('open-logs', () => agent.all('open-logs')[number]);

describe('SEMANTICS 18: journals', () => {
  test("a unit's journal comes from its machine on a connection of its own", async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(alpha, unit, '?tailLines=3&sinceSeconds=60');
    const asked = await opened(agent);
    assert.deepEqual([asked.unit, asked.lines, asked.follow], [unit, 3, false]);
    assert.ok(Math.abs(Date.parse(asked.since!) - (Date.now() - 60_000)) < 10_000);
    assert.match(asked.request, /^[0-9a-f]{32}$/, 'nobody can guess it');
    const socket = await journal(alpha, credentials, asked.request);
    socket.send('one\n');
    socket.send(Buffer.from('two\n'));
    socket.close(logsClose.ended);
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

  test('a refusal of the agent, asked through another server, keeps its words', async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const answer = readLog(beta, unit);
    const socket = await journal(alpha, credentials, (await opened(agent)).request);
    socket.close(logsClose.tooMany, 'enough already');
    const response = await answer;
    assert.equal(response.statusCode, 429);
    assert.match(await text(response), /enough already/);
    agent.close();
  });

  for (const [code, status] of [
    [logsClose.notAssigned, 404],
    [logsClose.tooMany, 429],
    [logsClose.failed, 500],
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
    const impatient = await cluster.startServer('impatient', { limits: { logConnectTimeoutMs: 50 } });
    const own = await machineOn(impatient);
    const silent = await readLog(impatient, own.unit);
    assert.equal(silent.statusCode, 503);
    assert.match(await text(silent), /did not send its journal in time/);
    own.agent.close();
    await impatient.close();

    const foreign = alpha.gateway.logs.open({
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

  test(`at most ${maxLogsPerMachine} at a time, whoever asks`, async () => {
    const { unit, agent, credentials } = await machineOn(alpha);
    const readers: IncomingMessage[] = [];
    for (let number = 0; number < maxLogsPerMachine; number++) {
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
    const socket = await journal(alpha, credentials, (await opened(agent, maxLogsPerMachine)).request);
    socket.close(logsClose.ended);
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
