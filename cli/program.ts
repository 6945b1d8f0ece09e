/** The command line, put together: verbs are declared in commands/, and what one does is loaded when it runs, so that `get` starts fast. */
import { Command, CommanderError } from 'commander';
import { didYouMean } from '../api/resources/suggest.js';
import { declareAccess } from './commands/access.js';
import { declareFleet } from './commands/fleet.js';
import { declareGit } from './commands/git.js';
import { declareGlobalOptions } from './commands/global-options.js';
import { declareMachines } from './commands/machines.js';
import { declareManifests } from './commands/manifests.js';
import { declareReading } from './commands/reading.js';
import { arrangeWords, declareRemote, declareSshOptions } from './commands/remote.js';
import { declareThisProgram } from './commands/this-program.js';
import type { Tools } from './commands/tools.js';
import { Context, type GlobalOptions } from './context.js';
import { exitCode, usageError } from './exit.js';
import { version } from './version.js';

/** Headings of the help, in the order in which their commands are declared. */
const helpGroups: readonly (readonly [string, readonly string[]])[] = [
  ['Units:', ['apply', 'diff', 'scale', 'delete', 'logs']],
  ['Machines from near:', ['status', 'journal', 'ssh']],
  ['What there is:', ['get', 'describe', 'events', 'wait', 'explain']],
  ['Machines:', ['cordon', 'uncordon', 'drain', 'failover']],
  ['Repositories:', ['sync', 'suspend', 'resume']],
  ['Access:', ['token', 'kubeconfig']],
  [
    'Verbs of fleetctl:',
    ['submit', 'load', 'start', 'stop', 'unload', 'restart', 'destroy', 'cat', 'list-units', 'list-machines', 'list-unit-files'],
  ],
  ['The parts of a cluster:', ['server', 'agent', 'dev']],
  ['This program:', ['completion', 'version']],
];

/** Runs the words of one command line; resolves with its exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let code: number = exitCode.ok;
  const program = new Command('flotilla').description('The whole cluster as one init system: runs systemd units on a cluster of machines.');
  declareGlobalOptions(program);
  declareSshOptions(program);
  program
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

  const tools: Tools = {
    online:
      <Args extends unknown[]>(verb: (context: Context, ...args: Args) => Promise<number>) =>
      async (...args: [...Args, ...unknown[]]) => {
        const opened = await Context.open(program.opts<GlobalOptions>());
        try {
          code = await verb(opened, ...(args as unknown as Args));
        } finally {
          await opened.close();
        }
      },
  };
  declareManifests(program, tools);
  declareReading(program, tools);
  declareMachines(program, tools);
  declareGit(program, tools);
  declareAccess(program, tools);
  declareFleet(program, tools);
  declareRemote(program, tools);
  const { declareRoles } = await import('./roles/declare.js');
  declareRoles(program, (result) => {
    code = result;
  });
  declareThisProgram(program, tools);

  // Commander would say that a word is one too many; what a person wants to know is which word was meant.
  const unknown = (parent: Command, word: string) => {
    const path = [parent.parent?.name(), parent.name()].filter(Boolean).join(' ');
    return usageError(`unknown command "${word}"${meant(parent, word)} (${path} --help lists all)`);
  };
  for (const parent of [program, ...program.commands.filter(({ commands }) => commands.length > 0)]) {
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
    await program.parseAsync([...arrangeWords(program, argv)], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    throw error;
  }
  return code;
}

/** fleet ran whatever a word was the beginning of; a wrong guess of `des` would be worse than this question. */
function meant(parent: Command, word: string): string {
  const names = parent.commands.map((command) => command.name());
  const longer = names.filter((name) => name.startsWith(word));
  if (longer.length > 0) return `; did you mean ${longer.map((name) => `"${name}"`).join(' or ')}?`;
  return didYouMean(word, names);
}
