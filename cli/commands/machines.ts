/** Verbs on machines: `cordon`, `uncordon`, `drain`, `failover`. */
import type { Command } from 'commander';
import { durationMs } from '../duration.js';
import { type Tools, timeout } from './tools.js';

export function declareMachines(program: Command, { online }: Tools): void {
  program
    .command('cordon')
    .summary('place nothing new on machines')
    .description('Marks machines so that nothing new is placed on them.')
    .argument('<machines...>', 'id, beginning of the id, or hostname')
    .action(online(async (context, words: string[]) => (await import('../verbs/machines.js')).cordon(context, words, true)));
  program
    .command('uncordon')
    .summary('place units on machines again')
    .description('Lets units be placed on machines again; ends a drain.')
    .argument('<machines...>', 'id, beginning of the id, or hostname')
    .action(online(async (context, words: string[]) => (await import('../verbs/machines.js')).cordon(context, words, false)));
  timeout(
    program
      .command('drain')
      .summary('move units off machines')
      .description('Cordons machines and moves the units off that can run elsewhere.')
      .argument('<machines...>', 'id, beginning of the id, or hostname')
      .option('--no-wait', 'return once the drain is asked for'),
    '5m',
    'how long to wait',
  ).action(
    online(async (context, words: string[], options) =>
      (await import('../verbs/machines.js')).drain(context, words, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
    ),
  );
  program
    .command('failover')
    .summary('machines that are lost, and letting their units go')
    .description(
      'Lists machines that are not ready; with --confirm, says that these are really gone, so that their units may start elsewhere.',
    )
    .argument('[machines...]', 'id, beginning of the id, or hostname')
    .option('--confirm', 'these machines are gone', false)
    .action(online(async (context, words: string[], options) => (await import('../verbs/machines.js')).failover(context, words, options)));
}
