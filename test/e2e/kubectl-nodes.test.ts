/**
 * The habits of people who keep Kubernetes' nodes, with every kubectl found: machines as nodes, copies of units as pods, their logs, who may
 * do what, and taking a machine out. One version after the other, since each of them drains the machine that its unit is on.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isTrue, stampingUnit, TestCluster, unitManifest, until } from '../rigs/cluster.js';
import { findKubectls, Kubectl, type Step } from '../rigs/kubectl.js';

const home = await mkdtemp(join(tmpdir(), 'flotilla-kubectl-nodes-'));
const { KUBECONFIG: _, ...inherited } = process.env;
const env = { ...inherited, HOME: home };
const all = await findKubectls(env);
const [newest] = all;
/** Of each minor version one. */
const found = all.filter(({ minor }, index) => all.findIndex((other) => other.minor === minor) === index);
const kubeconfig = join(home, 'kubeconfig');

describe('kubectl on nodes and pods', () => {
  let cluster: TestCluster;
  let hostnames: string[];
  before(async () => {
    cluster = await TestCluster.start({ machines: 2 });
    hostnames = await Promise.all(cluster.dev.machines.map(async (machine) => (await machine.must(['hostname'])).trim()));
    await writeFile(kubeconfig, await cluster.dev.mustCli(['kubeconfig']), { mode: 0o600 });
    await cluster.apply(
      unitManifest('everywhere.service', stampingUnit(), { placement: { global: true } }),
      unitManifest('talks.service', '[Service]\nExecStart=/bin/sh -c "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done"\n'),
    );
    await cluster.untilReady('talks.service');
    await until('the global unit', async () => isTrue((await cluster.unit('everywhere.service'))!, 'Ready'));
  });
  after(async () => {
    await cluster?.stop();
    await rm(home, { recursive: true, force: true });
  });

  /** The pod of a unit that is on one machine. */
  async function podOf(kubectl: Kubectl, unit: string): Promise<{ name: string; node: string }> {
    const query = ['get', 'pods', '-l', `flotilla.dev/unit=${unit}`, '-o', 'jsonpath={.items[0].metadata.name} {.items[0].spec.nodeName}'];
    const [name = '', node = ''] = (await kubectl.must(query)).split(' ');
    return { name, node };
  }

  const reading: readonly Step[] = [
    {
      name: 'get nodes and pods',
      async run(kubectl) {
        const nodes = await kubectl.must(['get', 'nodes']);
        assert.match(nodes, /^NAME +STATUS +ROLES +AGE +VERSION\n/);
        for (const name of hostnames) assert.match(nodes, new RegExp(`^${name} +Ready +<none> +\\S+ +\\S+$`, 'm'));
        const { name, node } = await podOf(kubectl, 'talks.service');
        assert.ok(hostnames.includes(node), node);
        assert.match(await kubectl.must(['get', 'pods', '-A']), new RegExp(`^default +${name} +1/1 +Running +0 +\\S+$`, 'm'));
        assert.match(
          await kubectl.must(['get', 'pods', '--field-selector', `spec.nodeName=${node}`, '-o', 'wide']),
          new RegExp(`^${name} .*${node}`, 'm'),
        );
      },
    },
    {
      name: 'describe a node and a pod',
      async run(kubectl) {
        const { name, node } = await podOf(kubectl, 'talks.service');
        const described = await kubectl.must(['describe', 'node', node]);
        assert.match(described, /Ready +True .*AgentConnected/);
        assert.match(described, new RegExp(`default +${name} `));
        assert.match(described, /Joined the cluster\./);
        const pod = await kubectl.must(['describe', 'pod', name]);
        assert.match(pod, /Controlled By: +Unit\/talks\.service/);
        assert.match(pod, /Normal +Scheduled .*Assigned to machine/);
      },
    },
    {
      name: 'logs: the last lines, with times, and those that come',
      async run(kubectl) {
        const { name } = await podOf(kubectl, 'talks.service');
        assert.match(await kubectl.must(['logs', name, '--tail=2']), /^line \d+\nline \d+\n$/);
        assert.match(await kubectl.must(['logs', name, '--tail=1', '--timestamps', '--since=1m']), /^\d{4}-\d\d-\d\dT\S+Z line \d+\n$/);
        const { command, words, env: own } = kubectl.commandLine(['logs', '-f', name, '--tail=1']);
        const following = spawn(command, words, { env: own, stdio: ['ignore', 'pipe', 'inherit'] });
        let text = '';
        following.stdout.on('data', (chunk: Buffer) => {
          text += chunk;
        });
        try {
          await until('three lines, one after the other', async () => text.split('\n').length > 3);
        } finally {
          following.kill();
          await once(following, 'close');
        }
        const numbers = [...text.matchAll(/^line (\d+)$/gm)].map(([, number]) => Number(number));
        assert.deepEqual(
          numbers,
          numbers.map((_number, index) => numbers[0]! + index),
          'none twice and none left out',
        );
      },
    },
    {
      name: 'may I, what may I, and the cluster',
      async run(kubectl) {
        assert.match(await kubectl.must(['auth', 'can-i', 'create', 'units.flotilla.dev']), /^yes$/m);
        assert.match(await kubectl.must(['auth', 'can-i', '*', '*']), /^yes/m);
        const refused = await kubectl.run(['auth', 'can-i', 'delete', 'nodes']);
        assert.deepEqual([refused.code, /^no/.test(refused.stdout)], [1, true], refused.stderr);
        assert.match(await kubectl.must(['auth', 'can-i', '--list']), /^units\.flotilla\.dev .*create.*watch/m);
        assert.match(await kubectl.must(['cluster-info']), /control plane.* is running at/i);
        assert.match(await kubectl.must(['get', 'namespaces']), /^default +Active/m);
        await kubectl.refused(['create', 'namespace', 'default'], /already exists/);
        await kubectl.refused(['create', 'namespace', 'other'], /default is the only namespace/);
      },
    },
    {
      name: 'who am I',
      since: 28,
      async run(kubectl) {
        assert.match(await kubectl.must(['auth', 'whoami']), /flotilla:admins/);
      },
    },
  ];

  const moving: Step = {
    name: 'cordon, drain and uncordon: a unit moves, stopped before it is started, and only what belongs there stays',
    async run(kubectl) {
      const unit = kubectl.name('moves');
      await cluster.apply(unitManifest(unit, stampingUnit()));
      await cluster.untilReady(unit);
      const before = await podOf(kubectl, unit);
      await kubectl.refused(['delete', 'pod', before.name, '--wait=false'], /cordon it first/);
      assert.match(await kubectl.must(['cordon', before.node]), /cordoned/);
      assert.match(await kubectl.must(['get', 'nodes']), new RegExp(`^${before.node} +Ready,SchedulingDisabled `, 'm'));
      const { code, stdout, stderr } = await kubectl.run(['drain', before.node, '--ignore-daemonsets', '--timeout=60s'], {
        timeoutMs: 90_000,
      });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /drained/);
      await cluster.untilReady(unit);
      assert.notEqual((await podOf(kubectl, unit)).node, before.node);
      const stamps = await cluster.stamps(unit);
      assert.deepEqual(
        stamps.map(({ what }) => what),
        ['start', 'stop', 'start'],
      );
      assert.ok(stamps[1]!.at <= stamps[2]!.at, JSON.stringify(stamps));
      const left = await kubectl.must([
        'get',
        'pods',
        '--field-selector',
        `spec.nodeName=${before.node}`,
        '-o',
        'jsonpath={.items[*].metadata.labels.flotilla\\.dev/unit}',
      ]);
      assert.equal(left, 'everywhere.service');
      assert.match(await kubectl.must(['uncordon', before.node]), /uncordoned/);
      assert.match(await kubectl.must(['delete', 'unit', unit]), /deleted/);
    },
  };

  const onlyOnce: readonly Step[] = [
    {
      name: 'top: what machines and units use, as the machines measure it',
      async run(kubectl) {
        const nodes = await kubectl.must(['top', 'nodes']);
        for (const name of hostnames) assert.match(nodes, new RegExp(`^${name} +\\d+m +\\d+% +[1-9]\\d*Mi +\\d+% *$`, 'm'));
        const pods = await kubectl.must(['top', 'pods', '--sort-by=cpu', '-l', 'flotilla.dev/unit=talks.service']);
        assert.match(pods, /^NAME .*\ntalks\.service\.[0-9a-f]{8} +\d+m +\d+Mi *\n$/);
      },
    },
    {
      name: 'a drain with nowhere to go says why, moves nothing, and is over when somebody takes it back',
      async run(kubectl) {
        const [one, two] = hostnames;
        await kubectl.must(['cordon', one!, two!]);
        const { node } = await podOf(kubectl, 'talks.service');
        const drained = await kubectl.run(['drain', node, '--timeout=8s'], { timeoutMs: 60_000 });
        assert.equal(drained.code, 1);
        assert.match(drained.stderr, /talks\.service: .*nowhere else to go: 2 machines: cordoned/);
        await kubectl.must(['uncordon', one!, two!]);
        await cluster.untilUnit(
          'talks.service',
          'at rest',
          (unit) => unit.status?.conditions?.find(({ type }) => type === 'Scheduled')?.reason === 'Assigned',
        );
        assert.equal((await podOf(kubectl, 'talks.service')).node, node);
      },
    },
    {
      name: "taint and label a node: its machine's taints and metadata",
      async run(kubectl) {
        const [node] = hostnames;
        await kubectl.must(['taint', 'nodes', node!, 'room=small:NoSchedule']);
        await kubectl.must(['label', 'node', node!, 'room=small']);
        const machine = await kubectl.must(['get', 'machines', '-l', 'room=small', '-o', 'jsonpath={.items[*].spec.taints[*].key}']);
        assert.equal(machine, 'room');
        assert.match(await kubectl.must(['explain', 'node.spec']), /unschedulable[\s\S]*Can be changed/);
        await kubectl.must(['taint', 'nodes', node!, 'room-']);
        await kubectl.must(['label', 'node', node!, 'room-']);
      },
    },
    {
      name: 'logs -l over all copies, and what is not there says so',
      async run(kubectl) {
        await cluster.dev.mustCli(['restart', 'talks.service']);
        await until('its second run', async () => {
          const second = await kubectl.run(['logs', '-p', '--tail=2', (await podOf(kubectl, 'talks.service')).name]);
          return second.code === 0 && /^Stopped talks\.service/m.test(second.stdout);
        });
        assert.match(await kubectl.must(['logs', '-l', 'flotilla.dev/unit=talks.service', '--tail=1']), /^line \d+$/m);
        await kubectl.refused(['delete', 'node', hostnames[0]!], /machines\.flotilla\.dev/);
      },
    },
  ];

  const kubectls = found.map((binary, index) => new Kubectl(binary, `n${binary.minor}-${index}`, [`--kubeconfig=${kubeconfig}`], env));

  describe('every version found', { concurrency: 2 }, () => {
    for (const kubectl of kubectls) {
      const { version, path, minor } = kubectl.binary;
      const lacks = reading.filter(({ since = 0 }) => minor < since).map(({ name }) => name);
      if (lacks.length > 0) console.log(`kubectl ${version} is too old for: ${lacks.join('; ')}`);
      test(`${version} (${path}): looking`, async () => {
        for (const step of reading.filter(({ since = 0 }) => minor >= since)) await step.run(kubectl);
      });
    }
  });

  describe('one after the other, since each empties a node', () => {
    // Back to where bodies were JSON, and a little further; an older one if there is no other.
    const drainers = kubectls.filter(({ binary }, index) => binary.minor >= 29 || index === 0);
    for (const kubectl of drainers) test(`${kubectl.binary.version}: ${moving.name}`, () => moving.run(kubectl));
    for (const step of onlyOnce) test(`${newest.version}: ${step.name}`, () => step.run(kubectls[0]!));
  });
});
