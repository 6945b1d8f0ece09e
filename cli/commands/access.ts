/** Who may come in: `token create`, `kubeconfig`. */
import type { Command } from 'commander';
import type { Tools } from './tools.js';

export function declareAccess(program: Command, { online }: Tools): void {
  const token = program.command('token').summary('join tokens for new machines').description('Join tokens for new machines.');
  token
    .command('create')
    .summary('make a token')
    .description('Prints a token with which one machine can join, within an hour.')
    .option('--labels <keys>', 'only these metadata keys may be set by the machine, as in region,disk')
    .option('-o, --output <format>', 'json')
    .action(online(async (context, options) => (await import('../verbs/admin.js')).tokenCreate(context, options)));
  program
    .command('kubeconfig')
    .summary('a kubeconfig for kubectl')
    .description('Prints a kubeconfig with a new client certificate, for kubectl.')
    .option('--server <url>', 'https URL of the server as its clients see it')
    .option('--name <name>', 'user name in the certificate', 'admin')
    .action(online(async (context, options) => (await import('../verbs/admin.js')).kubeconfig(context, options)));
}
