/** About this program: `version`, `completion`. */
import type { Command } from 'commander';
import type { Tools } from './tools.js';

export function declareThisProgram(program: Command, { online }: Tools): void {
  program
    .command('version')
    .summary('versions of client and server')
    .description('Prints the versions of client and server.')
    .option('--client', 'only the client')
    .option('-o, --output <format>', 'json')
    .action(online(async (context, options) => (await import('../verbs/admin.js')).version(context, options)));

  program
    .command('completion')
    .summary('shell completion')
    .description('Prints a completion script: source <(flotilla completion bash)')
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (shell: string) => (await import('../verbs/completion.js')).completion(program, shell));
}
