import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlotillaObject } from '../../../api/resources/meta.js';
import type { UnitSpec } from '../../../api/resources/unit.js';
import { unitKind } from '../../../api/resources/unit-kind.js';
import { textHash, unitText } from '../../../api/resources/unit-text.js';

const unit = (name: string, spec: UnitSpec, metadata: object = {}): FlotillaObject => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name, ...metadata },
  spec,
});
const service = '[Service]\nExecStart=/bin/true\n';
const problemsOf = (object: FlotillaObject) =>
  unitKind.validate(unitKind.withDefaults(object)).map(({ field, message }) => `${field}: ${message}`);

for (const { name, spec, desiredState } of [
  { name: 'web.service', spec: { content: service }, desiredState: 'launched' },
  { name: 'web@1.service', spec: {}, desiredState: 'launched' },
  { name: 'web@.service', spec: { content: service }, desiredState: 'inactive' },
  { name: 'web.service', spec: { content: service, desiredState: 'loaded' as const }, desiredState: 'loaded' },
]) {
  test(`SEMANTICS 7: ${name} with ${spec.desiredState ?? 'nothing said'} is ${desiredState}`, () => {
    const object = unit(name, spec);
    const copy = structuredClone(object);
    assert.equal((unitKind.withDefaults(object).spec as UnitSpec).desiredState, desiredState);
    assert.deepEqual(object, copy);
    assert.deepEqual(problemsOf(object), []);
  });
}

for (const desiredState of ['loaded', 'launched'] as const) {
  test(`SEMANTICS 7: a template cannot be ${desiredState}`, () => {
    assert.deepEqual(problemsOf(unit('web@.service', { content: service, desiredState })), [
      'spec.desiredState: cannot activate template "web@.service"',
    ]);
  });
}

for (const { name, text } of [
  { name: 'a.timer', text: '[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n' },
  { name: 'a.socket', text: '[Socket]\nListenStream=80\n' },
  { name: 'a.path', text: '[Path]\nPathExists=/x\n' },
  { name: 'a.mount', text: '[Mount]\nWhat=/x\nWhere=/a\n' },
  { name: 'a.target', text: '[Unit]\nWants=b.service\n' },
  { name: 'a.slice', text: '[Slice]\nMemoryMax=1G\n' },
  { name: 'x@7.service', text: service },
]) {
  test(`unit: ${name} with a text of its own is accepted`, () => assert.deepEqual(problemsOf(unit(name, { content: text })), []));
}

for (const { name, object, problems } of [
  {
    name: 'a path for a name',
    object: unit('../x.service', { content: service }),
    problems: ["metadata.name: invalid character '/' in unit name"],
  },
  {
    name: 'a name of 300 characters',
    object: unit(`${'x'.repeat(292)}.service`, { content: service }),
    problems: ['metadata.name: unit name exceeds maximum length (255)'],
  },
  {
    name: 'no text',
    object: unit('web.service', {}),
    problems: ['spec.content: the unit file is missing; only an instance such as web@1.service can do without, and follows its template'],
  },
  {
    name: 'a template without text',
    object: unit('web@.service', {}),
    problems: ['spec.content: the unit file is missing; only an instance such as web@1.service can do without, and follows its template'],
  },
  {
    name: 'two texts',
    object: unit('web.service', { content: service, sections: { Service: { ExecStart: '/x' } } }),
    problems: ['spec.sections: cannot be given together with spec.content: both are the unit file'],
  },
  {
    name: 'an empty text',
    object: unit('web.service', { content: '# later\n[Service]\n' }),
    problems: ['spec.content: the unit file has no option; expected at least one Name=value in a section'],
  },
  {
    name: 'garbage',
    object: unit('web.service', { content: '[Service]\nExecStart /x\n' }),
    problems: ['spec.content: line 2: "ExecStart" has no "="; expected Name=value'],
  },
  {
    name: 'a section of another type',
    object: unit('web.service', { content: `${service}[Timer]\nOnCalendar=daily\n` }),
    problems: ['spec.content: line 3: section [Timer] belongs in a .timer, not in a .service'],
  },
  {
    name: 'a misspelt section',
    object: unit('web.service', { sections: { Servce: { ExecStart: '/x' } } }),
    problems: ['spec.sections: unknown section [Servce]; did you mean [Service]?'],
  },
  {
    name: 'a value of two lines',
    object: unit('web.service', { sections: { Service: { ExecStart: '/x\n/y' } } }),
    problems: ['spec.sections.Service.ExecStart: a value is one line: use a list to repeat the option'],
  },
  {
    name: 'a placement that contradicts itself',
    object: unit('web.service', { content: `${service}[X-Fleet]\nGlobal=true\n`, placement: { machineOf: ['db.service'] } }),
    problems: ['spec.placement: Global cannot be used with Peers'],
  },
  {
    name: 'a label with a space',
    object: unit('web.service', { content: service }, { labels: { 'a b': 'x' } }),
    problems: ['metadata.labels["a b"]: a key cannot contain " "'],
  },
  {
    name: 'a label whose value has a comma',
    object: unit('web.service', { content: service }, { labels: { a: 'x,y' } }),
    problems: ['metadata.labels.a: a value cannot contain ","'],
  },
]) {
  test(`unit: ${name} is refused`, () => assert.deepEqual(problemsOf(object), problems));
}

test('unit: annotations are bounded in all', () => {
  const annotations = { note: 'x'.repeat(262_144) };
  assert.match(
    problemsOf(unit('web.service', { content: service }, { annotations })).join(),
    /metadata.annotations: must have at most 262144 bytes/,
  );
});

test('unit: a file of garbage gets a bounded answer', () => {
  assert.ok(problemsOf(unit('web.service', { content: 'x\n'.repeat(30_000) })).length <= 20);
});

test('unit: its text is its content as written, or its sections as a file', () => {
  assert.equal(unitText({ spec: { content: '# as written\n' } }), '# as written\n');
  assert.equal(unitText({ spec: { sections: { Service: { ExecStart: '/x' } } } }), '[Service]\nExecStart=/x\n');
  assert.equal(unitText({ spec: {} }), undefined);
  assert.equal(textHash('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

/** The units of the tutorials that our users come from. */
const docker = (name: string, image: string, rest: string): string => `[Unit]
Description=${name}
After=docker.service
Requires=docker.service

[Service]
TimeoutStartSec=0
ExecStartPre=-/usr/bin/docker kill ${name}
ExecStartPre=-/usr/bin/docker rm ${name}
ExecStartPre=/usr/bin/docker pull ${image}
ExecStart=/usr/bin/docker run --name ${name} ${image}${rest}`;

for (const { about, name, text } of [
  {
    about: 'hello.service with X-Conflicts and a comment in [X-Fleet]',
    name: 'hello.service',
    text: docker(
      'busybox1',
      'busybox',
      ' /bin/sh -c "while true; do echo Hello World; sleep 1; done"\nExecStop=/usr/bin/docker kill busybox1\n[X-Fleet]\n# not beside another hello\nX-Conflicts=hello*.service\n',
    ),
  },
  {
    about: 'hello.service with ExecStopPost and [Install] after [X-Fleet]',
    name: 'hello.service',
    text: docker(
      'busybox1',
      'busybox',
      ' true\nExecStopPost=/usr/bin/docker rm busybox1\n\n[X-Fleet]\nX-Conflicts=hello*.service\n\n[Install]\nWantedBy=multi-user.target\n',
    ),
  },
  {
    about: 'nginx.service with a user, comments between options and a MachineID',
    name: 'nginx.service',
    text: docker(
      'nginx',
      'nginx:latest',
      '\n# whose image it is\nUser=core\nRestart=on-failure\nRestartSec=5\n\n# where it runs\n[X-Fleet]\nMachineID=df515c3682aa43b4ae2b7d2168e17d38\n',
    ),
  },
  {
    about: 'a global unit',
    name: 'exporter.service',
    text: docker('exporter', 'exporter', '\n\n[X-Fleet]\nGlobal=true\nMachineMetadata="role=worker" "role=edge"\n'),
  },
]) {
  test(`tutorials: ${about} is accepted`, () => assert.deepEqual(problemsOf(unit(name, { content: text })), []));
}

test('tutorials: the redis pair with ExecStart without "=" is refused, both lines named', () => {
  const text = docker('redis', 'dockerfile/redis', '\n\n[X-Fleet]\nConflicts=redis@*.service\n')
    .replace('ExecStart=/usr/bin/docker', 'ExecStart docker')
    .replace('Pre=/usr/bin/docker pull', 'Pre docker pull');
  assert.deepEqual(problemsOf(unit('redis@1.service', { content: text })), [
    'spec.content: line 10: "ExecStartPre" has no "="; expected Name=value',
    'spec.content: line 11: "ExecStart" has no "="; expected Name=value',
  ]);
});

for (const { name, text, warnings } of [
  {
    name: 'a letter swapped',
    text: 'ExecStrat=/x',
    warnings: ['spec.content: line 3: systemd knows no "ExecStrat" in [Service] and will ignore it; did you mean "ExecStart"?'],
  },
  {
    name: 'another case',
    text: 'restart=always',
    warnings: ['spec.content: line 3: systemd knows no "restart" in [Service] and will ignore it; did you mean "Restart"?'],
  },
  { name: 'a directive of a later systemd', text: 'RestartSteps=3', warnings: [] },
  { name: 'directives that are known', text: 'MemoryMax=1G\nPrivateTmp=yes\nTimeoutSec=3\nEnvironment=a=b', warnings: [] },
  { name: "somebody's own", text: 'X-Restart=1', warnings: [] },
]) {
  test(`unit: ${name} is accepted ${warnings.length > 0 ? 'with a warning' : 'in silence'}`, () => {
    const object = unit('web.service', { content: `${service}${text}\n` });
    assert.deepEqual(problemsOf(object), []);
    assert.deepEqual(unitKind.warnings?.(object), warnings);
  });
}
