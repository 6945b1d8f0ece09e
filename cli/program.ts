/** The command line: every verb and flag, declared once. What a verb does is loaded when it runs, so that `get` starts fast. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { nearest } from '../api/resources/suggest.js';
import { Context, type GlobalOptions } from './context.js';
import { durationMs } from './duration.js';
import { exitCode, usageError } from './exit.js';
import { version } from './version.js';

const defaultEndpoint = 'unix:///run/flotilla/flotilla.sock';

const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('expected a number of seconds.');
  return value;
};
const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('expected a whole number.');
  return value;
};
const collect = (value: string, previous: readonly string[]): string[] => [...previous, ...value.split(',')];

/** Headings of the help, in the order in which their commands are declared. */
const helpGroups: readonly (readonly [string, readonly string[]])[] = [
  ['Units:', ['apply', 'diff', 'delete', 'logs']],
  ['What there is:', ['get', 'describe', 'events', 'wait', 'explain']],
  ['Machines:', ['cordon', 'uncordon', 'drain', 'failover']],
  ['Access:', ['token', 'kubeconfig']],
  ['Listings as fleetctl prints them:', ['list-units', 'list-machines', 'list-unit-files']],
  ['The parts of a cluster:', ['server', 'agent', 'dev']],
  ['This program:', ['completion', 'version']],
];

/** Runs the words of one command line; resolves with its exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let code: number = exitCode.ok;
  const program = new Command('flotilla')
    .description('The whole cluster as one init system: runs systemd units on a cluster of machines.')
    .addOption(
      new Option('--endpoint <url>', 'where the server is: unix:///path or https://host:port')
        .env('FLOTILLA_ENDPOINT')
        .default(defaultEndpoint),
    )
    .addOption(new Option('--ca-file <file>', "PEM file of the cluster's CA").env('FLOTILLA_CA_FILE'))
    .addOption(new Option('--cert-file <file>', 'PEM file of a client certificate').env('FLOTILLA_CERT_FILE'))
    .addOption(new Option('--key-file <file>', "PEM file of that certificate's key").env('FLOTILLA_KEY_FILE'))
    .addOption(
      new Option('--request-timeout <seconds>', 'how long to wait until an answer begins')
        .env('FLOTILLA_REQUEST_TIMEOUT')
        .default(30)
        .argParser(seconds),
    )
    .version(version, '-V, --version', 'print the version of this program')
    .helpOption('-h, --help', 'print help')
    .addHelpCommand(new Command('help').argument('[command]').description('help, for all or for one command').helpGroup('This program:'))
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({
      writeErr: (text) => process.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'flotilla: ')),
    })
    .configureHelp({ helpWidth: Math.min(process.stdout.columns ?? 100, 120) });

  const context = () => new Context(program.opts<GlobalOptions>());
  /** A verb that talks to the server: gets its arguments and options, resolves with the exit code. */
  const online =
    <Args extends unknown[]>(verb: (context: Context, ...args: Args) => Promise<number>) =>
    async (...args: [...Args, ...unknown[]]) => {
      const opened = context();
      try {
        code = await verb(opened, ...(args as unknown as Args));
      } finally {
        await opened.client.close();
      }
    };
  const manifests = (command: Command) =>
    command
      .option('-f, --filename <file>', 'manifest, unit file, directory, or - for standard input; may be repeated', collect, [])
      .option('-R, --recursive', 'look into folders of folders too');
  const timeout = (command: Command, fallback: string, about: string) => command.option('--timeout <duration>', about, fallback);

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
    .action(online(async (context, options) => (await import('./verbs/apply.js')).apply(context, options)));

  manifests(
    program
      .command('diff')
      .summary('what apply would change')
      .description('Shows what apply would change. Exit code 0: nothing, 1: something, 2: an error.'),
  )
    .option('--prune', 'show also what apply --prune would delete')
    .option('-l, --selector <selector>', 'labels, with --prune')
    .option('--field-manager <name>', 'as in apply', 'flotilla')
    .action(online(async (context, options) => (await import('./verbs/diff.js')).diff(context, options)));

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
    .action(online(async (context, words: string[], options) => (await import('./verbs/get.js')).get(context, words, options)));

  program
    .command('describe')
    .summary('everything about an object, and why')
    .description('Shows everything about objects: state on each machine, conditions, events, and the reason for whatever is not happening.')
    .argument('<words...>', 'KIND [NAME...] or KIND/NAME...')
    .option('-l, --selector <selector>', 'labels')
    .action(online(async (context, words: string[], options) => (await import('./verbs/describe.js')).describe(context, words, options)));

  timeout(
    manifests(
      program
        .command('delete')
        .summary('delete objects and wait until they are gone')
        .description('Deletes objects and waits until process, file and object are gone.'),
    )
      .argument('[words...]', 'KIND NAME... or KIND/NAME...')
      .option('-l, --selector <selector>', 'labels, instead of names')
      .option('--no-wait', 'return once the deletion is asked for')
      .option('--force', 'do not wait for machines that are away: their copies stop when they come back')
      .option('--ignore-not-found', 'an object that is not there is no error'),
    '60s',
    'how long to wait',
  ).action(
    online(async (context, words: string[], options) =>
      (await import('./verbs/delete.js')).remove(context, words, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
    ),
  );

  timeout(
    program
      .command('wait')
      .summary('wait until something is so')
      .description('Waits until objects meet a condition. Exit code 124 when they did not in time.')
      .argument('<words...>', 'KIND/NAME... or KIND NAME...')
      .requiredOption('--for <what>', 'condition=Ready, condition=Ready=false, create or delete')
      .option('-l, --selector <selector>', 'labels, instead of names'),
    '30s',
    'how long to wait',
  ).action(
    online(async (context, words: string[], options) =>
      (await import('./verbs/wait.js')).wait(context, words, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
    ),
  );

  program
    .command('logs')
    .summary("a unit's journal")
    .description("Prints a unit's journal, from whichever machines run it.")
    .argument('<unit>', 'name of the unit')
    .option('-f, --follow', 'keep printing what comes')
    .option('-n, --lines <number>', 'how many of the last lines to begin with', count, 100)
    .option('--tail <number>', 'the same, as kubectl spells it', count)
    .option('--machine <machine>', 'only this machine: id, beginning of the id, or hostname')
    .option('--since <duration>', 'only lines younger than this, as in 5m')
    .action(
      online(async (context, unit: string, options) =>
        (await import('./verbs/logs.js')).logs(context, unit.replace(/^units?\//, ''), {
          ...options,
          lines: options.tail ?? options.lines,
          ...(options.since ? { sinceSeconds: Math.ceil(durationMs('--since', options.since) / 1_000) } : {}),
        }),
      ),
    );

  program
    .command('events')
    .summary('what happened')
    .description('Prints what happened lately, oldest first.')
    .option('--for <object>', 'only about this object: KIND/NAME')
    .option('-w, --watch', 'keep printing what comes')
    .option('--no-headers', 'leave the header line out')
    .action(online(async (context, options) => (await import('./verbs/events.js')).events(context, options)));

  program
    .command('explain')
    .summary('what a field means')
    .description('Explains a kind or a field: explain unit.spec.placement')
    .argument('<path>', 'KIND[.FIELD...]')
    .action(online(async (context, path: string) => (await import('./verbs/explain.js')).explain(context, path)));

  program
    .command('cordon')
    .summary('place nothing new on machines')
    .description('Marks machines so that nothing new is placed on them.')
    .argument('<machines...>', 'id, beginning of the id, or hostname')
    .action(online(async (context, words: string[]) => (await import('./verbs/machines.js')).cordon(context, words, true)));
  program
    .command('uncordon')
    .summary('place units on machines again')
    .description('Lets units be placed on machines again; ends a drain.')
    .argument('<machines...>', 'id, beginning of the id, or hostname')
    .action(online(async (context, words: string[]) => (await import('./verbs/machines.js')).cordon(context, words, false)));
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
      (await import('./verbs/machines.js')).drain(context, words, { ...options, timeoutMs: durationMs('--timeout', options.timeout) }),
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
    .action(online(async (context, words: string[], options) => (await import('./verbs/machines.js')).failover(context, words, options)));

  const token = program.command('token').summary('join tokens for new machines').description('Join tokens for new machines.');
  token
    .command('create')
    .summary('make a token')
    .description('Prints a token with which one machine can join, within an hour.')
    .option('--labels <keys>', 'only these metadata keys may be set by the machine, as in region,disk')
    .option('-o, --output <format>', 'json')
    .action(online(async (context, options) => (await import('./verbs/admin.js')).tokenCreate(context, options)));
  program
    .command('kubeconfig')
    .summary('a kubeconfig for kubectl')
    .description('Prints a kubeconfig with a new client certificate, for kubectl.')
    .option('--server <url>', 'https URL of the server as its clients see it')
    .option('--name <name>', 'user name in the certificate', 'admin')
    .action(online(async (context, options) => (await import('./verbs/admin.js')).kubeconfig(context, options)));
  for (const [name, about] of [
    ['list-units', "units on machines, in fleet's columns"],
    ['list-machines', "machines, in fleet's columns"],
    ['list-unit-files', "units known to the cluster, in fleet's columns"],
  ] as const) {
    program
      .command(name)
      .summary(about)
      .description(`Lists ${about}.`)
      .option('-l, --full', 'whole ids and hashes')
      .option('--no-legend', 'leave the header line out')
      .option('--fields <fields>', 'columns, separated by commas')
      .action(
        online(async (context, options) => {
          const { listMachines, listUnitFiles, listUnits } = await import('./verbs/fleet-lists.js');
          const verb = { 'list-units': listUnits, 'list-machines': listMachines, 'list-unit-files': listUnitFiles }[name];
          return verb(context, options);
        }),
      );
  }

  const { declareRoles } = await import('./roles/declare.js');
  declareRoles(program, (result) => {
    code = result;
  });

  program
    .command('version')
    .summary('versions of client and server')
    .description('Prints the versions of client and server.')
    .option('--client', 'only the client')
    .option('-o, --output <format>', 'json')
    .action(online(async (context, options) => (await import('./verbs/admin.js')).version(context, options)));

  program
    .command('completion')
    .summary('shell completion')
    .description('Prints a completion script: source <(flotilla completion bash)')
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (shell: string) => (await import('./verbs/completion.js')).completion(program, shell));

  // Commander would say that a word is one too many; what a person wants to know is which word was meant.
  const unknown = (parent: Command, word: string) => {
    const near = nearest(
      word,
      parent.commands.map((command) => command.name()),
    );
    const path = [parent.parent?.name(), parent.name()].filter(Boolean).join(' ');
    return usageError(`unknown command "${word}"${near ? `; did you mean "${near}"?` : ''} (${path} --help lists all)`);
  };
  for (const parent of [program, token]) {
    parent.on('command:*', ([word = '']: string[]) => {
      throw unknown(parent, word);
    });
  }
  const [verb, about] = argv;
  if (verb === 'help' && about && !program.commands.some((command) => command.name() === about)) throw unknown(program, about);

  for (const [heading, names] of helpGroups) {
    for (const command of program.commands) if (names.includes(command.name())) command.helpGroup(heading);
  }
  const overrideExits = (command: Command): void => {
    command.exitOverride();
    command.commands.forEach(overrideExits);
  };
  overrideExits(program);

  if (argv.length === 0) {
    program.outputHelp({ error: true });
    return exitCode.usage;
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    throw error;
  }
  return code;
}
