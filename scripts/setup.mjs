// The set-up that `npm start` and `npm test` share: npm packages, then the Debian packages that are missing. Says what it will install
// before it does, installs nothing that is there, starts none of the services that it installs.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const top = dirname(dirname(fileURLToPath(import.meta.url)));

/** What `npm start` needs: package → a command or file that proves it is there, however it came. */
export const runtimePackages = {
  'etcd-server': ['etcd'],
  'systemd-container': ['systemd-nspawn'],
  systemd: ['journalctl', 'systemctl'],
  dbus: ['dbus-daemon'],
  iproute2: ['ip'],
  procps: ['ps'],
  git: ['git'],
};

/** What the tests need beside that. */
export const testPackages = {
  ...runtimePackages,
  prometheus: ['prometheus', 'promtool'],
  'kubernetes-client': ['kubectl'],
  'docker.io': ['dockerd'],
  'docker-registry': ['docker-registry'],
  'busybox-static': ['busybox'],
  'openssh-client': ['ssh'],
  'openssh-server': ['sshd'],
};

const say = (text) => process.stderr.write(`${text}\n`);
const hasCommand = (name) =>
  (process.env.PATH ?? '')
    .split(':')
    .concat('/usr/sbin', '/sbin')
    .some((dir) => existsSync(join(dir, name)));

function fail(sentence) {
  say(`flotilla: ${sentence}`);
  process.exit(1);
}

export function checkNode() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) fail(`Node ${process.versions.node} is too old: version 20 or newer is needed`);
}

/** Installs the node_modules of a folder when it is missing or older than the lock file. */
export function ensureNpmPackages(folder = top) {
  const lock = join(folder, 'package-lock.json');
  const installed = join(folder, 'node_modules/.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  say(`flotilla: installing npm packages (npm ci${folder === top ? '' : ` in ${relative(top, folder)}`})`);
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder, stdio: ['ignore', 2, 2] });
  if (status !== 0) fail('npm ci failed; what it said stands above');
}

export const missingPackages = (packages) =>
  Object.entries(packages)
    .filter(([, commands]) => !commands.every(hasCommand))
    .map(([name]) => name);

/** Installs the Debian packages of the list that are missing. */
export function ensureDebianPackages(packages) {
  const missing = missingPackages(packages);
  if (missing.length === 0) return;
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (!hasCommand('apt-get')) fail(`these are missing and this is no Debian: ${missing.join(', ')}`);
  if (process.getuid() !== 0) fail(`Debian packages are missing; as root, run: ${command}`);
  say(`flotilla: installing Debian packages: ${missing.join(' ')}`);

  // Debian starts a service as it installs it, unless this file says no (101). Only for this call; an administrator's own file stays.
  const policy = '/usr/sbin/policy-rc.d';
  const isOurs = !existsSync(policy);
  // A Ctrl-C ends apt, and must not end us before that file is gone again.
  let isInterrupted = false;
  const interrupt = () => {
    isInterrupted = true;
  };
  process.on('SIGINT', interrupt);
  if (isOurs) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  let failure;
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const apt = (...args) =>
      spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    const updated = apt('update');
    const installed = updated.signal ? updated : apt('install', '-y', '--no-install-recommends', ...missing);
    if (installed.signal) isInterrupted = true;
    else if (installed.status !== 0)
      failure = `${updated.stderr}${installed.stdout}${installed.stderr}`.trimEnd().split('\n').slice(-20).join('\n');
  } finally {
    if (isOurs) rmSync(policy, { force: true });
    process.off('SIGINT', interrupt);
  }
  if (isInterrupted) process.exit(130);
  if (failure !== undefined) {
    say(failure);
    fail(`${command} failed; what it said stands above`);
  }
  const still = missingPackages(packages);
  if (still.length > 0) fail(`still missing after apt-get: ${still.join(', ')}`);
}

export const versionOfPackage = () => JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')).version;
