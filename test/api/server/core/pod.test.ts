import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinAssignment } from '../../../../api/objects/join.js';
import type { AssignmentSpec, UnitState } from '../../../../api/resources/assignment.js';
import { boundAnnotation, type Pod, type PodParts, podOf, standing } from '../../../../api/server/core/pod.js';
import { activeState, assignmentOf, at } from '../../objects/cluster-writer.js';

const machine = 'a'.repeat(32);
const row = <T>(value: T, modRevision: number) => ({ key: 'key', value, createRevision: 1, modRevision });

function pod(state: Partial<UnitState> | undefined, spec: Partial<AssignmentSpec> = {}, parts: Partial<PodParts> = {}): Pod {
  const seen = state && row(activeState('uid', 1, 'x', state), 7);
  const assignment = joinAssignment(row({ ...assignmentOf('web.service', machine, 'uid', 1, 'x'), ...spec }, 5), seen, 0);
  return podOf({ assignment, node: { name: 'web-1', address: '10.0.0.1' }, unit: undefined, resourceVersion: '14', ...parts }) as Pod;
}

const idle = { active: 'inactive', sub: 'dead' };
for (const { what, state, spec, status, phase, isReady = false } of [
  { what: 'nothing reported yet', state: undefined, status: 'Pending', phase: 'Pending' },
  { what: 'it runs', state: {}, status: 'Running', phase: 'Running', isReady: true },
  { what: 'a timer waits', state: { sub: 'waiting', type: undefined }, status: 'Running', phase: 'Running', isReady: true },
  { what: 'it starts', state: { active: 'activating', sub: 'start-pre' }, status: 'Starting', phase: 'Pending' },
  {
    what: 'systemd waits to start it again',
    state: { active: 'activating', sub: 'auto-restart' },
    status: 'CrashLoopBackOff',
    phase: 'Running',
  },
  { what: 'it stops', state: { active: 'deactivating', sub: 'stop-sigterm' }, status: 'Running', phase: 'Running' },
  { what: 'it failed', state: { active: 'failed', sub: 'failed', result: 'exit-code', exitStatus: 3 }, status: 'Error', phase: 'Failed' },
  { what: 'memory ran out', state: { active: 'failed', sub: 'failed', result: 'oom-kill' }, status: 'OOMKilled', phase: 'Failed' },
  { what: 'a oneshot is done', state: { ...idle, type: 'oneshot' }, status: 'Completed', phase: 'Succeeded' },
  { what: 'loaded, as wanted', state: { ...idle, runningHash: undefined }, spec: { wanted: 'loaded' }, status: 'Loaded', phase: 'Pending' },
  { what: 'not started yet', state: { ...idle, runningHash: undefined }, status: 'NotStarted', phase: 'Pending' },
  {
    what: 'the machine will not have it',
    state: { ...idle, load: 'not-found', problem: { reason: 'NameTaken', message: 'vendor unit' } },
    status: 'NameTaken',
    phase: 'Pending',
  },
  { what: 'it is to go', state: {}, spec: { remove: 'it moves' }, status: 'Terminating', phase: 'Running', isReady: true },
  { what: 'another life of the unit was reported', state: { unitUid: 'older' }, status: 'Pending', phase: 'Pending' },
] as const) {
  test(`pod: ${what}`, () => {
    const made = pod(state as Partial<UnitState> | undefined, spec as Partial<AssignmentSpec> | undefined);
    assert.deepEqual([standing(made), made.status!.phase, made.status!.containerStatuses[0]!.ready], [status, phase, isReady]);
    assert.equal(made.status!.conditions.find(({ type }) => type === 'Ready')!.status, isReady ? 'True' : 'False');
  });
}

test('pod: what runs on a machine that is not heard of is not known', () => {
  const made = pod({}, {}, { node: { name: 'web-1', lost: 'Its heartbeats have stopped.' } });
  assert.deepEqual([standing(made), made.status!.phase], ['NodeLost', 'Unknown']);
  assert.equal(made.status!.conditions.find(({ type }) => type === 'Ready')!.status, 'Unknown');
});

test('pod: exit statuses as Kubernetes counts them, signals above 128', () => {
  const code = (state: Partial<UnitState>) =>
    (pod({ active: 'failed', sub: 'failed', ...state }).status!.containerStatuses[0]!.state as { terminated: { exitCode: number } })
      .terminated.exitCode;
  assert.deepEqual(
    [code({ result: 'exit-code', exitStatus: 3 }), code({ result: 'signal', exitStatus: 9 }), code({ result: 'timeout' })],
    [3, 137, 1],
  );
});

test("pod: its unit's labels, and the mark by which a drain passes over what cannot run elsewhere", () => {
  const unit = { labels: { app: 'web' }, isBound: true, requests: { cpuMillis: 500, memoryBytes: 1024 } };
  const { metadata, spec } = pod({}, {}, { unit });
  assert.equal(metadata.labels!.app, 'web');
  assert.equal(metadata.labels!['flotilla.dev/unit'], 'web.service');
  assert.ok(metadata.annotations![boundAnnotation]);
  assert.deepEqual((spec!.containers as { resources: unknown }[])[0]!.resources, { requests: { cpu: '500m', memory: '1024' } });
  assert.equal(pod({}, {}, { unit: { ...unit, isBound: false } }).metadata.annotations, undefined);
  assert.equal(metadata.creationTimestamp, at);
});
