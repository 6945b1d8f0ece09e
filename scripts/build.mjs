// Bundles the one program into dist/: an entry, and chunks that are loaded only by the roles and verbs that need them, so that a client
// verb never pays for etcd or D-Bus. The bundle needs Node and nothing else: a machine gets dist/ and a node binary.
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dayMs = 24 * 60 * 60 * 1_000;
const top = dirname(dirname(fileURLToPath(import.meta.url)));

// Packages written for CommonJS expect these names; in an ES module bundle somebody has to provide them.
const banner = `import { createRequire as flotillaCreateRequire } from 'node:module';
import { fileURLToPath as flotillaPath } from 'node:url';
const require = flotillaCreateRequire(import.meta.url);
const __filename = flotillaPath(import.meta.url);
const __dirname = flotillaPath(new URL('.', import.meta.url)).slice(0, -1);`;

export async function build() {
  const { build: bundle, stop } = await import('esbuild');
  const { version } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'));
  const out = join(top, 'dist');
  const fresh = join(top, 'dist.new');
  rmSync(fresh, { recursive: true, force: true });
  await bundle({
    entryPoints: { flotilla: join(top, 'cli/main.ts') },
    outdir: fresh,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    minifySyntax: true,
    minifyWhitespace: true,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    banner: { js: banner },
    define: { 'process.env.FLOTILLA_VERSION': JSON.stringify(version) },
    // Optional to dbus-next: a native socket (it falls back to node:net) and bus addresses kept by an X server (not ours).
    external: ['usocket', 'x11'],
    logLevel: 'warning',
  });
  // Its helper process would stay as long as we do, and `npm start` stays for hours.
  await stop();
  // etcd3 reads its protocol files at run time, from a folder beside its code.
  cpSync(join(top, 'node_modules/etcd3/proto'), join(fresh, 'proto'), { recursive: true });
  chmodSync(join(fresh, 'flotilla.mjs'), 0o755);
  // The entry comes last and in one go, so that there is a whole program at any time; a running one may still load its chunks from the
  // old files, which are kept for a day.
  mkdirSync(join(out, 'chunks'), { recursive: true });
  for (const name of readdirSync(join(out, 'chunks'))) {
    const old = join(out, 'chunks', name);
    if (Date.now() - statSync(old).mtimeMs > dayMs) rmSync(old);
  }
  for (const part of ['chunks', 'proto']) cpSync(join(fresh, part), join(out, part), { recursive: true });
  for (const entry of ['flotilla.mjs.map', 'flotilla.mjs']) renameSync(join(fresh, entry), join(out, entry));
  rmSync(fresh, { recursive: true, force: true });
  writeFileSync(join(out, 'package.json'), '{ "type": "module" }\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build();
