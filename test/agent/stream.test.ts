import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ServerList } from '../../agent/servers.js';
import { keepStream, type StreamHandler, type TlsIdentity } from '../../agent/stream.js';
import type { FromAgent } from '../../api/resources/protocol.js';
import { systemClock } from '../../runtime/clock.js';
import { silentLogger } from '../../runtime/log.js';
import { AgentServer, type ServerSide, TestCa } from '../rigs/agent-server.js';
import { ManualClock } from '../rigs/manual-clock.js';

let ca: TestCa;
let identity: TlsIdentity;
before(async () => {
  ca = await TestCa.create();
  identity = await ca.identity('client');
});

const info = { hostname: 'h', address: '127.0.0.1', bootID: 'b1', agentVersion: '0', cpus: 1, memoryBytes: 1 };

/** A handler that writes down what it is told. */
class Told implements StreamHandler {
  readonly words: string[] = [];
  send: ((message: FromAgent) => void) | undefined;
  isBelieving = true;

  hello() {
    return { type: 'hello' as const, info, labels: {}, clusterUid: 'c1' };
  }
  welcome({ clusterUid }: { clusterUid: string }) {
    return clusterUid === 'c1';
  }
  snapshot({ revision }: { revision: number }, send: (message: FromAgent) => void) {
    this.words.push(`snapshot ${revision}`);
    this.send = send;
    return this.isBelieving;
  }
  changes({ revision }: { revision: number }) {
    this.words.push(`changes ${revision}`);
  }
  stored(batch: number) {
    this.words.push(`stored ${batch}`);
  }
  acknowledged() {
    this.words.push('acknowledged');
  }
  openOutput({ unit }: { unit: string }) {
    this.words.push(`logs ${unit}`);
  }
  closeOutput(request: string) {
    this.words.push(`close ${request}`);
  }
  measure(request: string) {
    this.words.push(`measure ${request}`);
  }
  closed(why: string) {
    this.words.push(`closed: ${why}`);
  }
  async heard(word: string | RegExp): Promise<void> {
    while (!this.words.some((each) => (typeof word === 'string' ? each === word : word.test(each))))
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

interface Rig {
  readonly servers: readonly AgentServer[];
  readonly told: Told;
  readonly list: ServerList;
  readonly end: AbortController;
}

/** `count` servers, and an agent that keeps a stream to one of them, the first at first. */
async function withServers(count: number, run: (rig: Rig) => Promise<void>, clock = systemClock as typeof systemClock): Promise<void> {
  const servers = await Promise.all(Array.from({ length: count }, () => AgentServer.start({ ca })));
  const told = new Told();
  const end = new AbortController();
  const list = new ServerList(
    servers.map(({ url }) => url),
    () => 0,
    { baseMs: 20, capMs: 50 },
  );
  const kept = keepStream({ servers: list, identity: () => identity, handler: told, clock, log: silentLogger, signal: end.signal });
  try {
    await run({ servers, told, list, end });
  } finally {
    end.abort();
    await kept;
    await Promise.all(servers.map((server) => server.stop()));
  }
}

const welcome = (stream: ServerSide, servers: readonly string[] = []) =>
  stream.send({ type: 'welcome', clusterUid: 'c1', machineUid: 'mu1', session: 's', servers: [...servers] });
const snapshot = (stream: ServerSide, revision = 5) => stream.send({ type: 'snapshot', revision, assignments: [], held: [], states: {} });

test('hello, welcome, snapshot, changes and logs come through in order', async () => {
  await withServers(1, async ({ servers, told }) => {
    const stream = await servers[0]!.stream();
    assert.equal((await stream.take('hello')).info.hostname, 'h');
    welcome(stream);
    snapshot(stream);
    stream.send({ type: 'changes', revision: 6, assignments: [], dropped: [] });
    stream.send({ type: 'open-logs', request: 'r1', unit: 'web.service', lines: 10, follow: true });
    stream.send({ type: 'close-logs', request: 'r1' });
    stream.send({ type: 'stored', batch: 1 });
    await told.heard('stored 1');
    assert.deepEqual(told.words, ['snapshot 5', 'changes 6', 'logs web.service', 'close r1', 'stored 1']);
  });
});

test('SEMANTICS 17: heartbeats are numbered, and the next one waits for the acknowledgement and its time', async () => {
  const clock = new ManualClock();
  await withServers(
    1,
    async ({ servers, told }) => {
      const stream = await servers[0]!.stream();
      welcome(stream);
      snapshot(stream);
      assert.equal((await stream.take('heartbeat')).seq, 1);
      stream.send({ type: 'heartbeat-ack', seq: 1 });
      await told.heard('acknowledged');
      await clock.advance(2_900);
      assert.equal(stream.received.filter(({ type }) => type === 'heartbeat').length, 0);
      await clock.advance(200);
      assert.equal((await stream.take('heartbeat')).seq, 2);
    },
    clock,
  );
});

test('a server that stops acknowledging is left for the next one, well before the presence lease ends', async () => {
  const clock = new ManualClock();
  await withServers(
    2,
    async ({ servers, told }) => {
      const first = await servers[0]!.stream();
      welcome(first);
      snapshot(first);
      await first.take('heartbeat');
      await clock.advance(2_600);
      await told.heard(/no acknowledgement/);
      const second = await servers[1]!.stream();
      assert.equal((await second.take('hello')).clusterUid, 'c1');
    },
    clock,
  );
});

test('a server that dies is left for the next one at once', async () => {
  await withServers(2, async ({ servers, told }) => {
    const first = await servers[0]!.stream();
    welcome(first);
    snapshot(first);
    await told.heard('snapshot 5');
    first.socket.terminate();
    const second = await servers[1]!.stream();
    await second.take('hello');
  });
});

test('servers that the welcome names are tried, too', async () => {
  const unlisted = await AgentServer.start({ ca });
  try {
    await withServers(1, async ({ servers, told }) => {
      const first = await servers[0]!.stream();
      welcome(first, [servers[0]!.url, unlisted.url]);
      snapshot(first);
      await told.heard('snapshot 5');
      first.socket.terminate();
      await (await unlisted.stream()).take('hello');
    });
  } finally {
    await unlisted.stop();
  }
});

test('SEMANTICS 16: a server of another cluster gets nothing and is left', async () => {
  await withServers(2, async ({ servers, told }) => {
    const first = await servers[0]!.stream();
    first.send({ type: 'welcome', clusterUid: 'stranger', machineUid: 'x', session: 's', servers: [] });
    snapshot(first, 99);
    await (await servers[1]!.stream()).take('hello');
    assert.deepEqual(told.words, ['closed: the server belongs to another cluster']);
  });
});

test('SEMANTICS 16: what the agent says of a snapshot that it does not believe reaches the server that sent it', async () => {
  for (let turn = 0; turn < 20; turn++) {
    await withServers(1, async ({ servers, told }) => {
      told.snapshot = (_message, send) => {
        for (const unit of ['a.service', 'b.service'])
          send({ type: 'event', unit, reason: 'StaleSnapshot', message: 'x'.repeat(900), warning: true });
        return false;
      };
      const stream = await servers[0]!.stream();
      welcome(stream);
      snapshot(stream, 1);
      for (const unit of ['a.service', 'b.service']) assert.equal((await stream.take('event')).unit, unit);
    });
  }
});

test('SEMANTICS 16: after a snapshot that is not believed nothing else of that stream is', async () => {
  await withServers(2, async ({ servers, told }) => {
    told.isBelieving = false;
    const first = await servers[0]!.stream();
    welcome(first);
    snapshot(first, 1);
    first.send({ type: 'changes', revision: 2, assignments: [], dropped: ['web.service'] });
    await (await servers[1]!.stream()).take('hello');
    assert.equal(told.words.includes('changes 2'), false);
  });
});

for (const { what, message } of [
  { what: 'no JSON', message: 'nonsense' },
  { what: 'an unknown type', message: '{"type":"format-disk"}' },
  { what: 'a field too many', message: '{"type":"stored","batch":1,"extra":true}' },
  { what: 'a snapshot before the welcome', message: '{"type":"snapshot","revision":1,"assignments":[],"states":{}}' },
]) {
  test(`a message that is ${what} ends the stream and nothing else`, async () => {
    await withServers(2, async ({ servers, told }) => {
      const first = await servers[0]!.stream();
      if (!what.includes('before')) welcome(first);
      first.socket.send(message);
      await (await servers[1]!.stream()).take('hello');
      assert.equal(told.words.filter((word) => !word.startsWith('closed')).length, 0);
    });
  });
}

test('a server that is not signed by our CA is not talked to', async () => {
  const stranger = await AgentServer.start({ ca: await TestCa.create() });
  try {
    const told = new Told();
    const end = new AbortController();
    const list = new ServerList([stranger.url], () => 0, { baseMs: 5, capMs: 5 });
    const kept = keepStream({
      servers: list,
      identity: () => identity,
      handler: told,
      clock: systemClock,
      log: silentLogger,
      signal: end.signal,
    });
    await told.heard(/^closed: .*(certificate|signature|self.signed)/i);
    end.abort();
    await kept;
  } finally {
    await stranger.stop();
  }
});

test('after a goodbye without return the server is left alone for a while', async () => {
  const clock = new ManualClock();
  await withServers(
    1,
    async ({ servers, told }) => {
      const first = await servers[0]!.stream();
      first.send({ type: 'goodbye', reason: 'the Machine was removed', retry: false });
      await told.heard('closed: the Machine was removed');
      await clock.advance(59_000);
      let hasReturned = false;
      const second = servers[0]!.stream().then((stream) => {
        hasReturned = true;
        return stream;
      });
      await clock.advance(500);
      assert.equal(hasReturned, false);
      await clock.advance(1_000);
      await (await second).take('hello');
    },
    clock,
  );
});

test('the list of servers: all in turn without a pause, a pause after each round, success forgets', () => {
  const list = new ServerList(['https://a/', 'https://b', 'https://c'], () => 0, { baseMs: 1_000, capMs: 4_000 });
  const turn = () => [list.current, list.failed()] as const;
  assert.deepEqual(
    [turn(), turn(), turn(), turn(), turn(), turn()],
    [
      ['https://a', 0],
      ['https://b', 0],
      ['https://c', 500],
      ['https://a', 0],
      ['https://b', 0],
      ['https://c', 1_000],
    ],
  );
  assert.equal(list.failedRounds, 2);
  list.succeeded();
  assert.equal(list.failedRounds, 0);
  list.learn(['https://d']);
  assert.deepEqual(list.all, ['https://a', 'https://b', 'https://c', 'https://d'], 'those of the command line stay');
});
