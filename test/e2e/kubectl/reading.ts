/** Commands that read, and those that wait. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { program, until } from '../../rigs/cluster.js';
import { documents, type Kubectl, type Step } from '../../rigs/kubectl.js';

const create = (kubectl: Kubectl, ...manifests: string[]) => kubectl.must(['create', '-f', '-'], documents(...manifests));

export const reading: readonly Step[] = [
  {
    name: 'version, api-resources, api-versions, get --raw',
    async run(kubectl) {
      const { serverVersion } = JSON.parse(await kubectl.must(['version', '-o', 'json']));
      assert.match(serverVersion.gitVersion, /^v1\.\d+\.\d+\+flotilla\./);
      const resources = await kubectl.must(['api-resources']);
      for (const kind of ['Unit', 'Machine', 'Assignment'])
        assert.match(resources, new RegExp(` flotilla\\.dev(/v1)? +false +${kind}$`, 'm'));
      assert.match(await kubectl.must(['api-versions']), /^flotilla\.dev\/v1$/m);
      assert.equal(await kubectl.must(['get', '--raw', '/livez']), 'ok');
    },
  },
  {
    name: 'get: the table, wide, yaml, name, paths, templates, columns, labels',
    async run(kubectl) {
      const name = kubectl.name('get');
      await create(kubectl, kubectl.unit(name, { labels: { get: 'yes' } }));
      const get = (...args: string[]) => kubectl.must(['get', ...args]);
      assert.match(await get('unit', name), /^NAME +DESIRED +ACTIVE +SUB +MACHINE +READY +AGE\n\S+ +launched .* \d+s\n$/);
      assert.match(await get('unit', name, '-o', 'wide'), /^NAME .* AGE +LOAD +HASH +MESSAGE/);
      assert.match(
        await get('unit', name, '--no-headers', '--show-labels'),
        new RegExp(`^${name} .*get=yes,session=${kubectl.prefix}\\n$`),
      );
      assert.match(await get('unit', name, '-L', 'get', '--show-kind'), new RegExp(`GET\nunit\\.flotilla\\.dev/${name} .* yes\n$`));
      assert.match(await get('unit', name, '-o', 'yaml'), /^kind: Unit$[\s\S]*ExecStart=\/bin\/sleep infinity/m);
      assert.equal(JSON.parse(await get('units', '-l', `session=${kubectl.prefix},get`, '-o', 'json')).items.length, 1);
      assert.equal(await get('unit', name, '-o', 'name'), `unit.flotilla.dev/${name}\n`);
      assert.equal(await get('unit', name, '-o', 'jsonpath={.metadata.name}'), name);
      assert.equal(await get('unit', name, '-o', 'go-template={{.spec.desiredState}}'), 'launched');
      assert.match(await get('unit', name, '-o', 'custom-columns=N:.metadata.name,S:.spec.desiredState'), /^N +S\n\S+ +launched\n$/);
      const { stderr } = await kubectl.run(['get', 'unit', kubectl.name('nobody')]);
      assert.match(stderr, /\(NotFound\): units\.flotilla\.dev ".*nobody\.service" not found/);
    },
  },
  {
    name: 'get: sorted, in chunks, by field, by category, by short name, several kinds and names at once',
    async run(kubectl) {
      const names = ['c', 'a', 'b'].map((stem) => kubectl.name(`many-${stem}`));
      await create(kubectl, ...names.map((name) => kubectl.unit(name, { labels: { many: kubectl.prefix } })));
      const listed = async (...args: string[]) =>
        (await kubectl.must(['get', '--no-headers', ...args]))
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => line.split(/ +/, 1)[0]!);
      const sorted = [...names].sort();
      const labelled = ['-l', `many=${kubectl.prefix}`];
      assert.deepEqual(await listed('units', ...labelled, '--sort-by=.metadata.name'), sorted);
      assert.deepEqual((await listed('units', ...labelled, '--sort-by=.metadata.creationTimestamp')).sort(), sorted);
      assert.deepEqual(await listed('units', ...labelled, '--chunk-size=1'), sorted);
      assert.deepEqual(await listed('un', '--field-selector', `metadata.name=${names[0]},spec.desiredState=launched`), [names[0]]);
      assert.deepEqual(await listed('un', ...labelled, '--field-selector', `metadata.name!=${names[0]}`), sorted.slice(0, 2));
      await kubectl.refused(['get', 'units', '--field-selector', 'spec.content=x'], /field label not supported: spec\.content/);
      // Where a word stands for several kinds, each name comes with its kind.
      const shown = await listed('all', ...labelled);
      for (const name of sorted) assert.ok(shown.includes(name) || shown.includes(`unit.flotilla.dev/${name}`), shown.join());
      assert.ok((await listed('flotilla')).some((name) => name.startsWith('machine.flotilla.dev/')));
      assert.deepEqual(await listed(`unit/${names[0]}`, `unit/${names[1]}`), [names[0], names[1]]);
      assert.ok((await listed('units,machines')).some((name) => name.startsWith('machine.flotilla.dev/')));
      assert.deepEqual(await listed('unit', names[0]!, kubectl.name('nobody'), '--ignore-not-found'), [names[0]]);
    },
  },
  {
    name: 'get --subresource=status shows the status, and no client can write it',
    since: 24,
    async run(kubectl) {
      const name = kubectl.name('status');
      await create(kubectl, kubectl.unit(name));
      assert.match(await kubectl.must(['get', 'unit', name, '--subresource=status', '-o', 'yaml']), /^kind: Unit$/m);
      await kubectl.refused(
        ['patch', 'unit', name, '--subresource=status', '--type=merge', '-p', '{"status":{"active":"active"}}'],
        /\(Forbidden\).*the system writes it/,
      );
    },
  },
  {
    name: 'unit names as systemd has them: instances and escapes',
    async run(kubectl) {
      for (const name of [`${kubectl.prefix}@1.service`, `dev-${kubectl.prefix}\\x2dlabel.service`]) {
        await create(kubectl, kubectl.unit(name));
        assert.equal(await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.name}']), name);
        assert.equal(
          await kubectl.must(['get', 'units', '--field-selector', `metadata.name=${name}`, '-o', 'name']),
          `unit.flotilla.dev/${name}\n`,
        );
        await kubectl.must(['label', 'unit', name, 'a=b']);
        await kubectl.must(['wait', '--for=condition=Ready', `unit/${name}`, '--timeout=60s']);
        await kubectl.must(['delete', 'unit', name]);
      }
    },
  },
  {
    name: 'describe and events say what happened',
    async run(kubectl) {
      const name = kubectl.name('describe');
      await create(kubectl, kubectl.unit(name));
      const text = await until('its events', async () => {
        const described = await kubectl.must(['describe', 'unit', name]);
        return /^Events:\n/m.test(described) && described;
      });
      assert.match(text, new RegExp(`^Name: +${name}$`, 'm'));
      assert.match(text, /Type: +Ready/);
      assert.match(text, /(Normal|Warning) +\w+ +\d+s/);
      assert.match(await kubectl.must(['describe', 'machines']), /Kind: +Machine/);
      assert.match(await kubectl.must(['get', 'events', '--field-selector', `involvedObject.name=${name}`]), new RegExp(`unit/${name}`));
    },
  },
  {
    name: 'events --for one object',
    since: 26,
    async run(kubectl) {
      const name = kubectl.name('events');
      await create(kubectl, kubectl.unit(name));
      const events = await until('its events', async () => {
        const shown = await kubectl.must(['events', '--for', `unit/${name}`]);
        return shown.includes(`Unit/${name}`) && shown;
      });
      assert.match(events, /^LAST SEEN +TYPE +REASON +OBJECT +MESSAGE\n/);
    },
  },
  {
    name: 'explain speaks of fields in sentences',
    async run(kubectl) {
      const placement = await kubectl.must(['explain', 'unit.spec.placement']);
      assert.match(placement, /machineMetadata\s+<\[\]string>/);
      assert.match(placement, /Globs of unit names that must not share the machine/);
      assert.match(await kubectl.must(['explain', 'unit', '--recursive']), /machineSelector\s+<Object>\s+matchExpressions/);
      await kubectl.refused(['explain', 'unit.spec.nonsense'], /field "nonsense" does not exist/);
    },
  },
  {
    name: 'explain by OpenAPI v2',
    since: 27,
    async run(kubectl) {
      const text = await kubectl.must(['explain', 'unit.spec.placement', '--output=plaintext-openapiv2']);
      assert.match(text, /Globs of unit names that must not share the machine/);
    },
  },
  {
    name: 'get -w: of one object and of a selection, which objects enter and leave',
    async run(kubectl) {
      const name = kubectl.name('watch');
      await create(kubectl, kubectl.unit(name, { labels: { watch: 'no' } }));
      const one = new Watching(kubectl, ['get', 'unit', name, '-w', '-o', 'jsonpath={.metadata.labels.watch}{"\\n"}']);
      const some = new Watching(kubectl, [
        ...['get', 'units', '-w', '--output-watch-events', '-l', `watch=yes,session=${kubectl.prefix}`],
        ...['-o', 'jsonpath={.type} {.object.metadata.name}{"\\n"}'],
      ]);
      try {
        await one.until((lines) => lines.includes('no'));
        // The selection is empty: nothing tells that its watch is open, so it is made to show something.
        await until('the selection to be watched', async () => {
          await kubectl.must(['label', '--overwrite', 'unit', name, 'watch=yes']);
          return (
            some.lines.some((line) => line.startsWith('ADDED')) || !(await kubectl.must(['label', '--overwrite', 'unit', name, 'watch=no']))
          );
        });
        await kubectl.must(['label', '--overwrite', 'unit', name, 'watch=no']);
        await some.until((lines) => lines.at(-1) === `DELETED ${name}`);
        await one.until((lines) => lines.includes('yes') && lines.at(-1) === 'no');
      } finally {
        await Promise.all([one.stop(), some.stop()]);
      }
    },
  },
  {
    name: 'kubectl flotilla: what kubectl cannot do on kinds of others, with its kubeconfig and certificates',
    async run(kubectl) {
      const name = kubectl.name('plugin');
      const content = "[Service]\nExecStart=/bin/sh -c 'echo said by the unit; exec sleep infinity'\n";
      await create(kubectl, kubectl.unit(name, { spec: { content } }));
      await kubectl.must(['wait', '--for=condition=Ready', `unit/${name}`, '--timeout=60s']);
      const directory = await mkdtemp(join(tmpdir(), 'flotilla-plugin-'));
      try {
        await symlink(program, join(directory, 'kubectl-flotilla'));
        await until('the line', async () => (await kubectl.plugin(directory, ['logs', name])).stdout.includes('said by the unit'));
        const restarted = await kubectl.plugin(directory, ['restart', name]);
        assert.equal(restarted.code, 0, restarted.stderr);
        assert.match(
          (await kubectl.plugin(directory, ['get', 'units', '-l', `session=${kubectl.prefix}`])).stdout,
          new RegExp(`^${name} `, 'm'),
        );
        const wrong = await kubectl.plugin(directory, ['lgos', name]);
        assert.equal(wrong.code, 2);
        assert.match(wrong.stderr, /unknown command "lgos".*"?logs"?/);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  },
  {
    name: 'wait: for a condition, until it is gone',
    async run(kubectl) {
      const name = kubectl.name('wait');
      await create(kubectl, kubectl.unit(name));
      assert.match(await kubectl.must(['wait', '--for=condition=Ready', `unit/${name}`, '--timeout=60s']), /condition met/);
      await kubectl.refused(['wait', '--for=condition=Ready=false', `unit/${name}`, '--timeout=1s'], /timed out waiting for the condition/);
      const [waited] = await Promise.all([
        kubectl.run(['wait', '--for=delete', `unit/${name}`, '--timeout=60s']),
        kubectl.must(['delete', 'unit', name]),
      ]);
      // Before 1.31 nothing to wait for is an error of kubectl's own, when the deletion was faster than the wait.
      assert.ok(waited.code === 0 || /not ?found|no matching resources found/i.test(waited.stderr), waited.stderr);
    },
  },
  {
    name: 'wait for a value',
    since: 23,
    async run(kubectl) {
      const name = kubectl.name('wait-value');
      await create(kubectl, kubectl.unit(name, { spec: { desiredState: 'loaded' } }));
      const waiting = kubectl.must(['wait', '--for=jsonpath={.status.active}=active', `unit/${name}`, '--timeout=60s']);
      await kubectl.must(['patch', 'unit', name, '--type=merge', '-p', '{"spec":{"desiredState":"launched"}}']);
      assert.match(await waiting, /condition met/);
    },
  },
  {
    name: 'wait until it exists',
    since: 31,
    async run(kubectl) {
      const name = kubectl.name('wait-create');
      const waiting = kubectl.must(['wait', '--for=create', `unit/${name}`, '--timeout=60s']);
      await create(kubectl, kubectl.unit(name));
      assert.match(await waiting, /condition met/);
    },
  },
];

/** A `get -w` that runs until it is stopped. */
class Watching {
  lines: readonly string[] = [];
  readonly #child;
  readonly #ended: Promise<void>;

  constructor(kubectl: Kubectl, args: readonly string[]) {
    const { command, words, env } = kubectl.commandLine(args);
    this.#child = spawn(command, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    this.#child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      this.lines = text.split('\n').slice(0, -1);
    });
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  until(check: (lines: readonly string[]) => boolean): Promise<true> {
    return until('the watch to show it', async () => {
      if (check(this.lines)) return true;
      throw new Error(`shown so far: ${this.lines.join(', ') || 'nothing'}`);
    });
  }

  async stop(): Promise<void> {
    this.#child.kill();
    await this.#ended;
  }
}
