/** The import direction of docs/architecture.md and the one door to each package, read off the code. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const top = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Layers, and what each may import beside itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'api/resources': [],
  runtime: ['api/resources'],
  'api/objects': ['api/resources', 'runtime'],
  'api/server': ['api/resources', 'runtime', 'api/objects'],
  controllers: ['api/resources', 'runtime', 'api/objects'],
  agent: ['api/resources', 'runtime', 'api/objects'],
  cli: ['api/resources', 'runtime', 'api/objects'],
  // Where the program is put together (docs/decisions/0001-composition.md).
  'cli/roles': ['api/resources', 'runtime', 'api/objects', 'api/server', 'controllers', 'agent', 'cli'],
};

/** Package → the only files that may import it. */
const doors: Readonly<Record<string, RegExp>> = {
  etcd3: /^runtime\/store\/etcd-[a-z-]+\.ts$/,
  cockatiel: /^runtime\/store\/etcd-[a-z-]+\.ts$/,
  'p-queue': /^runtime\/work-queue\.ts$/,
  'prom-client': /^runtime\/metrics\.ts$/,
  'dbus-next': /^agent\/systemd-dbus\.ts$/,
  'js-yaml': /^api\/resources\/yaml\.ts$/,
  pino: /^runtime\/log\.ts$/,
  commander: /^cli\//,
  diff: /^cli\//,
  picocolors: /^cli\//,
  semver: /^api\/resources\/semver-range\.ts$/,
  ignore: /^controllers\/gitsync\/syncignore\.ts$/,
};

interface Import {
  readonly from: string;
  readonly target: string;
}

const files = ['api', 'runtime', 'controllers', 'agent', 'cli'].flatMap((folder) =>
  readdirSync(join(top, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(top, join(entry.parentPath ?? entry.path, entry.name))),
);

const imports: readonly Import[] = files.flatMap((from) =>
  [...readFileSync(join(top, from), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, target]) => ({
    from,
    target: target!,
  })),
);

const layerOf = (file: string) =>
  Object.keys(mayImport)
    .filter((layer) => file.startsWith(`${layer}/`))
    .sort((a, b) => b.length - a.length)[0];

test('imports go one way', () => {
  assert.equal(files.length > 50, true, 'the code was found');
  const wrong: string[] = [];
  for (const { from, target } of imports) {
    if (!target.startsWith('.')) continue;
    const file = relative(top, resolve(top, dirname(from), target));
    const [own, other] = [layerOf(from), layerOf(file)];
    if (!own || !other) wrong.push(`${from} imports ${target}, which is in no layer`);
    else if (own !== other && !mayImport[own]!.includes(other) && !(own === 'cli' && file === 'cli/roles/declare.js'))
      wrong.push(`${from} imports ${file}`);
  }
  assert.deepEqual(wrong, []);
});

test('each package has one door', () => {
  const wrong = imports.filter(({ from, target }) => {
    const name = target.startsWith('@') ? target.split('/').slice(0, 2).join('/') : target.split('/')[0]!;
    return doors[name] !== undefined && !doors[name].test(from);
  });
  assert.deepEqual(wrong, []);
});

test('builtin modules are spelled with node:', () => {
  assert.deepEqual(
    imports.filter(({ target }) => builtinModules.includes(target)),
    [],
  );
});
