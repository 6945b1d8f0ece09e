/** What the client verbs load before they do anything: every module is milliseconds that a person waits. Figures are the bench's. */
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const top = join(dirname(fileURLToPath(import.meta.url)), '../..');

const { metafile } = await build({
  absWorkingDir: top,
  entryPoints: ['cli/main.ts'],
  outdir: 'dist',
  write: false,
  metafile: true,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  external: ['usocket', 'x11'],
  logLevel: 'silent',
});

/** All that is loaded with a file: its own source files and those of whatever it imports, but for what it imports when it needs it. */
function loadedWith(entry: string): { files: string[]; builtins: string[] } {
  const seen = new Set<string>();
  const builtins = new Set<string>();
  const visit = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const { path, kind, external } of metafile.outputs[name]!.imports) {
      if (kind !== 'import-statement' && kind !== 'require-call') continue;
      if (external) builtins.add(path.replace(/^node:/, ''));
      else visit(path);
    }
  };
  visit(Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === entry)![0]);
  return { files: [...seen].flatMap((name) => Object.keys(metafile.outputs[name]!.inputs)), builtins: [...builtins] };
}

const packagesOf = (files: readonly string[]) => [
  ...new Set(files.flatMap((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [])),
];

test('the program starts with its command line and nothing else', () => {
  const { files, builtins } = loadedWith('cli/main.ts');
  assert.deepEqual(packagesOf(files), ['commander']);
  assert.ok(builtins.includes('http') && !builtins.includes('https'), 'a unix socket needs no TLS');
});

const fleetVerbs = ['bring', 'stop', 'restart', 'destroy', 'cat', 'lists'].map((verb) => `fleet/${verb}`);

for (const verb of ['get', 'describe', 'delete', 'wait', 'logs', 'status', 'ssh', 'events', 'machines', ...fleetVerbs]) {
  test(`${verb} loads no schema, no YAML and no TLS`, () => {
    const { files, builtins } = loadedWith(`cli/verbs/${verb}.ts`);
    assert.deepEqual(packagesOf(files), []);
    assert.deepEqual(
      builtins.filter((name) => ['https', 'tls'].includes(name)),
      [],
    );
  });
}

test('apply loads the schemas: else this test could not see them', () => {
  const { files } = loadedWith('cli/verbs/apply.ts');
  assert.ok(packagesOf(files).includes('zod') && packagesOf(files).includes('js-yaml'), packagesOf(files).join());
});
