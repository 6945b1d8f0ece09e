// npm start: set-up, build, then `flotilla dev` in the foreground, with three machines where we are root.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { checkNode, ensureDebianPackages, ensureNpmPackages, runtimePackages, top } from './setup.mjs';

checkNode();
ensureNpmPackages();
const isRoot = process.getuid() === 0;
ensureDebianPackages(isRoot ? runtimePackages : { 'etcd-server': runtimePackages['etcd-server'] });
const { build } = await import('./build.mjs');
process.stderr.write('flotilla: building\n');
await build();

const args = ['dev', ...(isRoot ? ['--machines', '3'] : []), '--apply', join(top, 'manifests/quickstart'), ...process.argv.slice(2)];
// Debian keeps ip and its like where not every root shell looks.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const child = spawn(process.execPath, [join(top, 'dist/flotilla.mjs'), ...args], { stdio: 'inherit', env });
// Ctrl-C reaches the child by itself, from the terminal; what is sent to us alone is passed on. We outlive the child to keep its exit code.
for (const name of ['SIGTERM', 'SIGHUP']) process.on(name, () => child.kill(name));
process.on('SIGINT', () => {});
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 143)));
