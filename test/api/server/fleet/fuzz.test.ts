import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { shownOptions } from '../../../../api/resources/unit-file/fleet-hash.js';
import { textOfOptions } from '../../../../api/server/fleet/options.js';
import { type FleetRig, hello, startFleetRig } from './rig.js';

let rig: FleetRig;
before(async () => {
  rig = await startFleetRig();
  await rig.fleet('PUT', 'units/a.service', { options: hello });
});
after(() => rig.close());

const word = fc.string({ maxLength: 8 });
const segment = fc.oneof(
  fc.constantFrom('a.service', 'b@.service', 'b@1.service', '%00', '..', '%2e%2e', '%2F'),
  word.map(encodeURIComponent),
);
const path = fc.oneof(
  fc.constantFrom('', '/', '/units', '/state', '/machines', '/discovery'),
  fc.tuple(fc.constantFrom('/units/', '/state/', '/machines/', '/'), segment).map((parts) => parts.join('')),
);
const query = fc.array(
  fc.tuple(fc.constantFrom('nextPageToken', 'machineID', 'unitName', 'alt'), fc.oneof(word, fc.constantFrom('ZAACAA==', 'json'))),
  { maxLength: 3 },
);
const option = fc.record(
  {
    section: fc.oneof(fc.constantFrom('Service', 'Unit', 'X-Fleet'), word),
    name: fc.oneof(fc.constantFrom('ExecStart', 'Conflicts', 'Global', 'MachineMetadata'), word),
    value: fc.oneof(word, fc.constantFrom('/bin/true', 'a \\\n b', 'true', 'x=y'), fc.jsonValue()),
  },
  { requiredKeys: [] },
);
const body = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.record(
    {
      name: fc.oneof(word, fc.constant('a.service')),
      options: fc.oneof(fc.array(option, { maxLength: 4 }), fc.jsonValue()),
      desiredState: fc.oneof(word, fc.constantFrom('inactive', 'loaded', 'launched')),
    },
    { requiredKeys: [] },
  ),
  fc.array(
    fc.record(
      {
        op: fc.oneof(word, fc.constantFrom('add', 'remove', 'replace')),
        path: fc.oneof(word, fc.constant(`/${'a'.repeat(32)}/metadata/az`)),
        value: fc.oneof(fc.jsonValue(), fc.record({ value: word })),
      },
      { requiredKeys: [] },
    ),
    { maxLength: 3 },
  ),
);

test('whatever a request holds, it is answered, never with 500, and every refusal has fleet’s form', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'PUT', 'PATCH', 'DELETE', 'POST'),
      path,
      query,
      body,
      async (method, below, parameters, content) => {
        const search = new URLSearchParams(parameters).toString();
        const given = method === 'GET' ? {} : { body: JSON.stringify(content) };
        const answer = await rig.call(method, `/fleet/v1${below}?${search}`, given);
        const what = `${method} ${below}?${search} ${JSON.stringify(content)}: ${answer.status} ${answer.text}`;
        assert.ok(answer.status < 500, what);
        if (answer.status < 400) return;
        // `..` is another path before it is sent.
        if (below.includes('..') || below.includes('%2e')) return;
        assert.deepEqual([answer.json?.error.code, typeof answer.json?.error.message], [answer.status, 'string'], what);
      },
    ),
    { numRuns: 300 },
  );
});

test('options that make a file are read back from it as they are', () => {
  const text = fc.string({ maxLength: 12, unit: fc.constantFrom('a', 'B', ' ', '\\', '\n', '\r', '=', '[', ']', '#', ';', '"', '%') });
  const name = fc.constantFrom('ExecStart', 'User', 'A', '#a', '[x');
  const options = fc.array(fc.record({ section: fc.constantFrom('Service', 'Unit', 'X-Fleet', 'a]'), name, value: text }), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(options, (given) => {
      let file: string;
      try {
        file = textOfOptions(given);
      } catch {
        return;
      }
      const read = shownOptions(file);
      // The object door refuses it, and says which line nobody can read.
      if (read === undefined) return;
      const grouped = [...new Set(given.map(({ section }) => section))].flatMap((section) =>
        given.filter((one) => one.section === section),
      );
      assert.deepEqual(
        read.map((one) => [one.section, one.name, one.value.trim()]),
        grouped.map((one) => [one.section, one.name, one.value.trim()]),
      );
    }),
    { numRuns: 3000 },
  );
});
