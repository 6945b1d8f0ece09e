// npm run bench: set-up and build as the tests have them, then the measurements, alone on the machine.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { checkNode, ensureDebianPackages, ensureNpmPackages, testPackages, top } from './setup.mjs';

checkNode();
ensureNpmPackages();
ensureDebianPackages(testPackages);
const { build } = await import('./build.mjs');
await build();
const { status } = spawnSync(process.execPath, ['--import', 'tsx', join(top, 'bench/main.ts'), ...process.argv.slice(2)], {
  cwd: top,
  stdio: 'inherit',
});
process.exit(status ?? 1);
