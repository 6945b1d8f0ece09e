/** Debian's Prometheus over a real cluster, by the way in that manifests/monitoring/README.md describes: what we ship for it works there. */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type ClientRequest, request } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { ManagedProcess } from '../../cli/roles/dev/managed-process.js';
import { freePort } from '../../cli/roles/dev/ports.js';
import { must } from '../../cli/roles/dev/run.js';
import { alerts, dashboardQueries, directory, labelsIn, metricsIn, shipped } from '../monitoring/shipped.js';
import { program, TestCluster, unitManifest, until } from '../rigs/cluster.js';
import { GitRepository, unitFile } from '../rigs/git-repository.js';
import { checkExposition } from '../rigs/promtool.js';

const Series = z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) });
type Series = z.infer<typeof Series>;
const Targets = z.object({
  activeTargets: z.array(
    z.object({ scrapeUrl: z.string(), health: z.string(), lastError: z.string(), labels: z.record(z.string(), z.string()) }),
  ),
});
const Rules = z.object({
  groups: z.array(
    z.object({
      rules: z.array(
        z.object({
          name: z.string(),
          health: z.string(),
          lastError: z.string().optional(),
          state: z.string(),
          alerts: z.array(z.object({ state: z.string(), labels: z.record(z.string(), z.string()) })),
        }),
      ),
    }),
  ),
});

describe('Prometheus over a real cluster', () => {
  let cluster: TestCluster;
  let scratch: string;
  let prometheus: ManagedProcess;
  let url: string;
  let watching: ClientRequest | undefined;
  const undo: (() => unknown)[] = [];

  before(async () => {
    [cluster, scratch] = await Promise.all([TestCluster.start(), mkdtemp(join(tmpdir(), 'flotilla-prometheus-'))]);
    await Promise.all([carryAgentMetrics(), makeClientCertificate()]);
    await startPrometheus();
    const expected = cluster.dev.servers.length + cluster.dev.machines.length;
    await until('all targets scraped', async () => (await targets()).filter(({ health }) => health === 'up').length === expected, {
      process: prometheus,
      timeoutMs: 60_000,
    });
    // After the first scrape, so that what this brings about is an increase.
    await makeEvents();
  });
  after(async () => {
    watching?.destroy();
    await prometheus?.stop();
    await cluster?.stop();
    for (const run of undo) run();
    if (scratch) await rm(scratch, { recursive: true, force: true });
  });

  /** The two units of the README, on each machine, at its address on the cluster's own network. */
  async function carryAgentMetrics(): Promise<void> {
    const units = [...shipped('README.md').matchAll(/^`([\w-]+\.(?:socket|service))`\n\n```ini\n([^`]*)```$/gm)];
    assert.deepEqual(
      units.map(([, name]) => name),
      ['flotilla-agent-metrics.socket', 'flotilla-agent-metrics.service'],
    );
    for (const machine of cluster.dev.machines) {
      for (const [, name, text = ''] of units) {
        await machine.writeFile(`/etc/systemd/system/${name}`, text.replaceAll('192.0.2.11', machine.options.address));
      }
      await machine.must(['systemctl', 'daemon-reload']);
      await machine.must(['systemctl', 'start', 'flotilla-agent-metrics.socket']);
    }
  }

  /** The README's own commands. */
  async function makeClientCertificate(): Promise<void> {
    const [, commands = ''] = /```sh\n([^`]*flotilla kubeconfig[^`]*)```/.exec(shipped('README.md')) ?? [];
    const [server] = cluster.dev.servers;
    const script = commands.replace('https://s1.example:7443', server!.agentUrl);
    assert.notEqual(script, commands);
    await must('sh', ['-euc', `flotilla() { "${process.execPath}" "${program}" "$@"; }\n${script}`], {
      cwd: scratch,
      env: { ...process.env, FLOTILLA_ENDPOINT: `unix://${server!.socket}` },
    });
  }

  /** With the example's configuration, but for addresses and time. */
  async function startPrometheus(): Promise<void> {
    const servers = cluster.dev.servers.map(({ agentUrl }) => new URL(agentUrl).host);
    const agents = cluster.dev.machines.map(({ options }) => `${options.address}:7081`);
    const config = shipped('prometheus.yaml')
      .replaceAll('15s', '1s')
      .replace(/targets: \[s1\.example.*\]/, `targets: [${servers.join(', ')}]`)
      .replace(/targets: \[m1\.example.*\]/, `targets: [${agents.join(', ')}]`);
    await writeFile(join(scratch, 'prometheus.yaml'), config);
    await copyFile(join(directory, 'flotilla-alerts.yaml'), join(scratch, 'flotilla-alerts.yaml'));
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    prometheus = new ManagedProcess({
      name: 'prometheus',
      command: 'prometheus',
      args: [
        `--config.file=${join(scratch, 'prometheus.yaml')}`,
        `--storage.tsdb.path=${join(scratch, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      logFile: join(scratch, 'prometheus.log'),
    });
    prometheus.start();
    await until('prometheus ready', async () => (await fetch(`${url}/-/ready`)).ok, { process: prometheus });
  }

  /** Something of everything that is shown: units that run, fail, restart and find no machine, a repository, a watch, a request that fails. */
  async function makeEvents(): Promise<void> {
    const restarting = '[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c "sleep 1; exit 1"\nRestart=always\nRestartSec=1\n';
    await cluster.apply(
      unitManifest('runs.service', '[Service]\nExecStart=/bin/sleep infinity\n'),
      unitManifest('fails.service', '[Service]\nExecStart=/bin/false\n'),
      unitManifest('restarts.service', restarting),
      unitManifest('nowhere.service', '[Service]\nExecStart=/bin/sleep infinity\n', { placement: { machineMetadata: ['zone=mars'] } }),
    );
    const repository = new GitRepository({ after: (run) => void undo.push(run as () => unknown) });
    repository.write('synced.service', unitFile()).commit();
    // It comes round again and again while this is looked at: a rate needs more than a first time.
    const spec = { url: repository.url, ref: { branch: 'main' }, interval: '5s' };
    await cluster.apply(JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'GitSync', metadata: { name: 'shown' }, spec }));
    await cluster.dev.mustCli(['wait', '--for=condition=Ready', 'gitsync/shown']);
    const socketPath = cluster.dev.servers[0]!.socket;
    watching = request({ socketPath, path: '/apis/flotilla.dev/v1/units?watch=true' }, (response) => response.resume());
    watching.on('error', () => undefined);
    watching.end();
    assert.equal((await cluster.dev.cli(['get', 'unit', 'no-such.service'])).code, 1);
    await cluster.untilReady('runs.service');
    await cluster.untilUnit('fails.service', 'failed', ({ status }) => status?.active === 'failed');
  }

  async function ask<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    const answer = z.object({ status: z.string(), data: z.unknown(), error: z.string().optional() });
    const { status, data, error } = answer.parse(await (await fetch(`${url}/api/v1/${path}`)).json());
    if (status !== 'success') throw new Error(`${path}: ${error}`);
    return schema.parse(data);
  }
  const targets = async () => (await ask('targets?state=active', Targets)).activeTargets;
  const query = async (expr: string): Promise<Series[]> =>
    (await ask(`query?query=${encodeURIComponent(expr)}`, z.object({ result: z.array(Series) }))).result;

  test('every server and agent is scraped, and promtool has nothing to remark on what they say', async () => {
    const scraped = await targets();
    const jobs = scraped.map(({ labels }) => labels.job ?? '').toSorted();
    assert.deepEqual(jobs, ['flotilla-agent', 'flotilla-agent', 'flotilla-agent', 'flotilla-server']);
    for (const { scrapeUrl, lastError } of scraped) {
      assert.equal(lastError, '', scrapeUrl);
      await checkExposition(await exposition(scrapeUrl));
    }
  });

  async function exposition(from: string): Promise<string> {
    if (from.startsWith('http:')) return (await fetch(from)).text();
    const [ca, cert, key] = await Promise.all(['ca.pem', 'client.pem', 'client.key'].map((file) => readFile(join(scratch, file))));
    return new Promise((resolve, reject) => {
      const asked = httpsRequest(from, { ca, cert, key, agent: false }, async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve(text);
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  test('without a client certificate there are no metrics', async () => {
    const ca = await readFile(join(scratch, 'ca.pem'));
    const status = await new Promise((resolve, reject) => {
      const asked = httpsRequest(`${cluster.dev.servers[0]!.agentUrl}/metrics`, { ca, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.on('error', reject);
      asked.end();
    });
    assert.equal(status, 401);
  });

  test('every query of the dashboard returns figures, with the labels that its panel shows', async () => {
    // Absent where the kernel does not account for it, and then absent all the way (SEMANTICS 15).
    const accountsForMemory =
      (await cluster.dev.machines[0]!.exec(['test', '-e', '/sys/fs/cgroup/system.slice/memory.current'])).code === 0;
    const open = new Map(dashboardQueries('30s').map((each) => [each, 'never asked']));
    await until(
      'figures for every query',
      async () => {
        // A client that goes on: a rate needs more than a first time.
        await cluster.units();
        for (const each of open.keys()) {
          const series = await query(each.expr);
          if (each.expr.includes('flotilla_unit_memory_current_bytes') && !accountsForMemory) {
            assert.deepEqual(series, []);
            open.delete(each);
            continue;
          }
          const figures = series.filter(({ value: [, figure] }) => Number.isFinite(Number(figure)));
          const lacking = each.labels.filter((label) => !figures.some(({ metric }) => metric[label] !== undefined));
          if (figures.length > 0 && lacking.length === 0) open.delete(each);
          else open.set(each, figures.length > 0 ? `no label ${lacking.join()}` : `${series.length} series, no figure`);
        }
        if (open.size > 0) throw new Error([...open].map(([{ of, expr }, why]) => `\n${of}: ${why}: ${expr}`).join(''));
        return true;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
  });

  test('what the alerts look at is there, under the labels that they go by', async () => {
    for (const { alert, expr } of alerts) {
      const names = metricsIn(expr);
      for (const name of names) assert.notEqual((await query(`count(${name})`)).length, 0, `${alert}: there is no ${name}`);
      for (const label of labelsIn(expr)) {
        const found = await Promise.all(names.map((name) => query(`count(${name}{${label}!=""})`)));
        assert.ok(
          found.some((series) => series.length > 0),
          `${alert}: none of ${names.join()} has a label ${label}`,
        );
      }
    }
  });

  test('the alerts are loaded, and see the units that are not well and nothing else', async () => {
    const expected = ['UnitFailed', 'UnitCrashlooping', 'UnitPendingTooLong', 'UnitsNotReady'];
    const rules = await until('the alerts evaluated', async () => {
      const loaded = (await ask('rules?type=alert', Rules)).groups.flatMap((group) => group.rules);
      return loaded.every(({ health }) => health !== 'unknown') && expected.every((name) => stateOf(name, loaded) === 'pending') && loaded;
    });
    assert.deepEqual(
      rules.filter(({ health, lastError }) => health !== 'ok' || lastError),
      [],
    );
    assert.deepEqual(rules.map(({ name }) => name).toSorted(), alerts.map(({ alert }) => alert).toSorted());
    // A computer that is busy with other tests may be slow; that is no finding.
    const raised = rules.filter(({ name, state }) => state !== 'inactive' && name !== 'APISlow');
    assert.deepEqual(raised.map(({ name }) => name).toSorted(), expected.toSorted());
    for (const [alert, unit] of [
      ['UnitFailed', 'fails.service'],
      ['UnitCrashlooping', 'restarts.service'],
    ]) {
      const pending = rules.find(({ name }) => name === alert)?.alerts.map(({ labels }) => labels.name);
      assert.deepEqual(pending, [unit], alert);
    }
  });

  const stateOf = (name: string, rules: readonly { name: string; state: string }[]) => rules.find((rule) => rule.name === name)?.state;
});
