import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { MachineUsage } from '../../../../api/resources/protocol.js';
import { type Rig, startRig } from '../rig.js';
import { infoOf, machineA, machineB, writeCopy, writeMachine } from './cluster.js';

const base = '/apis/metrics.k8s.io/v1beta1';
const told = new Map<string, MachineUsage>([
  [
    machineA,
    {
      windowMs: 1_250,
      machine: { cpuNanoCores: 250_000_000, memoryBytes: 1_048_576 },
      units: { 'web.service': { cpuNanoCores: 5_000_000, memoryBytes: 1_500 }, 'bare.service': { cpuNanoCores: 7 } },
    },
  ],
]);
let asked: string[] = [];
let rig: Rig;
before(async () => {
  rig = await startRig({
    usage: {
      async of(machines) {
        asked = [...machines];
        return new Map([...told].filter(([machine]) => asked.includes(machine)));
      },
    },
  });
  await writeMachine(rig, machineA, infoOf('web-1'));
  await writeMachine(rig, machineB, infoOf('web-2'));
  await writeCopy(rig, 'web.service', machineA, { labels: { app: 'web' } });
  await writeCopy(rig, 'bare.service', machineA);
  await writeCopy(rig, 'far.service', machineB, { labels: { app: 'far' } });
});
after(() => rig.close());

test('top nodes: what is measured, and nothing of a machine that does not answer', async () => {
  const { json } = await rig.get(`${base}/nodes`);
  assert.equal(json.kind, 'NodeMetricsList');
  assert.deepEqual(
    json.items.map(({ metadata, usage, window }: { metadata: { name: string }; usage: object; window: string }) => [
      metadata.name,
      usage,
      window,
    ]),
    [['web-1', { cpu: '250000000n', memory: '1024Ki' }, '1.25s']],
  );
  assert.deepEqual((await rig.get(`${base}/nodes/web-1`)).json.usage, json.items[0].usage);
  const gone = await rig.get(`${base}/nodes/web-2`);
  assert.deepEqual(
    [gone.status, gone.json.message],
    [404, 'nodemetrics.metrics.k8s.io "web-2" not found: its agent does not tell what it uses'],
  );
});

test('SEMANTICS 15: top pods: what a host does not account for is absent, and the answer warns that kubectl shows 0', async () => {
  const { json, headers } = await rig.get(`${base}/namespaces/default/pods`);
  const usages = Object.fromEntries(
    json.items.map(({ metadata, containers }: { metadata: { name: string }; containers: object[] }) => [metadata.name, containers]),
  );
  assert.deepEqual(usages, {
    'bare.service.aaaaaaaa': [{ name: 'unit', usage: { cpu: '7n' } }],
    'web.service.aaaaaaaa': [{ name: 'unit', usage: { cpu: '5000000n', memory: '2Ki' } }],
  });
  assert.match(String(headers.warning), /the memory of 1 of 2 is not accounted for/);
});

test('only machines with pods that are wanted are asked', async () => {
  await rig.get(`${base}/pods?labelSelector=app%3Dfar`);
  assert.deepEqual(asked, [machineB]);
  await rig.get(`${base}/namespaces/default/pods/web.service.aaaaaaaa`);
  assert.deepEqual(asked, [machineA]);
  assert.deepEqual((await rig.get(`${base}/namespaces/kube-system/pods`)).json.items, []);
  assert.deepEqual(asked, []);
  assert.equal((await rig.get(`${base}/namespaces/kube-system/pods/web.service.aaaaaaaa`)).status, 404);
});

test('it cannot be watched, and comes as a Table for people', async () => {
  assert.equal((await rig.get(`${base}/pods?watch=true`)).status, 405);
  const { json } = await rig.get(`${base}/nodes`, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
  assert.deepEqual(json.rows[0].cells, ['web-1', '250000000n', '1024Ki', '1.25s']);
  const { resources } = (await rig.get(base)).json;
  assert.deepEqual(
    resources.map(({ name, kind, verbs }: { name: string; kind: string; verbs: string[] }) => [name, kind, verbs]),
    [
      ['nodes', 'NodeMetrics', ['get', 'list']],
      ['pods', 'PodMetrics', ['get', 'list']],
    ],
  );
});
