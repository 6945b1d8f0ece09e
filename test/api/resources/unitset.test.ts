/** Names of sets and of their units, and what a set must be to make units that could exist. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manifestErrorText, parseManifests } from '../../../api/resources/manifests.js';
import { unitSetKind } from '../../../api/resources/unitset-kind.js';
import { memberIndex, memberName, setNameHint, setNameProblem, setNamesOf } from '../../../api/resources/unitset-names.js';

const content = '[Service]\nExecStart=/bin/true\n';
const setOf = (name: string, spec: object = { content }, replicas: unknown = 2, metadata?: object) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'UnitSet',
  metadata: { name },
  spec: { replicas, template: { ...(metadata ? { metadata } : {}), spec } },
});

for (const [set, first] of [
  ['web', 'web@1.service'],
  ['web.service', 'web@1.service'],
  ['tick.timer', 'tick@1.timer'],
  ['in.socket', 'in@1.socket'],
  ['web.v2', 'web.v2@1.service'],
  ['a-b_c', 'a-b_c@1.service'],
] as const) {
  test(`unitset names: ${set} makes ${first}`, () => {
    assert.equal(memberName(set, 1), first);
    assert.equal(memberIndex(set, first), 1);
    assert.ok(setNamesOf(first).includes(set));
    assert.equal(setNameProblem(set), undefined);
  });
}

for (const unit of [
  'web@0.service',
  'web@01.service',
  'web@x.service',
  'web@.service',
  'web.service',
  'web@1.timer',
  'webs@1.service',
  'web@1@2.service',
]) {
  test(`unitset names: web never makes ${unit}`, () => assert.equal(memberIndex('web', unit), undefined));
}

for (const [name, problem] of [
  ['web@.service', /has no "@"/],
  ['web@1', /has no "@"/],
  ['data.mount', /none of type mount; expected \.service, \.socket, \.timer, \.path, \.target/],
  ['web.', /cannot end in "\."/],
  ['-web', /cannot start in "-"/],
  ['we b', /invalid character ' '/],
  ['w'.repeat(250), /maximum length/],
] as const) {
  test(`unitset names: ${name.slice(0, 20)} is refused`, () => assert.match(setNameProblem(name) ?? '', problem));
}

test('unitset names: a type that is misspelt is pointed out', () => {
  assert.match(setNameHint('web.servce') ?? '', /web\.servce@1\.service and so on; did you mean "web\.service"\?/);
  assert.equal(setNameHint('web.v2'), undefined);
});

for (const { name, object, errors } of [
  { name: 'a set as it should be', object: setOf('web'), errors: [] },
  {
    name: 'pinned to one machine: all its units run there',
    object: setOf('web', { content, placement: { machineID: 'abcdef01' } }),
    errors: [],
  },
  { name: 'specifiers', object: setOf('web', { content, placement: { machineOf: ['db@%i.service'] } }), errors: [] },
  {
    name: 'no unit file',
    object: setOf('web', {}),
    errors: [/^spec\.template\.spec\.content: the unit file is missing; the units of a set take it from here/],
  },
  {
    name: 'a unit file with a mistake',
    object: setOf('web', { content: '[Service]\nExecStart\n' }),
    errors: [/^spec\.template\.spec\.content: line 2: /],
  },
  {
    name: 'global in the spec',
    object: setOf('web', { content, placement: { global: true } }),
    errors: [/^spec\.template\.spec\.placement\.global: a global unit runs on every machine already/],
  },
  {
    name: 'global in the unit file',
    object: setOf('web', { content: `${content}[X-Fleet]\nGlobal=true\n` }),
    errors: [/^spec\.template\.spec\.content: a global unit runs on every machine already/],
  },
  {
    name: 'a unit that follows another one of its set',
    object: setOf('web', { content, placement: { machineOf: ['web@2.service'] } }),
    errors: [/^spec\.template\.spec\.placement\.machineOf: web@2\.service is a unit of this set/],
  },
  {
    name: 'placement that contradicts itself',
    object: setOf('web', { content, placement: { machineID: 'abcdef01', conflicts: ['x'] } }),
    errors: [/^spec\.template\.spec\.placement: MachineID cannot be used with Conflicts/],
  },
  {
    name: 'a label that is the set',
    object: setOf('web', { content }, 1, { labels: { 'flotilla.dev/unitset': 'mine' } }),
    errors: [/^spec\.template\.metadata\.labels\["flotilla\.dev\/unitset"\]: is given to each unit by the set itself/],
  },
  { name: 'a name with an @', object: setOf('web@1.service'), errors: [/^metadata\.name: the name of a set has no "@"/] },
]) {
  test(`unitset validation: ${name}`, () => {
    const found = unitSetKind.validate(unitSetKind.withDefaults(object)).map(({ field, message }) => `${field}: ${message}`);
    assert.equal(found.length, errors.length, found.join('\n'));
    for (const [at, pattern] of errors.entries()) assert.match(found[at]!, pattern);
  });
}

for (const replicas of [-1, 1.5, 1_001, '3']) {
  test(`unitset validation: ${JSON.stringify(replicas)} replicas are refused`, () =>
    assert.equal(unitSetKind.schema.safeParse(setOf('web', { content }, replicas)).success, false));
}

test('unitset defaults: one replica, and nothing said about the desired state of its units', () => {
  const { spec } = unitSetKind.withDefaults({ ...setOf('web'), spec: { template: { spec: { content } } } });
  assert.deepEqual(spec, { replicas: 1, template: { spec: { content } } });
});

test('unitset manifests: a mistake in the unit file is told with its line of the manifest', () => {
  const text = `apiVersion: flotilla.dev/v1
kind: UnitSet
metadata: {name: web}
spec:
  replicas: 2
  template:
    spec:
      content: |
        [Service]
        ExecStart
`;
  assert.match(
    parseManifests('a.yaml', text).errors.map(manifestErrorText).join(),
    /^a\.yaml:10: .*unitset\/web.*spec\.template\.spec\.content/,
  );
});

test('unitset columns: desired, ready, updated; why not, when wide', () => {
  const status = {
    replicas: 2,
    readyReplicas: 1,
    updatedReplicas: 2,
    conditions: [{ type: 'Available', status: 'False', reason: 'R', message: '1 of 2.', lastTransitionTime: '2026-01-01T00:00:00Z' }],
  };
  const object = { ...setOf('web'), metadata: { name: 'web', creationTimestamp: '2026-01-01T00:00:00Z' }, status };
  const cells = unitSetKind.columns.map(({ name, cell }) => [name, cell(object, new Date('2026-01-01T00:01:00Z'), String)]);
  assert.deepEqual(cells, [
    ['Name', 'web'],
    ['Desired', 2],
    ['Ready', 1],
    ['Updated', 2],
    ['Age', '60s'],
    ['Selector', 'flotilla.dev/unitset=web'],
    ['Message', '1 of 2.'],
  ]);
});
