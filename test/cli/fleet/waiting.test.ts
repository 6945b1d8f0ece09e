import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Context } from '../../../cli/context.js';
import { CliError } from '../../../cli/exit.js';
import { untilSettled } from '../../../cli/verbs/fleet/waiting.js';

/** A server that knows one unit, of which there is never any news. */
const quiet = {
  kind: async () => ({ kind: 'Unit', plural: 'units', singular: 'unit', shortNames: [], path: '/units' }),
  client: {
    json: async () => ({ items: [{ metadata: { name: 'a.service' } }], metadata: { resourceVersion: '1' } }),
    open: (_path: string, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new CliError('aborted')))),
  },
} as unknown as Context;

test('who fails to look again says so, and nothing of a time that was not up', async () => {
  const told: string[] = [];
  let looks = 0;
  const judge = () => {
    if (looks++ > 0) throw new CliError('the server has gone');
    return { is: 'pending', why: 'not there yet', againMs: 1 } as const;
  };
  await assert.rejects(
    untilSettled(quiet, ['a.service'], 600_000, judge, ({ name, end }) => void told.push(`${name} ${end}`)),
    /the server has gone/,
  );
  assert.deepEqual(told, []);
});
