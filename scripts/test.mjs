// npm test: set-up, build, types, lint, then every test. Ends with a line `N passed, N failed`.
// `npm test -- FILE...` runs some test files only.
import { spawn, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { buildTests, removeBuiltTests } from './build-tests.mjs';
import { globSync } from './glob.mjs';
import { checkNode, ensureDebianPackages, ensureNpmPackages, testPackages, top } from './setup.mjs';
import { dearest, usageFileIn } from './test-usage.mjs';

checkNode();
ensureNpmPackages();
// Other people's clients, 72 MB that nobody but the tests needs.
ensureNpmPackages(join(top, 'test/clients'));
ensureDebianPackages(testPackages);
const { build } = await import('./build.mjs');
await build();

let passed = 0;
let failed = 0;
for (const [what, command, args] of [
  ['types', 'tsc', ['-p', 'tsconfig.json']],
  ['types of test/clients', 'tsc', ['-p', 'test/clients']],
  ['lint', 'biome', ['check', '.', '--diagnostic-level=warn']],
]) {
  const { status, stdout, stderr } = spawnSync(join(top, 'node_modules/.bin', command), args, { cwd: top, encoding: 'utf8' });
  if (status === 0) passed += 1;
  else {
    failed += 1;
    console.log(`${what}: ${command} found something\n${stdout}${stderr}`);
  }
}

const named = process.argv.slice(2).map((file) => resolve(file));
const files = named.length > 0 ? named : globSync(join(top, 'test'), '.test.ts');
const { directory, bundles } = await buildTests(files);
// Node 20 hands its runner's own flags on to the test processes and takes them from nowhere else.
const flags = ['--enable-source-maps', '--import', join(top, 'scripts/test-usage.mjs')];
const runner = spawn(process.execPath, [...flags, join(top, 'scripts/test-runner.mjs'), ...files.map((file) => bundles.get(file))], {
  cwd: top,
  env: { ...process.env, FLOTILLA_TEST_BUNDLES: directory, FLOTILLA_TEST_USAGE: usageFileIn(directory) },
  stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
});
const counts = await new Promise((done) => {
  let last;
  runner.on('message', (message) => {
    last = message;
  });
  runner.on('exit', (code) => done(last ?? { passed: 0, failed: 1, why: `the test runner ended with ${code} before it had counted` }));
});
for (const line of dearest(directory)) console.log(line);
removeBuiltTests(directory);
if (counts.why) console.log(counts.why);
passed += counts.passed;
failed += counts.failed;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
