/** Every request that a real fleetctl was seen to send, sent again: same status, same body, key for key. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { commands, machines } from './exchanges.js';
import { base, type FleetRig, startFleetRig } from './rig.js';

let rig: FleetRig;
before(async () => {
  rig = await startFleetRig();
  for (const { id, primaryIP, metadata } of machines) await rig.machine(id, { address: primaryIP, labels: metadata });
});
after(() => rig.close());

/** As fleetctl's client library sends them. */
const headers = { 'user-agent': 'google-api-go-client/0.5', 'accept-encoding': 'gzip' };

test('a hundred exchanges are replayed', () => {
  assert.equal(commands.flatMap(({ steps }) => steps.filter((step) => 'method' in step)).length, 100);
});

// One after the other: each finds what the one before has left.
describe('fleetctl', () => {
  for (const { line, steps } of commands) {
    test(line, async () => {
      for (const [index, step] of steps.entries()) {
        if ('meanwhile' in step) {
          await step.meanwhile(rig);
          continue;
        }
        const { method, path, send, status, body } = step;
        const sent = send === undefined ? {} : { body: `${JSON.stringify(send)}\n` };
        const answer = await rig.call(method, `${base}/${path}?alt=json`, { headers, ...sent });
        const what = `exchange ${index}: ${method} ${path}: ${answer.text}`;
        assert.equal(answer.status, status, what);
        assert.match(String(answer.headers.server), /^fleetd\//, what);
        if (body === undefined) {
          assert.deepEqual([answer.text, answer.headers['content-type']], ['', undefined], what);
          assert.equal(answer.headers['content-length'], status === 201 ? '0' : undefined, what);
        } else {
          assert.equal(answer.headers['content-type'], 'application/json', what);
          // Also the order of the keys, which Go's decoder does not mind and a diff of transcripts does.
          assert.equal(answer.text, JSON.stringify(body), what);
        }
      }
    });
  }
});
