/** Invariant 10. What an agent really saw, on its way through store, cache and HTTP to the exit code of `flotilla wait`. */
import assert from 'node:assert/strict';
import type { UnitState } from '../../api/resources/assignment.js';
import { Context } from '../../cli/context.js';
import { exitCode } from '../../cli/exit.js';
import { runProgram } from '../../cli/program.js';
import { wait } from '../../cli/verbs/wait.js';
import { assignment, service } from '../agent/world.js';
import { assignmentOf, keys, machineA, machineRow, put, scheduledOn, sha256, unitRow, write } from '../api/objects/cluster-writer.js';
import { startRig } from '../api/server/rig.js';
import { invariant } from './invariant.js';
import { Machine } from './machine.js';

const unit = 'web.service';
const uid = assignment(unit).unitUid;
const texts = [service('ExecStart=/bin/old'), service('ExecStart=/bin/new')];

invariant(10, 'status is what was seen, and names the generation that it is about', 'that nobody has seen', async (plant, t) => {
  const machine = await Machine.start(t);
  const rig = await startRig();
  t.after(() => rig.close());
  const context = new Context({ endpoint: rig.url, requestTimeout: 5 });
  t.after(() => context.client.close());
  /** Long enough to be met on a busy computer; what is not to be met is waited for in vain. */
  const met = async (condition: string, timeoutMs = 20_000) =>
    (await wait(context, [`unit/${unit}`], { for: `condition=${condition}`, timeoutMs })) === exitCode.ok;
  let newest = 0;

  /** What a server does with what the agent says. */
  const deliver = async () => {
    for (let message = machine.sent.shift(); message; message = machine.sent.shift()) {
      if (message.type !== 'states') continue;
      const seen = message.states[unit];
      // The fault: a reporter that tells what it was told instead of what it saw.
      const hash = sha256(texts[newest - 1]!);
      const told: UnitState | undefined =
        plant && seen ? { ...seen, generation: newest, textHash: hash, runningHash: hash, active: 'active' } : seen;
      if (told) await rig.cache.untilRevision(await write(rig.store, [put(keys.state(machineA, unit), told)]));
      machine.agent.stored(message.batch);
      await machine.pass(2_000);
    }
  };
  const ask = async () => {
    const text = texts[newest++]!;
    const rows = [
      ...unitRow(unit, uid, newest, text),
      put(keys.assignment(machineA, unit), assignmentOf(unit, machineA, uid, newest, text)),
    ];
    await write(rig.store, [machineRow(machineA), ...rows, put(keys.condition('units', unit), scheduledOn(machineA, newest))]);
    await machine.told(newest, assignment(unit, text, { generation: newest }));
    await machine.pass(10_000);
    await deliver();
  };

  await ask();
  assert.ok((await met('Ready')) && (await met('UpToDate')), 'generation 1 runs');
  machine.systemd.stick(unit);
  await ask();
  assert.match(machine.systemd.runningText(unit) ?? '', /old/);
  assert.ok(!(await met('Ready', 700)), 'Ready is said of a generation that nobody has seen');
  assert.ok(!(await met('UpToDate', 700)), 'UpToDate is said of a generation that nobody has seen');
  assert.equal(statusOf().observedGeneration, 1);

  machine.systemd.release(unit);
  await machine.pass(5_000);
  await deliver();
  assert.ok((await met('Ready')) && (await met('UpToDate')), 'generation 2 runs');
  assert.equal(statusOf().mainPID, machine.systemd.mainPID(unit));
  machine.systemd.exit(unit, 3);
  await machine.pass(5_000);
  await deliver();
  assert.deepEqual([statusOf().active, statusOf().observedGeneration], ['failed', 2]);

  function statusOf(): { observedGeneration?: number; mainPID?: number; active?: string } {
    return rig.cache.joined('units', unit)?.status ?? {};
  }
});

invariant(10, 'exit codes tell the truth', 'lies', async (plant, t) => {
  const rig = await startRig();
  t.after(() => rig.close());
  const { fastify } = rig.app;
  await rig.call('POST', '/apis/flotilla.dev/v1/units', {
    body: { metadata: { name: unit }, apiVersion: 'flotilla.dev/v1', kind: 'Unit', spec: { content: texts[0] } },
  });
  let endpoint = rig.url;
  if (plant) {
    // The fault: something in between that calls every answer a success.
    const proxy = await startRig();
    t.after(() => proxy.close());
    endpoint = proxy.url;
    proxy.app.fastify.server.removeAllListeners('request');
    proxy.app.fastify.server.on('request', (request, response) => {
      void fastify.inject({ method: 'GET', url: request.url ?? '/' }).then(({ body }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(body);
      });
    });
  }
  for (const { words, code } of [
    { words: ['get', 'unit', unit, '-o', 'name'], code: exitCode.ok },
    { words: ['get', 'unit', 'nobody.service', '-o', 'name'], code: exitCode.failed },
    { words: ['describe', 'unit/nobody.service'], code: exitCode.failed },
    { words: ['wait', `unit/${unit}`, '--for=create', '--timeout=20s'], code: exitCode.ok },
    { words: ['wait', `unit/${unit}`, '--for=condition=Ready', '--timeout=200ms'], code: exitCode.timedOut },
    { words: ['wait', `unit/${unit}`, '--for=nothing'], code: exitCode.usage },
    { words: ['get', 'nonsense'], code: exitCode.usage },
    { words: ['get', 'units', '--no-such-flag'], code: exitCode.usage },
  ]) {
    const ended = await runProgram(['--endpoint', endpoint, ...words]).catch((error: { code?: number }) => error.code);
    assert.equal(ended, code, `the exit code of "${words.join(' ')}" lies`);
  }
});
