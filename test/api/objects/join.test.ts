import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinAssignment, joinPlain, joinUnit } from '../../../api/objects/join.js';
import type { Row, StoredObject } from '../../../api/objects/ports.js';
import { firstRevisionAfter, listVersion, objectVersion, revisionSeen } from '../../../api/objects/resource-version.js';
import type { UnitFragment } from '../../../api/objects/unit-fragment.js';
import type { UnitState } from '../../../api/resources/assignment.js';
import { conditionOf } from '../../../api/resources/conditions.js';
import type { Unit, UnitSpec, UnitStatus } from '../../../api/resources/unit.js';
import { unitKind } from '../../../api/resources/unit-kind.js';
import { activeState, assignmentOf, at, machineA, scheduledOn, sha256 } from './cluster-writer.js';

const text = '[Service]\nExecStart=/bin/sleep 60\n';
const row = <T>(value: T, modRevision: number): Row<T> => ({ key: 'k', value, createRevision: 1, modRevision });
const later = '2026-01-01T00:05:00Z';

interface Situation {
  readonly unit?: Partial<StoredObject['metadata']>;
  readonly spec?: UnitSpec;
  /** Absent: the unit follows its template. */
  readonly textHash?: string | undefined;
  readonly fragment?: UnitFragment | undefined;
  readonly state?: Partial<UnitState> | undefined;
}

/** web.service, launched, generation 2, scheduled on machine A, seen running there: but for what the situation says otherwise. */
function joined(situation: Situation): Unit {
  const { unit, spec = { desiredState: 'launched' } } = situation;
  const fragment = 'fragment' in situation ? situation.fragment : scheduledOn(machineA, 2);
  const textHash = 'textHash' in situation ? situation.textHash : sha256(text);
  const state = 'state' in situation ? situation.state : {};
  return joinUnit({
    own: row(
      {
        apiVersion: 'flotilla.dev/v1',
        kind: 'Unit',
        metadata: { name: 'web.service', uid: 'u1', generation: 2, creationTimestamp: at, ...unit },
        spec,
        ...(textHash === undefined ? {} : { textHash }),
      },
      10,
    ),
    fragment: fragment && row(fragment as Record<string, unknown>, 11),
    state: state && row({ ...activeState('u1', 2, text), since: later, ...state }, 12),
    text: textHash && text,
    unreadableRevision: 0,
  }) as Unit;
}

const unschedulable: UnitFragment = {
  observedGeneration: 2,
  conditions: [
    {
      type: 'Scheduled',
      status: 'False',
      reason: 'Unschedulable',
      message: '2 machines: conflict with web@1.service.',
      lastTransitionTime: at,
      observedGeneration: 2,
    },
  ],
};
const moving: UnitFragment = {
  ...unschedulable,
  machine: machineA,
  conditions:
    unschedulable.conditions?.map((condition) => ({ ...condition, reason: 'Moving', message: 'Moves off the drained machine.' })) ?? [],
};
const lost: UnitFragment = { ...scheduledOn(machineA, 2), machineLost: 'machine aaaaaaaa does not answer' };
const oneshot = { type: 'oneshot', active: 'inactive', sub: 'dead', exitStatus: 0 } as const;
const follower = (template?: { uid: string; generation: number }): UnitFragment => ({
  ...scheduledOn(machineA, 2),
  textHash: sha256(text),
  ...(template ? { template } : {}),
});

const table: {
  name: string;
  is: Situation;
  ready: string;
  upToDate: string;
  current: UnitStatus['currentState'];
  observed: number | undefined;
  says: RegExp;
}[] = [
  // What was asked for is so.
  {
    name: 'it runs',
    is: {},
    ready: 'True Active',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Active \(running\) on machine aaaaaaaa\.$/,
  },
  {
    name: 'it reloads',
    is: { state: { active: 'reloading', sub: 'reload' } },
    ready: 'True Active',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Reloading/,
  },
  {
    name: 'a oneshot ran and succeeded',
    is: { state: oneshot },
    ready: 'True Completed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /ran on machine aaaaaaaa and succeeded/,
  },
  {
    name: 'a oneshot remains after exit',
    is: { state: { type: 'oneshot', active: 'active', sub: 'exited' } },
    ready: 'True Active',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Active \(exited\)/,
  },
  {
    name: 'it is wanted loaded and is',
    is: { spec: { desiredState: 'loaded' }, state: { active: 'inactive', sub: 'dead' } },
    ready: 'True Loaded',
    upToDate: 'True UpToDate',
    current: 'loaded',
    observed: 2,
    says: /^Loaded on machine aaaaaaaa: inactive \(dead\)\.$/,
  },
  {
    name: 'it is wanted loaded, and a timer started it',
    is: { spec: { desiredState: 'loaded' } },
    ready: 'True Loaded',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /active \(running\)/,
  },
  {
    name: 'it is wanted nowhere and is nowhere',
    is: { spec: { desiredState: 'inactive' }, fragment: undefined, state: undefined },
    ready: 'True Inactive',
    upToDate: 'True Inactive',
    current: 'inactive',
    observed: 2,
    says: /not wanted on any machine/,
  },
  {
    name: 'it is a template',
    is: { unit: { name: 'web@.service' }, spec: { desiredState: 'inactive' }, fragment: undefined, state: undefined },
    ready: 'True Template',
    upToDate: 'True Template',
    current: 'inactive',
    observed: 2,
    says: /only its instances run/,
  },

  // Not so yet, or no more.
  {
    name: 'the scheduler has not looked at it',
    is: { fragment: undefined, state: undefined },
    ready: 'Unknown Pending',
    upToDate: 'Unknown Pending',
    current: 'inactive',
    observed: undefined,
    says: /has not looked at it yet/,
  },
  {
    name: 'there is no machine for it',
    is: { fragment: unschedulable, state: undefined },
    ready: 'False Unschedulable',
    upToDate: 'False Unschedulable',
    current: 'inactive',
    observed: 2,
    says: /conflict with web@1\.service/,
  },
  {
    name: 'its machine has not reported it',
    is: { state: undefined },
    ready: 'False NotReported',
    upToDate: 'False NotReported',
    current: 'inactive',
    observed: 2,
    says: /agent on machine aaaaaaaa has not reported it yet/,
  },
  {
    name: 'its machine still reports an earlier unit of that name',
    is: { state: { unitUid: 'u0' } },
    ready: 'False NotReported',
    upToDate: 'False NotReported',
    current: 'inactive',
    observed: 2,
    says: /has not reported it yet/,
  },
  {
    name: 'it was stopped because it moves',
    is: { fragment: moving, state: { gone: true, active: 'inactive', load: 'not-found' } },
    ready: 'False Moving',
    upToDate: 'False Moving',
    current: 'inactive',
    observed: 2,
    says: /Moves off the drained machine/,
  },
  {
    name: 'it is loaded and not started',
    is: { state: { active: 'inactive', sub: 'dead', runningHash: undefined } },
    ready: 'False NotStarted',
    upToDate: 'True UpToDate',
    current: 'loaded',
    observed: 2,
    says: /not started yet/,
  },
  {
    name: 'it is starting',
    is: { state: { active: 'activating', sub: 'start-pre' } },
    ready: 'False Activating',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Activating \(start-pre\)/,
  },
  {
    name: 'it exited with status 3',
    is: { state: { active: 'failed', sub: 'failed', result: 'exit-code', exitStatus: 3 } },
    ready: 'False Failed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Failed on machine aaaaaaaa: a process exited with status 3\.$/,
  },
  {
    name: 'its user does not exist on the machine',
    is: { state: { active: 'failed', sub: 'failed', result: 'exit-code', exitStatus: 217 } },
    ready: 'False Failed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Failed on machine aaaaaaaa: a process exited with status 217\/USER\.$/,
  },
  {
    name: 'it failed and waits for its next try',
    is: { state: { active: 'activating', sub: 'auto-restart', result: 'exit-code', exitStatus: 217 } },
    ready: 'False Activating',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /^Activating \(auto-restart\) on machine aaaaaaaa: a process exited with status 217\/USER\.$/,
  },
  {
    name: 'it was killed',
    is: { state: { active: 'failed', sub: 'failed', result: 'signal', exitStatus: 9 } },
    ready: 'False Failed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /killed by SIGKILL/,
  },
  {
    name: 'it took too long to start',
    is: { state: { active: 'failed', sub: 'failed', result: 'timeout' } },
    ready: 'False Failed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /longer than allowed/,
  },
  {
    name: 'systemd says something that we do not know',
    is: { state: { active: 'failed', sub: 'failed', result: 'exotic', exitStatus: 7 } },
    ready: 'False Failed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /result exotic, exit status 7/,
  },
  {
    name: 'a daemon ended by itself',
    is: { state: { active: 'inactive', sub: 'dead', exitStatus: 0, runningHash: undefined } },
    ready: 'False Ended',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /ended by itself, with success/,
  },
  {
    name: 'a oneshot has not run',
    is: { state: { ...oneshot, exitStatus: undefined, runningHash: undefined } },
    ready: 'False NotStarted',
    upToDate: 'True UpToDate',
    current: 'loaded',
    observed: 2,
    says: /not started yet/,
  },
  {
    name: 'a oneshot failed',
    is: { state: { ...oneshot, active: 'failed', result: 'exit-code', exitStatus: 1 } },
    ready: 'False Failed',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /status 1/,
  },
  {
    name: 'its name is taken on that machine',
    is: {
      state: {
        active: 'inactive',
        load: 'not-found',
        generation: 0,
        textHash: '',
        runningHash: undefined,
        problem: { reason: 'NameTaken', message: 'sshd.service is the machine’s own.' },
      },
    },
    ready: 'False NameTaken',
    upToDate: 'False NameTaken',
    current: 'inactive',
    observed: 0,
    says: /the machine’s own/,
  },
  {
    name: 'it is wanted loaded, and systemd cannot load it',
    is: { spec: { desiredState: 'loaded' }, state: { load: 'bad-setting', active: 'inactive', runningHash: undefined } },
    ready: 'False NotLoaded',
    upToDate: 'True UpToDate',
    current: 'inactive',
    observed: 2,
    says: /bad-setting/,
  },
  {
    name: 'its machine is not heard of',
    is: { fragment: lost },
    ready: 'Unknown MachineLost',
    upToDate: 'Unknown MachineLost',
    current: 'launched',
    observed: 2,
    says: /^Machine aaaaaaaa does not answer\.$/,
  },

  // Something newer was asked for.
  {
    name: 'a new generation has not been decided about',
    is: { fragment: scheduledOn(machineA, 1), state: { generation: 1 } },
    ready: 'True Active',
    upToDate: 'False Pending',
    current: 'launched',
    observed: 1,
    says: /Active/,
  },
  {
    name: 'a new generation has not been carried out',
    is: { state: { generation: 1 } },
    ready: 'True Active',
    upToDate: 'False Pending',
    current: 'launched',
    observed: 1,
    says: /Active/,
  },
  {
    name: 'its new text is on no disk yet',
    is: { state: { textHash: sha256('old') } },
    ready: 'True Active',
    upToDate: 'False TextPending',
    current: 'launched',
    observed: 2,
    says: /Active/,
  },
  {
    name: 'systemd would not load the new text, and the old one runs',
    is: { state: { generation: 1, textHash: sha256('old'), problem: { reason: 'LoadFailed', message: 'Unknown key.' } } },
    ready: 'True Active',
    upToDate: 'False LoadFailed',
    current: 'launched',
    observed: 1,
    says: /Active/,
  },
  {
    name: 'its text differs from what runs in a comment',
    is: { state: { runningHash: sha256(`${text}# old`) } },
    ready: 'True Active',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /Active/,
  },

  // Instances.
  {
    name: 'an instance runs its template’s newest text',
    is: {
      unit: { name: 'web@1.service' },
      textHash: undefined,
      fragment: follower({ uid: 't', generation: 5 }),
      state: { template: { uid: 't', generation: 5 } },
    },
    ready: 'True Active',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /Active/,
  },
  {
    name: 'an instance runs an older text of its template',
    is: {
      unit: { name: 'web@1.service' },
      textHash: undefined,
      fragment: follower({ uid: 't', generation: 5 }),
      state: { template: { uid: 't', generation: 4 } },
    },
    ready: 'True Active',
    upToDate: 'False TemplatePending',
    current: 'launched',
    observed: 2,
    says: /Active/,
  },
  {
    name: 'an instance runs the text of a template that was deleted and made again',
    is: {
      unit: { name: 'web@1.service' },
      textHash: undefined,
      fragment: follower({ uid: 't', generation: 1 }),
      state: { template: { uid: 's', generation: 4 } },
    },
    ready: 'True Active',
    upToDate: 'False TemplatePending',
    current: 'launched',
    observed: 2,
    says: /Active/,
  },
  {
    name: 'an instance has content of its own and follows nobody',
    is: { unit: { name: 'web@1.service' } },
    ready: 'True Active',
    upToDate: 'True UpToDate',
    current: 'launched',
    observed: 2,
    says: /Active/,
  },

  // On its way out.
  {
    name: 'it is being stopped',
    is: { spec: { desiredState: 'inactive' } },
    ready: 'False Stopping',
    upToDate: 'False Stopping',
    current: 'launched',
    observed: 2,
    says: /^Being stopped on machine aaaaaaaa: it is still active \(running\)\.$/,
  },
  {
    name: 'it is being deleted',
    is: { unit: { deletionTimestamp: later } },
    ready: 'False Deleting',
    upToDate: 'False Deleting',
    current: 'launched',
    observed: 2,
    says: /^Being deleted on machine aaaaaaaa/,
  },
  {
    name: 'it is being deleted and its stop hangs',
    is: { unit: { deletionTimestamp: later }, state: { problem: { reason: 'StopTimeout', message: 'it does not stop.' } } },
    ready: 'False Deleting',
    upToDate: 'False Deleting',
    current: 'launched',
    observed: 2,
    says: /aaaaaaaa: it does not stop\.$/,
  },
  {
    name: 'it is being deleted and its machine is away',
    is: { unit: { deletionTimestamp: later }, fragment: lost },
    ready: 'Unknown MachineLost',
    upToDate: 'Unknown MachineLost',
    current: 'launched',
    observed: 2,
    says: /does not answer/,
  },
  {
    name: 'it is being deleted and gone from its machine',
    is: { unit: { deletionTimestamp: later }, state: { gone: true, active: 'inactive' } },
    ready: 'False Deleting',
    upToDate: 'False Deleting',
    current: 'inactive',
    observed: 2,
    says: /process and file are gone/,
  },
];

const short = (unit: Unit, type: string) => {
  const condition = conditionOf(unit, type);
  return `${condition?.status} ${condition?.reason}`;
};

for (const { name, is, ready, upToDate, current, observed, says } of table) {
  test(`SEMANTICS 3: a Unit’s status when ${name}`, () => {
    const unit = joined(is);
    assert.equal(short(unit, 'Ready'), ready);
    assert.equal(short(unit, 'UpToDate'), upToDate);
    assert.equal(unit.status?.currentState, current);
    assert.equal(unit.status?.observedGeneration, observed);
    assert.match(conditionOf(unit, 'Ready')?.message ?? '', says);
    assert.ok(unitKind.schema.safeParse(unit).success, 'the joined object fits the kind’s schema');
    for (const condition of unit.status?.conditions ?? []) {
      assert.match(condition.message, /^\S.*[.]$/, `${condition.type} is a sentence`);
      assert.match(condition.reason, /^[A-Z][A-Za-z]*$/, `${condition.type} has a reason for programs`);
    }
    assert.deepEqual(joined(is), unit, 'the same rows give the same object');
  });
}

test('SEMANTICS 10: conditions name the generation that they are about, so that nobody takes an old Ready for the new one', () => {
  const unit = joined({ state: { generation: 1 } });
  assert.equal(conditionOf(unit, 'Scheduled')?.observedGeneration, 2);
  assert.equal(conditionOf(unit, 'Ready')?.observedGeneration, 1);
  assert.equal(unit.status?.observedGeneration, 1);
});

test('SEMANTICS 10: conditions that nobody has observed yet name no generation', () => {
  const unit = joined({ fragment: undefined, state: undefined });
  assert.deepEqual(
    unit.status?.conditions?.map((condition) => [condition.type, 'observedGeneration' in condition]),
    [
      ['Scheduled', false],
      ['Ready', false],
      ['UpToDate', false],
    ],
  );
});

test('SEMANTICS 3: a condition’s time is when the state was entered, not when it was read', () => {
  assert.equal(conditionOf(joined({}), 'Ready')?.lastTransitionTime, later);
  assert.equal(conditionOf(joined({ state: undefined }), 'Ready')?.lastTransitionTime, at);
});

test('SEMANTICS 3: what else the leader says is passed on, but not its word on what only a machine can know', () => {
  const fragment = scheduledOn(machineA, 2);
  const condition = (type: string) => ({ type, status: 'True' as const, reason: 'Said', message: 'Said.', lastTransitionTime: at });
  const unit = joined({
    fragment: { ...fragment, conditions: [...(fragment.conditions ?? []), condition('Draining'), condition('Ready')] },
    state: { active: 'failed', sub: 'failed', result: 'exit-code', exitStatus: 1 },
  });
  assert.deepEqual(
    unit.status?.conditions?.map(({ type, status }) => [type, status]),
    [
      ['Scheduled', 'True'],
      ['Ready', 'False'],
      ['UpToDate', 'True'],
      ['Draining', 'True'],
    ],
  );
});

test('SEMANTICS 3: a global Unit shows counts and the leader’s conditions, and no machine’s state', () => {
  const fragment = { ...scheduledOn(machineA, 2), desiredMachines: 3, currentMachines: 3, readyMachines: 2 };
  for (const spec of [{ desiredState: 'launched', placement: { global: true } }, { desiredState: 'launched' }] satisfies UnitSpec[]) {
    assert.deepEqual(joined({ spec, fragment }).status, {
      observedGeneration: 2,
      conditions: fragment.conditions,
      desiredMachines: 3,
      currentMachines: 3,
      readyMachines: 2,
    });
  }
  const fresh = joined({ spec: { desiredState: 'launched', placement: { global: true } }, fragment: undefined, state: undefined });
  assert.equal(short(fresh, 'Scheduled'), 'Unknown Pending');
});

test('SEMANTICS 3: what systemd said is shown as it said it', () => {
  const { conditions: _conditions, ...status } = joined({ state: { mainPID: 42, restarts: 1 } }).status ?? {};
  assert.deepEqual(status, {
    observedGeneration: 2,
    currentState: 'launched',
    machine: machineA,
    load: 'loaded',
    active: 'active',
    sub: 'running',
    result: 'success',
    since: later,
    mainPID: 42,
    restarts: 1,
    contentHash: sha256(text),
  });
});

test('SEMANTICS 2: a resourceVersion counts parts that cannot be read', () => {
  const own = row({ apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata: { name: machineA, uid: 'm' } }, 10);
  assert.equal(joinPlain(own, undefined, 0).metadata.resourceVersion, '20');
  assert.equal(joinPlain(own, row({}, 15), 0).metadata.resourceVersion, '30');
  assert.equal(joinPlain(own, undefined, 17).metadata.resourceVersion, '34');
  const assignment = row(assignmentOf('web.service', machineA, 'u1', 1, text), 20);
  assert.equal(joinAssignment(assignment, row(activeState('u1', 1, text), 25), 0).metadata.resourceVersion, '50');
});

for (const { name, version, seen, first } of [
  { name: 'an object’s (even): that revision may have been seen in part', version: Number(objectVersion(7)), seen: 7, first: 7 },
  { name: 'a list’s (odd): that revision has been seen whole', version: Number(listVersion(7)), seen: 7, first: 8 },
]) {
  test(`SEMANTICS 1: what a resourceVersion means: ${name}`, () => {
    assert.equal(revisionSeen(version), seen);
    assert.equal(firstRevisionAfter(version), first);
  });
}
