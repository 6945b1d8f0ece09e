/** Verbs on manifests and on what they made: `apply`, `diff`, `scale`, `delete`. */
import { type Command, Option } from 'commander';
import { durationMs } from '../duration.js';
import { CliError, exitCode } from '../exit.js';
import { count, manifests, type Tools, timeout } from './tools.js';

export function declareManifests(program: Command, { online }: Tools): void {
  manifests(
    program
      .command('apply')
      .summary('make the cluster as manifests say')
      .description('Applies manifests: creates what is missing, changes what differs.'),
  )
    .option('--prune', 'delete what -l matches, was applied this way before, and is in no manifest any more')
    .option('-l, --selector <selector>', 'labels, with --prune')
    .option('--dry-run <where>', 'server: check everything, store nothing')
    .option('--force-conflicts', 'take over fields that others set')
    .option('--server-side', 'accepted for the habit; it is always so')
    .option('--field-manager <name>', 'name under which the fields are owned', 'flotilla')
    .action(online(async (context, options) => (await import('../verbs/apply.js')).apply(context, options)));

  manifests(
    program
      .command('diff')
      .summary('what apply would change')
      .description('Shows what apply would change. Exit code 0: nothing, 1: something, 2: an error.'),
  )
    .option('--prune', 'show also what apply --prune would delete')
    .option('-l, --selector <selector>', 'labels, with --prune')
    .option('--field-manager <name>', 'as in apply', 'flotilla')
    .option('--git <name>', 'what the next sync of this GitSync would change')
    .action(
      online(async (context, options) => {
        const shown =
          options.git === undefined
            ? (await import('../verbs/diff.js')).diff(context, options)
            : (await import('../verbs/git.js')).gitDiff(context, options.git);
        // As diff(1): 1 says that something differs, so no failure may.
        return shown.catch((error: unknown) => {
          throw error instanceof CliError ? new CliError(error.message, exitCode.usage) : error;
        });
      }),
    );

  program
    .command('scale')
    .summary('how many units a set has')
    .description('Sets the number of units of sets: scale unitset/web --replicas=3')
    .argument('<words...>', 'KIND NAME... or KIND/NAME...')
    .requiredOption('--replicas <number>', 'how many there should be', count)
    .option('--current-replicas <number>', 'only if there should be this many now', count)
    .option('--force', 'also what a GitSync keeps; it will revert it')
    .action(online(async (context, words: string[], options) => (await import('../verbs/scale.js')).scale(context, words, options)));

  timeout(
    manifests(
      program
        .command('delete')
        .summary('delete objects and wait until they are gone')
        .description('Deletes objects and waits until process, file and object are gone.'),
    )
      .argument('[words...]', 'KIND NAME... or KIND/NAME...')
      .option('-l, --selector <selector>', 'labels, instead of names')
      .addOption(
        new Option('--cascade <how>', 'what becomes of the units of a set: deleted after it, deleted before it, or left running')
          .choices(['background', 'foreground', 'orphan'])
          .default('background'),
      )
      .option('--no-wait', 'return once the deletion is asked for')
      .option('--force', 'also what a GitSync keeps; and do not wait for machines that are away: their copies stop when they come back')
      .option('--ignore-not-found', 'an object that is not there is no error'),
    '60s',
    'how long to wait',
  ).action(
    online(async (context, words: string[], options) =>
      (await import('../verbs/delete.js')).remove(context, words, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
    ),
  );
}
