/** What an agent tells of its units: node_exporter's words, and nothing that is not known. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { AgentMetrics, dbusMetrics, parseListen, serveMetrics } from '../../agent/metrics.js';
import type { Observation } from '../../agent/observe.js';
import { UnitCgroups } from '../../agent/unit-cgroups.js';
import { createMetrics } from '../../runtime/metrics.js';
import { FakeSystemd } from '../rigs/fake-systemd.js';
import { MemoryUnitFiles } from '../rigs/memory-files.js';
import { checkExposition, samplesOf } from '../rigs/promtool.js';

const invocationID = 'a'.repeat(32);
const unit = (active: string, more: Partial<Observation> = {}): Observation => ({
  seen: { id: 'x', load: 'loaded', active, sub: 'x' },
  run: { activeSinceMs: 1_500_000, invocationID },
  ...more,
});

/** A machine with these units, of which `web.service` runs on the fake systemd and has a cgroup. */
async function machineWith(units: Readonly<Record<string, Observation>>, cgroup: Readonly<Record<string, string>> = {}) {
  const files = new MemoryUnitFiles();
  const systemd = new FakeSystemd({ files, vendor: { 'web.service': '[Service]\nExecStart=/bin/sleep infinity\n' } });
  await (await systemd.start('web.service')).ended;
  const cgroupRoot = await mkdtemp(join(tmpdir(), 'flotilla-cgroup-'));
  for (const [file, text] of Object.entries(cgroup)) {
    await mkdir(join(cgroupRoot, file, '..'), { recursive: true });
    await writeFile(join(cgroupRoot, file), text);
  }
  const metrics = createMetrics({ component: 'agent', version: '1' });
  dbusMetrics(metrics)('StartUnit', 'ok', 3);
  const shown = new AgentMetrics({
    metrics,
    systemd,
    machine: 'f'.repeat(32),
    hostname: 'm1',
    units: () => Object.entries(units).map(([name, observation]) => [name, observation, 'simple'] as const),
    lastSyncMs: () => undefined,
    isServerConnected: () => false,
    certificateNotAfterMs: () => 2_000,
    cgroups: new UnitCgroups(systemd, cgroupRoot),
  });
  return { systemd, metrics, shown, remove: () => rm(cgroupRoot, { recursive: true }) };
}

/** Samples by name, and by the labels that are told. */
async function scraped(units: Readonly<Record<string, Observation>>, cgroup: Readonly<Record<string, string>> = {}) {
  const { shown, remove } = await machineWith(units, cgroup);
  const text = await shown.render();
  await remove();
  await checkExposition(text);
  return (name: string, labels: Readonly<Record<string, string>> = {}) =>
    samplesOf(text)
      .filter((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .map(({ value }) => value);
}

test('a unit has node_exporter’s five states, one of them 1', async () => {
  const { shown, remove } = await machineWith({ 'web.service': unit('failed') });
  const states = samplesOf(await shown.render()).filter(({ name }) => name === 'flotilla_systemd_unit_state');
  await remove();
  assert.deepEqual(
    states.map(({ labels, value }) => [labels.name, labels.type, labels.state, value]),
    ['active', 'activating', 'deactivating', 'failed', 'inactive'].map((state) => [
      'web.service',
      'simple',
      state,
      state === 'failed' ? 1 : 0,
    ]),
  );
});

for (const { active, start } of [
  { active: 'active', start: [1_500] },
  { active: 'reloading', start: [1_500] },
  { active: 'failed', start: [] },
  { active: 'inactive', start: [] },
  { active: 'activating', start: [] },
]) {
  test(`a unit that is ${active} has ${start.length === 0 ? 'no' : 'its'} start time`, async () => {
    const samples = await scraped({ 'web.service': unit(active) });
    assert.deepEqual(samples('flotilla_systemd_unit_start_time_seconds'), start);
  });
}

test('restarts are told of services, and of nothing that cannot restart', async () => {
  const samples = await scraped({ 'web.service': unit('active', { service: { restarts: 3 } }), 'backup.timer': unit('active') });
  assert.deepEqual(samples('flotilla_systemd_service_restart_total', { name: 'web.service' }), [3]);
  assert.deepEqual(samples('flotilla_systemd_service_restart_total', { name: 'backup.timer' }), []);
});

describe('SEMANTICS 15: CPU and memory come from cgroup files, and what is absent there is an absent sample', () => {
  for (const { host, cgroup, cpu, memory } of [
    {
      host: 'cgroup v2',
      cgroup: {
        'system.slice/web.service/cpu.stat': 'usage_usec 2500000\nuser_usec 1\n',
        'system.slice/web.service/memory.current': '4096\n',
      },
      cpu: [2.5],
      memory: [4096],
    },
    {
      host: 'cgroup v2 without the memory controller',
      cgroup: { 'system.slice/web.service/cpu.stat': 'usage_usec 2500000\n' },
      cpu: [2.5],
      memory: [],
    },
    {
      host: 'cgroup v1',
      cgroup: {
        'cpu,cpuacct/system.slice/web.service/cpuacct.usage': '1500000000\n',
        'memory/system.slice/web.service/memory.usage_in_bytes': '8192\n',
      },
      cpu: [1.5],
      memory: [8192],
    },
    {
      host: 'a kernel that says 2^64 - 1',
      cgroup: { 'system.slice/web.service/memory.current': '18446744073709551615\n' },
      cpu: [],
      memory: [],
    },
    { host: 'no accounting', cgroup: {}, cpu: [], memory: [] },
  ]) {
    test(host, async () => {
      const samples = await scraped({ 'web.service': unit('active') }, cgroup);
      assert.deepEqual(samples('flotilla_unit_cpu_seconds_total'), cpu);
      assert.deepEqual(samples('flotilla_unit_memory_current_bytes'), memory);
    });
  }

  test('a unit that is down has none, whatever files lie there', async () => {
    const cgroup = { 'system.slice/web.service/memory.current': '4096\n' };
    const samples = await scraped({ 'web.service': unit('failed') }, cgroup);
    assert.deepEqual(samples('flotilla_unit_memory_current_bytes'), []);
  });
});

test('systemd is asked for the cgroup once per run of a unit, and for nothing else by a scrape', async () => {
  const units = { 'web.service': unit('active') };
  const { shown, systemd, remove } = await machineWith(units);
  const before = systemd.calls.length;
  await shown.render();
  await shown.render();
  assert.deepEqual(systemd.calls.slice(before), ['controlGroup web.service']);
  units['web.service'] = unit('active', { run: { invocationID: 'b'.repeat(32) } });
  await shown.render();
  await remove();
  assert.deepEqual(systemd.calls.slice(before), ['controlGroup web.service', 'controlGroup web.service']);
});

test('connections, certificate and machine are told; a first sync that has not been is not', async () => {
  const samples = await scraped({});
  assert.deepEqual(samples('flotilla_dbus_connected'), [1]);
  assert.deepEqual(samples('flotilla_dbus_disconnects_total'), [0]);
  assert.deepEqual(samples('flotilla_dbus_calls_total', { method: 'StartUnit', result: 'ok' }), [1]);
  assert.deepEqual(samples('flotilla_agent_server_connected'), [0]);
  assert.deepEqual(samples('flotilla_agent_certificate_expiration_timestamp_seconds'), [2]);
  assert.deepEqual(samples('flotilla_agent_info', { hostname: 'm1', machine: 'f'.repeat(32) }), [1]);
  assert.deepEqual(samples('flotilla_agent_last_sync_timestamp_seconds'), []);
});

test('a lost connection to systemd shows, and is counted', async () => {
  const { shown, systemd, remove } = await machineWith({ 'web.service': unit('active') });
  systemd.disconnect();
  const samples = samplesOf(await shown.render());
  await remove();
  const value = (name: string) => samples.find((sample) => sample.name === name)?.value;
  assert.equal(value('flotilla_dbus_connected'), 0);
  assert.equal(value('flotilla_dbus_disconnects_total'), 1);
  assert.equal(value('flotilla_unit_memory_current_bytes'), undefined);
});

describe('over HTTP', () => {
  let close: () => void;
  let ask: (path: string) => Promise<{ status: number | undefined; text: string }>;
  let problem: string | undefined;

  before(async () => {
    const server = await serveMetrics('127.0.0.1:0', { contentType: 'text/plain', metrics: async () => 'x 1\n', problem: () => problem });
    const { port } = server.address() as AddressInfo;
    close = () => server.close();
    ask = (path) =>
      new Promise((resolve, reject) => {
        get({ host: '127.0.0.1', port, path, agent: false }, async (response) => {
          let text = '';
          for await (const chunk of response) text += chunk;
          resolve({ status: response.statusCode, text });
        }).on('error', reject);
      });
  });
  after(() => close());

  test('/metrics and /healthz are there, and nothing else', async () => {
    assert.deepEqual(await ask('/metrics'), { status: 200, text: 'x 1\n' });
    assert.deepEqual(await ask('/healthz'), { status: 200, text: 'ok\n' });
    assert.equal((await ask('/')).status, 404);
  });

  test('an agent that is not well says what is wrong', async () => {
    problem = 'systemd cannot be reached';
    assert.deepEqual(await ask('/healthz'), { status: 503, text: 'systemd cannot be reached\n' });
    problem = undefined;
  });

  for (const listen of ['0.0.0.0:7081', '[::]:7081', '192.0.2.1:7081', 'example.org:7081']) {
    test(`invariant 12: ${listen} is refused, since there is no TLS`, () => {
      assert.throws(() => parseListen(listen), /only on loopback/);
    });
  }
});
