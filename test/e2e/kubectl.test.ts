/**
 * A session with the kubectl that is on PATH, over plain http on loopback and over https with a kubeconfig. Debian 12 has version 1.20, others
 * have newer ones: what a version cannot do with any server of our kind is not asked of it, and stands in `abilities`.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../cli/roles/dev/ports.js';
import { type Finished, run } from '../../cli/roles/dev/run.js';
import { TestCluster, until } from '../rigs/cluster.js';

const sleeper = (seconds: string) => `[Service]\nExecStart=/bin/sleep ${seconds}\n`;
const unit = (name: string, content: string, labels: Record<string, string> = {}) =>
  JSON.stringify({
    apiVersion: 'flotilla.dev/v1',
    kind: 'Unit',
    metadata: { name, labels },
    spec: { desiredState: 'launched', content },
  });

/** Before 1.29 kubectl validates, explains and makes sure of dry runs by OpenAPI 2 in protobuf, which this server does not speak. */
const abilities = (minor: number) => ({ openapiV3: minor >= 29 });

describe('kubectl', () => {
  let cluster: TestCluster;
  let directory: string;
  let can: ReturnType<typeof abilities>;
  let minor: number;
  const doors: Record<'http' | 'https', readonly string[]> = { http: [], https: [] };

  before(async () => {
    const httpPort = await freePort();
    cluster = await TestCluster.start({ machines: 1, httpPort });
    directory = await mkdtemp(join(tmpdir(), 'flotilla-kubectl-'));
    const kubeconfig = join(directory, 'kubeconfig');
    await writeFile(kubeconfig, await cluster.dev.mustCli(['kubeconfig']), { mode: 0o600 });
    doors.http = [`--server=http://127.0.0.1:${httpPort}`];
    doors.https = [`--kubeconfig=${kubeconfig}`];

    const { stdout } = await run('kubectl', ['version', '--client', '-o', 'json'], { env: environment() });
    const { clientVersion } = JSON.parse(stdout) as { clientVersion: { gitVersion: string; minor: string } };
    minor = Number.parseInt(clientVersion.minor, 10);
    can = abilities(minor);
    console.log(`kubectl ${clientVersion.gitVersion}`);
  });
  after(async () => {
    await cluster?.stop();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  /** Nothing of whoever runs the tests: no cache, no configuration. */
  function environment(): NodeJS.ProcessEnv {
    const { KUBECONFIG: _, ...env } = process.env;
    return { ...env, HOME: directory };
  }

  for (const door of ['http', 'https'] as const) {
    describe(`over ${door}`, () => {
      const kubectl = (args: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<Finished> =>
        run('kubectl', [...doors[door], ...args], { ...options, env: environment() });
      const must = async (args: readonly string[], input?: string): Promise<string> => {
        const { code, stdout, stderr } = await kubectl(args, input === undefined ? {} : { input });
        assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr || stdout}`);
        return stdout;
      };
      const unvalidated = () => (can.openapiV3 ? [] : ['--validate=false']);
      const apply = (manifest: string, ...flags: string[]) => must(['apply', ...unvalidated(), ...flags, '-f', '-'], manifest);
      const name = `kube-${door}.service`;
      const other = `kube-${door}-other.service`;

      test('apply creates, says unchanged, and configures', async () => {
        assert.equal(await apply(unit(name, sleeper('infinity'), { door })), `unit.flotilla.dev/${name} created\n`);
        assert.equal(await apply(unit(name, sleeper('infinity'), { door })), `unit.flotilla.dev/${name} unchanged\n`);
        assert.equal(await apply(unit(name, sleeper('1000'), { door })), `unit.flotilla.dev/${name} configured\n`);
        assert.equal(await apply(unit(other, sleeper('infinity'))), `unit.flotilla.dev/${other} created\n`);
      });

      test('wait until it is ready', async () => {
        for (const each of [name, other])
          assert.match(await must(['wait', '--for=condition=Ready', `unit/${each}`, '--timeout=30s']), /condition met/);
      });

      test('get: table, wide, yaml, json path, by label, by name of the resource', async () => {
        const table = await must(['get', 'units']);
        assert.match(table, /^NAME +DESIRED +ACTIVE +SUB +MACHINE +READY +AGE\n/);
        assert.match(table, new RegExp(`^${name} +launched +active +running +\\S+ +True +\\d+s`, 'm'));
        assert.match(await must(['get', 'units', '-o', 'wide']), /^NAME .* AGE .*HASH/);
        const yaml = await must(['get', 'unit', name, '-o', 'yaml']);
        assert.match(yaml, /^kind: Unit$/m);
        assert.match(yaml, /ExecStart=\/bin\/sleep 1000/);
        assert.equal(await must(['get', 'unit', name, '-o', 'jsonpath={.status.active}']), 'active');
        assert.equal(await must(['get', 'units', '-l', `door=${door}`, '-o', 'name']), `unit.flotilla.dev/${name}\n`);
        assert.match(await must(['get', 'units,machines']), /machine\.flotilla\.dev\/[0-9a-f]{32}/);
        const missing = await kubectl(['get', 'unit', 'nobody.service']);
        assert.equal(missing.code, 1);
        assert.match(missing.stderr, /units\.flotilla\.dev "nobody\.service" not found/);
      });

      test('get -w shows what changes', async () => {
        const watching = kubectl(['get', 'unit', name, '-w', '-o', 'jsonpath={.metadata.labels.step}{"\\n"}'], { timeoutMs: 5_000 });
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        for (const step of ['one', 'two']) await must(['label', '--overwrite', 'unit', name, `step=${step}`]);
        const { stdout } = await watching;
        const steps = stdout.split('\n').filter((line) => line !== '');
        assert.deepEqual([...new Set(steps)], ['one', 'two']);
      });

      test('describe shows the object and its events', async () => {
        const text = await until('its events', async () => {
          const described = await must(['describe', 'unit', name]);
          return /Events:\n/.test(described) && described;
        });
        assert.match(text, new RegExp(`^Name: +${name}$`, 'm'));
        assert.match(text, /Type: +Ready/);
        assert.match(text, /Normal +\w+ +\d+s/);
        assert.match(await must(['describe', 'machines']), /Kind: +Machine/);
      });

      test('diff: 0 when same, 1 and the lines when not, and it changes nothing', async () => {
        const manifest = unit(name, sleeper('1000'), { door });
        const same = await kubectl(['diff', '-f', '-'], { input: manifest });
        if (!can.openapiV3) {
          assert.ok(same.code > 1, 'an error, and never "same"');
          return;
        }
        assert.equal(same.code, 0, same.stderr);
        const { code, stdout, stderr } = await kubectl(['diff', '-f', '-'], { input: unit(name, sleeper('2000'), { door }) });
        assert.equal(code, 1, stderr);
        assert.match(stdout, /^-.*sleep 1000/m);
        assert.match(stdout, /^\+.*sleep 2000/m);
        assert.match(await must(['get', 'unit', name, '-o', 'yaml']), /sleep 1000/);
      });

      test('apply --server-side: a field of somebody else is a conflict that names them, until it is forced', async () => {
        const own = (seconds: string) =>
          JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name: other }, spec: { content: sleeper(seconds) } });
        const flags = (manager: string) => ['apply', ...unvalidated(), '--server-side', `--field-manager=${manager}`, '-f', '-'];
        await must([...flags('first'), '--force-conflicts'], own('10000'));
        const { code, stderr } = await kubectl(flags('second'), { input: own('20000') });
        assert.equal(code, 1);
        assert.match(stderr, /conflict with "first".*\.spec\.content/s);
        assert.match(await must(['get', 'unit', other, '-o', 'yaml']), /sleep 10000/);
        assert.match(await must([...flags('second'), '--force-conflicts'], own('20000')), /serverside-applied/);
        assert.match(await must(['get', 'unit', other, '-o', 'yaml']), /sleep 20000/);
      });

      test('patch and label', async () => {
        assert.match(await must(['patch', 'unit', name, '--type=merge', '-p', '{"spec":{"desiredState":"loaded"}}']), /patched/);
        await until('it to be stopped', async () => (await must(['get', 'unit', name, '-o', 'jsonpath={.status.active}'])) === 'inactive');
        const operations = '[{"op":"replace","path":"/spec/desiredState","value":"launched"}]';
        assert.match(await must(['patch', 'unit', name, '--type=json', '-p', operations]), /patched/);
        await until('it to run again', async () => (await must(['get', 'unit', name, '-o', 'jsonpath={.status.active}'])) === 'active');
        const refused = await kubectl(['patch', 'unit', name, '--type=merge', '-p', '{"spec":{"desiredState":"lanched"}}']);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /launched/);
        await must(['label', 'unit', name, 'tier=front']);
        assert.equal(await must(['get', 'units', '-l', 'tier in (front)', '-o', 'name']), `unit.flotilla.dev/${name}\n`);
        await must(['label', 'unit', name, 'tier-']);
        assert.equal(await must(['get', 'units', '-l', 'tier', '-o', 'name']), '');
      });

      test('api-resources and api-versions list what there is', async () => {
        const resources = await must(['api-resources']);
        for (const kind of ['Unit', 'Machine', 'Assignment'])
          assert.match(resources, new RegExp(` flotilla\\.dev(/v1)? +false +${kind}$`, 'm'));
        assert.match(await must(['api-versions']), /^flotilla\.dev\/v1$/m);
      });

      test('explain speaks of fields in sentences, where this kubectl can ask for them', async () => {
        const { code, stdout, stderr } = await kubectl(['explain', 'unit.spec.placement']);
        if (can.openapiV3) {
          assert.equal(code, 0, stderr);
          assert.match(stdout, /machineMetadata/);
          assert.match(stdout, /Globs of unit names that must not share the machine/);
        } else {
          assert.notEqual(code, 0, 'an error, and nothing that only looks like an explanation');
        }
      });

      test('delete, and wait for it to be gone', async () => {
        assert.match(await must(['delete', 'unit', name, '--wait=false']), /deleted/);
        const waited = await kubectl(['wait', '--for=delete', `unit/${name}`, '--timeout=30s']);
        assert.ok(waited.code === 0 || /not ?found|no matching resources found/i.test(waited.stderr), waited.stderr);
        assert.match(await must(['delete', 'unit', other]), /deleted/);
        assert.equal(await must(['get', 'units', '-o', 'name']), '');
      });
    });
  }
});
