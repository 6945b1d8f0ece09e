import assert from 'node:assert/strict';
import { test } from 'node:test';
import { effectivePlacement, type PlacementInput } from '../../../api/resources/placement.js';
import { splitMultiValue } from '../../../api/resources/placement-options.js';
import { tolerates } from '../../../api/resources/taints.js';
import type { Placement } from '../../../api/resources/unit.js';

const id = '0123456789abcdef0123456789abcdef';
const fleet = (options: string): string => `[Service]\nExecStart=/bin/true\n[X-Fleet]\n${options}\n`;
const place = (input: Partial<PlacementInput>) => effectivePlacement({ name: 'web@1.service', spec: {}, ...input });
/** What was read, without the parts that are at their defaults. */
const read = (input: Partial<PlacementInput>) => {
  const { machineID, machineOf, metadata, conflicts, replaces, global, problems } = place(input);
  return {
    ...(machineID === undefined ? {} : { machineID }),
    ...(machineOf.length === 0 ? {} : { machineOf }),
    ...(metadata.size === 0 ? {} : { metadata: Object.fromEntries(metadata) }),
    ...(conflicts.length === 0 ? {} : { conflicts }),
    ...(replaces.length === 0 ? {} : { replaces }),
    ...(global ? { global } : {}),
    ...(problems.length === 0 ? {} : { problems }),
  };
};

for (const { name, options, placement, is } of [
  { name: 'nothing', options: '', placement: {}, is: {} },
  { name: 'MachineID', options: `MachineID=${id}`, placement: { machineID: id }, is: { machineID: id } },
  {
    name: 'MachineID by its first 8 characters',
    options: 'MachineID=01234567',
    placement: { machineID: '01234567' },
    is: { machineID: '01234567' },
  },
  {
    name: 'MachineID as a UUID',
    options: 'MachineID=01234567-89AB-cdef-0123-456789abcdef',
    placement: { machineID: '01234567-89AB-cdef-0123-456789abcdef' },
    is: { machineID: id },
  },
  {
    name: 'MachineOf',
    options: 'MachineOf=db.service\nMachineOf=lb.service',
    placement: { machineOf: ['db.service', 'lb.service'] },
    is: { machineOf: ['db.service', 'lb.service'] },
  },
  {
    name: 'MachineMetadata: one key is alternatives, several keys must all match',
    options: 'MachineMetadata=az=a\nMachineMetadata=az=b\nMachineMetadata=disk=ssd',
    placement: { machineMetadata: ['az=a', 'az=b', 'disk=ssd'] },
    is: { metadata: { az: ['a', 'b'], disk: ['ssd'] } },
  },
  {
    name: 'MachineMetadata: several values on one line, quoted',
    options: 'MachineMetadata="az=a" "az=b" "os=a b"',
    placement: { machineMetadata: ['az=a', 'az=b', 'os=a b'] },
    is: { metadata: { az: ['a', 'b'], os: ['a b'] } },
  },
  {
    name: 'Conflicts',
    options: 'Conflicts=web@*.service\nConflicts=db*',
    placement: { conflicts: ['web@*.service', 'db*'] },
    is: { conflicts: ['web@*.service', 'db*'] },
  },
  { name: 'Replaces', options: 'Replaces=old*', placement: { replaces: ['old*'] }, is: { replaces: ['old*'] } },
  { name: 'Global', options: 'Global=true', placement: { global: true }, is: { global: true } },
  { name: 'Global: false', options: 'Global=off', placement: { global: false }, is: {} },
  {
    name: 'specifiers',
    options: 'MachineOf=%p-db@%i.service\nConflicts=%p@*.service\nMachineMetadata=unit=%N',
    placement: { machineOf: ['%p-db@%i.service'], conflicts: ['%p@*.service'], machineMetadata: ['unit=%N'] },
    is: { machineOf: ['web-db@1.service'], conflicts: ['web@*.service'], metadata: { unit: ['web@1'] } },
  },
] as const satisfies readonly { name: string; options: string; placement: Placement; is: object }[]) {
  test(`placement: ${name}, in [X-Fleet], in [X-Flotilla] and in spec.placement`, () => {
    assert.deepEqual(read({ text: fleet(options) }), is);
    assert.deepEqual(read({ text: fleet(options).replace('[X-Fleet]', '[X-Flotilla]') }), is);
    assert.deepEqual(read({ text: fleet(''), spec: { placement: structuredClone(placement) as Placement } }), is);
  });
}

for (const { name, options, is } of [
  { name: 'X-ConditionMachineID', options: `X-ConditionMachineID=${id}`, is: { machineID: id } },
  { name: 'X-ConditionMachineBootID', options: `X-ConditionMachineBootID=${id}`, is: { machineID: id } },
  {
    name: 'the modern MachineID before the old one',
    options: 'X-ConditionMachineID=11111111\nMachineID=22222222',
    is: { machineID: '22222222' },
  },
  { name: 'of several MachineIDs the first', options: 'MachineID=11111111\nMachineID=22222222', is: { machineID: '11111111' } },
  {
    name: 'X-ConditionMachineOf before MachineOf',
    options: 'MachineOf=a.service\nX-ConditionMachineOf=b.service',
    is: { machineOf: ['b.service', 'a.service'] },
  },
  {
    name: 'X-ConditionMachineMetadata with MachineMetadata',
    options: 'MachineMetadata=az=a\nX-ConditionMachineMetadata=az=b',
    is: { metadata: { az: ['b', 'a'] } },
  },
  { name: 'X-Conflicts with Conflicts', options: 'X-Conflicts=hello*.service\nConflicts=b*', is: { conflicts: ['hello*.service', 'b*'] } },
  { name: 'Conflicts split at white space', options: 'Conflicts=a* b*\nConflicts="c* d*"', is: { conflicts: ['a*', 'b*', 'c*', 'd*'] } },
  { name: 'the last Global wins', options: 'Global=true\nGlobal=no', is: {} },
  ...['true', 'YES', '1', 'On', 't'].map((word) => ({ name: `Global=${word}`, options: `Global=${word}`, is: { global: true } })),
]) {
  test(`placement: fleet's ways: ${name}`, () => assert.deepEqual(read({ text: fleet(options) }), is));
}

for (const { value, values } of [
  { value: 'a b', values: ['a b'] },
  { value: '"a b"', values: ['a b'] },
  { value: '"a" "b c"  "d"', values: ['a', 'b c', 'd'] },
  { value: '"a" b "c"', values: ['a', 'b', 'c'] },
  { value: '"a', values: ['"a'] },
  { value: '"', values: ['"'] },
  { value: '""', values: [] },
]) {
  test(`placement: the value ${value} is ${JSON.stringify(values)}`, () => assert.deepEqual(splitMultiValue(value), values));
}

for (const { name, options, problem } of [
  {
    name: 'metadata without "="',
    options: 'MachineMetadata=az',
    problem: /line 4: MachineMetadata in \[X-Fleet\]: expected key=value with one "=", got "az"/,
  },
  { name: 'metadata with two "="', options: 'MachineMetadata=a=b=c', problem: /expected key=value with one "="/ },
  { name: 'metadata with an empty side', options: 'MachineMetadata=az=', problem: /expected key=value/ },
  { name: 'metadata that nobody can carry', options: 'MachineMetadata=az=a,b', problem: /a value cannot contain ","/ },
  { name: 'an empty value', options: 'MachineMetadata=', problem: /MachineMetadata in \[X-Fleet\] has no value/ },
  { name: 'a machine id that is none', options: 'MachineID=web1', problem: /expected a machine id/ },
  { name: 'a machine id of 9 digits', options: 'MachineID=012345678', problem: /expected a machine id/ },
  {
    name: 'two peers on one line',
    options: 'MachineOf=a.service b.service',
    problem: /expected the name of a unit, got "a.service b.service": invalid character ' '/,
  },
  { name: 'a peer that is a glob', options: 'MachineOf=db*.service', problem: /invalid character '\*'/ },
  { name: 'a peer that is a template', options: 'MachineOf=db@.service', problem: /is a template, which runs nowhere/ },
  { name: 'itself as peer', options: 'MachineOf=%n', problem: /cannot be placed by where it runs itself/ },
  { name: 'a glob that is not closed', options: 'Conflicts=a[b', problem: /"a\[b" is not a glob/ },
  { name: 'a Global that is neither', options: 'Global=maybe', problem: /expected true or false, got "maybe"/ },
  {
    name: 'an option that is not known',
    options: 'MachineMetdata=az=a',
    problem: /line 4: unknown option "MachineMetdata" in \[X-Fleet\]; did you mean "MachineMetadata"\?/,
  },
  { name: 'an option in another case', options: 'global=true', problem: /unknown option "global" in \[X-Fleet\]; did you mean "Global"\?/ },
  { name: 'a list without end', options: 'Conflicts=a\n'.repeat(101), problem: /Conflicts has 101 values, at most 100/ },
  { name: 'a value without end', options: `Conflicts=${'a'.repeat(600)}`, problem: /Conflicts is longer than 512 characters/ },
]) {
  test(`placement: ${name} is refused`, () => assert.match(place({ text: fleet(options) }).problems.join('; '), problem));
}

test('placement: a deprecated name in [X-Flotilla] is refused and the modern one named', () => {
  const text = fleet('X-Conflicts=a*').replace('X-Fleet', 'X-Flotilla');
  assert.match(place({ text }).problems.join(), /unknown option "X-Conflicts" in \[X-Flotilla\]; did you mean "Conflicts"\?/);
});

/** The texts are fleet's own. */
for (const { placement, problem } of [
  {
    placement: { machineOf: ['a.service'], conflicts: ['a*'] },
    problem: 'unresolvable requirements: peer "a.service" matches conflict "a*"',
  },
  { placement: { machineOf: ['a.service'], replaces: ['*'] }, problem: 'unresolvable requirements: peer "a.service" matches replace "*"' },
  { placement: { machineID: id, machineOf: ['a.service'] }, problem: 'MachineID cannot be used with Peers' },
  { placement: { machineID: id, conflicts: ['a*'] }, problem: 'MachineID cannot be used with Conflicts' },
  { placement: { machineID: id, global: true }, problem: 'MachineID cannot be used with Global' },
  { placement: { machineID: id, replaces: ['a*'] }, problem: 'MachineID cannot be used with Replaces' },
  { placement: { global: true, machineOf: ['a.service'] }, problem: 'Global cannot be used with Peers' },
  { placement: { global: true, replaces: ['a*'] }, problem: 'Global cannot be used with Replaces' },
  { placement: { conflicts: ['a*'], replaces: ['b*'] }, problem: 'Conflicts cannot be used with Replaces' },
]) {
  test(`placement: ${problem}`, () => assert.deepEqual(place({ spec: { placement } }).problems, [`spec.placement: ${problem}`]));
}

test('placement: what may be had together has no problems', () => {
  assert.deepEqual(place({ spec: { placement: { global: true, conflicts: ['a*'], machineMetadata: ['az=a'] } } }).problems, []);
  assert.deepEqual(place({ spec: { placement: { machineOf: ['b.service'], conflicts: ['a*'] } } }).problems, []);
  assert.deepEqual(place({ spec: { placement: { machineID: id, machineMetadata: ['az=a'] } } }).problems, []);
});

test('placement: the same option in two places is refused, different ones go together', () => {
  assert.deepEqual(place({ text: fleet('Conflicts=a*'), spec: { placement: { conflicts: ['b*'] } } }).problems, [
    'spec.placement.conflicts: is also given as Conflicts in [X-Fleet] (line 4); give it in one place',
  ]);
  assert.match(
    place({ text: `${fleet('Global=yes')}[X-Flotilla]\nGlobal=yes\n` }).problems.join(),
    /line 6: Global is given in both \[X-Fleet\] and \[X-Flotilla\]/,
  );
  assert.deepEqual(read({ text: fleet('Conflicts=a*'), spec: { placement: { machineMetadata: ['az=a'] } } }), {
    conflicts: ['a*'],
    metadata: { az: ['a'] },
  });
});

test('placement: an instance follows its template, and what it names itself wins', () => {
  const text = fleet('Conflicts=%p@*.service');
  const templateSpec = { content: text, placement: { machineMetadata: ['az=a'] }, resources: { requests: { cpu: '1' } } };
  const following = place({ text, templateSpec });
  assert.deepEqual([following.conflicts, following.metadata.get('az'), following.requests.cpuMillis], [['web@*.service'], ['a'], 1000]);

  const own = place({
    text,
    templateSpec,
    spec: { placement: { machineMetadata: ['az=b'], conflicts: [] }, resources: { requests: { cpu: '2' } } },
  });
  assert.deepEqual([own.conflicts, own.metadata.get('az'), own.requests.cpuMillis, own.problems], [[], ['b'], 2000, []]);
});

test('placement: the specifiers of a template wait for an instance', () => {
  const input = { name: 'web@.service', text: fleet('MachineOf=db@%i.service\nMachineMetadata=az=%i') };
  assert.deepEqual(place(input).problems, []);
  assert.deepEqual(place({ name: 'web@.service', text: fleet('MachineID=%i') }).problems, []);
});

test('placement: a text that cannot be read is a problem and not an exception', () => {
  assert.deepEqual(place({ text: 'garbage' }).problems, ['spec.content: line 1: "garbage" has no "="; expected Name=value']);
});

test('placement: requests are read exactly, and refused when they are none', () => {
  assert.deepEqual(place({ spec: { resources: { requests: { cpu: '250m', memory: '1.5Gi' } } } }).requests, {
    cpuMillis: 250,
    memoryBytes: 1_610_612_736,
  });
  assert.deepEqual(place({ spec: { resources: { requests: { cpu: '-1', memory: 'lots' } } } }).problems, [
    'spec.resources.requests.cpu: expected a quantity such as "500m" or "2"',
    'spec.resources.requests.memory: expected a quantity such as "256Mi" or "1G"',
  ]);
});

for (const { name, placement, policy } of [
  { name: 'anywhere', placement: {}, policy: 'atLeastOnce' },
  { name: 'pinned by MachineID', placement: { machineID: id }, policy: 'stay' },
  { name: 'global', placement: { global: true }, policy: 'stay' },
  { name: 'chosen by metadata', placement: { machineMetadata: ['az=a'] }, policy: 'atLeastOnce' },
]) {
  test(`SEMANTICS 20: the default policy of a unit that is ${name} is ${policy}`, () => {
    assert.deepEqual(place({ spec: { placement } }).failover, { policy, deadlineMs: 30_000, stopWithinMs: 10_000 });
  });
}

test('SEMANTICS 20: atMostOnce is refused until it arrives, and its times mean nothing without it', () => {
  assert.match(
    place({ spec: { failover: { policy: 'atMostOnce', deadline: '1m' } } }).problems.join(),
    /atMostOnce arrives with .* not available yet/,
  );
  assert.match(
    place({ spec: { failover: { deadline: '1m' } } }).problems.join(),
    /spec.failover.deadline: only means something with policy atMostOnce/,
  );
  assert.match(
    place({ spec: { failover: { policy: 'atLeastOnce' }, placement: { global: true } } }).problems.join(),
    /can only stay, not atLeastOnce/,
  );
  assert.deepEqual(place({ spec: { failover: { policy: 'stay' } } }).failover.policy, 'stay');
});

test('placement: values listed twice are refused', () => {
  assert.deepEqual(place({ spec: { placement: { conflicts: ['a*', 'b*', 'a*'] } } }).problems, [
    'spec.placement.conflicts[2]: is listed twice',
  ]);
});

test('placement: selectors and tolerations are checked and handed on', () => {
  const machineSelector = { matchExpressions: [{ key: 'az', operator: 'In' as const, values: ['a'] }] };
  const tolerations = [{ key: 'gpu', operator: 'Exists' as const }];
  const good = place({ spec: { placement: { machineSelector, tolerations } } });
  assert.deepEqual([good.selector, good.tolerations, good.problems], [machineSelector, tolerations, []]);
  const bad = place({
    spec: {
      placement: {
        machineSelector: {
          matchLabels: { 'a b': 'x' },
          matchExpressions: [
            { key: 'az', operator: 'In' },
            { key: 'az', operator: 'Exists', values: ['x'] },
          ],
        },
        tolerations: [{ value: 'x' }, { key: 'a', operator: 'Exists', value: 'x' }, { key: 'a', effect: 'Sometimes' }],
      },
    },
  });
  assert.deepEqual(bad.problems, [
    'spec.placement.tolerations[0].operator: must be Exists when there is no key',
    'spec.placement.tolerations[1].value: must be empty when operator is Exists',
    'spec.placement.tolerations[2].effect: expected one of NoSchedule, NoExecute',
    'spec.placement.machineSelector.matchLabels["a b"]: a key cannot contain " "',
    'spec.placement.machineSelector.matchExpressions[0].values: must not be empty with operator In',
    'spec.placement.machineSelector.matchExpressions[1].values: must be empty with operator Exists',
  ]);
});

for (const { name, tolerations, is } of [
  { name: 'none', tolerations: [], is: false },
  { name: 'the key and value', tolerations: [{ key: 'gpu', value: 'yes' }], is: true },
  { name: 'another value', tolerations: [{ key: 'gpu', value: 'no' }], is: false },
  { name: 'the key, whatever its value', tolerations: [{ key: 'gpu', operator: 'Exists' as const }], is: true },
  { name: 'everything', tolerations: [{ operator: 'Exists' as const }], is: true },
  { name: 'another effect', tolerations: [{ operator: 'Exists' as const, effect: 'NoExecute' }], is: false },
  { name: 'no key and no operator', tolerations: [{ value: 'yes' }], is: false },
]) {
  test(`taints: a unit that tolerates ${name}`, () =>
    assert.equal(tolerates(tolerations, { key: 'gpu', value: 'yes', effect: 'NoSchedule' }), is));
}
