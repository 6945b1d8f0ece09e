/** The roles on the command line: `server`, `agent`, `dev`. Declared here, loaded when they run. */
import { type Command, Option } from 'commander';
import { collect } from '../commands/tools.js';

export function declareRoles(program: Command, done: (code: number) => void): void {
  program
    .command('server')
    .summary('run the API server and the controllers')
    .description('Runs the API server and the controllers; one or three of them, any may lead.')
    .option('--etcd <urls>', 'etcd endpoints, separated by commas (FLOTILLA_ETCD)', collect, [])
    .option('--etcd-ca-file <file>', "PEM file of etcd's CA")
    .option('--etcd-cert-file <file>', 'PEM file of the client certificate for etcd')
    .option('--etcd-key-file <file>', "PEM file of that certificate's key")
    .option('--listen <url>', 'unix:///path, https://address:port or http://127.0.0.1:port; may be repeated (FLOTILLA_LISTEN)', collect, [])
    .option('--advertise <urls>', 'https URLs under which agents reach this server')
    .option('--insecure-loopback', 'allow plain http on loopback, where every local user is an admin')
    .option('--pki-dir <dir>', 'where the CA and its key are kept')
    .option('--secret-key-file <file>', 'keys under which Secrets are stored, 32 bytes in base64 a line; without it none are')
    .option('--git-dir <dir>', 'where mirrors of Git repositories are kept (FLOTILLA_GIT_DIR)')
    .option('--git-file-root <dirs>', 'directories below which a GitSync may read file:// repositories', collect, [])
    .option('--config <file>', 'settings file', '/etc/flotilla/server.yaml')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .action(async (options) => done(await (await import('./server.js')).serverRole(options)));

  program
    .command('agent')
    .summary('run the agent of this machine')
    .description('Runs the agent of this machine, as root; or, with --user, for your own systemd.')
    .option('--server <urls>', 'https URLs of servers, separated by commas (FLOTILLA_SERVER)', collect, [])
    .addOption(new Option('--token <token>', 'join token for the first start (better: FLOTILLA_TOKEN or FLOTILLA_TOKEN_FILE)'))
    .option('--metadata <pairs>', 'key=value pairs of this machine, separated by commas (FLOTILLA_METADATA)')
    .option('--bus <address>', "D-Bus address of the systemd to drive; default: the machine's system bus")
    .option('--user', 'drive the systemd of the user who runs this')
    .option('--metrics <listen>', 'where to serve metrics, or off')
    .option('--state-dir <dir>', 'where the certificate and the last-known-good are kept')
    .option('--config <file>', 'settings file', '/etc/flotilla/agent.yaml')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .action(async (options) => done(await (await import('./agent.js')).agentRole(options)));

  program
    .command('dev')
    .summary('a whole cluster on this computer')
    .description('Runs etcd, a server and machines on this computer, in the foreground, and takes everything down at the end.')
    .option('--machines <number>', 'how many systemd machines to boot (needs root)', '1')
    .option('--apply <path>', 'manifests to apply once the machines are ready')
    .action(async (options) => done(await (await import('./dev-role.js')).devRole(options)));
}
