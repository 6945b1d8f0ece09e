import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterCache, Joined } from '../../api/objects/ports.js';
import { type Leading, observeCluster } from '../../controllers/observe.js';
import { createMetrics } from '../../runtime/metrics.js';
import { samplesOf } from '../rigs/promtool.js';

const object = (kind: string, name: string, status: unknown): Joined => ({
  apiVersion: 'flotilla.dev/v1',
  kind,
  metadata: { name, uid: name, resourceVersion: '1' },
  status,
});
const ready = (status: string, reason: string) => ({
  conditions: [{ type: 'Ready', status, reason, message: '', lastTransitionTime: '' }],
});

const objects: Readonly<Record<string, Joined[]>> = {
  machines: [
    object('Machine', 'aa', { ...ready('True', 'Ready'), info: { hostname: 'm1' } }),
    object('Machine', 'bb', { ...ready('False', 'Lost'), info: { hostname: 'm2' } }),
    object('Machine', 'cc', undefined),
  ],
  units: [
    object('Unit', 'a.service', ready('True', 'Active')),
    object('Unit', 'b.service', ready('True', 'Active')),
    object('Unit', 'c.service', ready('False', 'Failed')),
    object('Unit', 'd.service', {}),
  ],
};
const cache: Pick<ClusterCache, 'joinedAll'> = { joinedAll: (plural) => objects[plural] ?? [] };
const leader: Leading = {
  pendingByReason: () => new Map([['Unschedulable', 2]]),
  machinesByHealth: () => new Map([['lost', 1]]),
  isCautious: true,
};

async function shownBy(leading: Leading | undefined) {
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  observeCluster(metrics, cache, () => leading);
  return samplesOf(await metrics.render())
    .filter(({ name }) => name !== 'flotilla_build_info')
    .map(({ name, labels, value }) => [name, ...Object.values(labels), value].join(' '));
}

test('the leader tells how the cluster is', async () => {
  assert.deepEqual(await shownBy(leader), [
    'flotilla_leader 1',
    'flotilla_scheduler_pending_units Unschedulable 2',
    'flotilla_machines lost 1',
    'flotilla_machine_ready aa m1 1',
    'flotilla_machine_ready bb m2 0',
    'flotilla_machine_ready cc  0',
    'flotilla_units True Active 2',
    'flotilla_units False Failed 1',
    'flotilla_units Unknown Pending 1',
    'flotilla_caution 1',
  ]);
});

test('any other server tells only that it does not lead, so that sums count nothing twice', async () => {
  assert.deepEqual(await shownBy(undefined), ['flotilla_leader 0']);
});
