import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { assignmentName } from '../../../api/resources/assignment.js';
import { StatusError } from '../../../api/resources/errors.js';
import { chooseMachine } from '../../../api/server/output-routes.js';
import type { OutputRequest, OutputSource, UnitOutput } from '../../../api/server/ports.js';
import { wholeStatus } from '../../../api/server/unit-status.js';
import { type Rig, startRig, unitBody, units } from './rig.js';

const machineA = `aaaa${'0'.repeat(28)}`;
const machineB = `bbbb${'0'.repeat(28)}`;

/** Lines that a test writes, and the request that they were asked for with. */
class Journal implements OutputSource {
  request: OutputRequest | undefined;
  exitCode = 0;
  refuse: StatusError | undefined;
  lines: AsyncIterable<Uint8Array> = (async function* () {
    yield Buffer.from('one\n');
    yield Buffer.from('two\n');
  })();

  async open(request: OutputRequest): Promise<UnitOutput> {
    this.request = request;
    if (this.refuse) throw this.refuse;
    return { bytes: this.lines, exitCode: () => this.exitCode };
  }
}

async function withUnit(machines: readonly string[], run: (rig: Rig, journal: Journal) => Promise<void>, options = {}) {
  const journal = new Journal();
  const rig = await startRig({ outputs: journal, ...options });
  const { json } = await rig.call('POST', units, { body: unitBody('a.service') });
  for (const machine of machines) {
    const assignment = {
      unit: 'a.service',
      machine,
      unitUid: json.metadata.uid,
      generation: 1,
      textHash: 'x',
      wanted: 'launched',
      failover: 'stay',
      assignedAt: '2026-01-01T00:00:00Z',
    };
    const key = rig.keys.assignment(machine, 'a.service');
    const outcome = await rig.store.commit({
      compares: [{ key, modRevision: 0 }],
      operations: [{ do: 'put', key, value: JSON.stringify(assignment) }],
    });
    await rig.cache.untilRevision(outcome.revision);
  }
  try {
    await run(rig, journal);
  } finally {
    await rig.close();
  }
}

const log = `${units}/a.service/log`;

test('logs: text, streamed from the one machine that has the unit', () =>
  withUnit([machineA], async (rig, journal) => {
    const { status, headers, text } = await rig.get(`${log}?tailLines=7&sinceSeconds=60&follow=true`);
    assert.deepEqual([status, headers['content-type'], text], [200, 'text/plain; charset=utf-8', 'one\ntwo\n']);
    const { signal: _, ...asked } = journal.request!;
    assert.deepEqual(asked, { show: 'journal', unit: 'a.service', machine: machineA, lines: 7, follow: true, sinceSeconds: 60 });
  }));

test('logs: the head comes before the first line', () =>
  withUnit([machineA], async (rig, journal) => {
    let say = () => {};
    journal.lines = (async function* () {
      await new Promise<void>((resolve) => {
        say = resolve;
      });
      yield Buffer.from('late\n');
    })();
    const response = await rig.send('GET', `${log}?follow=1`);
    assert.equal(response.statusCode, 200);
    say();
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    assert.equal(String(Buffer.concat(chunks)), 'late\n');
  }));

test('logs: when the reader goes, the journal is told to stop', () =>
  withUnit([machineA], async (rig, journal) => {
    journal.lines = (async function* () {
      await new Promise<void>((resolve) => journal.request!.signal.addEventListener('abort', () => resolve()));
      yield* [];
    })();
    const response = await rig.send('GET', `${log}?follow=1`);
    const told = once(journal.request!.signal, 'abort');
    response.destroy();
    await told;
  }));

test('logs: closing the server ends them', () =>
  withUnit([machineA], async (rig, journal) => {
    journal.lines = (async function* () {
      yield Buffer.from('one\n');
      await new Promise<void>((resolve) => journal.request!.signal.addEventListener('abort', () => resolve()));
    })();
    const response = await rig.send('GET', `${log}?follow=1`);
    const ended = once(response.resume(), 'end');
    await rig.app.fastify.close();
    await ended;
    assert.equal(response.complete, true);
  }));

test('logs: a reader that does not read is waited for, not buffered for', () =>
  withUnit([machineA], async (rig, journal) => {
    let made = 0;
    journal.lines = (async function* () {
      for (; made < 2_000; made++) yield Buffer.alloc(64 * 1024, 'x');
    })();
    const response = await rig.send('GET', log);
    response.pause();
    let before = -1;
    while (made !== before) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.ok(made < 500, `${made} chunks were made for nobody`);
    response.destroy();
  }));

test('logs: a stream that breaks off is an answer that is not complete', () =>
  withUnit([machineA], async (rig, journal) => {
    journal.lines = (async function* () {
      yield Buffer.from('one\n');
      throw new Error('the machine went away');
    })();
    const response = await rig.send('GET', log);
    await assert.rejects(async () => {
      for await (const _ of response);
    }, /aborted/);
    assert.equal(response.complete, false);
  }));

test('logs: a machine that is not connected is a proper error', () =>
  withUnit([machineA], async (rig, journal) => {
    journal.refuse = new StatusError('ServiceUnavailable', 'machine aaaa is not connected');
    const { status, json } = await rig.get(log);
    assert.deepEqual([status, json.message], [503, 'machine aaaa is not connected']);
  }));

test('logs: a unit that is assigned nowhere, or does not exist', () =>
  withUnit([], async (rig) => {
    assert.match((await rig.get(log)).json.message, /assigned to no machine/);
    assert.match((await rig.get(`${units}/b.service/log`)).json.message, /units\.flotilla\.dev "b\.service" not found/);
  }));

for (const query of ['tailLines=x', 'tailLines=100001', 'sinceTime=yesterday']) {
  test(`logs: 400 for ${query}`, () => withUnit([machineA], async (rig) => assert.equal((await rig.get(`${log}?${query}`)).status, 400)));
}

test('logs: more streams than the limit is 429', () =>
  withUnit(
    [machineA],
    async (rig, journal) => {
      journal.lines = (async function* () {
        await new Promise<void>((resolve) => journal.request!.signal.addEventListener('abort', () => resolve()));
        yield* [];
      })();
      const response = await rig.send('GET', `${log}?follow=1`);
      assert.equal((await rig.get(log)).status, 429);
      response.destroy();
    },
    { limits: { maxLogStreams: 1 } },
  ));

for (const { name, on, asked, chosen } of [
  { name: 'the only one', on: [machineA], asked: '', chosen: machineA },
  { name: 'one of several, by its id', on: [machineA, machineB], asked: machineB, chosen: machineB },
  { name: 'one of several, by the beginning of its id', on: [machineA, machineB], asked: 'bbbb', chosen: machineB },
  { name: 'several, none named', on: [machineA, machineB], asked: '', chosen: /name one with machine=/ },
  { name: 'another one', on: [machineA], asked: 'cccc', chosen: /not assigned to a machine cccc/ },
  { name: 'none', on: [], asked: '', chosen: /assigned to no machine/ },
]) {
  test(`chooseMachine: ${name}`, () => {
    if (typeof chosen === 'string') assert.equal(chooseMachine('a.service', on, asked), chosen);
    else
      assert.throws(
        () => chooseMachine('a.service', on, asked),
        (error) => error instanceof StatusError && chosen.test(error.message),
      );
  });
}

test('assignments are read like any kind, and name their machine', () =>
  withUnit([machineA], async (rig) => {
    const { json } = await rig.get(`/apis/flotilla.dev/v1/assignments/${assignmentName('a.service', machineA)}`);
    assert.deepEqual([json.kind, json.spec.machine], ['Assignment', machineA]);
  }));

const status = `${units}/a.service/systemd-status`;

test("systemd-status: systemctl's words as the body, its exit code in a header", () =>
  withUnit([machineA], async (rig, journal) => {
    journal.exitCode = 3;
    const answer = await rig.get(status);
    assert.deepEqual([answer.status, answer.text, answer.headers['flotilla-exit-code']], [200, 'one\ntwo\n', '3']);
    const { signal: _, ...asked } = journal.request!;
    assert.deepEqual(asked, { show: 'status', unit: 'a.service', machine: machineA });
  }));

test('systemd-status: of one of several machines', () =>
  withUnit([machineA, machineB], async (rig, journal) => {
    assert.equal((await rig.get(status)).status, 400);
    assert.equal((await rig.get(`${status}?machine=bbbb`)).status, 200);
    assert.equal(journal.request?.machine, machineB);
  }));

test('systemd-status: what is too long is cut, and says so', async () => {
  const bytes = (async function* () {
    for (let at = 0; at < 10; at++) yield Buffer.alloc(10, 'x');
  })();
  const { text, exitCode } = await wholeStatus({ bytes, exitCode: () => 3 }, 25);
  assert.deepEqual([text.toString(), exitCode], [`${'x'.repeat(25)}\n(cut here: 75 bytes more)\n`, 3]);
});

test('logs: in a format of journalctl, or 400 with those that there are', () =>
  withUnit([machineA], async (rig, journal) => {
    await rig.get(`${log}?output=json`);
    assert.ok(journal.request?.show === 'journal' && journal.request.output === 'json');
    const { status: code, json } = await rig.get(`${log}?output=export`);
    assert.equal(code, 400);
    assert.match(json.message, /output must be one of short, .*, cat/);
  }));
