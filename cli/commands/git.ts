/** Verbs on GitSyncs: `sync`, `suspend`, `resume`. */
import type { Command } from 'commander';
import { durationMs } from '../duration.js';
import { type Tools, timeout } from './tools.js';

export function declareGit(program: Command, { online }: Tools): void {
  timeout(
    program
      .command('sync')
      .summary('sync a GitSync now')
      .description('Asks GitSyncs to look at their repositories now. With --wait: until it is done, exit code 1 when it failed.')
      .argument('<gitsyncs...>', 'names of GitSyncs')
      .option('--wait', 'wait until the cluster is as the repository says')
      .option('--confirm-prune <revision>', 'agree once to everything that this revision deletes'),
    '2m',
    'how long to wait',
  ).action(
    online(async (context, names: string[], options) =>
      (await import('../verbs/git.js')).sync(context, names, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
    ),
  );
  for (const [verb, about] of [
    ['suspend', 'Lets GitSyncs do nothing until they are resumed.'],
    ['resume', 'Lets suspended GitSyncs go on.'],
  ] as const) {
    program
      .command(verb)
      .summary(verb === 'suspend' ? 'let a GitSync do nothing for now' : 'let a GitSync go on')
      .description(about)
      .argument('<gitsyncs...>', 'names of GitSyncs')
      .option('--force', 'also one that another GitSync keeps')
      .action(
        online(async (context, names: string[], options) =>
          (await import('../verbs/git.js')).suspend(context, names, verb === 'suspend', options),
        ),
      );
  }
}
