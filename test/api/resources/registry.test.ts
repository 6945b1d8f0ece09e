import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlotillaObject } from '../../../api/resources/meta.js';
import { kindByName, kindByPlural, kindOf, kinds, nearestKindWord } from '../../../api/resources/registry.js';

const now = new Date('2026-01-01T01:00:00Z');
const created = '2026-01-01T00:00:00Z';
const rowOf = (plural: string, object: FlotillaObject, wide = false): string => {
  const columns = kindByPlural(plural)!.columns.filter(({ priority }) => wide === (priority === 1));
  return columns.map((column) => column.cell(object, now, (id) => id.slice(0, 8))).join(' | ');
};
const condition = (type: string, status: string, message = '') => ({ type, status, reason: 'R', message, lastTransitionTime: created });

for (const [word, kind] of [
  ['units', 'Unit'],
  ['unit', 'Unit'],
  ['Unit', 'Unit'],
  ['UN', 'Unit'],
  ['units.flotilla.dev', 'Unit'],
  ['unit.v1.flotilla.dev', 'Unit'],
  ['machines', 'Machine'],
  ['ma', 'Machine'],
  ['assignments', 'Assignment'],
  ['events', 'Event'],
  ['ev', 'Event'],
  ['pods', undefined],
  ['units.apps', undefined],
  ['toString', undefined],
  ['', undefined],
] as const) {
  test(`kinds: "${word}" names ${kind}`, () => assert.equal(kindByName(word)?.kind, kind));
}

test('kinds: a word that names none has a nearest one', () => {
  assert.equal(nearestKindWord('machnes'), 'machines');
  assert.equal(nearestKindWord('zzzzzz'), undefined);
});

test('kinds: an object says which it is', () => {
  assert.equal(kindOf({ apiVersion: 'flotilla.dev/v1', kind: 'Unit' })?.plural, 'units');
  assert.equal(kindOf({ apiVersion: 'v1', kind: 'Event' })?.plural, 'events');
  assert.equal(kindOf({ apiVersion: 'v1', kind: 'Unit' }), undefined);
});

test('kinds: no word names two, every kind has a name column, and wide ones come last', () => {
  const words = kinds.flatMap(({ plural, singular, shortNames }) => [plural, singular, ...shortNames]);
  assert.equal(new Set(words).size, words.length);
  for (const { columns, plural } of kinds) {
    assert.ok(
      columns.some(({ name }) => name === 'Name'),
      plural,
    ); // prettier-ignore
    const priorities = columns.map(({ priority }) => priority);
    assert.deepEqual(priorities, priorities.toSorted());
  }
});

const unit = (spec: object, status: object): FlotillaObject => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name: 'web.service', creationTimestamp: created },
  spec,
  status,
});

for (const { name, object, row, wide } of [
  {
    name: 'a unit that runs',
    object: unit(
      { desiredState: 'launched' },
      {
        load: 'loaded',
        active: 'active',
        sub: 'running',
        machine: '0123456789abcdef',
        contentHash: 'abcdef0123',
        conditions: [condition('Scheduled', 'True'), condition('Ready', 'True')],
      },
    ),
    row: 'web.service | launched | active | running | 01234567 | True | 60m',
    wide: 'loaded | abcdef0 | ',
  },
  {
    name: 'a unit that has no machine',
    object: unit(
      { desiredState: 'launched' },
      { conditions: [condition('Scheduled', 'False', '2 machines: cordoned'), condition('Ready', 'False', 'not scheduled')] },
    ),
    row: 'web.service | launched | - | - | - | False | 60m',
    wide: '- | - | 2 machines: cordoned',
  },
  {
    name: 'a global unit',
    object: unit({ desiredState: 'launched' }, { desiredMachines: 5, currentMachines: 5, readyMachines: 3 }),
    row: 'web.service | launched | - | - | global | 3/5 | 60m',
    wide: '- | - | ',
  },
  { name: 'a unit nobody has seen', object: unit({}, {}), row: 'web.service | - | - | - | - | - | 60m', wide: '- | - | ' },
]) {
  test(`columns: ${name}`, () => {
    assert.equal(rowOf('units', object), row);
    assert.equal(rowOf('units', object, true), wide);
  });
}

const info = {
  hostname: 'core1',
  address: '10.0.0.1',
  bootID: 'b0071d00ffff',
  agentVersion: '0.1.0',
  osImage: 'Debian 12',
  cpus: 2,
  memoryBytes: 1e9,
};
for (const { name, spec, status, standing } of [
  {
    name: 'a ready machine',
    spec: {},
    status: { info, units: 3, conditions: [condition('Ready', 'True')] },
    standing: 'core1 | 10.0.0.1 | Ready | 3',
  },
  {
    name: 'a cordoned machine',
    spec: { unschedulable: true },
    status: { info, conditions: [condition('Ready', 'True')] },
    standing: 'core1 | 10.0.0.1 | Ready,SchedulingDisabled | 0',
  },
  {
    name: 'a drained machine that is gone',
    spec: { drain: true },
    status: { info, conditions: [condition('Ready', 'False')] },
    standing: 'core1 | 10.0.0.1 | NotReady,SchedulingDisabled | 0',
  },
  { name: 'a machine never seen', spec: {}, status: {}, standing: '- | - | Unknown | 0' },
]) {
  test(`columns: ${name}`, () => {
    const metadata = { name: 'f'.repeat(32), creationTimestamp: created, labels: { disk: 'ssd', az: 'a' } };
    const object = { apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata, spec, status };
    assert.equal(rowOf('machines', object), `${'f'.repeat(32)} | ${standing} | 60m`);
    assert.equal(rowOf('machines', object, true).split(' | ')[0], 'az=a,disk=ssd');
  });
}

test('columns: an assignment and an event', () => {
  const spec = { unit: 'web.service', machine: '0123456789abcdef', wanted: 'launched', assignedAt: created };
  const assignment = {
    apiVersion: 'flotilla.dev/v1',
    kind: 'Assignment',
    metadata: { name: 'web.service.01234567' },
    spec,
    status: { active: 'active', sub: 'running', load: 'loaded', textHash: '' },
  };
  assert.equal(rowOf('assignments', assignment), 'web.service.01234567 | web.service | 01234567 | launched | active | running | 60m');
  assert.equal(rowOf('assignments', { ...assignment, spec: { ...spec, remove: 'moved' } }, true), 'loaded | - | moved');
  assert.match(rowOf('assignments', { ...assignment, spec: { ...spec, remove: 'moved' } }), / \| removed \| /);
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'e' },
    involvedObject: { kind: 'Unit', name: 'web.service' },
    reason: 'Placed',
    message: 'on core1\n',
    type: 'Normal',
    count: 2,
    firstTimestamp: created,
    lastTimestamp: created,
    source: { component: 'scheduler' },
  };
  assert.equal(rowOf('events', event), '60m | Normal | Placed | unit/web.service | on core1');
});

const machine = (name: string, spec: object = {}, labels: Record<string, string> = {}) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Machine',
  metadata: { name, labels },
  spec,
});
for (const { name, object, problems } of [
  { name: 'a machine id', object: machine('0123456789abcdef0123456789abcdef', {}, { 'app.io/x': 'a b' }), problems: [] },
  {
    name: 'a host name',
    object: machine('core1'),
    problems: ['metadata.name: must be the machine id: the 32 lower-case hex digits of /etc/machine-id'],
  },
  {
    name: 'a taint twice',
    object: machine('f'.repeat(32), {
      taints: [
        { key: 'a', effect: 'NoSchedule' },
        { key: 'a', value: 'x', effect: 'NoSchedule' },
      ],
    }),
    problems: ['spec.taints[1]: the taint a:NoSchedule is listed twice'],
  },
  {
    name: 'a label with "="',
    object: machine('f'.repeat(32), {}, { 'a=b': 'c' }),
    problems: ['metadata.labels["a=b"]: a key cannot contain "="'],
  },
]) {
  test(`machine: ${name}`, () => {
    assert.deepEqual(
      kindByPlural('machines')!
        .validate(object)
        .map(({ field, message }) => `${field}: ${message}`), // prettier-ignore
      problems,
    );
  });
}
