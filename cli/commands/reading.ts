/** Verbs that only look: `get`, `describe`, `wait`, `logs`, `events`, `explain`. */
import type { Command } from 'commander';
import { journalFormats } from '../../api/resources/unit-output.js';
import { durationMs } from '../duration.js';
import { count, oneOf, type Tools, timeout } from './tools.js';

export function declareReading(program: Command, { online }: Tools): void {
  program
    .command('get')
    .summary('list objects, or show some')
    .description('Lists objects of a kind, or shows those that are named: get units, get unit web.service, get units,machines.')
    .argument('[words...]', 'KIND [NAME...] or KIND/NAME...')
    .option('-o, --output <format>', 'wide, json, yaml or name')
    .option('-w, --watch', 'keep showing changes')
    .option('-l, --selector <selector>', 'labels, as in app=web,tier!=db')
    .option('--field-selector <selector>', 'fields, as in metadata.name=web.service')
    .option('--no-headers', 'leave the header line out')
    .option('--show-managed-fields', 'with -o json and yaml: also which manager owns which field')
    .option('--raw <path>', "print the server's answer to this path")
    .action(online(async (context, words: string[], options) => (await import('../verbs/get.js')).get(context, words, options)));

  program
    .command('describe')
    .summary('everything about an object, and why')
    .description('Shows everything about objects: state on each machine, conditions, events, and the reason for whatever is not happening.')
    .argument('<words...>', 'KIND [NAME...] or KIND/NAME...')
    .option('-l, --selector <selector>', 'labels')
    .action(online(async (context, words: string[], options) => (await import('../verbs/describe.js')).describe(context, words, options)));

  timeout(
    program
      .command('wait')
      .summary('wait until something is so')
      .description('Waits until objects meet a condition. Exit code 124 when they did not in time.')
      .argument('<words...>', 'KIND/NAME... or KIND NAME...')
      .option('--for <what>', 'condition=Ready, condition=Ready=false, create or delete; default: Ready, of a set Available')
      .option('-l, --selector <selector>', 'labels, instead of names'),
    '30s',
    'how long to wait',
  ).action(
    online(async (context, words: string[], options) =>
      (await import('../verbs/wait.js')).wait(context, words, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
    ),
  );

  program
    .command('logs')
    .summary("a unit's journal")
    .description("Prints a unit's journal, from whichever machines run it.")
    .argument('<unit>', 'name of the unit; .service may be left out')
    .option('-f, --follow', 'keep printing what comes')
    .option('-n, --lines <number>', 'how many of the last lines to begin with', count, 100)
    .option('--tail <number>', 'the same, as kubectl spells it', count)
    .option('--machine <machine>', 'only this machine: id, beginning of the id, or hostname')
    .option('--since <duration>', 'only lines younger than this, as in 5m')
    .option('-o, --output <format>', 'format of journalctl, as in short-iso (the default), json or cat', oneOf(journalFormats))
    .action(
      online(async (context, word: string, options) => {
        const { named } = await import('../verbs/fleet/names.js');
        return (await import('../verbs/logs.js')).logs(context, named(word).name, {
          ...options,
          lines: options.tail ?? options.lines,
          ...(options.since ? { sinceSeconds: Math.ceil(durationMs('--since', options.since) / 1_000) } : {}),
        });
      }),
    );

  program
    .command('events')
    .summary('what happened')
    .description('Prints what happened lately, oldest first.')
    .option('--for <object>', 'only about this object: KIND/NAME')
    .option('-w, --watch', 'keep printing what comes')
    .option('--no-headers', 'leave the header line out')
    .action(online(async (context, options) => (await import('../verbs/events.js')).events(context, options)));

  program
    .command('explain')
    .summary('what a field means')
    .description('Explains a kind or a field: explain unit.spec.placement')
    .argument('<path>', 'KIND[.FIELD...]')
    .action(online(async (context, path: string) => (await import('../verbs/explain.js')).explain(context, path)));
}
