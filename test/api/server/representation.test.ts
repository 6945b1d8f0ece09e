import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterCache, Joined } from '../../../api/objects/ports.js';
import { unitKind } from '../../../api/resources/unit-kind.js';
import { renderObject, viewOf } from '../../../api/server/representation.js';
import { ManualClock } from '../../rigs/manual-clock.js';

const known = 'b5f4210f4ceeef3fde8f7c236ee09942';
const silent = '6ece1bfe1738dcf6392ac5c4ab977af4';
const cache = {
  fragment: (_plural: string, name: string) => (name === known ? { value: { info: { hostname: 'm3' } } } : undefined),
} as unknown as ClusterCache;

for (const { machine, shown } of [
  { machine: known, shown: 'm3' },
  { machine: silent, shown: '6ece1bfe' },
  { machine: undefined, shown: '-' },
]) {
  test(`a row names the machine as people do: ${shown}`, () => {
    const object = {
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata: { name: 'a.service', uid: 'u', resourceVersion: '2' },
      status: { machine },
    } as unknown as Joined;
    const as = { form: 'table', version: 'v1', includeObject: 'None' } as const;
    const table = JSON.parse(renderObject(unitKind, object, as, viewOf({ cache, clock: new ManualClock() })));
    const at = table.columnDefinitions.findIndex((column: { name: string }) => column.name === 'Machine');
    assert.equal(table.rows[0].cells[at], shown);
  });
}
