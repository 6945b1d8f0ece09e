import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { count, cpuOfV1, cpuOfV2, readCgroup } from '../../agent/cgroup.js';
import { AgentMetrics, parseListen, serveMetrics } from '../../agent/metrics.js';
import { UnitCgroups } from '../../agent/unit-cgroups.js';
import { createMetrics } from '../../runtime/metrics.js';
import { AgentWorld, assignment, service } from './world.js';

function cgroups(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'flotilla-cgroup-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

for (const { name, files, usage } of [
  {
    name: 'cgroup v2',
    files: {
      'system.slice/web.service/cpu.stat': 'usage_usec 1500000\nuser_usec 1\n',
      'system.slice/web.service/memory.current': '4096\n',
    },
    usage: { cpuSeconds: 1.5, memoryBytes: 4096 },
  },
  {
    name: 'cgroup v1',
    files: {
      'cpuacct/system.slice/web.service/cpuacct.usage': '2500000000\n',
      'memory/system.slice/web.service/memory.usage_in_bytes': '8192\n',
    },
    usage: { cpuSeconds: 2.5, memoryBytes: 8192 },
  },
  {
    name: 'v2 without the memory controller',
    files: { 'system.slice/web.service/cpu.stat': 'usage_usec 7\n' },
    usage: { cpuSeconds: 0.000007 },
  },
  { name: 'a unit without a cgroup', files: {}, usage: {} },
]) {
  test(`SEMANTICS 15: ${name}`, async (t) => {
    assert.deepEqual(await readCgroup('/system.slice/web.service', cgroups(t, files)), usage);
  });
}

test('SEMANTICS 15: a value that is none is absent, never 0 and never 2^64', () => {
  assert.equal(count('18446744073709551615'), undefined);
  for (const text of ['', 'max', '-1', '1.5', '0x10', undefined]) {
    assert.equal(count(text), undefined);
    assert.equal(cpuOfV1(text), undefined);
    assert.equal(cpuOfV2(text), undefined);
  }
  assert.equal(count('0\n'), 0);
});

test('units are told of under node_exporter’s names, and what is not known is absent', async (t) => {
  const world = await AgentWorld.start();
  await world.want(
    assignment('web.service'),
    assignment('bad.service', service('Type=oneshot\nExecStart=/bin/false')),
    assignment('job.timer', '[Timer]\nOnBootSec=1h\n'),
  );
  const shown = new AgentMetrics({
    metrics: createMetrics({ component: 'agent', version: 'test', process: false }),
    systemd: world.systemd,
    machine: 'm1',
    hostname: 'h1',
    units: () =>
      world.agent.assignments().map(({ unit }) => [unit, world.agent.observations.get(unit)!, world.agent.type(unit) ?? ''] as const),
    lastSyncMs: () => undefined,
    isServerConnected: () => false,
    certificateNotAfterMs: () => 1_700_000_000_000,
    cgroups: new UnitCgroups(world.systemd, cgroups(t, { 'system.slice/web.service/cpu.stat': 'usage_usec 1500000\n' })),
  });
  const text = await shown.render();
  const lines = new Set(text.split('\n'));
  for (const line of [
    'flotilla_systemd_unit_state{name="web.service",state="active",type="simple"} 1',
    'flotilla_systemd_unit_state{name="web.service",state="failed",type="simple"} 0',
    'flotilla_systemd_unit_state{name="bad.service",state="failed",type="oneshot"} 1',
    'flotilla_systemd_unit_state{name="job.timer",state="active",type=""} 1',
    'flotilla_systemd_service_restart_total{name="web.service"} 0',
    'flotilla_agent_info{machine="m1",hostname="h1"} 1',
    'flotilla_unit_cpu_seconds_total{name="web.service"} 1.5',
    'flotilla_dbus_connected 1',
    'flotilla_agent_server_connected 0',
    'flotilla_agent_certificate_expiration_timestamp_seconds 1700000000',
  ]) {
    assert.ok(lines.has(line), `${line}\n--- in ---\n${text}`);
  }
  assert.doesNotMatch(text, /^flotilla_unit_memory_current_bytes\{/m);
  assert.doesNotMatch(text, /^flotilla_agent_last_sync_timestamp_seconds [^#]/m);
  assert.doesNotMatch(text, /^flotilla_systemd_unit_start_time_seconds\{name="bad/m);

  const before = world.systemd.calls.length;
  await shown.render();
  assert.equal(world.systemd.calls.length, before, 'the path of a cgroup is asked for once in a run');
});

for (const listen of ['0.0.0.0:7081', '10.0.0.1:7081', '[::]:7081', 'example.com:7081', ':7081']) {
  test(`invariant 12: no listener beyond loopback: ${listen}`, () => {
    assert.throws(() => parseListen(listen), /loopback/);
  });
}

test('listen addresses on loopback', () => {
  assert.deepEqual(parseListen('127.0.0.1:7081'), { host: '127.0.0.1', port: 7081 });
  assert.deepEqual(parseListen('[::1]:0'), { host: '::1', port: 0 });
  assert.throws(() => parseListen('127.0.0.1'), /host:port/);
  assert.throws(() => parseListen('127.0.0.1:99999'), /host:port/);
});

test('/metrics, /healthz, and nothing else', async () => {
  let problem: string | undefined;
  const server = await serveMetrics('127.0.0.1:0', { contentType: 'text/plain', metrics: async () => 'a 1\n', problem: () => problem });
  const get = async (path: string, method = 'GET') => {
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { method });
    return [answer.status, await answer.text()] as const;
  };
  try {
    assert.deepEqual(await get('/metrics'), [200, 'a 1\n']);
    assert.deepEqual(await get('/healthz?verbose'), [200, 'ok\n']);
    problem = 'systemd cannot be reached';
    assert.deepEqual(await get('/healthz'), [503, 'systemd cannot be reached\n']);
    assert.equal((await get('/'))[0], 404);
    assert.equal((await get('/metrics', 'POST'))[0], 405);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
