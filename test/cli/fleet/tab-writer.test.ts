import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tabAligned } from '../../../cli/verbs/fleet/tab-writer.js';

// Lines as a real fleetctl 1.0 printed them.
for (const { name, cells, text } of [
  {
    name: 'machines',
    cells: [
      ['MACHINE', 'IP', 'METADATA'],
      ['00000000...', '10.77.0.1', 'az=z1'],
    ],
    text: 'MACHINE\t\tIP\t\tMETADATA\n00000000...\t10.77.0.1\taz=z1\n',
  },
  {
    name: 'units',
    cells: [
      ['UNIT', 'MACHINE', 'ACTIVE', 'SUB'],
      ['hello.service', '00000000.../10.77.0.1', 'active', 'running'],
    ],
    text: 'UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t00000000.../10.77.0.1\tactive\trunning\n',
  },
  {
    name: 'unit files',
    cells: [
      ['UNIT', 'HASH', 'DSTATE', 'STATE', 'TARGET'],
      ['hello.service', '3585129', 'inactive', 'inactive', '-'],
    ],
    text: 'UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\t3585129\tinactive\tinactive\t-\n',
  },
  {
    name: 'without a header',
    cells: [['00000000000000000000000f1ee7001', '10.77.0.1', 'az=z1']],
    text: '00000000000000000000000f1ee7001\t10.77.0.1\taz=z1\n',
  },
  { name: 'nothing', cells: [], text: '' },
]) {
  test(`fleet's columns: ${name}`, () => assert.equal(tabAligned(cells), text));
}
