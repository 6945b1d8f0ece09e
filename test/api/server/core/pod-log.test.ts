import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { StatusError } from '../../../../api/resources/errors.js';
import type { OutputRequest, OutputSource } from '../../../../api/server/ports.js';
import { type Rig, startRig } from '../rig.js';
import { infoOf, machineA, writeCopy, writeMachine } from './cluster.js';

let refusal: StatusError | undefined;
/** A journal of five lines in pieces that end anywhere, and the request that it was asked for with. */
let asked: OutputRequest | undefined;
const outputs: OutputSource = {
  async open(request) {
    asked = request;
    if (refusal) throw refusal;
    const bytes = (async function* () {
      for (const piece of request.show === 'journal' && request.output === 'json' ? entries : ['one\ntw', 'o\nthree\n', 'four\nfive\n'])
        yield Buffer.from(piece);
    })();
    return { bytes, exitCode: () => 0 };
  },
};

const entries = [
  '{"__REALTIME_TIMESTAMP":"1767323045000001","MESSAGE":"on',
  'e"}\n{"MESSAGE":[255,10,98],"__REALTIME_TIMESTAMP":"1767323046500000"}\nnonsense\n',
  '{"MESSAGE":"","__REALTIME_TIMESTAMP":"1767323047000000"}\n{"MESSAGE":null,"__REALTIME_TIMESTAMP":"x"}',
];

let rig: Rig;
let log: string;
before(async () => {
  rig = await startRig({ outputs });
  await writeMachine(rig, machineA, infoOf('web-1'));
  log = `/api/v1/namespaces/default/pods/${await writeCopy(rig, 'web.service', machineA)}/log`;
});
after(() => rig.close());

const everything = 'one\ntwo\nthree\nfour\nfive\n';
for (const { query, text, request } of [
  { query: '', text: everything, request: { lines: 100_000, follow: false, output: 'cat' } },
  { query: '?container=unit&follow=true&tailLines=2', text: everything, request: { lines: 2, follow: true, output: 'cat' } },
  {
    query: '?sinceTime=2026-01-02T03:04:05.678Z&tailLines=1',
    text: 'five\n',
    request: { lines: 100_000, follow: false, output: 'cat', sinceMs: Date.parse('2026-01-02T03:04:05.678Z') },
  },
  { query: '?previous=true&follow=true', text: everything, request: { lines: 100_000, follow: false, output: 'cat', previous: true } },
  { query: '?sinceSeconds=60', text: everything, request: { lines: 100_000, follow: false, output: 'cat', sinceSeconds: 60 } },
  {
    query: '?sinceSeconds=60&tailLines=2',
    text: 'four\nfive\n',
    request: { lines: 100_000, follow: false, output: 'cat', sinceSeconds: 60 },
  },
  { query: '?sinceSeconds=60&tailLines=9', text: everything, request: { lines: 100_000, follow: false, output: 'cat', sinceSeconds: 60 } },
  { query: '?sinceSeconds=60&tailLines=0', text: '', request: { lines: 100_000, follow: false, output: 'cat', sinceSeconds: 60 } },
  { query: '?limitBytes=6', text: 'one\ntw', request: { lines: 100_000, follow: false, output: 'cat' } },
] as const) {
  test(`pod log${query}`, async () => {
    const answer = await rig.get(log + query);
    const { signal: _, ...rest } = asked!;
    assert.deepEqual([answer.status, answer.text], [200, text]);
    assert.deepEqual(rest, { show: 'journal', unit: 'web.service', machine: machineA, ...request });
  });
}

for (const { query, says } of [
  { query: '?container=sidecar', says: /its one container is unit/ },
  { query: '?tailLines=x', says: /tailLines must be a whole number/ },
]) {
  test(`pod log${query} is refused with a reason`, async () => {
    const { status, json } = await rig.get(log + query);
    assert.equal(status, 400);
    assert.match(json.message, says);
  });
}

test('pod log?timestamps=true: each line behind the time it was written, its bytes as they are', async () => {
  const response = await rig.send('GET', `${log}?timestamps=true`);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const lines = [
    '2026-01-02T03:04:05.000001Z one',
    '2026-01-02T03:04:06.500000Z \xff',
    '2026-01-02T03:04:06.500000Z b',
    '2026-01-02T03:04:07.000000Z ',
    '- ',
  ];
  assert.equal(Buffer.concat(chunks).toString('latin1'), lines.map((line) => `${line}\n`).join(''));
  assert.deepEqual([asked!.show === 'journal' && asked!.output, asked!.show === 'journal' && asked!.field], ['json', 'MESSAGE']);
  assert.equal((await rig.get(`${log}?timestamps=true&limitBytes=20`)).text, '2026-01-02T03:04:05.');
});

test('pod log?previous=true: what the machine has against it, as kubelets say it', async () => {
  refusal = new StatusError('BadRequest', 'the journal has no earlier run of web.service');
  const { status, json } = await rig.get(`${log}?previous=true`);
  refusal = undefined;
  const message =
    'previous terminated container "unit" in pod "web.service.aaaaaaaa" not found: the journal has no earlier run of web.service';
  assert.deepEqual([status, json.message], [400, message]);
});

test('pod log of a pod that is not there, or not in that namespace', async () => {
  assert.equal(
    (await rig.get('/api/v1/namespaces/default/pods/nobody.service.aaaaaaaa/log')).json.message,
    'pods "nobody.service.aaaaaaaa" not found',
  );
  assert.equal((await rig.get(log.replace('default', 'other'))).status, 404);
});
