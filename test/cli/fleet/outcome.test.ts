/** When a verb has got what it asked for, as a table over what the server shows of a unit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DesiredState } from '../../../api/resources/unit.js';
import type { WireAssignment, WireObject } from '../../../cli/objects.js';
import { type Outcome, outcomeOf, outcomeOfCopies } from '../../../cli/verbs/fleet/outcome.js';

type Conditions = Readonly<Record<string, readonly [status: string, reason: string]>>;

const good: Conditions = { Scheduled: ['True', 'Assigned'], Ready: ['True', 'Active'], UpToDate: ['True', 'UpToDate'] };

interface Given {
  readonly desired?: DesiredState;
  readonly conditions?: Conditions;
  readonly status?: object;
  readonly observed?: number;
  readonly isDeleting?: boolean;
}

const unit = ({
  desired = 'launched',
  conditions = {},
  status = { machine: 'm1' },
  observed = 2,
  isDeleting = false,
}: Given): WireObject => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name: 'a.service', generation: 2, ...(isDeleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}) },
  spec: { desiredState: desired, content: '[Service]\nExecStart=/bin/true\n' },
  status: {
    observedGeneration: observed,
    conditions: Object.entries({ ...good, ...conditions }).map(([type, [is, reason]]) => ({
      type,
      status: is,
      reason,
      message: `${type} ${reason}.`,
      lastTransitionTime: '',
    })),
    ...status,
  },
});

const onAll = { machine: undefined, desiredMachines: 2, currentMachines: 2 };

for (const { name, wanted = 'launched', given, is, why, patient } of [
  { name: 'up', given: {}, is: 'so' },
  { name: 'up, says a status of the generation before', given: { observed: 1 }, is: 'pending' },
  { name: 'a oneshot that is done', given: { conditions: { Ready: ['True', 'Completed'] } }, is: 'so' },
  { name: 'starting', given: { conditions: { Ready: ['False', 'Activating'] } }, is: 'pending', why: 'Ready Activating.' },
  { name: 'failed', given: { conditions: { Ready: ['False', 'Failed'] } }, is: 'pending', why: 'Ready Failed.', patient: true },
  { name: 'ended by itself', given: { conditions: { Ready: ['False', 'Ended'] } }, is: 'pending', why: 'Ready Ended.', patient: true },
  { name: 'the old text runs', given: { conditions: { UpToDate: ['False', 'TextPending'] } }, is: 'pending', why: 'UpToDate TextPending.' },
  {
    name: 'a text that systemd refuses is never carried out',
    given: { observed: 1, conditions: { UpToDate: ['False', 'LoadFailed'] } },
    is: 'pending',
    why: 'UpToDate LoadFailed.',
    patient: true,
  },
  {
    name: "the machine's own name",
    given: { observed: 0, conditions: { Ready: ['False', 'NameTaken'], UpToDate: ['False', 'NameTaken'] } },
    is: 'pending',
    patient: true,
  },
  {
    name: 'fits nowhere',
    given: { status: { machine: undefined }, conditions: { Scheduled: ['False', 'Unschedulable'] } },
    is: 'pending',
    why: 'Scheduled Unschedulable.',
    patient: true,
  },
  {
    name: 'on its way to another machine',
    given: { status: { machine: undefined }, conditions: { Scheduled: ['False', 'Moving'] } },
    is: 'pending',
  },
  {
    name: 'fitted nowhere, in the generation before',
    given: { observed: 1, status: { machine: undefined }, conditions: { Scheduled: ['False', 'Unschedulable'] } },
    is: 'pending',
  },
  { name: 'deleted', given: undefined, is: 'not so', why: 'somebody deleted it meanwhile' },
  { name: 'being deleted', given: { isDeleting: true }, is: 'not so' },
  { name: 'somebody stopped it', given: { desired: 'loaded' }, is: 'not so', why: 'somebody else has set its desired state to loaded' },
  { name: 'loaded', wanted: 'loaded', given: { desired: 'loaded' }, is: 'so' },
  {
    name: 'still stopping',
    wanted: 'loaded',
    given: { desired: 'loaded', observed: 1, conditions: { UpToDate: ['False', 'Pending'] } },
    is: 'pending',
  },
  { name: 'off its machine', wanted: 'inactive', given: { desired: 'inactive', status: { machine: undefined } }, is: 'so' },
  {
    name: 'still on its machine',
    wanted: 'inactive',
    given: { desired: 'inactive', conditions: { Ready: ['False', 'Stopping'] } },
    is: 'pending',
  },
  { name: 'global: on all', given: { status: onAll }, is: 'so' },
  {
    name: 'global: nowhere',
    given: { status: { ...onAll, desiredMachines: 0 }, conditions: { Scheduled: ['False', 'NoEligibleMachine'] } },
    is: 'pending',
    patient: true,
  },
  {
    name: 'global: rolling out',
    given: { status: onAll, conditions: { UpToDate: ['False', 'RollingOut'] } },
    is: 'pending',
    why: 'UpToDate RollingOut.',
  },
  {
    name: 'global: still stopping somewhere',
    wanted: 'inactive',
    given: { desired: 'inactive', status: { ...onAll, currentMachines: 0 }, conditions: { Ready: ['False', 'Stopping'] } },
    is: 'pending',
  },
] as readonly { name: string; wanted?: DesiredState; given: Given | undefined; is: Outcome['is']; why?: string; patient?: boolean }[]) {
  test(`wanted ${wanted}: ${name}`, () => {
    const outcome = outcomeOf(given && unit(given), wanted, 2);
    assert.equal(outcome.is, is);
    if (why !== undefined) assert.equal('why' in outcome && outcome.why, why);
    assert.equal(outcome.is === 'pending' && outcome.patienceMs !== undefined, patient ?? false, 'whether it is given up in time');
  });
}

const copy = (machine: string, status: object, spec: object = {}): WireAssignment => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Assignment',
  metadata: { name: `a.service.${machine}` },
  spec: { unit: 'a.service', machine, wanted: 'launched', failover: 'stay', generation: 2, ...spec },
  status: { generation: 2, load: 'loaded', active: 'active', ...status },
});
const so: Outcome = { is: 'so' };
const pending: Outcome = { is: 'pending', why: 'ready on 1 of 2 machines' };

for (const { name, own, copies, is, why } of [
  { name: 'all are up', own: so, copies: [copy('m1', {}), copy('m2', {})], is: 'so' },
  {
    name: 'the counts are older than the copies',
    own: so,
    copies: [copy('m1', {}), copy('m2', { active: 'activating' })],
    is: 'pending',
    why: /m2/,
  },
  { name: 'one has not been given the new generation', own: so, copies: [copy('m1', {}, { generation: 1 })], is: 'pending', why: /m1/ },
  {
    name: 'one failed',
    own: pending,
    copies: [copy('m1', {}), copy('m2', { active: 'failed' })],
    is: 'pending',
    why: /^failed on machine m2$/,
  },
  {
    name: 'one failed in the generation before',
    own: pending,
    copies: [copy('m1', { active: 'failed', generation: 1 })],
    is: 'pending',
    why: /ready on 1/,
  },
  {
    name: 'one that leaves has failed',
    own: so,
    copies: [copy('m1', {}), copy('m2', { active: 'failed' }, { remove: 'drained' })],
    is: 'so',
  },
  { name: 'still starting', own: pending, copies: [copy('m1', { active: 'activating' })], is: 'pending', why: /ready on 1/ },
] as readonly { name: string; own: Outcome; copies: WireAssignment[]; is: Outcome['is']; why?: RegExp }[]) {
  test(`copies of a global unit: ${name}`, () => {
    const outcome = outcomeOfCopies(own, copies, 'launched', 2, (machine) => machine);
    assert.equal(outcome.is, is);
    if (why) assert.match('why' in outcome ? outcome.why : '', why);
  });
}
