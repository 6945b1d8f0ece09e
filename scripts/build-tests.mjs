// Bundles test files once, so that each test process loads plain JavaScript: to translate our sources anew costs every file 0.7 seconds of
// CPU. Source maps keep files and lines of failures those of the sources, and `import.meta.url` stays the source's own.
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { top } from './setup.mjs';

const out = join(top, 'dist.test');

/** Programs that tests start beside themselves. */
const helpers = ['test/rigs/command-line-child.ts', 'cli/main.ts', 'cli/kubectl-plugin.ts'];

/** What a package must find when it is loaded. Packages are imported and our files inlined, so imports come first: this one has to stay one. */
const beforePackages = 'runtime/x509/reflect.ts';

const ownSources = (directory) => ({
  name: 'own-sources',
  setup(build) {
    build.onResolve({ filter: /\/reflect\.js$/ }, () => ({ path: bundleIn(directory, join(top, beforePackages)), external: true }));
    build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      if (!source.includes('import.meta.url')) return undefined;
      // On the first line, before what stands there: no line moves.
      return { loader: 'ts', contents: `const __sourceUrl = ${JSON.stringify(pathToFileURL(path).href)};${source}` };
    });
  },
});

/**
 * Builds into a directory of this process's own. Returns that directory, which `removeBuiltTests` removes, and what was built: path of the
 * source → path of the bundle.
 */
export async function buildTests(files) {
  const { build, stop } = await import('esbuild');
  mkdirSync(out, { recursive: true });
  for (const pid of readdirSync(out)) if (!isAlive(Number(pid))) rmSync(join(out, pid), { recursive: true });
  const directory = join(out, String(process.pid));
  await build({
    entryPoints: [...files, ...[...helpers, beforePackages].map((file) => join(top, file))],
    outbase: top,
    outdir: directory,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: 'linked',
    sourcesContent: false,
    define: { 'import.meta.url': '__sourceUrl' },
    plugins: [ownSources(directory)],
    logLevel: 'warning',
  });
  await stop();
  // Packages that only these tests need lie beside them.
  const packages = join(top, 'test/clients/node_modules');
  mkdirSync(join(directory, 'test/clients'), { recursive: true });
  symlinkSync(packages, join(directory, 'test/clients/node_modules'));
  return { directory, bundles: new Map(files.map((file) => [file, bundleIn(directory, file)])) };
}

const bundleIn = (directory, file) => join(directory, relative(top, file)).replace(/\.ts$/, '.mjs');

export const removeBuiltTests = (directory) => rmSync(directory, { recursive: true, force: true });

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
