import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { OutputRequest, OutputSource } from '../../../../api/server/ports.js';
import { type Rig, startRig } from '../rig.js';
import { infoOf, machineA, writeCopy, writeMachine } from './cluster.js';

/** A journal of five lines in pieces that end anywhere, and the request that it was asked for with. */
let asked: OutputRequest | undefined;
const outputs: OutputSource = {
  async open(request) {
    asked = request;
    const bytes = (async function* () {
      for (const piece of ['one\ntw', 'o\nthree\n', 'four\nfive\n']) yield Buffer.from(piece);
    })();
    return { bytes, exitCode: () => 0 };
  },
};

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
  { query: '?timestamps=true', text: everything, request: { lines: 100_000, follow: false, output: 'short-iso-precise' } },
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
  { query: '?previous=true', says: /previous terminated container "unit"/ },
  { query: '?tailLines=x', says: /tailLines must be a whole number/ },
]) {
  test(`pod log${query} is refused with a reason`, async () => {
    const { status, json } = await rig.get(log + query);
    assert.equal(status, 400);
    assert.match(json.message, says);
  });
}

test('pod log of a pod that is not there, or not in that namespace', async () => {
  assert.equal(
    (await rig.get('/api/v1/namespaces/default/pods/nobody.service.aaaaaaaa/log')).json.message,
    'pods "nobody.service.aaaaaaaa" not found',
  );
  assert.equal((await rig.get(log.replace('default', 'other'))).status, 404);
});
