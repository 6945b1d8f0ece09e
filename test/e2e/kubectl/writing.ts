/** Commands that write. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../rigs/cluster.js';
import { documents, type Kubectl, type Step } from '../../rigs/kubectl.js';

const created = (name: string) => `unit.flotilla.dev/${name} created\n`;
const apply = (kubectl: Kubectl, manifest: string, ...flags: string[]) => kubectl.must(['apply', ...flags, '-f', '-'], manifest);
const sleepOf = (kubectl: Kubectl, name: string) => kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.spec.content}']);

/** Runs `edit` with this shell script as the editor: `$1` is the file. */
async function edit(kubectl: Kubectl, script: string, args: readonly string[]) {
  const directory = await mkdtemp(join(tmpdir(), 'flotilla-editor-'));
  try {
    const editor = join(directory, 'editor');
    await writeFile(editor, `#!/bin/sh\n${script}\n`);
    await chmod(editor, 0o755);
    return await kubectl.run(['edit', ...args], { env: { KUBE_EDITOR: editor } });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export const writing: readonly Step[] = [
  {
    name: 'apply creates, says unchanged, configures, and takes away what the manifest dropped',
    async run(kubectl) {
      const name = kubectl.name('apply');
      assert.equal(await apply(kubectl, kubectl.unit(name, { labels: { a: 'b' } })), created(name));
      assert.equal(await apply(kubectl, kubectl.unit(name, { labels: { a: 'b' } })), `unit.flotilla.dev/${name} unchanged\n`);
      assert.match(await apply(kubectl, kubectl.unit(name, { seconds: '1000' }), '--dry-run=server'), /configured \(server dry run\)/);
      assert.match(await sleepOf(kubectl, name), /sleep infinity/);
      assert.equal(await apply(kubectl, kubectl.unit(name, { seconds: '1000' })), `unit.flotilla.dev/${name} configured\n`);
      const { metadata, spec } = JSON.parse(await kubectl.must(['get', 'unit', name, '-o', 'json']));
      assert.deepEqual([metadata.labels, spec.content], [{ session: kubectl.prefix }, '[Service]\nExecStart=/bin/sleep 1000\n']);
    },
  },
  {
    name: 'apply --server-side: a field of somebody else is a conflict that names them, until it is forced',
    async run(kubectl) {
      const name = kubectl.name('ssa');
      const serverSide = (seconds: string, manager: string, ...flags: string[]) =>
        kubectl.run(['apply', '--server-side', `--field-manager=${manager}`, ...flags, '-f', '-'], {
          input: kubectl.unit(name, { seconds }),
        });
      assert.match((await serverSide('100', 'first')).stdout, /serverside-applied/);
      const refused = await serverSide('200', 'second');
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /Apply failed with 1 conflict: conflict with "first".*: \.spec\.content/);
      assert.match(await sleepOf(kubectl, name), /sleep 100/);
      assert.match((await serverSide('200', 'second', '--force-conflicts')).stdout, /serverside-applied/);
      assert.match(await sleepOf(kubectl, name), /sleep 200/);
      const before = await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.generation} {.metadata.managedFields}']);
      assert.equal((await serverSide('200', 'second')).code, 0);
      assert.equal(await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.generation} {.metadata.managedFields}']), before);
    },
  },
  {
    name: 'from client-side to server-side apply: ownership moves, and a field dropped afterwards is gone',
    since: 26,
    async run(kubectl) {
      const name = kubectl.name('migrate');
      await apply(kubectl, kubectl.unit(name, { labels: { a: 'b' } }));
      assert.match(await apply(kubectl, kubectl.unit(name, { labels: { a: 'b' }, seconds: '100' }), '--server-side'), /serverside-applied/);
      const managers = await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.managedFields[*].manager}']);
      assert.deepEqual(managers.split(' ').sort(), ['kubectl', 'kubectl-last-applied']);
      assert.match(await apply(kubectl, kubectl.unit(name, { seconds: '100' }), '--server-side'), /serverside-applied/);
      assert.equal(
        await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.labels}']),
        JSON.stringify({ session: kubectl.prefix }),
      );
      // And back: the annotation was kept up to date, so the client's own arithmetic still is right.
      assert.match(await apply(kubectl, kubectl.unit(name, { seconds: '100' })), /unit.*(configured|unchanged)/);
      assert.match(await sleepOf(kubectl, name), /sleep 100/);
    },
  },
  {
    name: 'apply --prune deletes what the manifests no longer hold',
    since: 26,
    async run(kubectl) {
      const [stays, goes] = [kubectl.name('stays'), kubectl.name('goes')];
      const labels = { prune: kubectl.prefix };
      await apply(kubectl, documents(kubectl.unit(stays, { labels }), kubectl.unit(goes, { labels })));
      const flags = ['--prune', '-l', `prune=${kubectl.prefix}`, '--prune-allowlist=flotilla.dev/v1/Unit'];
      assert.match(await apply(kubectl, kubectl.unit(stays, { labels }), ...flags), new RegExp(`${goes} pruned`));
      await kubectl.must(['wait', '--for=delete', `unit/${goes}`, '--timeout=60s']);
      assert.equal(await kubectl.must(['get', 'units', '-l', `prune=${kubectl.prefix}`, '-o', 'name']), `unit.flotilla.dev/${stays}\n`);
    },
  },
  {
    name: 'diff: 0 when same, 1 and the lines when not, client-side and server-side, and it changes nothing',
    async run(kubectl) {
      const name = kubectl.name('diff');
      await apply(kubectl, kubectl.unit(name), '--server-side');
      for (const flags of [[], ['--server-side']]) {
        const same = await kubectl.run(['diff', ...flags, '-f', '-'], { input: kubectl.unit(name) });
        if (flags.length > 0) assert.deepEqual([same.code, same.stdout], [0, ''], same.stderr);
        const { code, stdout, stderr } = await kubectl.run(['diff', ...flags, '-f', '-'], {
          input: kubectl.unit(name, { seconds: '2000' }),
        });
        assert.equal(code, 1, stderr);
        assert.match(stdout, /^-.*sleep infinity/m);
        assert.match(stdout, /^\+.*sleep 2000/m);
      }
      const another = await kubectl.run(['diff', '-f', '-'], { input: kubectl.unit(kubectl.name('unborn')) });
      assert.equal(another.code, 1, another.stderr);
      assert.match(another.stdout, /^\+kind: Unit$/m);
      assert.match(await sleepOf(kubectl, name), /sleep infinity/);
    },
  },
  {
    name: 'manifests of kind List, and what get prints goes back in',
    async run(kubectl) {
      const names = [kubectl.name('list-a'), kubectl.name('list-b')];
      const labels = { list: kubectl.prefix };
      const list = (...items: object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
      assert.equal(await apply(kubectl, list(...names.map((name) => kubectl.object(name, { labels })))), names.map(created).join(''));
      const printed = await kubectl.must(['get', 'units', '-l', `list=${kubectl.prefix}`, '-o', 'yaml']);
      assert.match(printed, /^kind: List$/m);
      assert.match(await apply(kubectl, printed), /configured|unchanged/);
      await kubectl.refused(
        ['apply', '-f', '-'],
        /unknown field "?(spec\.)?desiredSate/,
        list(kubectl.object(names[0]!, { spec: { desiredSate: 'loaded' } })),
      );
    },
  },
  {
    name: 'unknown fields: refused, warned of, or ignored, as --validate says',
    since: 25,
    async run(kubectl) {
      const manifest = kubectl.unit(kubectl.name('unknown'), { spec: { desiredSate: 'loaded' } });
      await kubectl.refused(
        ['apply', '-f', '-'],
        /BadRequest.*strict decoding error: unknown field "spec\.desiredSate" \(did you mean "desiredState"\?\)/,
        manifest,
      );
      const warned = await kubectl.run(['apply', '--validate=warn', '-f', '-'], { input: manifest });
      assert.deepEqual([warned.code, /created/.test(warned.stdout)], [0, true]);
      assert.match(warned.stderr, /^Warning: unknown field "spec\.desiredSate"/);
      const ignored = await kubectl.run(['apply', '--validate=ignore', '-f', '-'], { input: manifest });
      assert.deepEqual([ignored.code, ignored.stderr], [0, '']);
    },
  },
  {
    name: 'create once; replace, unless somebody was faster; replace --force',
    async run(kubectl) {
      const name = kubectl.name('create');
      assert.equal(await kubectl.must(['create', '-f', '-'], kubectl.unit(name)), created(name));
      await kubectl.refused(['create', '-f', '-'], /AlreadyExists.*units\.flotilla\.dev ".*" already exists/, kubectl.unit(name));
      const seen = await kubectl.must(['get', 'unit', name, '-o', 'json']);
      assert.match(await kubectl.must(['replace', '-f', '-'], kubectl.unit(name, { seconds: '100' })), /replaced/);
      await kubectl.refused(['replace', '-f', '-'], /Conflict.*the object has been modified; please apply your changes/, seen);
      const uid = await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.uid}']);
      assert.match(await kubectl.must(['replace', '--force', '-f', '-'], kubectl.unit(name)), /deleted[\s\S]*replaced/);
      assert.notEqual(await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.uid}']), uid);
    },
  },
  {
    name: 'edit saves what was changed, opens again with the reason when it was wrong, and stops when nothing was',
    async run(kubectl) {
      const name = kubectl.name('edit');
      await kubectl.must(['create', '-f', '-'], kubectl.unit(name));
      const saved = await edit(kubectl, `sed -i 's/desiredState: launched/desiredState: loaded/' "$1"`, ['unit', name]);
      assert.match(saved.stdout, /edited/, saved.stderr);
      // The second time the file begins with what was wrong with it.
      const mend = `grep -q '^# .*spec.desiredState.*lanched' "$1" && sed -i '/^[^#]/s/lanched/launched/' "$1" || sed -i 's/: loaded/: lanched/' "$1"`;
      const mended = await edit(kubectl, mend, ['unit', name]);
      assert.match(mended.stdout, /edited/, mended.stderr);
      assert.equal(await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.spec.desiredState}']), 'launched');
      assert.match((await edit(kubectl, 'true', ['unit', name])).stderr, /Edit cancelled, no changes made/);
    },
  },
  {
    name: 'patch: merge, json, and the default type; no change is said',
    async run(kubectl) {
      const name = kubectl.name('patch');
      await kubectl.must(['create', '-f', '-'], kubectl.unit(name));
      const patch = (...args: string[]) => kubectl.must(['patch', 'unit', name, ...args]);
      const state = () => kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.spec.desiredState}']);
      assert.match(await patch('--type=merge', '-p', '{"spec":{"desiredState":"loaded"}}'), / patched\n/);
      assert.match(await patch('--type=merge', '-p', '{"spec":{"desiredState":"loaded"}}'), / patched \(no change\)/);
      assert.match(await patch('--type=json', '-p', '[{"op":"replace","path":"/spec/desiredState","value":"inactive"}]'), / patched\n/);
      assert.equal(await state(), 'inactive');
      assert.match(await patch('-p', '{"spec":{"desiredState":"launched"}}'), / patched\n/);
      assert.equal(await state(), 'launched');
      await kubectl.refused(
        ['patch', 'unit', name, '--type=merge', '-p', '{"spec":{"desiredState":"lanched"}}'],
        /is invalid: spec\.desiredState: Unsupported value: "lanched".*"launched"/,
      );
      await kubectl.refused(
        ['patch', 'unit', name, '--type=json', '-p', '[{"op":"test","path":"/spec/desiredState","value":"loaded"}]'],
        /^The request is invalid(: JSON patch: operation 0 \(test \/spec\/desiredState\) failed.*)?$/m,
      );
    },
  },
  {
    name: 'label and annotate: add, overwrite only when told, list, remove',
    async run(kubectl) {
      const name = kubectl.name('label');
      await kubectl.must(['create', '-f', '-'], kubectl.unit(name));
      for (const verb of ['label', 'annotate']) {
        assert.match(await kubectl.must([verb, 'unit', name, 'tier=front']), /labeled|annotate/);
        await kubectl.refused([verb, 'unit', name, 'tier=back'], /already has a value \(front\)|--overwrite is false/);
        await kubectl.must([verb, '--overwrite', 'unit', name, 'tier=back']);
      }
      const selected = ['get', 'units', '-l', `tier in (back),session=${kubectl.prefix}`, '-o', 'name'];
      assert.equal(await kubectl.must(selected), `unit.flotilla.dev/${name}\n`);
      assert.match(await kubectl.must(['label', 'unit', name, '--list']), /^tier=back$/m);
      assert.equal(await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.annotations.tier}']), 'back');
      await kubectl.must(['label', 'unit', name, 'tier-']);
      assert.equal(await kubectl.must(selected), '');
    },
  },
  {
    name: 'delete: one, by label, waiting or not, dry run, and what is not there',
    async run(kubectl) {
      const names = ['delete-a', 'delete-b', 'delete-c'].map((stem) => kubectl.name(stem));
      const labels = { delete: kubectl.prefix };
      await kubectl.must(['create', '-f', '-'], documents(...names.map((name) => kubectl.unit(name, { labels }))));
      const left = () => kubectl.must(['get', 'units', '-l', `delete=${kubectl.prefix}`, '-o', 'name']);
      assert.match(await kubectl.must(['delete', 'unit', names[0]!, '--dry-run=server']), /deleted \(server dry run\)/);
      assert.equal((await left()).split('\n').length, 4);
      assert.match(await kubectl.must(['delete', 'unit', names[0]!]), /deleted/);
      await kubectl.refused(['delete', 'unit', names[0]!], /NotFound/);
      await kubectl.must(['delete', 'unit', names[0]!, '--ignore-not-found']);
      assert.match(await kubectl.must(['delete', 'unit', names[1]!, '--cascade=foreground', '--wait=false']), /deleted/);
      assert.match(await kubectl.must(['delete', 'units', '-l', `delete=${kubectl.prefix}`, '--now']), /deleted/);
      assert.equal(await left(), '');
    },
  },
  {
    name: 'finalizers: a deletion waits for them, and the last one that goes takes the object along',
    async run(kubectl) {
      const name = kubectl.name('finalizer');
      const manifest = kubectl.object(name);
      await kubectl.must(
        ['create', '-f', '-'],
        JSON.stringify({ ...manifest, metadata: { ...manifest.metadata, finalizers: ['example.com/backup'] } }),
      );
      await kubectl.refused(['delete', 'unit', name, '--timeout=1s'], /timed out waiting for the condition/);
      assert.match(await kubectl.must(['get', 'unit', name, '-o', 'jsonpath={.metadata.deletionTimestamp}']), /^20\d\d-/);
      await kubectl.must(['patch', 'unit', name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
      await until('it to be gone', async () => (await kubectl.run(['get', 'unit', name])).stderr.includes('(NotFound)'));
    },
  },
];
